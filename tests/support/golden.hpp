#pragma once
#include "device/device.hpp"
#include "model/mimicmotion/config.hpp"
#include "model/musepose/config.hpp"

#include <ATen/core/Tensor.h>
#include <nlohmann/json.hpp>

#include <filesystem>
#include <map>
#include <string>
#include <vector>

/// Golden data: what the original Python classes computed (tests/golden/README.md). A test computes tensors by name;
/// `expect_as_recorded` holds them against everything that the case's file records.
///
/// What is recorded and never compared is listed in README.md there, and chosen in golden.cpp alone.
///
/// Linking golden.cpp also sets one ATen thread: bits depend on the number of threads.
namespace weft::golden {

using Tensors = std::map<std::string, at::Tensor>;

/// The family's folder in $WEFT_GOLDEN (the full data), or in tests/golden (the part of it that a bare clone has).
[[nodiscard]] std::filesystem::path mimicmotion();
[[nodiscard]] std::filesystem::path musepose();

/// Pictures, weights and models that lie beside the full data; only tests labelled `golden` may ask.
[[nodiscard]] std::filesystem::path beside_full_data(const std::string& name);

/// All tensors of a safetensors file, as copies.
[[nodiscard]] Tensors read_tensors(const std::filesystem::path& file);

struct Case {
    FamilyName family;
    std::string name;
    nlohmann::json facts;  ///< case.json
    Tensors recorded;
    std::map<std::string, std::int64_t> thinned;  ///< of these cut.py kept every n-th value, as a row
};
[[nodiscard]] Case read_case(const std::string& name, FamilyName family = FamilyName::mimicmotion);

/// The tiny model with random weights that all cases but pose-net-real were made with. Throws where it does not open.
[[nodiscard]] model::mimicmotion::ModelFolder tiny_model();
[[nodiscard]] model::musepose::ModelFolder tiny_musepose();

/// Where a case is computed, and in which type the networks run. Cases were recorded in fp32.
struct Where {
    ComputeDevice device;
    c10::ScalarType dtype = c10::kFloat;

    [[nodiscard]] at::Tensor operator()(const at::Tensor& x) const { return x.to(device.torch, dtype); }
};

/// The same on the host, floating-point numbers as fp32.
[[nodiscard]] Tensors on_host(const Tensors& tensors);

/// How far a computed tensor is from the recorded one.
struct Deviation {
    std::string key;
    double error = 0;     ///< largest difference / largest recorded value; of uint8 tensors the share of bytes that differ
    double allowed = 0;   ///< fp32 on a CPU: the tolerance that the data's README gives
    int most = 0;         ///< of uint8 tensors: the largest difference
    std::string problem;  ///< not computed, or of another shape; else empty

    [[nodiscard]] bool ok() const { return problem.empty() && error <= allowed && most <= 1; }
};
/// Of every recorded tensor that is no input.
[[nodiscard]] std::vector<Deviation> deviations(const Case& wanted, const Tensors& computed);

/// Largest difference of two tensors of one shape over the largest value of `wanted`; infinite where one is not finite.
[[nodiscard]] double relative_error(const at::Tensor& wanted, const at::Tensor& got);

/// Every recorded tensor that is no input must be in `computed` and within the tolerance that the data's README gives for it.
void expect_as_recorded(const Case& wanted, const Tensors& computed);

/// Channels-last to the recorded order of an image's dims.
[[nodiscard]] at::Tensor nchw(const at::Tensor& image);

}  // namespace weft::golden
