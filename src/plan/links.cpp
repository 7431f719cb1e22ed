#include "plan/links.hpp"

#include "base/text.hpp"

#include <algorithm>
#include <cmath>
#include <set>

namespace weft::plan {

namespace {
std::int64_t nanoseconds(double seconds) {
    return static_cast<std::int64_t>(std::llround(seconds * 1e9));
}

std::string rate_text(double bytes_s) {
    return bytes_s < 1e9 ? cat(fixed(bytes_s / 1e6, 0), " MB/s") : cat(fixed(bytes_s / 1e9, bytes_s < 1e10 ? 2 : 0), " GB/s");
}
}  // namespace

std::string describe(const Links& links) {
    auto text = cat(rate_text(links.local_bytes_s), " within a host");
    const auto hosts = std::set<int>(links.host.begin(), links.host.end()).size();
    return hosts < 2 ? text : cat(text, ", ", rate_text(links.remote_bytes_s), " into and out of each of ", hosts, " hosts");
}

std::int64_t LinkTimes::send(int from, int to, std::int64_t bytes, std::int64_t now_ns) {
    const bool local = links_.same_host(from, to);
    const auto wire = nanoseconds(static_cast<double>(bytes) / (local ? links_.local_bytes_s : links_.remote_bytes_s));
    auto& pair_free = pair_free_[{from, to}];
    auto begin = std::max(now_ns, pair_free);
    auto end = begin + wire;
    if (!local) {
        auto& out = out_free_[links_.host_of(from)];
        auto& in = in_free_[links_.host_of(to)];
        begin = std::max(begin, out);
        out = begin + wire;
        in = std::max(begin, in) + wire;
        end = std::max(out, in);
    }
    pair_free = end;
    return end + nanoseconds(local ? links_.local_latency_s : links_.remote_latency_s);
}

}  // namespace weft::plan
