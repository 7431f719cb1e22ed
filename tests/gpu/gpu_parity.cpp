// Numbers of one device beside the recorded ones of the original classes (fp32 on a CPU):
//   gpu_parity_test [--device cuda|cpu] [--full-size FRAMES] [--json FILE] [options of GoogleTest]
// With --full-size also passes and decodes of the published architecture filled with noise (GPU: 576x1024, CPU: 64x64). Prints and writes every figure.
#include "base/error.hpp"
#include "base/file.hpp"
#include "base/text.hpp"
#include "device/cuda.hpp"
#include "model/model.hpp"
#include "model/musepose/slow_job.hpp"
#include "model/open_model.hpp"
#include "model/slow_job.hpp"
#include "model/slow_layers.hpp"

#include <ATen/ATen.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include <array>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <set>

namespace weft::model {
namespace {

/// What the command line asks for.
struct Asked {
    golden::Where where;  ///< in fp32
    std::int64_t full_size_frames = 0;
};
Asked asked;
auto figures = nlohmann::ordered_json::array();

golden::Where in(c10::ScalarType dtype) {
    return {asked.where.device, dtype};
}

/// One line of the table. `bound` 0: bits must be equal.
void row(const std::string& what, c10::ScalarType dtype, const std::string& tensor, double error, double bound, const std::string& problem = {}) {
    const bool ok = problem.empty() && error <= bound;
    std::printf("  %-14s %s  %-82s %8.1e  %8.1e  %s\n", what.c_str(), std::string(dtype_name(dtype)).c_str(), tensor.c_str(), error, bound,
                ok ? "ok" : "NOT OK");
    figures.push_back({{"what", what}, {"dtype", dtype_name(dtype)}, {"tensor", tensor}, {"error", error}, {"bound", bound}, {"ok", ok}});
    EXPECT_TRUE(ok) << what << ", " << dtype_name(dtype) << ", " << tensor << ": " << problem << " error " << error << ", at most " << bound;
}

golden::Tensors compute(const golden::Case& wanted, c10::ScalarType dtype, const Chunks& chunks = {}) {
    if (wanted.family == FamilyName::musepose) return musepose::run_slowly(wanted, in(dtype));
    return wanted.name == "layers" ? mimicmotion::run_layers(wanted, chunks, in(dtype)) : mimicmotion::run_slowly(wanted, in(dtype));
}

/// How many times the CPU's tolerance a GPU may be off. Its kernels add in another order and its exp and rsqrt round otherwise, which the
/// tolerances (ten times the distance to double precision) already cover.
constexpr double fp32_factor = 1;

/// Fifty roundings of the type, of the largest value: what was seen on CPUs is 2 to 10. Only a wrong network is further off; mistakes that hide below
/// are fp32's to find.
double half_bound(c10::ScalarType dtype, const std::string& key) {
    const double rounding = dtype == c10::kHalf ? 0x1p-11 : 0x1p-8;
    return (key == "frames_u8" ? 100 : 50) * rounding;  // of bytes: their largest difference / 255
}

/// Computed on the host in fp32, whatever the networks run in.
bool is_of_host(const std::string& key) {
    static const std::set<std::string> names{"added_time_ids", "guidance",  "initial_noise", "sigmas",    "slot_weights",      "step0.weight_sum",
                                             "timesteps",      "noise_aug", "clip_pixels",   "vae_input", "reference_u8_used", "initial_latents"};
    return names.contains(key);
}

class Recorded : public testing::TestWithParam<std::tuple<std::pair<FamilyName, const char*>, c10::ScalarType>> {};

TEST_P(Recorded, IsReached) {
    const auto& [one_case, dtype] = GetParam();
    const auto& [family, name] = one_case;
    const auto wanted = golden::read_case(name, family);
    const auto all = golden::deviations(wanted, compute(wanted, dtype));
    EXPECT_FALSE(all.empty()) << "nothing to compare";
    for (const auto& one : all) {
        if (dtype != c10::kFloat && is_of_host(one.key)) continue;
        const bool bytes = wanted.recorded.at(one.key).scalar_type() == c10::kByte;
        if (dtype == c10::kFloat) {
            row(name, dtype, one.key, one.error, fp32_factor * one.allowed, bytes && one.most > 1 ? cat("bytes off by ", one.most, ";") : one.problem);
        } else {
            row(name, dtype, one.key, bytes ? one.most / 255.0 : one.error, half_bound(dtype, one.key), one.problem);
        }
    }
}

INSTANTIATE_TEST_SUITE_P(Cases, Recorded,
                         testing::Combine(testing::Values(std::pair(FamilyName::mimicmotion, "layers"), std::pair(FamilyName::mimicmotion, "single"),
                                                          std::pair(FamilyName::mimicmotion, "ramp"), std::pair(FamilyName::musepose, "single"),
                                                          std::pair(FamilyName::musepose, "nocfg")),
                                          testing::Values(c10::kFloat, c10::kHalf, c10::kBFloat16)),
                         [](const auto& one) {
                             const auto& wanted = std::get<0>(one.param);
                             return cat(wanted.first == FamilyName::musepose ? "musepose_" : "", wanted.second, "_", dtype_name(std::get<1>(one.param)));
                         });

class SameBits : public testing::TestWithParam<std::tuple<const char*, c10::ScalarType>> {};

TEST_P(SameBits, InTwoRuns) {
    const auto& [name, dtype] = GetParam();
    const auto wanted = golden::read_case(name);
    const auto first = compute(wanted, dtype);
    const auto second = compute(wanted, dtype);
    ASSERT_EQ(first.size(), second.size());
    std::int64_t others = 0;
    for (const auto& [key, tensor] : first)
        if (!at::equal(tensor, second.at(key))) {
            ++others;
            ADD_FAILURE() << key << ": other bits in the second run, off by " << golden::relative_error(tensor, second.at(key));
        }
    row(name, dtype, cat("tensors of ", first.size(), " whose bits differ in a second run"), static_cast<double>(others), 0);
}

INSTANTIATE_TEST_SUITE_P(Cases, SameBits, testing::Combine(testing::Values("layers", "single"), testing::Values(c10::kFloat, c10::kHalf)),
                         [](const auto& one) { return cat(std::get<0>(one.param), "_", dtype_name(std::get<1>(one.param))); });

TEST(Chunked, AgreesWithWhole) {
    const auto wanted = golden::read_case("layers");
    const auto whole = compute(wanted, c10::kFloat);
    const auto parts = compute(wanted, c10::kFloat, {.frame_rows = 64, .pixel_rows = 32});
    for (const auto* const key : {"unet.mid_block", "unet.out"})
        row("chunked", c10::kFloat, cat(key, " in chunks beside whole"), golden::relative_error(whole.at(key), parts.at(key)), 2e-5);
}

/// Attention of the published sizes must find a fused kernel on a GPU: the plain one would hold all scores (0.8 GB a frame at 576x1024).
TEST(Attention, IsFused) {
    static constexpr std::array<const char*, 5> names{"none", "math", "flash", "memory-efficient", "cudnn"};
    const bool cuda = asked.where.device.is_cuda();
    for (const auto dtype : {c10::kFloat, c10::kHalf, c10::kBFloat16})
        for (const auto& [what, heads, width] : {std::tuple{"unet", 5, 64}, {"clip", 16, 80}, {"vae", 1, 512}}) {
            const auto qkv = in(dtype)(at::zeros({2, 128, 3, heads, width})).permute({2, 0, 3, 1, 4});
            const auto choice = at::_fused_sdp_choice(qkv[0], qkv[1], qkv[2]);
            const auto name = choice >= -1 && choice <= 3 ? names.at(static_cast<std::size_t>(choice + 1)) : "another";
            row("attention", dtype, cat(what, ", ", width, " a head: ", name), choice >= 1 ? 0 : 1, cuda ? 0 : 1);
        }
}

/// The published architecture, filled with noise; the same weights and inputs whatever the type. GPU: MimicMotion at 576x1024, MusePose at 768x768.
class FullSized {
  public:
    FullSized(FamilyName name, c10::ScalarType dtype) {
        const bool musepose = name == FamilyName::musepose;
        frames_ = std::min<std::int64_t>(asked.full_size_frames, musepose ? 48 : 72);
        const bool cuda = asked.where.device.is_cuda();
        Mistakes mistakes;
        const auto type = dtype_name(dtype);
        const auto settings = parse_settings("", "gpu_parity_test",
                                             std::vector<std::string>{cat("model.family=", musepose ? "musepose" : "mimicmotion"), "model.path=random",
                                                                      cat("model.dtype=", type), cat("decode.dtype=", type),
                                                                      cat("video.width=", !cuda      ? 64
                                                                                          : musepose ? 768
                                                                                                     : 576),
                                                                      cat("video.height=", !cuda      ? 64
                                                                                           : musepose ? 768
                                                                                                      : 1024),
                                                                      cat("slices.length=", frames_), "slices.overlap=1"},
                                             mistakes);
        model_ = open_model(settings, mistakes);
        mistakes.throw_if_any("the full-size model:");
        const auto plan = plan::make_plan(settings, plan::Slices{plan::Slice{first_frames(frames_)}}, frames_, frames_,
                                          model_->shape(settings, frames_, frames_, asked.where.device.kind()), /*num_ranks=*/1, {});
        const auto grey = [settings](std::int64_t frames) {
            const auto line = at::arange(settings.video.width, at::TensorOptions{}.dtype(c10::kFloat)).remainder(256).to(c10::kByte);
            return line.view({1, 1, -1, 1}).expand({frames, settings.video.height, -1, 3}).contiguous();
        };
        family_ = model_->for_clip(settings, plan, asked.where.device,
                                   [grey](const std::vector<std::int64_t>& some) { return grey(static_cast<std::int64_t>(some.size())); });
        family_->encode(grey(1)[0]);
    }

