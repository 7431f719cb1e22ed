#include "model/weight_stream.hpp"

#include "base/error.hpp"
#include "base/text.hpp"
#include "model/weights.hpp"

#include <gtest/gtest.h>

#include <array>
#include <atomic>
#include <chrono>
#include <thread>

namespace weft::model {
namespace {

constexpr std::int64_t unit_bytes = 10;
constexpr std::size_t num_units = 6;

/// Bytes of the units that are bound, instead of weights.
struct Shelf {
    std::atomic<std::int64_t> held = 0;
    std::atomic<int> fails_at = -1;
};

class ShelvedUnit final : public Unit {
  public:
    ShelvedUnit(std::size_t index, Shelf& shelf) : Unit{cat("unit ", index), {}}, index_{index}, shelf_{shelf} {}
    void bind(const Weights& /*source*/) override {
        if (shelf_.fails_at == static_cast<int>(index_)) fail("the file has gone");
        is_bound_ = true;
        shelf_.held += unit_bytes;
    }
    void release() override {
        if (std::exchange(is_bound_, false)) shelf_.held -= unit_bytes;
    }
    void run(PassState& /*state*/, plan::FrameRange /*slots*/) const override { ASSERT_TRUE(is_bound_) << name(); }

  private:
    std::size_t index_;
    Shelf& shelf_;
    bool is_bound_ = false;
};

Units shelved(Shelf& shelf) {
    Units units;
    for (std::size_t i = 0; i < num_units; ++i) units.push_back(std::make_unique<ShelvedUnit>(i, shelf));
    return units;
}

plan::WeightWindow window_of(std::int64_t room) {
    return {.units = std::vector<bool>(num_units, true),
            .weights = std::vector<std::int64_t>(num_units, unit_bytes),
            .binding = std::vector<std::int64_t>(num_units, 0),
            .room = std::vector<std::int64_t>(num_units, room)};
}

class WeightStreamOrder : public testing::TestWithParam<std::vector<std::size_t>> {};

TEST_P(WeightStreamOrder, HoldsNoMoreThanTheWindowSays) {
    Shelf shelf;
    auto units = shelved(shelf);
    auto window = window_of(num_units * unit_bytes);
    window.room.front() = 2 * unit_bytes;
    const auto most = window.held_bytes();
    KeyLister nothing;
    {
        WeightStream stream(units, window, at::kCPU, [&](Unit& unit) { unit.bind(Weights{nothing}); });
        for (int lap = 0; lap < 3; ++lap)
            for (const auto unit : GetParam()) {
                stream.need(unit);
                PassState state;
                units[unit]->run(state, {});
                std::this_thread::sleep_for(std::chrono::milliseconds(3));  // for fetches ahead
                EXPECT_LE(shelf.held, most[unit]) << "unit " << unit << " of lap " << lap;
            }
    }
}

INSTANTIATE_TEST_SUITE_P(Orders, WeightStreamOrder,
                         testing::Values(std::vector<std::size_t>{0, 1, 2, 3, 4, 5}, std::vector<std::size_t>{0, 1, 2}, std::vector<std::size_t>{3, 0},
                                         std::vector<std::size_t>{5, 4, 3, 2, 1, 0}, std::vector<std::size_t>{0, 2, 4, 1, 3, 5}));

TEST(WeightStream, TellsWhatFetchingThrewAndGoesOn) {
    Shelf shelf;
    shelf.fails_at = 1;
    auto units = shelved(shelf);
    const auto window = window_of(2 * unit_bytes);
    KeyLister nothing;
    WeightStream stream(units, window, at::kCPU, [&](Unit& unit) { unit.bind(Weights{nothing}); });
    EXPECT_THROW(
        {
            stream.need(0);
            stream.need(1);
        },
        Error);
    shelf.fails_at = -1;
    stream.need(1);
    PassState state;
    units[1]->run(state, {});
}

}  // namespace
}  // namespace weft::model
