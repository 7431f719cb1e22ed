#include "app/small_job.hpp"
#include "base/text.hpp"

/// A job that does not fit is refused with what would fit: taken, it does, and a little more of it does not.
namespace weft::test {

using ::testing::SizeIs;

namespace {

Ended plan_with(const std::string& config, const Words& sets) {
    Words words{weft_program(), "plan", cat("configs/", config), "--poses", "200", "--set", "model.path=random"};
    for (const auto& one : sets) words.insert(words.end(), {"--set", one});
    return run(words, WEFT_SOURCE_DIR);
}

/// Of "... another video: a.b = 1, c.d = 2 (needs 3 GiB); a.b = 4 (needs 5 GiB).": {{"a.b=1", "c.d=2"}, {"a.b=4"}}.
std::vector<Words> alternatives_of(const std::string& refusal) {
    const std::string before = "another video: ";
    std::vector<Words> all;
    for (const auto& one : split(refusal.substr(refusal.find(before) + before.size()), ';')) {
        Words sets;
        for (auto set : split(one.substr(0, one.find(" (needs ")), ',')) {
            std::erase(set, ' ');
            std::erase(set, '"');
            sets.push_back(set);
        }
        all.push_back(sets);
    }
    return all;
}

/// With the next larger value of the first setting, a video of the same shape.
Words a_little_more(Words sets, std::int64_t width, std::int64_t height) {
    const auto equals = sets.front().find('=');
    const auto key = sets.front().substr(0, equals);
    auto value = std::stoll(sets.front().substr(equals + 1));
    value += key == "video.width" ? 64 : 1;
    sets.front() = cat(key, "=", value);
    if (key == "video.width") sets[1] = cat("video.height=", (height * value / width + 32) / 64 * 64);
    return sets;
}

struct TooSmall {
    const char* name;
    const char* config;
    Words sets;
    std::int64_t width, height;
};

class Alternatives : public ::testing::TestWithParam<TooSmall> {};

TEST_P(Alternatives, Fit) {
    const auto& [name, config, sets, width, height] = GetParam();
    const auto refused = plan_with(config, sets);
    ASSERT_EQ(refused.code, 3) << refused.err;
    const auto all = alternatives_of(refused.err);
    ASSERT_THAT(all, SizeIs(3)) << refused.err;
    for (auto words : all) {
        words.insert(words.end(), sets.begin(), sets.end());
        EXPECT_EQ(plan_with(config, words).code, 0) << ::testing::PrintToString(words);
        if (words.front().starts_with("model.") || words.front().starts_with("memory.")) continue;  // no number
        words = a_little_more(words, width, height);
        EXPECT_EQ(plan_with(config, words).code, 3) << ::testing::PrintToString(words);
    }
}

INSTANTIATE_TEST_SUITE_P(Of, Alternatives,
                         ::testing::Values(TooSmall{"MimicMotionInFp32", "mimicmotion.toml", {"device.kind=cpu", "memory.budget=3GB"}, 576, 1024},
                                           TooSmall{"MimicMotionTwoAtATime", "mimicmotion.toml", {"device.kind=cpu", "memory.budget=2GB"}, 576, 1024},
                                           TooSmall{"MimicMotionOnAGpu", "mimicmotion.toml", {"device.kind=cuda", "memory.budget=2GB"}, 576, 1024},
                                           TooSmall{"MusePoseOnAGpu", "musepose.toml", {"device.kind=cuda", "memory.budget=2GB"}, 768, 768}),
                         [](const auto& one) { return std::string(one.param.name); });

}  // namespace
}  // namespace weft::test