    /// `times` passes of the conditional branch.
    std::vector<at::Tensor> pass(int times) {
        family_->load_denoiser();
        const auto frames = first_frames(frames_);
        std::vector<at::Tensor> results(static_cast<std::size_t>(times));
        for (auto& result : results) {
            auto state = family_->begin({0, 0, Branch::conditional}, family_->initial_latents(frames), frames);
            run_all(family_->units(), state);
            result = family_->finish(state).cpu().to(at::kFloat);
        }
        family_->drop_denoiser();
        return results;
    }

    /// In front of the first unit of the conditional branch. The denoiser stays loaded.
    PassState begin() {
        family_->load_denoiser();
        const auto frames = first_frames(frames_);
        return family_->begin({0, 0, Branch::conditional}, family_->initial_latents(frames), frames);
    }
    const Units& units() const { return family_->units(); }

    /// A chunk of 8 frames, `times` times.
    std::vector<at::Tensor> decode(int times) {
        family_->load_decoder();
        const auto latents = family_->initial_latents(first_frames(std::min<std::int64_t>(8, frames_))) / 700.0;
        std::vector<at::Tensor> results(static_cast<std::size_t>(times));
        for (auto& result : results) result = family_->decode(latents).cpu();
        family_->drop_decoder();
        return results;
    }

