#include "topology/placement.hpp"

#include "base/error.hpp"
#include "base/text.hpp"
#include "topology/cores.hpp"

#include <sched.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstddef>
#include <filesystem>
#include <fstream>
#include <map>
#include <memory>
#include <utility>

namespace weft::topology {

namespace fs = std::filesystem;

namespace {

const fs::path system_devices = "/sys/devices/system";

/// The file's first line; "" where there is none (no /sys in this container, say).
std::string first_line(const fs::path& path) {
    std::ifstream file{path};
    std::string line;
    std::getline(file, line);
    return line;
}

std::vector<int> siblings(int core) {
    return parse_cores(first_line(system_devices / "cpu" / cat("cpu", core) / "topology" / "thread_siblings_list"));
}

int numa_node_of(const std::vector<int>& cores) {
    std::error_code none;
    for (const auto& entry : fs::directory_iterator{system_devices / "node", none}) {
        const auto name = entry.path().filename().string();
        const auto number = parse_cores(name.starts_with("node") ? name.substr(4) : "");
        if (number.size() != 1) continue;
        const auto members = parse_cores(first_line(entry.path() / "cpulist"));
        const auto inside = [&](int core) { return std::find(members.begin(), members.end(), core) != members.end(); };
        if (!cores.empty() && std::all_of(cores.begin(), cores.end(), inside)) return number.front();
    }
    return -1;
}

/// A set of CPUs of any size: cpu_set_t ends at 1024.
class CpuSet {
  public:
    explicit CpuSet(std::size_t count) : count_{count}, set_{CPU_ALLOC(count), &free_set} {
        ensure(set_ != nullptr, "CPU_ALLOC gives a set");
        clear();
    }
    void add(int core) { CPU_SET_S(static_cast<std::size_t>(core), bytes(), set_.get()); }
    [[nodiscard]] bool holds(std::size_t core) const { return CPU_ISSET_S(core, bytes(), set_.get()) != 0; }
    [[nodiscard]] std::size_t count() const { return count_; }
    [[nodiscard]] std::size_t bytes() const { return CPU_ALLOC_SIZE(count_); }
    [[nodiscard]] cpu_set_t* get() const { return set_.get(); }

