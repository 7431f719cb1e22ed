#include "app/small_job.hpp"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <map>
#include <set>

/// `weft trace`.
namespace weft::test {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;
using Json = nlohmann::ordered_json;

namespace {

/// Lines as `weft generate --events` writes them.
class EventsFile {
  public:
    EventsFile& plan(int ranks, double load_bound = 0.9) { return add({{"event", "plan"}, {"ranks", ranks}, {"load_bound", load_bound}}); }
    EventsFile& phase(const char* name) { return add({{"event", "phase"}, {"name", name}}); }
    EventsFile& host(int rank, const char* name) { return add({{"event", "rank"}, {"rank", rank}, {"host", name}}); }

    struct Span {
        double begin = 0;
        double end = 0;
        std::int64_t clock = 1;  ///< at its begin; a task ends one later
    };
    EventsFile& task(int rank, Span span, int step, int slice, int branch = 1, int first_piece = 0, int last_piece = 9) {
        auto line = traced("task", rank, span, span.clock + 1);
        line.update({{"first_piece", first_piece}, {"last_piece", last_piece}, {"slot", 0}, {"step", step}, {"slice", slice}, {"branch", branch}});
        return add(line);
    }
    EventsFile& unit(int rank, Span span, int piece, const char* name) {
        auto line = traced("unit", rank, span, span.clock + 1);
        line.update({{"first_piece", 0}, {"last_piece", 9}, {"slot", 0}, {"piece", piece}, {"unit", name}, {"step", 0}, {"slice", 0}, {"branch", 1}});
        return add(line);
    }
    /// `kind`: fetch or stall.
    EventsFile& weights(const char* kind, int rank, Span span, const char* unit) {
        auto line = traced(kind, rank, span, span.clock + 1);
        line.update({{"first_piece", 0}, {"last_piece", 9}, {"slot", 0}, {"unit", unit}, {"step", 0}, {"slice", 0}, {"branch", 1}});
        return add(line);
    }
    EventsFile& advance(int rank, Span span, int step) {
        auto line = traced("advance", rank, span, span.clock);
        line.update({{"step", step}, {"frames", 11}});
        return add(line);
    }
    struct Message {
        int number = 0;
        const char* cargo = "state";
        int from = 0;
        int to = 1;
        int bytes = 1024;
        int step = 0;
    };
    /// `kind`: wait, send or receive.
    EventsFile& message(const char* kind, Span span, const Message& message) {
        auto line = traced(kind, kind == std::string("send") ? message.from : message.to, span, span.clock);
        line.update({{"message", message.number},
                     {"cargo", message.cargo},
                     {"from", message.from},
                     {"to", message.to},
                     {"bytes", message.bytes},
                     {"step", message.step},
                     {"slice", 1},
                     {"branch", 0}});
        return add(line);
    }
    EventsFile& text(const std::string& text) {
        text_ += text;
        return *this;
    }

    void write(const fs::path& path) const { write_bytes(path, text_); }
    [[nodiscard]] const std::string& text() const { return text_; }

  private:
    static Json traced(const char* kind, int rank, const Span& span, std::int64_t clock_end) {
        return {{"event", "trace"},      {"t", 9.5},        {"rank", rank},   {"kind", kind},
                {"begin", span.begin},   {"end", span.end}, {"operation", 3}, {"clock_begin", span.clock},
                {"clock_end", clock_end}};
    }
    EventsFile& add(const Json& line) {
        text_ += line.dump() + "\n";
        return *this;
    }

