#include "topology/placement.hpp"

#include "topology/cores.hpp"

#include <gmock/gmock.h>

#include <sched.h>

#include <algorithm>
#include <map>
#include <numeric>
#include <set>
#include <thread>

namespace weft::topology {

namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

/// Far above what this machine has, so that each is its own physical core: the system has no siblings to tell of.
std::vector<int> made_up_cores(int count) {
    std::vector<int> cores(static_cast<std::size_t>(count));
    std::iota(cores.begin(), cores.end(), 100000);
    return cores;
}

Placement placed(int rank, const std::string& host, std::vector<int> cores, int host_cores, int pinned_core = -1) {
    return {.rank = rank, .host = host, .device = "CPU", .cores = std::move(cores), .pinned_core = pinned_core, .host_cores = host_cores};
}

}  // namespace

TEST(Cores, ListsAsTheSystemWritesThem) {
    EXPECT_THAT(parse_cores("0-3,8"), ElementsAre(0, 1, 2, 3, 8));
    EXPECT_THAT(parse_cores("5"), ElementsAre(5));
    EXPECT_THAT(parse_cores(""), IsEmpty());
    EXPECT_THAT(parse_cores("no list"), IsEmpty());
    EXPECT_EQ(list_cores({0, 1, 2, 3, 8}), "0-3,8");
    EXPECT_EQ(list_cores({7}), "7");
    EXPECT_EQ(list_cores({}), "");
    EXPECT_THAT(parse_cores(list_cores({1, 3, 4, 9, 10, 11})), ElementsAre(1, 3, 4, 9, 10, 11));
}

TEST(Cores, PhysicalOnesComeFirst) {
    const std::vector<int> cores{0, 1, 2, 3, 4, 5, 6, 7};
    EXPECT_THAT(physical_first(cores, [](int core) { return std::vector<int>{core % 4, core % 4 + 4}; }), ElementsAre(0, 1, 2, 3, 4, 5, 6, 7));
    EXPECT_THAT(physical_first(cores, [](int core) { return std::vector<int>{core / 2 * 2, core / 2 * 2 + 1}; }), ElementsAre(0, 2, 4, 6, 1, 3, 5, 7));
    EXPECT_THAT(physical_first({1, 2, 5}, [](int core) { return std::vector<int>{core % 4, core % 4 + 4}; }), ElementsAre(1, 2, 5)) << "5 is 1's twin";
    EXPECT_THAT(physical_first({3, 1}, [](int) { return std::vector<int>{}; }), ElementsAre(1, 3)) << "the system tells nothing";
}

TEST(CoreFor, EachRankOfAHostHasItsOwn) {
    const auto cores = made_up_cores(8);
    for (int node_size = 5; node_size <= 8; ++node_size) {
        std::set<int> taken;
        for (int node_rank = 0; node_rank < node_size; ++node_rank) taken.insert(core_for(cores, 8, node_rank, node_size));
        EXPECT_EQ(taken.size(), static_cast<std::size_t>(node_size));
        EXPECT_FALSE(taken.contains(-1));
    }
}

TEST(CoreFor, NoneWhereItWouldHarm) {
    const auto cores = made_up_cores(4);
    EXPECT_EQ(core_for(cores, 4, 0, 5), -1) << "fewer cores than ranks";
    EXPECT_EQ(core_for(cores, 8, 0, 3), -1) << "the launcher has bound the process";
    EXPECT_EQ(core_for(cores, 4, 0, 2), -1) << "a second job would take the same cores";
    EXPECT_EQ(core_for({}, 0, 0, 1), -1);
    EXPECT_EQ(core_for(cores, 4, 4, 4), -1);
}

TEST(Here, IsWhatTheSystemSays) {
    const auto placement = here(3, "h2", 1, 2);
    EXPECT_EQ(placement.rank, 3);
    EXPECT_EQ(placement.host, "h2");
    EXPECT_EQ(placement.node_rank, 1);
    EXPECT_EQ(placement.node_size, 2);
    EXPECT_EQ(placement.cores, allowed_cores());
    EXPECT_EQ(placement.pinned_core, -1);
    EXPECT_FALSE(placement.cores.empty());
    EXPECT_TRUE(std::is_sorted(placement.cores.begin(), placement.cores.end()));
    EXPECT_GE(placement.host_cores, static_cast<int>(placement.cores.size()));
}

TEST(Pin, HoldsThisThreadAndThoseItMakesUntilReleased) {
    std::thread{[] {  // a thread of its own: the others stay free
        const auto before = allowed_cores();
        const int core = before.back();
        ASSERT_TRUE(pin_this_thread(core));
        EXPECT_THAT(allowed_cores(), ElementsAre(core));
        EXPECT_EQ(sched_getcpu(), core);
        std::thread{[&] {
            EXPECT_THAT(allowed_cores(), ElementsAre(core));
            release_this_thread(before);
            EXPECT_EQ(allowed_cores(), before);
        }}.join();
        EXPECT_THAT(allowed_cores(), ElementsAre(core));
        release_this_thread(before);
        EXPECT_EQ(allowed_cores(), before);
    }}
        .join();
}

