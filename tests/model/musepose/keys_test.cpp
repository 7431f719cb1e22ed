#include "base/text.hpp"
#include "io/weight_files.hpp"
#include "support/golden.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>

namespace weft::model::musepose {
namespace {

namespace fs = std::filesystem;
using Shapes = std::map<std::string, std::vector<std::int64_t>>;

/// NAME TAB 320,4,3,3 TAB ...; without the tables of positions, which are computed.
Shapes read_manifest(const std::string& part) {
    Shapes shapes;
    std::ifstream file(golden::musepose() / "manifest-full" / (part + ".tsv"));
    EXPECT_TRUE(file) << part;
    for (std::string line; std::getline(file, line);) {
        const auto fields = split(line, '\t');
        if (fields.size() < 2 || line.front() == '#' || fields[0].ends_with(".pos_encoder.pe") || fields[0].ends_with("position_ids")) continue;
        auto& shape = shapes[fields[0]];
        for (const auto& number : split(fields[1], ',')) shape.push_back(std::stoll(number));
    }
    return shapes;
}

/// The published values, laid out as published.
Config read_published() {
    const io::TemporaryFolder folder;
    for (const auto& [from, to] : {std::pair{"unet.config.json", "sd-image-variations-diffusers/unet/config.json"},
                                   {"vae.config.json", "sd-vae-ft-mse/config.json"},
                                   {"image_encoder.config.json", "image_encoder/config.json"},
                                   {"inference_v2.yaml", "inference_v2.yaml"}}) {
        fs::create_directories((folder.path() / to).parent_path());
        fs::copy_file(golden::musepose() / "manifest-full" / from, folder.path() / to);
    }
    Mistakes mistakes;
    const auto config = ModelFolder::open(folder.path(), mistakes, /*weights=*/false).config();
    EXPECT_THAT(mistakes.texts(), testing::IsEmpty());
    return config;
}

class PublishedMusePoseKeys : public testing::TestWithParam<PartFiles> {};

TEST_P(PublishedMusePoseKeys, AreTheManifests) {
    auto wanted = read_manifest(GetParam().name);
    if (GetParam().part == Part::denoiser) wanted.merge(read_manifest("motion_module"));
    constexpr std::array<std::size_t, 5> rows{686 + 546, 16, 248, 392, 682};
    EXPECT_EQ(wanted.size(), rows.at(static_cast<std::size_t>(GetParam().part)));
    for (const auto& config : {Config{}, read_published()}) {
        Shapes shapes;
        for (const auto& spec : config.networks().keys(GetParam().part))
            EXPECT_TRUE(shapes.emplace(spec.key, spec.shape).second) << spec.key << " is listed twice";
        EXPECT_EQ(shapes, wanted);
    }
}

INSTANTIATE_TEST_SUITE_P(Parts, PublishedMusePoseKeys, testing::ValuesIn(Config::parts()), [](const auto& part) { return part.param.name; });

TEST(PublishedMusePoseConfig, DefaultsAreThePublishedValues) {
    const auto read = read_published();
    const Config defaults;
    EXPECT_EQ(read.unet.heads, defaults.unet.heads);
    EXPECT_EQ(read.unet.motion_heads, defaults.unet.motion_heads);
    EXPECT_EQ(read.clip.heads, defaults.clip.heads);
    EXPECT_EQ(read.clip.eps, defaults.clip.eps);
    EXPECT_EQ(read.vae.scaling_factor, defaults.vae.scaling_factor);
    EXPECT_EQ(read.scheduler.beta_start, defaults.scheduler.beta_start);
    EXPECT_EQ(read.scheduler.beta_end, defaults.scheduler.beta_end);
}

}  // namespace
}  // namespace weft::model::musepose