  private:
    static std::vector<std::int64_t> first_frames(std::int64_t count) {
        std::vector<std::int64_t> frames(static_cast<std::size_t>(count));
        std::iota(frames.begin(), frames.end(), 0);
        return frames;
    }

    std::int64_t frames_ = 0;
    std::unique_ptr<Model> model_;
    std::unique_ptr<Family> family_;
};

PassState rounded(const PassState& state, c10::ScalarType dtype) {
    const auto to = [dtype](const at::Tensor& tensor) { return tensor.defined() ? tensor.to(dtype, /*non_blocking=*/false, /*copy=*/true) : tensor; };
    PassState other;
    other.branches = state.branches;
    other.chunks = state.chunks;
    other.silu_embedding = to(state.silu_embedding);
    other.hidden = to(state.hidden);
    if (state.pose) other.pose = [pose = state.pose, to](plan::FrameRange slots) { return to(pose(slots)); };
    other.residual = to(state.residual);
    for (const auto& skip : state.skips) other.skips.push_back(to(skip));
    return other;
}

class FullSize : public testing::TestWithParam<FamilyName> {};

/// Each unit on the same input, in fp32 and rounded. A kernel that is wrong for one shape, in either type, stands out here; in the whole network it is noise.
TEST_P(FullSize, EachUnitIsNearFp32) {
    const auto* const name_of_case = GetParam() == FamilyName::musepose ? "full musepose" : "full size";
    const auto half = asked.where.device.is_cuda() ? c10::kHalf : c10::kBFloat16;
    FullSized exact(GetParam(), c10::kFloat);
    FullSized network(GetParam(), half);
    auto state = exact.begin();
    static_cast<void>(network.begin());
    double most = -1;
    std::string worst;
    for (std::size_t unit = 0; unit < exact.units().size(); ++unit) {
        auto input = rounded(state, half);
        exact.units()[unit]->run(state, all_slots(state));
        network.units()[unit]->run(input, all_slots(input));
        const auto error = golden::relative_error(state.hidden, input.hidden);
        const bool is_worst = !(error <= most);
        if (is_worst) most = error;
        if (is_worst) worst = exact.units()[unit]->name();
    }
    constexpr double roundings = 16;  // seen: up to 5
    row(name_of_case, half, cat(exact.units().size(), " units by themselves, worst ", worst), most, half_bound(half, "unit") * roundings / 50);
}

TEST_P(FullSize, SameBitsAndNearFp32) {
    const auto* const name_of_case = GetParam() == FamilyName::musepose ? "full musepose" : "full size";
    const bool cuda = asked.where.device.is_cuda();
    const auto half = cuda ? c10::kHalf : c10::kBFloat16;
    FullSized network(GetParam(), half);
    const auto passes = network.pass(2);
    const auto decoded = network.decode(2);
    FullSized exact(GetParam(), c10::kFloat);
    const auto compare = [&](const char* what, const std::vector<at::Tensor>& twice, const at::Tensor& wanted) {
        const auto name = cat(what, " of ", twice[0].size(0), " frames: ");
        row(name_of_case, half, name + "values whose bits differ in a second run", twice[0].ne(twice[1]).sum().item<double>(), 0);
        row(name_of_case, half, name + "beside fp32", golden::relative_error(wanted, twice[0]), half_bound(half, what));
    };
    compare("pass", passes, exact.pass(1)[0]);
    compare("decode", decoded, exact.decode(1)[0]);
}

INSTANTIATE_TEST_SUITE_P(Published, FullSize, testing::Values(FamilyName::mimicmotion, FamilyName::musepose),
                         [](const auto& one) { return one.param == FamilyName::musepose ? "musepose" : "mimicmotion"; });

int run(int argc, char** argv) {
    if (GTEST_FLAG_GET(list_tests)) return RUN_ALL_TESTS();
    std::string kind = "cuda";
    std::string json;
    for (int i = 1; i < argc; i += 2) {
        const std::string name = argv[i];
        if (i + 1 == argc || (name != "--device" && name != "--json" && name != "--full-size"))
            refuse(cat("unknown argument ", name, "; --device cuda|cpu, --full-size FRAMES, --json FILE"));
        const std::string value = argv[i + 1];
        if (name == "--json")
            json = value;
        else if (name == "--full-size")
            asked.full_size_frames = std::atoll(argv[i + 1]);
        else
            kind = value;
    }
    if (kind != "cuda" && kind != "cpu") refuse(cat("--device ", kind, ": cuda or cpu"));
    asked.where.device = open_device({.kind = kind == "cuda" ? DeviceKind::cuda : DeviceKind::cpu});  // before any tensor is touched
    std::printf("%s; torch %s, CUDA %s\n", asked.where.device.description.c_str(), torch_version().c_str(), cuda::versions().c_str());
    std::printf("  %-14s %s  %-82s %8s  %8s\n", "case", "type", "tensor", "error", "bound");
    if (asked.full_size_frames == 0) {
        const std::string filter = GTEST_FLAG_GET(filter);
        GTEST_FLAG_SET(filter, filter + (filter.find('-') == std::string::npos ? "-" : ":") + "*FullSize*");
    }
    const auto start = std::chrono::steady_clock::now();
    const int code = RUN_ALL_TESTS();
    const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    std::int64_t bad = 0;
    for (const auto& figure : figures) bad += figure.at("ok").get<bool>() ? 0 : 1;
    std::printf("%zu figures, %ld not ok; %.1f s\n", figures.size(), bad, seconds);
    if (!json.empty()) {
        const nlohmann::ordered_json all{{"device", asked.where.device.description},
                                         {"numerics", asked.where.device.numerics_class},
                                         {"torch", torch_version()},
                                         {"cuda", cuda::versions()},
                                         {"seconds", seconds},
                                         {"passed", code == 0},
                                         {"figures", figures}};
        write_atomically(json, all.dump(1) + "\n");
    }
    return figures.empty() ? 1 : code;
}

}  // namespace
}  // namespace weft::model

int main(int argc, char** argv) {
    testing::InitGoogleTest(&argc, argv);
    try {
        return weft::model::run(argc, argv);
    } catch (const std::exception& error) {
        std::fprintf(stderr, "gpu_parity_test: %s\n", error.what());
        const auto* const ours = dynamic_cast<const weft::Error*>(&error);
        return static_cast<int>(ours != nullptr ? ours->code() : weft::ExitCode::failure);
    }
}