  private:
    static void free_set(cpu_set_t* set) { CPU_FREE(set); }
    void clear() { CPU_ZERO_S(bytes(), set_.get()); }
    std::size_t count_;
    std::unique_ptr<cpu_set_t, void (*)(cpu_set_t*)> set_;
};

bool run_this_thread_on(const std::vector<int>& cores) {
    if (cores.empty() || *std::min_element(cores.begin(), cores.end()) < 0) return false;
    CpuSet set{static_cast<std::size_t>(*std::max_element(cores.begin(), cores.end())) + 1};
    for (const int core : cores) set.add(core);
    return sched_setaffinity(0, set.bytes(), set.get()) == 0;  // 0: the calling thread
}

/// Where a rank's compute thread may be: the core it is held to, or all that the process may use.
std::vector<int> reach(const Placement& placement) {
    return placement.pinned_core >= 0 ? std::vector<int>{placement.pinned_core} : placement.cores;
}

/// "ranks 0, 1 and 2 on h1"; of more than eight only the first and the number.
std::string ranks_on(const std::vector<int>& ranks, const std::string& host) {
    if (ranks.size() > 8) return cat(ranks.size(), " ranks on ", host, " (", ranks.front(), ", ", ranks[1], ", ...)");
    return cat("ranks ", join(std::vector<int>{ranks.begin(), ranks.end() - 1}), " and ", ranks.back(), " on ", host);
}

std::string padded(const std::string& text, std::size_t width) {
    return text.size() < width ? text + std::string(width - text.size(), ' ') : text;
}

std::string without_breaks(std::string text) {
    std::replace_if(
        text.begin(), text.end(), [](char c) { return c == '\t' || c == '\n'; }, ' ');
    return text;
}

int number_in(const std::string& text) {
    int value = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    ensure(error == std::errc{} && end == text.data() + text.size(), "a placement's line holds numbers where they belong");
    return value;
}

}  // namespace

std::vector<int> parse_cores(std::string_view list) {
    std::vector<int> cores;
    for (const auto& part : split(list, ',')) {
        const char* const end = part.data() + part.size();
        int first = 0;
        const auto [after, error] = std::from_chars(part.data(), end, first);
        if (error != std::errc{}) continue;
        int last = first;
        if (after != end && *after == '-' && std::from_chars(after + 1, end, last).ec != std::errc{}) continue;
        for (int core = first; core <= last; ++core) cores.push_back(core);
    }
    return cores;
}

std::string list_cores(const std::vector<int>& cores) {
    std::vector<std::string> ranges;
    for (std::size_t begin = 0; begin < cores.size();) {
        std::size_t end = begin + 1;
        while (end < cores.size() && cores[end] == cores[end - 1] + 1) ++end;
        ranges.push_back(end - begin == 1 ? cat(cores[begin]) : cat(cores[begin], "-", cores[end - 1]));
        begin = end;
    }
    return join(ranges, ",");
}

std::vector<int> physical_first(const std::vector<int>& cores, const std::function<std::vector<int>(int)>& siblings_of) {
    std::vector<std::pair<std::ptrdiff_t, int>> order;  // how many of `cores` on the same physical core come before it, and itself
    for (const int core : cores) {
        const auto same = siblings_of(core);
        const auto before = [&](int other) { return other < core && std::find(same.begin(), same.end(), other) != same.end(); };
        order.emplace_back(std::count_if(cores.begin(), cores.end(), before), core);
    }
    std::sort(order.begin(), order.end());
    std::vector<int> result;
    result.reserve(order.size());
    for (const auto& [place, core] : order) result.push_back(core);
    return result;
}

std::vector<int> allowed_cores() {
    for (std::size_t count = 1024; count <= std::size_t{1} << 20U; count *= 2) {
        const CpuSet set{count};
        if (sched_getaffinity(0, set.bytes(), set.get()) == 0) {
            std::vector<int> cores;
            for (std::size_t core = 0; core < set.count(); ++core)
                if (set.holds(core)) cores.push_back(static_cast<int>(core));
            return cores;
        }
        if (errno != EINVAL) break;  // EINVAL: the system has more CPUs than that
    }
    fail(cat("which cores this process may run on could not be read: ", errno_text(errno)));
}

Placement here(int rank, const std::string& host, int node_rank, int node_size) {
    Placement placement{.rank = rank, .host = host, .node_rank = node_rank, .node_size = node_size};
    placement.cores = allowed_cores();
    placement.host_cores = static_cast<int>(parse_cores(first_line(system_devices / "cpu" / "online")).size());
    if (placement.host_cores == 0) placement.host_cores = static_cast<int>(sysconf(_SC_NPROCESSORS_ONLN));
    placement.numa_node = numa_node_of(placement.cores);
    return placement;
}

int core_for(const std::vector<int>& cores, int host_cores, int node_rank, int node_size) {
    const auto count = static_cast<int>(cores.size());
    if (node_rank < 0 || node_rank >= node_size || count < node_size || count < host_cores || count >= 2 * node_size) return -1;
    return physical_first(cores, siblings)[static_cast<std::size_t>(node_rank)];
}

namespace {
/// What the process may use, asked once: before the first thread is pinned.
const std::vector<int>& cores_before_pins() {
    static const auto cores = allowed_cores();
    return cores;
}
}  // namespace

std::vector<int> process_cores() {
    return cores_before_pins();
}

bool pin_this_thread(int core) {
    static_cast<void>(cores_before_pins());
    return run_this_thread_on({core});
}

void release_this_thread(const std::vector<int>& cores) {
    run_this_thread_on(cores);  // refused: it stays where it is, which is slower and not wrong
}

std::string table(const std::vector<Placement>& all) {
    std::size_t host_width = 4;
    std::size_t device_width = 6;
    for (const auto& one : all) {
        host_width = std::max(host_width, one.host.size());
        device_width = std::max(device_width, one.device.size());
    }
    std::string text = cat("rank  ", padded("host", host_width), "  ", padded("device", device_width), "  cores");
    for (const auto& one : all) {
        text += cat("\n", padded(cat(one.rank), 4), "  ", padded(one.host, host_width), "  ", padded(one.device, device_width), "  ", list_cores(one.cores),
                    " of ", one.host_cores);
        if (one.numa_node >= 0) text += cat(", NUMA node ", one.numa_node);
        if (one.pinned_core >= 0) text += cat(", held to ", one.pinned_core);
    }
    return text;
}

std::vector<std::string> complaints(const std::vector<Placement>& all) {
    std::map<std::pair<std::string, std::vector<int>>, std::vector<int>> by_reach;
    std::map<std::pair<std::string, std::string>, std::vector<int>> by_gpu;
    std::map<std::pair<std::string, std::vector<int>>, bool> bound;  // by the launcher or by weft, not by the host's size
    for (const auto& one : all) {
        const std::pair key{one.host, reach(one)};
        by_reach[key].push_back(one.rank);
        bound[key] = static_cast<int>(key.second.size()) < one.host_cores;
        if (one.shares_device) by_gpu[{one.host, one.device}].push_back(one.rank);
    }
    std::vector<std::string> texts;
    for (const auto& [key, ranks] : by_reach) {
        const auto& [host, cores] = key;
        if (cores.empty() || ranks.size() <= cores.size()) continue;
        const auto who = ranks_on(ranks, host);
        const auto which = cat(cores.size() == 1 ? "core " : "cores ", list_cores(cores));
        texts.push_back(bound[key] ? cat(who, " may only run on ", which,
                                         ", so they wait for each other; start with mpirun --bind-to none (launch/run does), or with a core a rank")
                                   : cat(who, " share ", which, ", so they wait for each other; start at most ", cores.size(), " there, or take more hosts"));
    }
    for (const auto& [key, ranks] : by_gpu)
        if (ranks.size() > 1)
            texts.push_back(cat(ranks_on(ranks, key.first), " share ", key.second, ", so they wait for each other and halve its memory; start one rank a GPU"));
    return texts;
}

std::string to_line(const Placement& placement) {
    return cat(placement.rank, '\t', without_breaks(placement.host), '\t', placement.node_rank, '\t', placement.node_size, '\t',
               without_breaks(placement.device), '\t', placement.shares_device ? 1 : 0, '\t', list_cores(placement.cores), '\t', placement.pinned_core, '\t',
               placement.host_cores, '\t', placement.numa_node);
}

Placement from_line(const std::string& line) {
    const auto parts = split(line, '\t');
    ensure(parts.size() == 10, "a placement's line has ten parts");
    return {.rank = number_in(parts[0]),
            .host = parts[1],
            .node_rank = number_in(parts[2]),
            .node_size = number_in(parts[3]),
            .device = parts[4],
            .shares_device = number_in(parts[5]) != 0,
            .cores = parse_cores(parts[6]),
            .pinned_core = number_in(parts[7]),
            .host_cores = number_in(parts[8]),
            .numa_node = number_in(parts[9])};
}

}  // namespace weft::topology