TEST(Pin, SaysWhereTheSystemRefuses) {
    const auto before = allowed_cores();
    EXPECT_FALSE(pin_this_thread(-1));
    EXPECT_FALSE(pin_this_thread(100000));
    release_this_thread({});
    EXPECT_EQ(allowed_cores(), before);
}

TEST(Table, OneLineARank) {
    auto bound = placed(1, "node12", {4, 5}, 8);
    bound.device = "GPU 3 (NVIDIA H200, 0000:1b:00.0)";
    bound.numa_node = 1;
    EXPECT_EQ(table({placed(0, "h1", {0, 1, 2, 3}, 4, 2), bound}),
              "rank  host    device                             cores\n"
              "0     h1      CPU                                0-3 of 4, held to 2\n"
              "1     node12  GPU 3 (NVIDIA H200, 0000:1b:00.0)  4-5 of 8, NUMA node 1");
}

TEST(Complaints, NoneWhereEachRankHasACore) {
    EXPECT_THAT(complaints({}), IsEmpty());
    EXPECT_THAT(complaints({placed(0, "h1", {0, 1}, 2, 0), placed(1, "h1", {0, 1}, 2, 1), placed(2, "h2", {0, 1}, 2, 0)}), IsEmpty());
    EXPECT_THAT(complaints({placed(0, "h1", {0, 1}, 2), placed(1, "h1", {0, 1}, 2)}), IsEmpty());
    EXPECT_THAT(complaints({placed(0, "h1", {0}, 2), placed(1, "h1", {1}, 2)}), IsEmpty()) << "bound by the launcher, one core each";
}

TEST(Complaints, MoreRanksThanCores) {
    const std::vector<int> both{0, 1};
    EXPECT_THAT(complaints({placed(0, "h1", both, 2), placed(1, "h1", both, 2), placed(2, "h1", both, 2), placed(3, "h2", both, 2)}),
                ElementsAre("ranks 0, 1 and 2 on h1 share cores 0-1, so they wait for each other; start at most 2 there, or take more hosts"));
    std::vector<Placement> many;
    many.reserve(12);
    for (int rank = 0; rank < 12; ++rank) many.push_back(placed(rank, "h1", both, 2));
    EXPECT_THAT(complaints(many), ElementsAre(HasSubstr("12 ranks on h1 (0, 1, ...) share cores 0-1")));
}

TEST(Complaints, TwoRanksOnTheSameCore) {
    EXPECT_THAT(complaints({placed(0, "h1", {5}, 8), placed(1, "h1", {5}, 8), placed(2, "h2", {5}, 8)}),
                ElementsAre(AllOf(HasSubstr("ranks 0 and 1 on h1 may only run on core 5"), HasSubstr("--bind-to none"))));
    EXPECT_THAT(complaints({placed(0, "h1", {0, 1}, 2, 1), placed(1, "h1", {0, 1}, 2, 1)}), ElementsAre(HasSubstr("core 1")));
}

TEST(Complaints, RanksThatShareAGpu) {
    auto first = placed(0, "h1", {0, 1}, 2, 0);
    auto second = placed(1, "h1", {0, 1}, 2, 1);
    for (auto* const one : {&first, &second}) {
        one->device = "GPU 0";
        one->shares_device = true;
    }
    EXPECT_THAT(complaints({first, second}), ElementsAre(AllOf(HasSubstr("ranks 0 and 1 on h1 share GPU 0"), HasSubstr("one rank a GPU"))));
    second.host = "h2";
    EXPECT_THAT(complaints({first, second}), IsEmpty());
}

TEST(Line, ComesBackAsItWas) {
    Placement one{.rank = 12,
                  .host = "node3",
                  .node_rank = 1,
                  .node_size = 4,
                  .device = "GPU 3 (NVIDIA H200, 0000:1b:00.0)",
                  .shares_device = true,
                  .cores = {0, 1, 2, 3, 8},
                  .pinned_core = 2,
                  .host_cores = 16,
                  .numa_node = 1};
    const auto same = [](const Placement& a, const Placement& b) {
        return a.rank == b.rank && a.host == b.host && a.node_rank == b.node_rank && a.node_size == b.node_size && a.device == b.device &&
               a.shares_device == b.shares_device && a.cores == b.cores && a.pinned_core == b.pinned_core && a.host_cores == b.host_cores &&
               a.numa_node == b.numa_node;
    };
    EXPECT_TRUE(same(from_line(to_line(one)), one));
    EXPECT_TRUE(same(from_line(to_line({})), {}));
    one.host = "a\tb\nc";
    EXPECT_EQ(from_line(to_line(one)).host, "a b c");
    EXPECT_EQ(to_line(one).find('\n'), std::string::npos);
    EXPECT_ANY_THROW((void)from_line("1\tnode3"));
    EXPECT_ANY_THROW((void)from_line("x" + to_line({})));
}

}  // namespace weft::topology