    std::string text_;
};

/// Ten seconds of two ranks: a pass in two legs a step, and each rank a pass of its own. Rank 0 waits 2 s for latents, of which 0.5 s are their way; rank 1
/// waits 1 s before its first task, 1 s for a state that is on its way all the time, 0.5 s for a slot.
EventsFile two_ranks() {
    EventsFile events;
    events.plan(2).phase("encode").phase("denoise");
    events.task(0, {0, 1, 1}, 0, 0, 1, 0, 4).unit(0, {0, 0.5, 1}, 0, "down.0").unit(0, {0.5, 1, 1}, 1, "down.1");
    events.message("send", {1, 1.5, 3}, {.number = 1, .cargo = "state", .bytes = 2048});
    events.task(0, {1, 4, 4}, 0, 1, 0);
    events.message("wait", {4, 6, 6}, {.number = 2, .cargo = "latents", .from = 1, .to = 0, .bytes = 512});
    events.message("receive", {0.5, 6, 6}, {.number = 2, .cargo = "latents", .from = 1, .to = 0, .bytes = 512});
    events.task(0, {6, 8, 9}, 1, 0, 1, 0, 4);
    events.message("send", {8, 8.5, 11}, {.number = 3, .cargo = "state", .bytes = 2048, .step = 1});
    events.message("send", {2, 2.5, 4}, {.number = 4, .cargo = "slot", .bytes = 0});
    events.message("wait", {0, 1, 1}, {.number = 1, .cargo = "state", .bytes = 2048});
    events.message("receive", {0, 1, 1}, {.number = 1, .cargo = "state", .bytes = 2048});
    events.task(1, {1, 2, 4}, 0, 0, 1, 5, 9);
    events.message("wait", {2, 2.5, 6}, {.number = 4, .cargo = "slot", .bytes = 0});
    events.message("receive", {1, 2.5, 6}, {.number = 4, .cargo = "slot", .bytes = 0});
    events.task(1, {2.5, 5, 7}, 1, 1, 1);
    events.advance(1, {5, 5.5, 9}, 0);
    events.message("send", {5.5, 6, 10}, {.number = 2, .cargo = "latents", .from = 1, .to = 0, .bytes = 512});
    events.message("send", {5.5, 6, 10}, {.number = 5, .cargo = "saved", .from = 1, .to = 0, .bytes = 512});
    events.message("wait", {8, 9, 12}, {.number = 3, .cargo = "state", .bytes = 2048, .step = 1});
    events.message("receive", {5, 9, 12}, {.number = 3, .cargo = "state", .bytes = 2048, .step = 1});
    events.task(1, {9, 10, 13}, 1, 0, 1, 5, 9);
    return events.phase("decode").host(0, "node1").host(1, "node2");
}

/// The words of the line that begins with `name`.
Words words_of(const std::string& text, const std::string& name) {
    for (const auto& line : split(text, '\n')) {
        Words words;
        for (auto& word : split(line, ' '))
            if (!word.empty()) words.push_back(word);
        if (!words.empty() && words.front() == name) return words;
    }
    return {"no line", name, "in", text};
}

/// Is every tag closed, in order? Says what is wrong.
std::string tag_mistake(const std::string& svg) {
    Words open;
    for (std::size_t at = svg.find('<'); at != std::string::npos; at = svg.find('<', at)) {
        const auto end = svg.find('>', at);
        if (end == std::string::npos) return cat("no end of ", svg.substr(at, 40));
        const auto tag = svg.substr(at + 1, end - at - 1);
        const auto name = tag.substr(0, tag.find_first_of(" \n/", 1));
        if (std::ranges::count(tag, '"') % 2 != 0) return cat("quotes in ", tag);
        if (tag.starts_with('/')) {
            if (open.empty() || cat("/", open.back()) != tag) return cat(tag, " closes ", open.empty() ? "nothing" : open.back());
            open.pop_back();
        } else if (!tag.ends_with('/'))
            open.push_back(name);
        at = end;
    }
    return open.empty() ? "" : cat("not closed: ", join(open));
}

int count(const std::string& text, const std::string& part) {
    int found = 0;
    for (auto at = text.find(part); at != std::string::npos; at = text.find(part, at + 1)) ++found;
    return found;
}

struct Traced {
    std::string table;
    std::string picture;
    Json perfetto;
};

/// All that the command makes of `events`, with `more` behind.
Traced traced(const EventsFile& events, const Words& more = {}) {
    const SmallJob job;
    events.write(job / "events.jsonl");
    const auto with = [&](Words words) {
        words.insert(words.end(), more.begin(), more.end());
        return job.weft(words);
    };
    const auto told = with({"trace", "events.jsonl"});
    expect_done(told);
    const auto drawn = with({"trace", "events.jsonl", "--picture", "t.svg", "--perfetto", "t.json"});
    expect_done(drawn);
    EXPECT_THAT(drawn.out, AllOf(HasSubstr("t.svg: "), HasSubstr("t.json: "), Not(HasSubstr("busy"))));
    return {told.out, bytes_of(job / "t.svg"), Json::parse(bytes_of(job / "t.json"))};
}

std::vector<Json> of_phase(const Json& perfetto, const std::string& phase) {
    std::vector<Json> found;
    for (const auto& event : perfetto.at("traceEvents"))
        if (event.at("ph") == phase) found.push_back(event);
    return found;
}

EventsFile many_tasks(int ranks, int steps, int passes) {
    EventsFile events;
    events.plan(ranks).phase("denoise");
    for (int rank = 0; rank < ranks; ++rank)
        for (int step = 0; step < steps; ++step)
            for (int pass = 0; pass < passes; ++pass) {
                const auto begin = 0.01 * (step * passes + pass) + 0.001 * rank;
                events.task(rank, {begin, begin + 0.009, 2L * (step * passes + pass)}, step, rank * passes + pass / 2, pass % 2);
            }
    return events;
}

}  // namespace

TEST(TraceTable, SaysWhereTimeWent) {
    const auto table = traced(two_ranks()).table;
    EXPECT_THAT(table, HasSubstr("2 ranks, steps 1 to 2, 4 passes in 6 legs, 10.0 s, efficiency 52.5 % (load bound 90.0 %)\n"));
    EXPECT_THAT(table, HasSubstr("rank      busy s   busy %    passes      legs transfers      ends  rest %  longest wait\n"));
    // Rank 0: 6 s of tasks; latents are made until 5.5 s, then travel; nothing behind 8 s.
    EXPECT_THAT(words_of(table, "0"), ElementsAre("0", "6.000", "60.0", "15.0", "0.0", "5.0", "20.0", "0.0", "2.000", "s", "for", "latents", "of", "step", "1,",
                                                  "from", "rank", "1"));
    // Rank 1: 4.5 s of tasks; the slot's word and the last state were on their way all the time; 0.5 s of advancing and 2.5 s nobody knows of.
    EXPECT_THAT(words_of(table, "1"), ElementsAre("1", "4.500", "45.0", "0.0", "0.0", "15.0", "10.0", "30.0", "1.000", "s", "for", "the", "hidden", "state",
                                                  "of", "step", "1,", "slice", "2,", "unconditional,", "from", "rank", "0"));
    EXPECT_THAT(words_of(table, "all"), ElementsAre("all", "10.500", "52.5", "7.5", "0.0", "10.0", "15.0", "15.0"));
}

TEST(TraceTable, AWaitForALegThatIsNotDoneYetIsNoTransfer) {
    EventsFile events;
    events.plan(2).phase("denoise").task(0, {0, 3}, 0, 0, 1, 0, 4).task(1, {0, 1}, 0, 1);
    events.message("send", {3, 3.5}, {.number = 7});
    events.message("wait", {1, 3.5}, {.number = 7}).message("receive", {0, 3.5}, {.number = 7}).task(1, {3.5, 4}, 0, 0, 1, 5, 9);
    EXPECT_THAT(words_of(traced(events).table, "1"), ElementsAre("1", "1.500", "37.5", "0.0", "50.0", "12.5", "0.0", "0.0", "2.500", "s", "for", "the",
                                                                 "hidden", "state", "of", "step", "1,", "slice", "2,", "unconditional,", "from", "rank", "0"));
}

TEST(TraceTable, BytesAreTheLinks) {
    const auto table = traced(two_ranks()).table;
    EXPECT_THAT(table, HasSubstr("links     2 carried latents 512 B, saved 512 B, state 4.0 KiB, slot 0 B\n"));
    EXPECT_THAT(table, HasSubstr("rank 0    sends to 1 4.0 KiB in 3 messages\n"));
    EXPECT_THAT(table, HasSubstr("rank 1    sends to 0 1.0 KiB in 2 messages\n"));
}

TEST(TraceTable, StepsOverlapByTheLogicalClock) {
    EXPECT_THAT(traced(two_ranks()).table, HasSubstr("overlap   in 0 of the 1 before the last step"));
    // Step 3 waits for all of step 2; a pass of step 2 begins at 4, one of step 1 ends at 6. The clocks on the wall say the opposite.
    EventsFile events;
    events.plan(2).phase("denoise");
    events.task(0, {0, 1, 1}, 0, 0)
        .task(1, {0, 1, 5}, 0, 1)
        .task(0, {1, 3, 4}, 1, 0)
        .task(1, {1, 2, 7}, 1, 1)
        .task(0, {2.5, 3, 9}, 2, 0)
        .task(1, {3, 4, 9}, 2, 1);
    EXPECT_THAT(traced(events).table, HasSubstr("overlap   in 1 of the 2 before the last step"));
}

TEST(TraceTable, OneRankHasNoLinksAndAnIdleRankOnlyAnEnd) {
    EventsFile alone;
    alone.plan(1).phase("denoise").task(0, {0, 2}, 0, 0).advance(0, {2, 2.5}, 0);
    EXPECT_THAT(traced(alone).table, AllOf(HasSubstr("1 rank, step 1, 1 pass, 2.50 s, efficiency 80.0 %"), HasSubstr("nothing travelled"),
                                           Not(HasSubstr("overlap")), Not(HasSubstr("\nall"))));
    EXPECT_THAT(words_of(traced(alone).table, "0"), ElementsAre("0", "2.000", "80.0", "0.0", "0.0", "0.0", "0.0", "20.0"));
    EventsFile idle;
    idle.plan(3).phase("denoise").task(0, {0, 2}, 0, 0).task(1, {0, 2}, 0, 1);
    const auto made = traced(idle);
    EXPECT_THAT(words_of(made.table, "2"), ElementsAre("2", "0.000", "0.0", "0.0", "0.0", "0.0", "100.0", "0.0"));
    EXPECT_EQ(count(made.picture, "<g class=\"lane\""), 3);
}

TEST(TraceTable, SaysHowMuchOfStreamingWentOnBehindComputing) {
    EventsFile events;
    events.plan(1).phase("denoise").task(0, {0, 10, 1}, 0, 0);
    events.weights("fetch", 0, {0, 2, 1}, "conv_in").weights("stall", 0, {0, 1, 1}, "conv_in").weights("fetch", 0, {2, 4, 1}, "conv_out");
    const auto made = traced(events.phase("decode"));
    EXPECT_EQ(count(made.perfetto.dump(), "\"weights of conv_in\""), 1);
    EXPECT_THAT(made.table, HasSubstr("weights   rank 0: 2 units fetched in 4.00 s, 75.0 % of it behind computing; passes waited 1.00 s"));
}

TEST(TraceTable, AWindowCounts) {
    const auto made = traced(two_ranks(), {"--from", "3", "--to", "7.5"});
    EXPECT_THAT(made.table, HasSubstr("from 3.000 to 7.500 s, efficiency 50.0 %"));
    EXPECT_THAT(words_of(made.table, "0"), ElementsAre("0", "2.500", "55.6", "33.3", "0.0", "11.1", "0.0", "0.0", "2.000", "s", "for", "latents", "of", "step",
                                                       "1,", "from", "rank", "1"));
    EXPECT_THAT(made.table, AllOf(HasSubstr("links     1 carried latents 512 B, saved 512 B\n"), Not(HasSubstr("sends to 1"))));
    EXPECT_EQ(count(made.picture, "class=\"task\""), 3);
    EXPECT_THAT(made.picture, AllOf(HasSubstr(">7.5</text>"), Not(HasSubstr(">8.0</text>"))));
}

TEST(TraceFile, TheNewestCompleteTraceCounts) {
    EventsFile events;
    events.plan(1).phase("denoise").task(0, {0, 1}, 0, 0).phase("decode");
    events.plan(2).phase("denoise").task(0, {0, 4}, 0, 0).task(1, {0, 4}, 0, 1).phase("decode");
    EXPECT_THAT(traced(events).table, AllOf(HasSubstr("trace     events.jsonl, the newest of 2 traces\n"), HasSubstr("2 ranks, step 1, 2 passes, 4.00 s")));
    // A start that only decodes changes nothing; one that did not get through denoising is told.
    events.plan(2).phase("decode");
    EXPECT_THAT(traced(events).table, HasSubstr("the newest of 2 traces\n"));
    events.plan(1).phase("denoise");
    EXPECT_THAT(traced(events).table, AllOf(HasSubstr("the newest of 2 traces; a later start left none\n"), HasSubstr("2 ranks, step 1")));
    // One that was killed while it wrote: in a line, and between two.
    auto torn = events;
    torn.task(0, {0, 9}, 0, 0).text("{\"event\":\"trace\",\"rank\":0,\"ki");
    EXPECT_THAT(traced(torn).table, AllOf(HasSubstr("2 ranks, step 1, 2 passes, 4.00 s"), HasSubstr("; a later start left none\n")));
    auto cut = events;
    cut.task(0, {0, 9}, 0, 0).message("receive", {0, 9}, {.number = 3, .from = 1, .to = 0});
    EXPECT_THAT(traced(cut).table, HasSubstr("2 ranks, step 1, 2 passes, 4.00 s"));
    torn.plan(1);
    torn.phase("denoise").task(0, {0, 7}, 0, 0).phase("decode");
    EXPECT_THAT(traced(torn).table, AllOf(HasSubstr("the newest of 3 traces\n"), HasSubstr("1 pass, 7.00 s")));
}

TEST(TraceFile, WhatIsNoTraceIsRefused) {
    SmallJob job;
    write_bytes(job / "letter.txt", "Dear trace,\nhow are you?\n");
    EventsFile().plan(2).phase("denoise").write(job / "early.jsonl");
    two_ranks().write(job / "events.jsonl");
    auto old = EventsFile().plan(1).phase("denoise");
    old.text("{\"event\":\"trace\",\"rank\":0,\"kind\":\"task\",\"begin\":0,\"end\":1}\n").write(job / "old.jsonl");
    EventsFile().message("send", {0, 1}, {.cargo = "letters"}).write(job / "odd.jsonl");
    EventsFile().task(-1, {0, 1}, 0, 0).write(job / "rank.jsonl");
    job.keep_files();
    const auto refused = [&](const Words& words, const Words& texts) {
        Words all{"trace"};
        all.insert(all.end(), words.begin(), words.end());
        job.expect_refused(job.weft(all), 2, texts);
    };
    refused({"missing.jsonl"}, {"missing.jsonl: cannot be read: No such file"});
    for (const char* const name : {"letter.txt", "early.jsonl"})
        refused({name, "--picture", "t.svg"}, {name, "holds no complete trace; weft generate CONFIG --events FILE writes it"});
    refused({"old.jsonl"}, {"old.jsonl: line 3 is not as this version's", "clock_begin"});
    refused({"odd.jsonl"}, {"line 1 is not", "unknown cargo \"letters\""});
    refused({"rank.jsonl"}, {"line 1 is not", "rank = -1: must be from 0"});
    refused({"events.jsonl", "--picture", "no/where.svg", "--perfetto", "events.jsonl"},
            {"--picture = \"no/where.svg\": the folder no cannot be written", "--perfetto = \"events.jsonl\": is another file of this command"});
    refused({"events.jsonl", "--picture", "t", "--perfetto", "./t"}, {"--perfetto = \"./t\": is another file"});
    refused({"events.jsonl", "--from", "10"}, {"--from = 10: nothing is there; the trace is from 0 to 10.000 s"});
    refused({"events.jsonl", "--from", "5", "--to", "4"}, {"--to = 4: must be more than 5"});
    EXPECT_EQ(job.weft({"trace"}).code, 2);
}

TEST(TracePicture, HasALaneARankAndABarATask) {
    const auto svg = traced(two_ranks()).picture;
    EXPECT_EQ(tag_mistake(svg), "");
    EXPECT_EQ(count(svg, "<g class=\"lane\""), 2);
    EXPECT_EQ(count(svg, "class=\"task\""), 6);
    EXPECT_EQ(count(svg, "class=\"advances\""), 1);
    EXPECT_EQ(count(svg, "class=\"waits\""), 2);
    EXPECT_THAT(svg, AllOf(HasSubstr(">rank 0<"), HasSubstr(">60 %<"), HasSubstr(">45 %<"), HasSubstr("fill=\"#fff\"/>")));
    EXPECT_THAT(svg, HasSubstr("<title>step 2, slice 1, conditional, pieces 5 to 9, 9.000 to 10.000 s</title>"));
    EXPECT_THAT(svg, HasSubstr(">2 ranks, steps 1 to 2, 4 passes in 6 legs, 10.0 s, efficiency 52.5 %</text>"));
    EXPECT_EQ(count(svg, "marker-end"), 3) << "two hand-overs, and the legend's";
    EXPECT_EQ(count(svg, "http"), 1) << "the name space; nothing is loaded";
}

TEST(TracePicture, StaysSmallWithManyTasks) {
    const auto svg = traced(many_tasks(16, 25, 14)).picture;
    EXPECT_EQ(tag_mistake(svg), "");
    EXPECT_EQ(count(svg, "class=\"task\""), 16 * 25 * 14);
    EXPECT_LT(svg.size(), 1000000U);
    const auto merged = traced(many_tasks(2, 200, 60)).picture;
    EXPECT_EQ(tag_mistake(merged), "");
    EXPECT_GT(count(merged, "class=\"task\""), 1000);
    EXPECT_LT(count(merged, "class=\"task\""), 2 * 4800) << "no more than a few bars a pixel";
    EXPECT_LT(merged.size(), 1000000U);
}

TEST(TracePicture, ManyHandOversAreLeftOut) {
    const auto events_with = [](int messages) {
        EventsFile events;
        events.plan(2).phase("denoise").task(0, {0, 400}, 0, 0).task(1, {0, 401}, 0, 1);
        for (int number = 0; number < messages; ++number)
            events.message("send", {1.0 * number, number + 0.5}, {.number = number}).message("receive", {1.0 * number, number + 0.5}, {.number = number});
        return events;
    };
    EXPECT_EQ(count(traced(events_with(300)).picture, "marker-end"), 301);
    EXPECT_EQ(count(traced(events_with(301)).picture, "marker-end"), 0);
}

TEST(TracePerfetto, HoldsEveryBarAndAnArrowAMessage) {
    const auto perfetto = traced(two_ranks()).perfetto;
    const auto bars = of_phase(perfetto, "X");
    EXPECT_EQ(bars.size(), 22U);
    const auto count_of = [&](const char* category) { return std::ranges::count_if(bars, [&](const Json& bar) { return bar.at("cat") == category; }); };
    EXPECT_EQ(count_of("task"), 6);
    EXPECT_EQ(count_of("unit"), 2);
    EXPECT_EQ(count_of("advance"), 1);
    EXPECT_EQ(count_of("wait"), 4);
    EXPECT_EQ(count_of("send"), 5);
    EXPECT_EQ(count_of("receive"), 4);
    const auto last = std::ranges::find_if(bars, [](const Json& bar) { return bar.at("cat") == "task" && bar.at("ts") == 9e6; });
    ASSERT_NE(last, bars.end());
    EXPECT_EQ(last->at("pid"), 1);
    EXPECT_EQ(last->at("dur"), 1e6);
    EXPECT_EQ(last->at("name"), "step 2 slice 1 cond");

    const auto begins = of_phase(perfetto, "s");
    const auto ends = of_phase(perfetto, "f");
    EXPECT_EQ(begins.size(), 4U) << "what the run file alone takes is received by nobody who tells";
    ASSERT_EQ(ends.size(), 4U);
    for (const auto& end : ends) {
        const auto begin = std::ranges::find_if(begins, [&](const Json& one) { return one.at("id") == end.at("id"); });
        ASSERT_NE(begin, begins.end());
        EXPECT_NE(begin->at("pid"), end.at("pid"));
        EXPECT_LE(begin->at("ts").get<double>(), end.at("ts").get<double>());
    }
    std::set<std::string> names;
    for (const auto& meta : of_phase(perfetto, "M"))
        if (meta.at("args").contains("name")) names.insert(meta.at("args").at("name").get<std::string>());
    EXPECT_THAT(names, ElementsAre("rank 0 on node1", "rank 1 on node2", "receives", "sends", "tasks", "units", "waits"));
}

TEST(TracePerfetto, BarsOfATrackDoNotOverlap) {
    EventsFile events;
    events.plan(2).phase("denoise").task(0, {0, 9}, 0, 0).task(1, {0, 9}, 0, 1);
    for (int number = 0; number < 6; ++number)
        events.message("send", {0.5 * number, 0.5 * number + 1.2}, {.number = number}).message("receive", {0, 0.5 * number + 1.2}, {.number = number});
    std::map<std::pair<int, int>, double> busy_until;
    for (const auto& bar : of_phase(traced(events).perfetto, "X")) {
        auto& until = busy_until[{bar.at("pid").get<int>(), bar.at("tid").get<int>()}];
        EXPECT_GE(bar.at("ts").get<double>(), until);
        until = bar.at("ts").get<double>() + bar.at("dur").get<double>();
    }
    EXPECT_EQ(busy_until.size(), 2U + 3U + 3U);
}

}  // namespace weft::test
