#include "base/text.hpp"
#include "model/mimicmotion/mimicmotion.hpp"
#include "model/open_model.hpp"
#include "support/golden.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <numeric>

namespace weft::model {
namespace {

using plan::PassShape;

constexpr double flop_a_nanosecond = 1e9;  ///< FLOP/s at which a cost is a number of operations

PassShape mimicmotion_shape(double flops_per_second = flop_a_nanosecond) {
    Settings settings;
    settings.model.path = "random";
    Mistakes mistakes;
    auto shape = pass_shape_of(settings, 72, c10::kCUDA, c10::kHalf, flops_per_second, mistakes);
    EXPECT_TRUE(mistakes.empty());
    return shape;
}

PassShape musepose_shape(double flops_per_second = flop_a_nanosecond) {
    Settings settings;
    settings.model.family = FamilyName::musepose;
    settings.model.path = "random";
    settings.video = {.width = 768, .height = 768};
    Mistakes mistakes;
    auto shape = pass_shape_of(settings, 48, c10::kCUDA, c10::kHalf, flops_per_second, mistakes);
    EXPECT_TRUE(mistakes.empty());
    return shape;
}

/// TFLOP of each unit, by branch.
std::vector<std::array<double, 2>> unit_costs(const PassShape& shape) {
    std::vector<std::array<double, 2>> costs(shape.units.size());
    for (const auto& piece : shape.pieces)
        for (std::size_t branch = 0; branch < 2; ++branch)
            costs.at(static_cast<std::size_t>(piece.unit)).at(branch) += 1e-12 * static_cast<double>(piece.cost.at(branch));
    return costs;
}

/// 0 for the outermost level.
std::size_t level_of(const std::string& unit) {
    const auto parts = split(unit, '.');
    if (parts.front() == "mid_block") return 3;
    const auto block = static_cast<std::size_t>(std::stoi(parts.at(1)));
    return parts.front() == "up_blocks" ? 3 - block : block;
}

using Levels = std::array<double, 4>;
using Blocks = std::array<std::vector<double>, 4>;

/// schedule.md section 1, TFLOP a pass. Upsamplers count to the resnets behind them, of which weft makes one unit.
struct Table {
    Blocks down, up;  ///< spatial resnets, by layer
    double mid;
    Levels downsampler;  ///< by block
};

double table_value(const Table& table, const std::string& unit) {
    const auto parts = split(unit, '.');
    if (parts.front() == "mid_block") return table.mid;
    const auto block = static_cast<std::size_t>(std::stoi(parts.at(1)));
    const bool down = parts.front() == "down_blocks";
    if (parts.at(2) == "downsamplers") return table.downsampler.at(block);
    return (down ? table.down : table.up).at(block).at(static_cast<std::size_t>(std::stoi(parts.at(3))));
}

/// Of the table; two entries make a unit where an upsampler goes with a resnet.
double rounding(const std::string& unit) {
    return unit.starts_with("up_blocks") && unit.find(".resnets.0") != std::string::npos ? 0.01002 : 0.00501;
}

TEST(PassLayout, CostsOfMimicMotionAreTheTables) {
    const Levels resnet_temporal{0.82, 0.82, 0.82, 0.20};
    const Levels attention{8.51, 1.66, 0.80, 0.18};
    const Levels feed_forward{1.63, 1.63, 1.63, 0.41};
    const Levels temporal{4.00, 3.97, 3.96, 0.99};
    const Table table{.down = {{{2.45, 2.45}, {1.90, 2.45}, {1.90, 2.45}, {0.61, 0.61}}},
                      .up = {{{0.99, 0.99, 0.99}, {1.22 + 3.94, 3.94, 3.26}, {4.89 + 5.30, 3.94, 3.26}, {4.89 + 5.30, 3.94, 3.94}}},
                      .mid = 0.61,
                      .downsampler = {0.31, 0.31, 0.31, 0}};
    const auto shape = mimicmotion_shape();
    const auto costs = unit_costs(shape);
    double sum = 0;
    for (std::size_t i = 0; i < costs.size(); ++i) {
        const auto& name = shape.units[i].name;
        sum += costs[i][0];
        EXPECT_EQ(costs[i][0], costs[i][1]) << name;
        if (name == "conv_in" || name == "conv_out") continue;
        const auto level = level_of(name);
        const double wanted = name.ends_with(".temporal_res_block")                     ? resnet_temporal.at(level)
                              : name.find(".temporal_transformer") != std::string::npos ? temporal.at(level)
                              : name.ends_with(".attn1")                                ? attention.at(level)
                              : name.ends_with(".ff")                                   ? feed_forward.at(level)
                                                                                        : table_value(table, name);
        EXPECT_NEAR(costs[i][0], wanted, rounding(name)) << name;
    }
    EXPECT_NEAR(sum, 222.0, 0.0501);
}

TEST(PassLayout, CostsOfMusePoseAreTheTables) {
    const std::array<Levels, 2> attention{Levels{5.67, 1.11, 0.53, 0.12}, Levels{10.89, 1.76, 0.62, 0.12}};
    const Levels feed_forward{1.18, 1.18, 1.18, 0.29};  // also of motion modules
    const Levels motion{0.87, 0.84, 0.83, 0.21};
    const Table table{.down = {{{1.63, 1.63}, {1.27, 1.63}, {1.27, 1.63}, {0.41, 0.41}}},
                      .up = {{{0.66, 0.66, 0.66}, {0.82 + 2.63, 2.63, 2.17}, {3.26 + 3.53, 2.63, 2.17}, {3.26 + 3.53, 2.63, 2.63}}},
                      .mid = 0.41,
                      .downsampler = {0.20, 0.20, 0.20, 0}};
    const auto shape = musepose_shape();
    const auto costs = unit_costs(shape);
    std::array<double, 2> sum{};
    std::int64_t motion_modules = 0;
    std::int64_t spatial_blocks = 0;
    for (std::size_t i = 0; i < costs.size(); ++i) {
        const auto& name = shape.units[i].name;
        motion_modules += name.ends_with(".attention_blocks") ? 1 : 0;
        spatial_blocks += name.ends_with(".attn1") ? 1 : 0;
        for (std::size_t branch = 0; branch < 2; ++branch) {
            sum.at(branch) += costs[i].at(branch);
            if (name == "conv_in" || name == "conv_out") continue;
            const auto level = level_of(name);
            const double wanted = name.ends_with(".attention_blocks") ? motion.at(level)
                                  : name.ends_with(".attn1")          ? attention.at(branch).at(level)
                                  : name.ends_with(".ff")             ? feed_forward.at(level)
                                                                      : table_value(table, name);
            EXPECT_NEAR(costs[i].at(branch), wanted, rounding(name)) << name << ", branch " << branch;
        }
    }
    EXPECT_EQ(motion_modules, 21);
    EXPECT_EQ(spatial_blocks, 16);
    EXPECT_NEAR(sum[0], 133.2, 0.003 * 133.2);
    EXPECT_NEAR(sum[1], 163.0, 0.003 * 163.0);
}

std::int64_t all_weights(const PassShape& shape) {
    return std::accumulate(shape.units.begin(), shape.units.end(), shape.shared_weight_bytes,
                           [](std::int64_t sum, const plan::UnitShape& unit) { return sum + unit.weight_bytes; });
}

/// All parameters in fp16 less one-token attention's, which only leaves a vector a branch: 1 524 623 082 - 2 x 50.4 million and 1 312 730 244 - 44.1 million,
/// each with its pose network. schedule.md section 5 says 2.95 and 2.59 GB: it still counts attn2's values and outputs (and MusePose's table of positions).
TEST(PassLayout, WeightsAreTheParametersThatAreHeld) {
    EXPECT_NEAR(static_cast<double>(all_weights(mimicmotion_shape())), 2 * (1524.62e6 + 0.21e6 - 50.39e6 - 50.4e6), 0.002 * 2.95e9);
    EXPECT_NEAR(static_cast<double>(all_weights(musepose_shape(1e12))), 2 * (1312.73e6 + 1.09e6 - 22.0e6 - 22.0e6), 0.002 * 2.59e9);
}

void expect_sound(const PassShape& shape, double level_0_bytes) {
    std::int64_t unit = -1;
    std::int64_t slot = shape.num_slots;
    std::int64_t pieces = 0;
    for (const auto& piece : shape.pieces) {
        if (slot == shape.num_slots) {  // a unit's pieces are all its frames, in order
            ASSERT_EQ(piece.unit, ++unit);
            slot = 0;
            pieces = 0;
        }
        ASSERT_EQ(piece.unit, unit);
        ASSERT_EQ(piece.slots.begin, slot);
        slot = piece.slots.end;
        ASSERT_LE(++pieces, most_pieces);
        EXPECT_EQ(piece.state.empty(), unit == 0);
        for (const auto& part : piece.state) EXPECT_GT(part.bytes(), 0);
        EXPECT_GE(std::min(piece.cost[0], piece.cost[1]), 1);
    }
    EXPECT_EQ(slot, shape.num_slots);
    EXPECT_EQ(unit + 1, static_cast<std::int64_t>(shape.units.size()));
    double skips = 0;
    for (const auto& skip : shape.skips) {
        skips += static_cast<double>(skip.slot_bytes * shape.num_slots);
        EXPECT_LT(skip.made_by, skip.used_by.begin);
        EXPECT_EQ(shape.pieces.at(static_cast<std::size_t>(skip.used_by.begin)).slots.begin, 0);
        EXPECT_EQ(shape.pieces.at(static_cast<std::size_t>(skip.used_by.end - 1)).slots.end, shape.num_slots);
    }
    EXPECT_EQ(shape.skips.size(), 12U);
    EXPECT_NEAR(skips, 5.06 * level_0_bytes, 0.005 * level_0_bytes);
}

TEST(PassLayout, PiecesAreAllFramesOfAllUnits) {
    expect_sound(mimicmotion_shape(400e12), 424.7e6);
    expect_sound(musepose_shape(400e12), 283.1e6);
}

const plan::Piece& piece_of(const PassShape& shape, const std::string& unit, std::int64_t first_slot) {
    const auto found = std::find_if(shape.pieces.begin(), shape.pieces.end(), [&](const plan::Piece& piece) {
        return shape.units.at(static_cast<std::size_t>(piece.unit)).name == unit && piece.slots.begin == first_slot;
    });
    if (found == shape.pieces.end()) throw std::runtime_error(cat("no piece of ", unit, " begins at ", first_slot));
    return *found;
}

TEST(PassLayout, WhatStandsInFrontOfAPiece) {
    const auto shape = mimicmotion_shape();
    constexpr auto slot = std::int64_t{128} * 72 * 320 * 2;  // a frame of level 0, bytes
    const auto hidden = static_cast<int>(StateTensor::hidden);
    const auto partial = static_cast<int>(StateTensor::partial);
    const auto residual = static_cast<int>(StateTensor::residual);
    using Parts = std::vector<plan::Part>;
    // Nine chunks of eight frames in eight pieces: the last takes two chunks.
    EXPECT_EQ(piece_of(shape, "up_blocks.3.resnets.0.spatial_res_block", 0).state, (Parts{{hidden, {0, 72}, slot / 2}}));
    EXPECT_EQ(piece_of(shape, "up_blocks.3.resnets.0.spatial_res_block", 56).state, (Parts{{hidden, {56, 72}, slot / 2}, {partial, {0, 56}, slot}}));
    EXPECT_EQ(piece_of(shape, "up_blocks.3.resnets.0.spatial_res_block", 56).slots, (plan::FrameRange{56, 72}));
    EXPECT_EQ(piece_of(shape, "down_blocks.0.attentions.0.transformer_blocks.0.attn1", 0).state, (Parts{{hidden, {0, 72}, slot}}));
    EXPECT_EQ(piece_of(shape, "down_blocks.0.attentions.0.transformer_blocks.0.attn1", 16).state, (Parts{{hidden, {0, 16}, slot}, {residual, {0, 72}, slot}}));
    EXPECT_EQ(piece_of(shape, "down_blocks.0.attentions.0.transformer_blocks.0.ff", 16).state, (Parts{{hidden, {0, 72}, slot}, {residual, {0, 72}, slot}}));
    EXPECT_EQ(piece_of(shape, "down_blocks.0.attentions.0.temporal_transformer_blocks.0", 0).state,
              (Parts{{hidden, {0, 72}, slot}, {residual, {0, 72}, slot}}));
    EXPECT_EQ(piece_of(shape, "conv_out", 0).state, (Parts{{hidden, {0, 72}, slot}}));
    // A transformer that closes frame by frame.
    const auto musepose = musepose_shape(1e12);
    constexpr auto square = std::int64_t{96} * 96 * 320 * 2;
    EXPECT_EQ(piece_of(musepose, "up_blocks.3.attentions.0.transformer_blocks.0.ff", 16).state,
              (Parts{{hidden, {16, 48}, square}, {residual, {0, 48}, square}}));
}

TEST(PassLayout, OfFilesIsThatOfTheOpenedModel) {
    Settings settings;
    settings.model.path = (golden::mimicmotion() / "model").string();
    settings.video = {.width = 64, .height = 128};
    Mistakes mistakes;
    const auto model = open_model(settings, mistakes);
    ASSERT_TRUE(mistakes.empty());
    const auto layout = model->pass_layout(settings, 7, ComputeDevice{});
    const auto shape = pass_shape_of(settings, 7, c10::kCPU, c10::kFloat, /*flops_per_second=*/0, mistakes);
    EXPECT_EQ(layout.shape.num_pieces(), shape.num_pieces());
    EXPECT_EQ(layout.shape.cost(), shape.cost());
    EXPECT_EQ(all_weights(layout.shape), all_weights(shape));
    ASSERT_EQ(layout.state.size(), layout.shape.pieces.size());
    for (std::size_t i = 0; i < layout.state.size(); ++i) {
        ASSERT_EQ(layout.state[i].size(), layout.shape.pieces[i].state.size());
        for (std::size_t k = 0; k < layout.state[i].size(); ++k) {
            const auto& frame = layout.state[i][k];
            EXPECT_EQ(frame.height * frame.width * frame.channels * 4, layout.shape.pieces[i].state[k].slot_bytes);
        }
    }
}

TEST(PassLayout, MistakesOfTheConfigAreNamed) {
    Settings settings;
    settings.model.path = "/nowhere";
    Mistakes mistakes;
    const auto shape = pass_shape_of(settings, 7, c10::kCPU, c10::kFloat, /*flops_per_second=*/0, mistakes);
    EXPECT_FALSE(mistakes.empty());
    EXPECT_EQ(shape.num_pieces(), 0);
}

}  // namespace
}  // namespace weft::model
