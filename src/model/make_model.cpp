#include "model/make_model.hpp"

#include "base/error.hpp"
#include "base/text.hpp"
#include "io/weight_file.hpp"
#include "model/mimicmotion/config.hpp"
#include "model/musepose/config.hpp"

#include <set>

namespace weft::model {

namespace {

namespace fs = std::filesystem;

mimicmotion::Config tiny_mimicmotion() {
    mimicmotion::Config config;
    config.unet.channels = {32, 32, 32, 64};
    config.unet.heads = {2, 1, 4, 2};
    config.unet.cross_attention_dim = 24;
    config.unet.addition_time_embed_dim = 16;
    config.vae.channels = {32, 32, 32, 64};
    config.clip = {.hidden = 48, .intermediate = 96, .layers = 3, .heads = 4, .patch = 14, .image = 224, .projection = 24, .eps = 1e-5};
    return config;
}

musepose::Config tiny_musepose() {
    musepose::Config config;
    config.unet.channels = {32, 64, 32, 32};
    config.unet.heads = {4, 4, 4, 4};
    config.unet.motion_heads = 2;
    config.unet.cross_attention_dim = 24;
    config.pose_guider.channels = {8, 16, 16, 24};
    config.vae.channels = {32, 32, 32, 64};
    config.clip = {.hidden = 48, .intermediate = 96, .layers = 3, .heads = 4, .patch = 14, .image = 224, .projection = 24, .eps = 1e-5, .gelu = Gelu::quick};
    return config;
}

/// A weight file of the published layout in fp16, with the keys that the mathematics skips too: a file must be complete.
void write_weights(const fs::path& path, const ModelFolder& model, const std::string& name) {
    std::vector<at::Tensor> held;
    std::vector<io::TensorToWrite> tensors;
    for (const auto& [part, file, keys] : model.expected_in(name)) {
        const auto source = model.source(part->part, c10::kCPU, c10::kHalf);
        for (const auto& key : keys) {
            held.push_back(source->load(key.key, key.shape, c10::MemoryFormat::Contiguous));
            const auto* const bytes = static_cast<const std::byte*>(held.back().const_data_ptr());
            tensors.push_back({part->prefix + key.key, io::ElementType::f16, key.shape, {bytes, held.back().nbytes()}});
        }
    }
    fs::create_directories(path.parent_path());
    path.extension() == ".pth" ? io::write_torch_archive(path, tensors) : io::write_safetensors(path, tensors);
}

template <class Config>
void write_model(const fs::path& folder, Config config, std::uint64_t seed) {
    std::error_code error;
    fs::create_directories(folder, error);
    if (error) refuse(cat(folder.string(), ": cannot be made: ", error.message()));
    const auto files = Config::published(folder);
    config.read_or_write(ConfigFiles(files));
    const auto model = FolderOf<Config>::random(config, seed);
    std::set<std::string> names;
    for (const auto& part : model.parts())
        for (const auto& file : part.files) names.insert(file.name);
    for (const auto& name : names) write_weights(files.at(name), model, name);
}

}  // namespace

void make_tiny_model(const fs::path& folder, std::uint64_t seed) {
    write_model(folder, tiny_mimicmotion(), seed);
}

void make_tiny_musepose(const fs::path& folder, std::uint64_t seed) {
    write_model(folder, tiny_musepose(), seed);
}

void make_published_model(const fs::path& folder, FamilyName family, std::uint64_t seed) {
    if (family == FamilyName::musepose)
        write_model(folder, musepose::Config{}, seed);
    else
        write_model(folder, mimicmotion::Config{}, seed);
}

}  // namespace weft::model
