#include "support/golden.hpp"

#include "base/file.hpp"
#include "base/text.hpp"
#include "model/weight_files.hpp"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <limits>
#include <ranges>
#include <set>

namespace weft::golden {

namespace {

namespace fs = std::filesystem;

class OneThread final : public testing::Environment {
  public:
    void SetUp() override { at::set_num_threads(1); }
};
[[maybe_unused]] const auto* const one_thread = testing::AddGlobalTestEnvironment(new OneThread);

/// Inputs of MusePose's cases.
bool is_given_musepose(const std::string& key) {
    return key.starts_with("in.") || key == "pre.image_u8" || key.ends_with(".x") || key.ends_with(".v");
}

/// Recorded, but not weft's: tests/golden/README.md, "Not compared", says why, kind by kind. What it says of case align is chosen in tests/pose/align_test.cpp.
bool is_other_musepose(const Case& wanted, const std::string& key) {
    const auto has = [&](const char* part) { return key.find(part) != std::string::npos; };
    const auto begins = [&](const char* part) { return key.starts_with(part); };
    const bool undivided = wanted.facts.contains("branches") && wanted.facts.at("branches").get<int>() == 1;
    const bool from_undivided = begins("step0.guided") || begins("guided.") || begins("latents.") || begins("decoded") || begins("frames_u8.");
    return (undivided && from_undivided) || has("fp16") || has("transformer_blocks.0.norm2") || has(".grid_frame0");
}

/// The tolerances that the data's README suggests; of whole numbers and bytes 0.
double tolerance_musepose(const std::string& key) {
    const auto begins = [&](const char* part) { return key.starts_with(part); };
    if (key == "frames_u8.saved") return 0.01;
    if (begins("bank.")) return 3e-4;
    if (key == "ref.latent") return 1.2e-4;
    if (begins("step0.") || begins("guided.")) return 1e-4;
    if (begins("latents.") || key == "decoded") return 2e-4;
    if (begins("clip.") || begins("context") || begins("pose.") || begins("den.") || begins("odd.") || begins("ref.") || begins("vae.")) return 3e-5;
    // Torch's square roots are rounded as the make of processor likes, and the table's last betas are differences of nearly equal numbers.
    if (begins("betas")) return 2e-5;
    if (begins("n") || begins("alphas") || begins("sched.alphas") || begins("final")) return 1e-5;  // scheduler
    return 0;
}

/// Neither given to the test nor other than weft's (the same list).
bool is_compared_mimicmotion(const std::string& key) {
    static const std::set<std::string> inputs{"reference_u8", "poses_u8", "noise", "v", "original"};
    const auto has = [&](const char* part) { return key.find(part) != std::string::npos; };
    return !inputs.contains(key) && !key.starts_with("in.") && key != "reference_u8_used_fp16" && !has("timesteps_fp16mode") && !has(".fp16.") &&
           !has("add_noise.");
}

/// Largest difference over the largest recorded value; 0 where bits must be equal.
double tolerance_mimicmotion(const std::string& key) {
    if (key == "reference_u8_used" || key == "initial_noise" || key == "noise_aug") return 0;
    if (key == "clip_pixels" || key == "clip.pixels") return 5e-5;
    if (key == "image_latents" || key.starts_with("step")) return 1e-4;
    if (key == "frames") return 3e-4;
    if (key == "frames_u8") return 0.002;
    return 2e-5;
}

bool is_compared(const Case& wanted, const std::string& key) {
    return wanted.family == FamilyName::musepose ? !is_given_musepose(key) && !is_other_musepose(wanted, key) : is_compared_mimicmotion(key);
}

/// As case.json tells it: [type, shape] of MimicMotion, {"dtype": ..., "shape": ...} of MusePose.
std::vector<std::int64_t> shape_in_full(const Case& wanted, const std::string& key) {
    const auto& told = wanted.facts.at("tensors").at(key);
    return told.is_array() ? told.at(1) : told.at("shape");
}

std::vector<std::int64_t> recorded_shape(const Case& wanted, const std::string& key) {
    if (wanted.thinned.contains(key)) return shape_in_full(wanted, key);
    return wanted.recorded.at(key).sizes().vec();
}

at::Tensor thinned(const Case& wanted, const std::string& key, const at::Tensor& got) {
    const auto found = wanted.thinned.find(key);
    return found == wanted.thinned.end() ? got : got.flatten().slice(0, 0, std::nullopt, found->second);
}

Deviation deviation(const Case& of, const std::string& key, const at::Tensor* computed) {
    const auto& wanted = of.recorded.at(key);
    Deviation found{.key = key, .allowed = of.family == FamilyName::musepose ? tolerance_musepose(key) : tolerance_mimicmotion(key)};
    if (of.family == FamilyName::musepose && !wanted.is_floating_point() && key != "frames_u8.saved") found.allowed = 0;
    if (computed == nullptr) {
        found.problem = "recorded but not computed";
        return found;
    }
    if (const auto shape = recorded_shape(of, key); computed->sizes() != at::IntArrayRef(shape)) {
        found.problem = cat("shape ", computed->sizes(), ", recorded is ", at::IntArrayRef(shape));
        return found;
    }
    const auto got = thinned(of, key, *computed);
    if (key == "frames_u8" || key == "frames_u8.saved") {
        const auto off = (wanted.to(at::kInt) - got.to(at::kInt)).abs();
        found.most = off.max().item<int>();
        found.error = static_cast<double>(off.gt(0).sum().item<std::int64_t>()) / static_cast<double>(off.numel());
    } else {
        found.error = relative_error(wanted, got);
    }
    return found;
}

/// cut.py keeps of pose maps where they are not black, and the colours there.
void unpack_map(Case& made, const std::string& name) {
    auto& tensors = made.recorded;
    const auto packed = tensors.find(name + ".mask");
    if (packed == tensors.end()) return;
    const auto colours = tensors.at(name + ".colours");
    const auto bits = at::tensor({128, 64, 32, 16, 8, 4, 2, 1}, at::kByte);
    const auto mask = packed->second.unsqueeze(-1).bitwise_and(bits).ne(0).flatten(2);
    auto maps = at::zeros(shape_in_full(made, name), at::kByte);
    maps.index_put_({mask.narrow(2, 0, maps.size(2))}, colours);  // the last byte of a row may hold more bits than pixels
    tensors.erase(name + ".mask");
    tensors.erase(name + ".colours");
    tensors.emplace(name, maps);
}

/// And of large results every n-th value, as "NAME.everyN".
void find_thinned(Case& made) {
    Tensors renamed;
    for (const auto& [key, tensor] : made.recorded) {
        const auto at = key.rfind(".every");
        const auto name = key.substr(0, at);
        renamed.emplace(name, tensor);
        if (at != std::string::npos) made.thinned.emplace(name, std::stoll(key.substr(at + std::string_view(".every").size())));
    }
    made.recorded = std::move(renamed);
}

}  // namespace

namespace {
fs::path golden_folder() {
    const char* const full = std::getenv("WEFT_GOLDEN");
    return full != nullptr ? full : WEFT_SOURCE_DIR "/tests/golden";
}
}  // namespace

fs::path mimicmotion() {
    return golden_folder() / "mimicmotion";
}

fs::path musepose() {
    return golden_folder() / "musepose";
}

fs::path beside_full_data(const std::string& name) {
    const char* const full = std::getenv("WEFT_GOLDEN");
    if (full == nullptr) refuse("this test needs the full golden data: launch/test --golden DIR, or WEFT_GOLDEN=DIR");
    return fs::path(full) / ".." / name;
}

Tensors read_tensors(const fs::path& path) {
    const auto file = std::make_shared<const io::WeightFile>(io::WeightFile::open(path));
    Tensors tensors;
    for (const auto& [name, stored] : file->tensors()) tensors.emplace(name, model::as_tensor(stored, file).clone());
    return tensors;
}

Case read_case(const std::string& name, FamilyName family) {
    const auto folder = (family == FamilyName::musepose ? musepose() : mimicmotion()) / "cases" / name;
    Case made{family, name, nlohmann::json::parse(read_text(folder / "case.json")), read_tensors(folder / "tensors.safetensors"), {}};
    unpack_map(made, "poses_u8");
    unpack_map(made, "in.pose_frames");
    find_thinned(made);
    return made;
}

model::mimicmotion::ModelFolder tiny_model() {
    Mistakes mistakes;
    auto folder = model::mimicmotion::ModelFolder::open(mimicmotion() / "model", mistakes);
    mistakes.throw_if_any("the tiny model does not open");
    return folder;
}

model::musepose::ModelFolder tiny_musepose() {
    Mistakes mistakes;
    auto folder = model::musepose::ModelFolder::open(musepose() / "model", mistakes);
    mistakes.throw_if_any("the tiny model does not open");
    return folder;
}

Tensors on_host(const Tensors& tensors) {
    Tensors copies;
    for (const auto& [key, tensor] : tensors) copies.emplace(key, (tensor.is_floating_point() ? tensor.to(at::kFloat) : tensor).cpu());
    return copies;
}

double relative_error(const at::Tensor& wanted, const at::Tensor& got) {
    const double off = (wanted.to(at::kDouble) - got.to(at::kDouble)).abs().max().item<double>();
    if (off == 0) return 0;
    const double ratio = off / wanted.abs().max().item<double>();
    return std::isfinite(ratio) ? ratio : std::numeric_limits<double>::infinity();
}

std::vector<Deviation> deviations(const Case& wanted, const Tensors& computed) {
    std::vector<Deviation> all;
    for (const auto& key : std::views::keys(wanted.recorded)) {
        if (!is_compared(wanted, key)) continue;
        const auto found = computed.find(key);
        all.push_back(deviation(wanted, key, found == computed.end() ? nullptr : &found->second));
    }
    return all;
}

void expect_as_recorded(const Case& wanted, const Tensors& computed) {
    std::printf("%s\n", wanted.name.c_str());
    const auto all = deviations(wanted, computed);
    for (const auto& one : all) {
        std::printf("  %-90s %.1e (at most %.0e)\n", one.key.c_str(), one.error, one.allowed);
        EXPECT_TRUE(one.ok()) << one.key << ": " << one.problem << " off by " << one.error << ", at most " << one.allowed << " is allowed; bytes by "
                              << one.most;
    }
    EXPECT_FALSE(all.empty()) << wanted.name << ": nothing to compare";
}

at::Tensor nchw(const at::Tensor& image) {
    return image.permute({0, 3, 1, 2});
}

}  // namespace weft::golden
