#include "parallel/ranked_job.hpp"

#include <chrono>
#include <fstream>
#include <thread>

namespace weft::test {

Words launch_environment() {
    return {"env",
            "OMPI_ALLOW_RUN_AS_ROOT=1",
            "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1",
            "OMPI_MCA_rmaps_base_oversubscribe=1",
            "OMPI_MCA_hwloc_base_binding_policy=none",
            "OMPI_MCA_mpi_yield_when_idle=1",
            "OMP_NUM_THREADS=1"};
}

namespace {
Words joined(Words front, const Words& back) {
    front.insert(front.end(), back.begin(), back.end());
    return front;
}
}  // namespace

RankedJob::RankedJob(const RankedShape& shape) {
    const auto example = tiny_model() / "example";
    fs::create_directories(folder_ / "pose");
    for (std::int64_t frame = 0; frame < shape.poses; ++frame)
        fs::create_symlink(example / "pose" / cat("000", frame % 30 + 10, ".png"), folder_ / "pose" / cat(frame + 10000, ".png"));
    const auto model = fs::path(WEFT_SOURCE_DIR) / "tests/golden/mimicmotion/model";
    if (shape.musepose) {
        const auto made = run({weft_program(), "make-model", "--tiny", "--family", "musepose", "model"}, folder());
        if (made.code != 0) fail("weft make-model failed: " + made.err);
        write_bytes(folder_ / "config.toml",
                    cat("[model]\nfamily = \"musepose\"\npath = \"model\"\n[input]\nimage = ", in_quotes((example / "person.png").string()),
                        "\npose = \"pose\"\n[video]\nwidth = ", shape.size, "\nheight = ", shape.size, "\n[sampling]\nsteps = ", shape.steps,
                        "\n[slices]\nlength = 16\noverlap = 4\n[device]\nkind = \"cpu\"\n[output]\nvideo = \"out.mkv\"\n"));
        return;
    }
    write_bytes(folder_ / "config.toml",
                cat("[model]\npath = ", in_quotes(model.string()), "\n[input]\nimage = ", in_quotes((example / "person.png").string()),
                    "\npose = \"pose\"\n[video]\nwidth = ", shape.size, "\nheight = ", shape.size, "\n[sampling]\nsteps = ", shape.steps,
                    "\n[slices]\nlength = 16\noverlap = 6\nanchor = ", in_quotes(shape.anchor), "\n[device]\nkind = \"cpu\"\n[output]\nvideo = \"out.mkv\"\n"));
}

Words RankedJob::generate_words(const std::string& program, const Words& sets) const {
    Words words{program, "generate", "config.toml", "--events", "events.jsonl"};
    for (const auto& one : sets) words.insert(words.end(), {"--set", one});
    return words;
}

Ended RankedJob::alone(const Words& sets, double timeout_s) const {
    return run(generate_words(weft_program(), sets), folder(), timeout_s);
}

Ended RankedJob::mpirun(const Words& words, double timeout_s) const {
    return run(joined(joined(launch_environment(), {"timeout", "-k", "5", cat(timeout_s - 6), "mpirun"}), words), folder(), timeout_s);
}

Ended RankedJob::on(int ranks, const Words& sets, double timeout_s) const {
    return mpirun(joined({"-n", cat(ranks)}, generate_words(weft_program(), sets)), timeout_s);
}

Ended RankedJob::failing(int ranks, const std::string& fault, const Words& sets, double timeout_s) const {
    auto words =
        joined(launch_environment(), {cat("WEFT_PROGRAM=", WEFT_FAULTY), cat("WEFT_FAULT=", fault), (fs::path(WEFT_SOURCE_DIR) / "launch/run").string(), "-n",
                                      cat(ranks), "config.toml", "--events", "events.jsonl"});
    for (const auto& one : sets) words.insert(words.end(), {"--set", one});
    return run(words, folder(), timeout_s);
}

Words RankedJob::hashes() const {
    Words all;
    for (auto& line : json_lines(folder_ / "events.jsonl"))
        if (line.at("event") == "step") all.push_back(cat("step ", line.at("step"), " ", line.at("hash")));
    all.push_back(cat("latents ", hash(folder_ / "out.h5")));
    all.push_back(cat("frames ", hash(folder_ / "out.mkv")));
    return all;
}

std::int64_t RankedJob::of_plan(const std::string& key) const {
    for (auto& line : json_lines(folder_ / "events.jsonl"))
        if (line.at("event") == "plan") return std::stoll(line.at(key));
    return 0;
}

void RankedJob::clean() const {
    for (const char* const name : {"out.mkv", "out.h5", "out.status", "events.jsonl"}) fs::remove(folder_ / name);
}

Words RankedJob::left_running() const {
    for (int tries = 0; tries < 100 && !running().empty(); ++tries)
        std::this_thread::sleep_for(std::chrono::milliseconds(20));  // a process takes a moment to end
    return running();
}

Words RankedJob::running() const {
    Words names;
    for (const auto& entry : fs::directory_iterator("/proc")) {
        std::error_code gone;
        if (fs::read_symlink(entry.path() / "cwd", gone) != folder()) continue;
        std::ifstream in(entry.path() / "stat");
        std::string text;
        std::getline(in, text);
        if (const auto end = text.rfind(')'); end != std::string::npos && end + 2 < text.size() && text[end + 2] != 'Z')
            names.push_back(text.substr(0, end + 1));
    }
    return names;
}

}  // namespace weft::test
