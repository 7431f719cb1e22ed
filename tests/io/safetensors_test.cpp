#include "io/weight_files.hpp"

namespace weft::io {

using ::testing::AllOf;
using ::testing::HasSubstr;

namespace {
/// A safetensors file by its parts.
std::string safetensors(const std::string& header, const std::string& data) {
    return bytes_of_number<std::uint64_t>(header.size()) + header + data;
}

std::string entry(const std::string& name, const std::string& dtype, const std::string& shape, const std::string& offsets) {
    return cat("\"", name, "\":{\"dtype\":\"", dtype, "\",\"shape\":", shape, ",\"data_offsets\":", offsets, "}");
}

std::string refusal_of(const std::string& bytes) {
    const TemporaryFolder folder;
    return refusal(folder.file("bad.safetensors", bytes));
}
}  // namespace

TEST(Safetensors, NamesTypesShapesAndBytesAreThoseOfTheFile) {
    const TemporaryFolder folder;
    const auto header =
        cat("{\"__metadata__\":{\"format\":\"pt\",\"deep\":[[{}]]},", entry("b", "F16", "[2,1]", "[4,8]"), ",", entry("a", "U8", "[]", "[0,1]"), "}   ");
    const auto file = WeightFile::open(folder.file("good.safetensors", safetensors(header, "abcdefgh")));
    ASSERT_EQ(file.tensors().size(), 2U);
    const auto& a = file.tensors().at("a");
    EXPECT_EQ(a.shape, Shape{});
    EXPECT_EQ(a.num_elements(), 1);
    EXPECT_EQ(gathered(a), "a");
    const auto& b = file.tensors().at("b");
    EXPECT_EQ(b.type, ElementType::f16);
    EXPECT_EQ(b.shape, (Shape{2, 1}));
    EXPECT_EQ(b.strides, (Shape{1, 1}));
    EXPECT_EQ(gathered(b), "efgh");
}

TEST(Safetensors, AnEmptyDictIsAFileWithoutTensors) {
    const TemporaryFolder folder;
    EXPECT_TRUE(WeightFile::open(folder.file("none.safetensors", safetensors("{}", ""))).tensors().empty());
}

TEST(Safetensors, AHeaderWhoseLengthBeginsAsAPickleDoesIsNone) {
    const TemporaryFolder folder;
    auto header = cat("{", entry("a", "U8", "[1]", "[0,1]"), "}");
    header.resize(0x280, ' ');  // its length is 80 02 00 ... : the first two bytes of a pickle of protocol 2
    EXPECT_EQ(WeightFile::open(folder.file("good.safetensors", safetensors(header, "a"))).tensors().size(), 1U);
}

TEST(Safetensors, WhatIsWrittenIsReadBack) {
    const TemporaryFolder folder;
    const Samples samples;
    const auto path = folder.path() / "samples.safetensors";
    write_safetensors(path, samples.tensors);
    expect_samples(WeightFile::open(path), samples);
    EXPECT_FALSE(std::filesystem::exists(path.string() + ".part"));
}

TEST(Safetensors, DataBeginsAlignedAndWithoutHoles) {
    const TemporaryFolder folder;
    const Samples samples;
    const auto path = folder.path() / "samples.safetensors";
    write_safetensors(path, samples.tensors);
    const auto bytes = content(path);
    const auto data = 8 + number_at<std::uint64_t>(std::as_bytes(std::span{bytes}), 0);
    EXPECT_EQ(data % 64, 0U);
    std::string joined;
    for (const auto& part : samples.contents) joined += part;
    EXPECT_EQ(bytes.substr(data), joined);
}

TEST(Safetensors, TheDigestFollowsTheContent) {
    const TemporaryFolder folder;
    const auto one = safetensors(cat("{", entry("a", "U8", "[1]", "[0,1]"), "}"), "a"),
               other = safetensors(cat("{", entry("a", "U8", "[1]", "[0,1]"), "}"), "b");
    const auto first = WeightFile::open(folder.file("1", one)).digest();
    EXPECT_EQ(first, WeightFile::open(folder.file("2", one)).digest());
    EXPECT_NE(first, WeightFile::open(folder.file("3", other)).digest());
}

TEST(Safetensors, TensorsOutliveTheFileThatOpenedThemInACopy) {
    const TemporaryFolder folder;
    const auto path = folder.file("a", safetensors(cat("{", entry("a", "U8", "[1]", "[0,1]"), "}"), "a"));
    auto file = WeightFile::open(path);
    const auto copy = file;
    file = WeightFile::open(folder.file("b", safetensors("{}", "")));
    EXPECT_EQ(gathered(copy.tensors().at("a")), "a");
}

TEST(SafetensorsRefuses, AFileThatIsCutShort) {
    const auto whole = safetensors(cat("{", entry("a.weight", "F32", "[4]", "[0,16]"), "}"), std::string(16, 'x'));
    EXPECT_THAT(refusal_of(whole.substr(0, whole.size() - 3)), AllOf(HasSubstr("cut short"), HasSubstr(cat(whole.size(), " bytes are expected")),
                                                                     HasSubstr(cat(whole.size() - 3, " are there")), HasSubstr("a.weight")));
    EXPECT_THAT(refusal_of(whole.substr(0, 30)), AllOf(HasSubstr("cut short"), HasSubstr("30 are there")));
    EXPECT_THAT(refusal_of(safetensors(cat("{", entry("a", "U8", "[0]", "[0,0]"), "}"), "").substr(0, 9)), HasSubstr("cut short"));
}

TEST(SafetensorsRefuses, OffsetsPastTheEnd) {
    EXPECT_THAT(refusal_of(safetensors(cat("{", entry("far", "U8", "[1]", "[1000000,1000001]"), "}"), "x")),
                AllOf(HasSubstr("bytes are expected"), HasSubstr("far")));
    EXPECT_THAT(refusal_of(safetensors(cat("{", entry("far", "U8", "[1]", "[9223372036854775806,9223372036854775807]"), "}"), "x")),
                HasSubstr("bytes are expected"));
    EXPECT_THAT(refusal_of(safetensors(cat("{", entry("far", "U8", "[1]", "[18446744073709551614,18446744073709551615]"), "}"), "x")),
                HasSubstr("which no file reaches"));
}

TEST(SafetensorsRefuses, AHugeHeaderLength) {
    for (const auto length : {std::uint64_t{100'000'001}, std::uint64_t{1} << 62, ~std::uint64_t{0}, ~std::uint64_t{0} - 7})
        EXPECT_THAT(refusal_of(bytes_of_number<std::uint64_t>(length) + "{}"), AllOf(HasSubstr("header would be"), HasSubstr(std::to_string(length))));
}

TEST(SafetensorsRefuses, OverlappingTensors) {
    EXPECT_THAT(refusal_of(safetensors(cat("{", entry("a", "U8", "[4]", "[0,4]"), ",", entry("b", "U8", "[4]", "[3,7]"), "}"), "12345678")),
                AllOf(HasSubstr("overlap"), HasSubstr("\"a\""), HasSubstr("\"b\"")));
}

TEST(SafetensorsRefuses, ANameThatIsThereTwice) {
    EXPECT_THAT(refusal_of(safetensors(cat("{", entry("a", "U8", "[1]", "[0,1]"), ",", entry("a", "U8", "[1]", "[1,2]"), "}"), "12")),
                HasSubstr("tensor \"a\" twice"));
    EXPECT_THAT(refusal_of(safetensors(R"({"a":{"dtype":"U8","shape":[1],"shape":[2],"data_offsets":[0,1]}})", "1")), HasSubstr("shape of tensor \"a\" twice"));
}

TEST(SafetensorsRefuses, AHeaderThatIsNoJson) {
    for (const auto* const header : {"{", "{\"a\":", "{]", "{} x", "{\"a\" 1}", "{\"\xff\":1}"})
        EXPECT_THAT(refusal_of(safetensors(header, "")), HasSubstr("not valid JSON")) << header;
}

TEST(SafetensorsRefuses, AHeaderOfAnotherForm) {
    for (const auto* const header : {"{\"a\":1}", "{\"a\":[]}", "{\"a\":null}", "{\"a\":{\"dtype\":5}}", "{\"a\":{\"dtype\":[]}}", "{\"a\":{\"shape\":{}}}",
                                     "{\"a\":{\"shape\":[[1]]}}", "{\"a\":{\"shape\":[\"1\"]}}", "{\"a\":{\"shape\":[1.5]}}"})
        EXPECT_THAT(refusal_of(safetensors(header, "")), AllOf(HasSubstr("header says"), HasSubstr("\"a\""))) << header;
    EXPECT_THAT(refusal_of(safetensors(R"({"a":{"dtype":"U8","shape":[1]}})", "1")), HasSubstr("lacks data_offsets of tensor \"a\""));
    EXPECT_THAT(refusal_of(safetensors(cat("{", entry("a", "U8", "[1]", "[0,1,2]"), "}"), "1")), HasSubstr("must be two numbers"));
}

TEST(SafetensorsRefuses, AShapeThatCannotBe) {
    EXPECT_THAT(refusal_of(safetensors(cat("{", entry("a", "U8", "[-1]", "[0,1]"), "}"), "1")), AllOf(HasSubstr("-1"), HasSubstr("shape")));
    EXPECT_THAT(refusal_of(safetensors(cat("{", entry("a", "F32", "[4294967296,4294967296]", "[0,0]"), "}"), "")), HasSubstr("larger than any file"));
    EXPECT_THAT(refusal_of(safetensors(cat("{", entry("a", "F32", "[0,4294967296,4294967296]", "[0,0]"), "}"), "")), HasSubstr("larger than any file"));
    EXPECT_THAT(refusal_of(safetensors(cat("{", entry("a", "U8", "[1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1]", "[0,1]"), "}"), "1")), HasSubstr("more than 16"));
}

TEST(SafetensorsRefuses, ASizeThatIsNotThatOfTheShape) {
    EXPECT_THAT(refusal_of(safetensors(cat("{", entry("a", "F32", "[2]", "[0,4]"), "}"), "1234")), AllOf(HasSubstr("needs 8 bytes"), HasSubstr("[0, 4]")));
    EXPECT_THAT(refusal_of(safetensors(cat("{", entry("a", "U8", "[1]", "[1,0]"), "}"), "1234")), HasSubstr("needs 1 bytes"));
}

TEST(SafetensorsRefuses, AnUnknownElementType) {
    EXPECT_THAT(refusal_of(safetensors(cat("{", entry("a", "F8_E4M3", "[1]", "[0,1]"), "}"), "1")), AllOf(HasSubstr("F8_E4M3"), HasSubstr("known: F64, F32")));
}

TEST(SafetensorsRefuses, AHeaderThatNestsWithoutEnd) {
    const std::string deep(2'000'000, '[');
    EXPECT_THAT(refusal_of(safetensors("{\"__metadata__\":" + deep, "")), HasSubstr("not valid JSON"));
    EXPECT_THAT(refusal_of(safetensors("{\"a\":" + deep, "")), HasSubstr("a list"));
}

TEST(WeightFileRefuses, WhatIsNoWeightFile) {
    const TemporaryFolder folder;
    EXPECT_THAT(refusal(folder.file("empty.safetensors", "")), HasSubstr("is empty"));
    EXPECT_THAT(refusal(folder.file("notes.pth", "Dear reader, these are no weights.\n")), AllOf(HasSubstr("neither"), HasSubstr("Dear rea")));
    EXPECT_THAT(refusal(folder.file("tiny.pth", "abc")), HasSubstr("neither"));
    EXPECT_THAT(refusal(folder.file("pointer.pth", "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 5\n")), HasSubstr("git lfs pull"));
    EXPECT_THAT(refusal(folder.path()), HasSubstr("not a regular file"));
    EXPECT_THAT(refusal(folder.path() / "absent.pth"), HasSubstr("cannot be opened"));
}

TEST(SafetensorsWriter, LeavesTheOldFileWhenItFails) {
    const TemporaryFolder folder;
    const Samples samples;
    EXPECT_THROW(write_safetensors(folder.path() / "absent" / "x.safetensors", samples.tensors), Error);
    std::filesystem::create_directory(folder.path() / "taken");
    try {
        write_safetensors(folder.path() / "taken", samples.tensors);
        ADD_FAILURE() << "a folder was replaced";
    } catch (const Error& error) {
        EXPECT_EQ(error.code(), ExitCode::failure);
        EXPECT_THAT(error.what(), AllOf(HasSubstr("taken"), HasSubstr("renaming")));
    }
    EXPECT_FALSE(std::filesystem::exists(folder.path() / "taken.part"));
}

TEST(SafetensorsWriter, RefusesWhatItCouldNotReadBack) {
    const TemporaryFolder folder;
    const std::string bytes = "1234";
    const TensorToWrite good{"a", ElementType::f32, {1}, std::as_bytes(std::span{bytes})};
    auto wrong = good;
    wrong.shape = {2};
    EXPECT_THROW(write_safetensors(folder.path() / "x", std::vector{wrong}), Error);
    EXPECT_THROW(write_safetensors(folder.path() / "x", std::vector{good, good}), Error);
    EXPECT_FALSE(std::filesystem::exists(folder.path() / "x"));
}

}  // namespace weft::io
