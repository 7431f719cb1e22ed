#pragma once
#include "base/error.hpp"

#include <array>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace weft {

enum class FamilyName { mimicmotion, musepose };
enum class Dtype { automatic, fp32, fp16, bf16 };
enum class Anchor { blended, private_ };
enum class LayoutKind { automatic, whole, cut, stages };
enum class NumericsRule { fixed, free };
enum class WeightPlace { automatic, resident, streamed };
enum class DeviceKind { automatic, cpu, cuda };
enum class OutputSize { generated, pose };

struct ModelSettings {
    FamilyName family = FamilyName::mimicmotion;
    std::string path = "models";     ///< folder with the files as published, or "random": the published architecture filled with noise
    Dtype dtype = Dtype::automatic;  ///< weights and activations: fp16 on GPUs, fp32 on CPUs
};

struct InputSettings {
    std::string image = "person.jpg";
    std::string pose = "dance.mp4";  ///< drawn poses: a video, or a folder of images in name order
    std::string image_pose;          ///< drawn pose of the reference image; "": the first pose frame stands in
    std::int64_t stride = 1;         ///< every n-th pose frame
    std::int64_t frames = 0;         ///< at most so many pose frames; 0: all
};

struct VideoSettings {
    std::int64_t width = 576;  ///< pixels, a multiple of 64
    std::int64_t height = 1024;
};

struct SamplingSettings {
    std::int64_t steps = 25;
    std::array<double, 2> guidance{2.0, 2.0};  ///< first and last frame
    std::int64_t seed = 42;
    double noise_aug = 0.0;
    std::int64_t fps = 7;  ///< what the model is told, not the film's
    std::int64_t motion_bucket = 127;
};

struct SliceSettings {
    std::int64_t length = 72;  ///< frames
    std::int64_t overlap = 6;  ///< as published: the anchor and length-1 shared frames
    Anchor anchor = Anchor::blended;
    bool pad = true;
};

struct DecodeSettings {
    std::int64_t chunk = 8;  ///< frames decoded together
    Dtype dtype = Dtype::automatic;
};

struct LayoutSettings {
    LayoutKind kind = LayoutKind::automatic;
    std::int64_t stages = 0;   ///< a group; 0: chosen
    std::string map = "auto";  ///< of stages: "folded", "straight", or stages and the pieces where they begin, "0@0, 2@13, 1@40"
};

struct MemorySettings {
    std::string budget = "auto";  ///< "8GiB"; "auto": what is free now, less a reserve
    NumericsRule numerics = NumericsRule::fixed;
    WeightPlace weights = WeightPlace::automatic;
};

struct DeviceSettings {
    DeviceKind kind = DeviceKind::automatic;
    std::int64_t threads = 1;  ///< CPU threads a rank; part of the numerics key
};

struct WatchdogSettings {
    double stall_s = 30;  ///< seconds without progress that count as a stall
};

struct OutputSettings {
    std::string video = "out.mp4";  ///< .mp4, .mkv (lossless), or a folder (numbered PNG)
    double fps = 0;                 ///< frames a second; 0: pose fps / stride
    OutputSize size = OutputSize::generated;
    std::string audio = "auto";  ///< the pose video's; "none", or a file
    std::int64_t quality = 18;   ///< H.264's constant rate factor, 0 (lossless) to 51
    std::string run_file = "out.h5";
    double save_every_s = 0;  ///< 0: after every step
};

/// All of `weft generate`'s settings, as design.md section 6 lists them. Defaults here are MimicMotion's; reading takes those of the family that is named.
struct Settings {
    ModelSettings model;
    InputSettings input;
    VideoSettings video;
    SamplingSettings sampling;
    SliceSettings slices;
    DecodeSettings decode;
    LayoutSettings layout;
    MemorySettings memory;
    DeviceSettings device;
    WatchdogSettings watchdog;
    OutputSettings output;

    /// Relative input paths count from here: the config file's folder. Not a key.
    std::filesystem::path folder = ".";

    /// `text` as a path below `folder`, unless absolute.
    [[nodiscard]] std::filesystem::path input_path(const std::string& text) const;
};

/// Reads a TOML file and the `table.key=value` overrides in order. Every wrong key, type and value goes to `mistakes`; a text that is no TOML is refused
/// at once (exit code 2).
[[nodiscard]] Settings read_settings(const std::filesystem::path& file, std::span<const std::string> overrides, Mistakes& mistakes);

/// The same from text, for tests and run files; `name` stands in messages.
[[nodiscard]] Settings parse_settings(std::string_view text, const std::string& name, std::span<const std::string> overrides, Mistakes& mistakes);

/// Values that no video can be made with, each with what is allowed; also what this build does not offer.
void check_settings(const Settings& settings, Mistakes& mistakes);

/// All settings as TOML, in the order of design.md; `parse_settings` reads it back to the same values.
[[nodiscard]] std::string to_toml(const Settings& settings);

/// "table.key = value" of every setting but the input paths, which may differ from host to host.
[[nodiscard]] std::vector<std::string> setting_lines(const Settings& settings);

/// Those that the result is a function of (design.md section 8): without layout, memory placement, watchdog and output.
[[nodiscard]] std::vector<std::string> numerics_lines(const Settings& settings);

/// "8GiB", "512MiB", "1.5GB" as bytes; nothing when it is none of these.
[[nodiscard]] std::optional<std::int64_t> parse_bytes(std::string_view text);

[[nodiscard]] std::string_view name_of(Dtype dtype);
[[nodiscard]] std::string_view name_of(DeviceKind kind);

}  // namespace weft
