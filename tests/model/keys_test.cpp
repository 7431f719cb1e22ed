#include "base/text.hpp"
#include "io/weight_files.hpp"
#include "support/golden.hpp"

#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>

namespace weft::model::mimicmotion {
namespace {

namespace fs = std::filesystem;
using Shapes = std::map<std::string, std::vector<std::int64_t>>;

/// NAME TAB 320,8,3,3 TAB elements
Shapes read_manifest(const std::string& part) {
    Shapes shapes;
    std::ifstream file(golden::mimicmotion() / "manifest-full" / (part + ".tsv"));
    EXPECT_TRUE(file) << part;
    for (std::string line; std::getline(file, line);) {
        const auto fields = split(line, '\t');
        if (fields.size() < 2 || fields[1].find_first_not_of("0123456789,") != std::string::npos) continue;  // heading
        auto& shape = shapes[fields[0]];
        for (const auto& number : split(fields[1], ',')) shape.push_back(std::stoll(number));
    }
    return shapes;
}

/// The published values, laid out as published.
Config read_published() {
    const io::TemporaryFolder folder;
    for (const auto& [part, name] : {std::pair{"unet", "config.json"},
                                     {"vae", "config.json"},
                                     {"image_encoder", "config.json"},
                                     {"scheduler", "scheduler_config.json"},
                                     {"feature_extractor", "preprocessor_config.json"}}) {
        fs::create_directories(folder.path() / part);
        const auto source = std::string_view(part) == "feature_extractor" ? "preprocessor_config.json" : cat(part, "_config.json");
        fs::copy_file(golden::mimicmotion() / "manifest-full" / source, folder.path() / part / name);
    }
    Mistakes mistakes;
    const auto config = ModelFolder::open(folder.path(), mistakes, /*weights=*/false).config();
    EXPECT_THAT(mistakes.texts(), testing::IsEmpty());
    return config;
}

class PublishedKeys : public testing::TestWithParam<PartFiles> {};

TEST_P(PublishedKeys, AreTheManifests) {
    const auto wanted = read_manifest(GetParam().name);
    constexpr std::array<std::size_t, 4> rows{1428, 19, 374, 520};
    EXPECT_EQ(wanted.size(), rows.at(static_cast<std::size_t>(GetParam().part)));
    for (const auto& config : {Config{}, read_published()}) {
        Shapes shapes;
        for (const auto& spec : config.networks().keys(GetParam().part))
            EXPECT_TRUE(shapes.emplace(spec.key, spec.shape).second) << spec.key << " is listed twice";
        EXPECT_EQ(shapes, wanted);
    }
}

INSTANTIATE_TEST_SUITE_P(Parts, PublishedKeys, testing::ValuesIn(Config::parts()), [](const auto& part) { return part.param.name; });

TEST(PublishedConfig, DefaultsAreThePublishedValues) {
    const auto read = read_published();
    const Config defaults;
    EXPECT_EQ(read.unet.heads, defaults.unet.heads);
    EXPECT_EQ(read.vae.scaling_factor, defaults.vae.scaling_factor);
    EXPECT_EQ(read.clip.eps, defaults.clip.eps);
    EXPECT_EQ(read.clip.heads, defaults.clip.heads);
    EXPECT_EQ(read.preprocessor.mean, defaults.preprocessor.mean);
    EXPECT_EQ(read.preprocessor.deviation, defaults.preprocessor.deviation);
    EXPECT_EQ(read.scheduler.sigma_min, defaults.scheduler.sigma_min);
    EXPECT_EQ(read.scheduler.sigma_max, defaults.scheduler.sigma_max);
}

/// Its constant is computed once from the context; what only it needs is checked but not kept.
TEST(Keys, OneTokenAttentionKeepsNoWeights) {
    for (const auto& spec : Config{}.networks().keys(Part::denoiser)) {
        const auto has = [&](const char* part) { return spec.key.find(part) != std::string::npos; };
        EXPECT_EQ(spec.needed, !(has("transformer_blocks") && (has(".attn2.") || has(".norm2.")))) << spec.key;
    }
}

TEST(RandomSource, AnyOrderGivesTheSameValues) {
    RandomSource one(7, at::kCPU, at::kFloat);
    RandomSource other(7, at::kCPU, at::kFloat);
    const auto a = one.load("a.weight", {3, 5}, at::MemoryFormat::Contiguous);
    const auto b = one.load("b.norm.weight", {4}, at::MemoryFormat::Contiguous);
    const auto b_first = other.load("b.norm.weight", {4}, at::MemoryFormat::Contiguous);
    EXPECT_TRUE(at::equal(a, other.load("a.weight", {3, 5}, at::MemoryFormat::Contiguous)));
    EXPECT_TRUE(at::equal(b, b_first));
    EXPECT_FALSE(at::equal(a, RandomSource(8, at::kCPU, at::kFloat).load("a.weight", {3, 5}, at::MemoryFormat::Contiguous)));
    EXPECT_FALSE(at::equal(a, one.load("c.weight", {3, 5}, at::MemoryFormat::Contiguous)));
}

}  // namespace
}  // namespace weft::model::mimicmotion
