#include "app/small_job.hpp"
#include "base/file.hpp"
#include "base/text.hpp"

/// The tables of the page on memory are what the commands above them say.
namespace weft::test {

TEST(MemoryTables, AreWhatTheCommandsSay) {
    const auto lines = split(read_text(fs::path(WEFT_SOURCE_DIR) / "src/plan/memory.md"), '\n');
    int tables = 0;
    for (std::size_t i = 0; i < lines.size(); ++i) {
        if (!lines[i].starts_with("weft plan ")) continue;
        Words words = split(lines[i], ' ');
        words.front() = weft_program();
        const auto ended = run(words, WEFT_SOURCE_DIR);
        ASSERT_EQ(ended.code, 0) << ended.err;
        std::string table;
        for (i += 3; i < lines.size() && lines[i].starts_with('|'); ++i) table += lines[i] + "\n";
        EXPECT_EQ(table, ended.out) << lines[i] << ": run it and put what it says there";
        ++tables;
    }
    EXPECT_EQ(tables, 4);
}

}  // namespace weft::test
