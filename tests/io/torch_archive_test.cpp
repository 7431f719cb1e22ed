#include "io/weight_files.hpp"

#include <algorithm>
#include <bit>
#include <chrono>
#include <optional>

namespace weft::io {

using ::testing::AllOf;
using ::testing::HasSubstr;

namespace {
// ---- zip files by bytes ----

struct Record {
    std::string name;
    std::string data;
    std::uint16_t method = 0;
    std::optional<std::uint64_t> declared{};  ///< size in the directory, when it lies
    std::optional<std::uint64_t> header{};    ///< place in the directory, when it lies
    std::string extra{};                      ///< of the local header only
};

enum class Directory { plain, zip64 };

/// Sizes and checksums stand in the directory only, as torch's own writer does it.
std::string zip(const std::vector<Record>& records, Directory kind = Directory::plain) {
    const auto u16 = [](std::size_t n) { return bytes_of_number<std::uint16_t>(static_cast<std::uint16_t>(n)); };
    const auto u32 = [](std::size_t n) { return bytes_of_number<std::uint32_t>(static_cast<std::uint32_t>(n)); };
    const auto u64 = [](std::size_t n) { return bytes_of_number<std::uint64_t>(n); };
    const bool large = kind == Directory::zip64;
    std::string out, directory;
    for (const auto& record : records) {
        const auto place = record.header.value_or(out.size());
        const auto size = record.declared.value_or(record.data.size());
        out += "PK\3\4" + u16(20) + u16(8) + u16(record.method) + u32(0) + u32(0) + u32(0) + u32(0) + u16(record.name.size()) + u16(record.extra.size()) +
               record.name + record.extra + record.data;
        const std::string extra =
            large ? u16(0x7777) + u16(2) + "xx" + u16(1) + u16(24) + u64(size) + u64(record.method == 0 ? size : record.data.size()) + u64(place) : "";
        directory += "PK\1\2" + u16(45) + u16(45) + u16(8) + u16(record.method) + u32(0) + u32(0) +
                     u32(large                ? 0xffffffff
                         : record.method == 0 ? size
                                              : record.data.size()) +
                     u32(large ? 0xffffffff : size) + u16(record.name.size()) + u16(extra.size()) + u16(0) + u16(0) + u16(0) + u32(0) +
                     u32(large ? 0xffffffff : place) + record.name + extra;
    }
    const auto begin = out.size();
    out += directory;
    if (large) {
        const auto end = out.size();
        out += "PK\6\6" + u64(44) + u16(45) + u16(45) + u32(0) + u32(0) + u64(records.size()) + u64(records.size()) + u64(directory.size()) + u64(begin);
        out += "PK\6\7" + u32(0) + u64(end) + u32(1);
    }
    return out + "PK\5\6" + u16(0) + u16(0) + u16(large ? 0xffff : records.size()) + u16(large ? 0xffff : records.size()) +
           u32(large ? 0xffffffff : directory.size()) + u32(large ? 0xffffffff : begin) + u16(0);
}

// ---- pickles by bytes ----

std::string text(const std::string& value) {
    return cat("X", bytes_of_number<std::uint32_t>(static_cast<std::uint32_t>(value.size())), value);
}

std::string integer(std::int64_t value) {
    return cat("\x8a\x08", bytes_of_number<std::int64_t>(value));
}

std::string tuple(const Shape& values) {
    std::string out = "(";
    for (const auto value : values) out += integer(value);
    return out + "t";
}

struct Described {
    std::string key = "0";
    std::int64_t storage_elements = 4;
    std::int64_t offset = 0;
    Shape shape{4};
    Shape strides{1};
    std::string metadata{};  ///< pickled seventh argument
};

std::string tensor(const Described& it = {}) {
    return cat("ctorch._utils\n_rebuild_tensor_v2\n((", text("storage"), "ctorch\nByteStorage\n", text(it.key), text("cpu"), integer(it.storage_elements), "tQ",
               integer(it.offset), tuple(it.shape), tuple(it.strides), "\x89", "ccollections\nOrderedDict\n)R", it.metadata, "tR");
}

/// A pickled dict of keys and values, each already pickled.
std::string dict(const std::string& entries) {
    return cat("\x80\x02}(", entries, "u.");
}

std::string archive(const std::string& pickle, std::vector<Record> more = {{"x/data/0", "abcd"}}, Directory kind = Directory::plain) {
    more.insert(more.begin(), {"x/data.pkl", pickle});
    return zip(more, kind);
}

TensorIndex indexed(const std::string& bytes) {
    return index_torch_zip(std::as_bytes(std::span{bytes}), "test.pth");
}

std::string refusal_of(const std::string& bytes) {
    const TemporaryFolder folder;
    return refusal(folder.file("bad.pth", bytes));
}

std::string refusal_of_pickle(const std::string& pickle) {
    return refusal_of(archive(pickle));
}

std::string refusal_of_tensor(const Described& it) {
    return refusal_of_pickle(dict(text("w") + tensor(it)));
}

// ---- golden files ----

float from_half(std::uint16_t half) {
    const int exponent = half >> 10 & 31;
    const float fraction = static_cast<float>(half & 1023) / 1024;
    const float size = exponent == 0 ? std::ldexp(fraction, -14) : std::ldexp(1 + fraction, exponent - 15);
    return (half & 0x8000) != 0 ? -size : size;
}

std::uint16_t to_bf16(float value) {
    const auto bits = std::bit_cast<std::uint32_t>(value);
    return static_cast<std::uint16_t>((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

/// Elements of an fp16 tensor, as floats.
std::vector<float> floats(const StoredTensor& tensor) {
    const auto bytes = gathered(tensor);
    std::vector<float> values;
    for (std::size_t at = 0; at < bytes.size(); at += 2) values.push_back(from_half(number_at<std::uint16_t>(std::as_bytes(std::span{bytes}), at)));
    return values;
}
}  // namespace

class GoldenVariant : public ::testing::TestWithParam<const char*> {};

TEST_P(GoldenVariant, HoldsTheExpectedTensors) {
    const auto expected = WeightFile::open(golden("pth-variants/expected.safetensors"));
    const auto file = WeightFile::open(golden(cat("pth-variants/", GetParam(), ".pth")));
    ASSERT_EQ(file.tensors().size(), 6U);
    for (const auto& [name, want] : expected.tensors()) {
        const auto found = file.tensors().find(name);
        ASSERT_NE(found, file.tensors().end()) << name;
        EXPECT_EQ(found->second.type, want.type) << name;
        EXPECT_EQ(found->second.shape, want.shape) << name;
        EXPECT_EQ(gathered(found->second), gathered(want)) << name;
    }
}

INSTANTIATE_TEST_SUITE_P(TorchArchive, GoldenVariant,
                         ::testing::Values("zip-separate", "zip-shared", "zip-strided", "zip-ordered-parameters", "legacy", "legacy-shared"),
                         [](const auto& variant) {
                             std::string name = variant.param;
                             std::ranges::replace(name, '-', '_');
                             return name;
                         });

TEST(TorchArchive, EachTensorKeepsItsElementType) {
    const auto expected = WeightFile::open(golden("pth-variants/expected.safetensors"));
    const auto file = WeightFile::open(golden("pth-variants/zip-mixed-dtypes.pth"));
    ASSERT_EQ(file.tensors().size(), expected.tensors().size());
    for (const auto& [name, want] : expected.tensors()) {
        const auto& got = file.tensors().at(name);
        ASSERT_EQ(got.shape, want.shape) << name;
        const auto bytes = gathered(got);
        const auto raw = std::as_bytes(std::span{bytes});
        const auto values = floats(want);
        if (name == "unet.linear.weight") {
            ASSERT_EQ(got.type, ElementType::f32);
            for (std::size_t i = 0; i < values.size(); ++i) EXPECT_EQ(number_at<std::uint32_t>(raw, 4 * i), std::bit_cast<std::uint32_t>(values[i])) << i;
        } else if (name == "unet.conv_in.bias") {
            ASSERT_EQ(got.type, ElementType::bf16);
            for (std::size_t i = 0; i < values.size(); ++i) EXPECT_EQ(number_at<std::uint16_t>(raw, 2 * i), to_bf16(values[i])) << i;
        } else
            EXPECT_EQ(bytes, gathered(want)) << name;
    }
}

TEST(TorchArchive, ViewsAreReadWhereTheyLie) {
    const auto file = WeightFile::open(golden("pth-variants/zip-strided.pth"));
    const auto& transposed = file.tensors().at("unet.linear.weight");
    EXPECT_EQ(transposed.strides, (Shape{1, 6}));
    EXPECT_FALSE(transposed.contiguous());
    const auto& stepped = file.tensors().at("unet.conv_in.weight");
    EXPECT_EQ(stepped.offset, 72);
    EXPECT_EQ(stepped.storage.size(), 1296U);
}

TEST(TorchArchive, SharedStoragesAreOneSpan) {
    for (const auto* const name : {"pth-variants/zip-shared.pth", "pth-variants/legacy-shared.pth"}) {
        const auto file = WeightFile::open(golden(name));
        for (const auto& [key, one] : file.tensors()) EXPECT_EQ(one.storage.data(), file.tensors().begin()->second.storage.data()) << key;
    }
}

TEST(TorchArchive, WhatIsWrittenIsReadBack) {
    const TemporaryFolder folder;
    const Samples samples;
    const auto path = folder.path() / "samples.pth";
    write_torch_archive(path, samples.tensors);
    expect_samples(WeightFile::open(path), samples);
    EXPECT_FALSE(std::filesystem::exists(path.string() + ".part"));

    const auto bytes = content(path);
    for (const auto& part : samples.contents)
        if (part.size() > 4) {
            EXPECT_EQ(bytes.find(part) % 64, 0U);
        }
}

TEST(TorchArchive, TheSameTensorsGiveTheSameBytes) {
    const TemporaryFolder folder;
    write_torch_archive(folder.path() / "one.pth", Samples{}.tensors);
    write_torch_archive(folder.path() / "two.pth", Samples{}.tensors);
    EXPECT_EQ(content(folder.path() / "one.pth"), content(folder.path() / "two.pth"));
}

TEST(TorchArchive, ManyRecordsNeedZip64) {
    const TemporaryFolder folder;
    const std::string byte = "7";
    std::vector<TensorToWrite> tensors;
    for (int i = 0; i < 66'000; ++i) tensors.push_back({cat("t", i), ElementType::u8, {1}, std::as_bytes(std::span{byte})});
    write_torch_archive(folder.path() / "many.pth", tensors);
    const auto file = WeightFile::open(folder.path() / "many.pth");
    EXPECT_EQ(file.tensors().size(), tensors.size());
    EXPECT_EQ(gathered(file.tensors().at("t65999")), "7");
}

TEST(TorchArchive, TheTestsOwnArchiveIsGood) {
    for (const auto kind : {Directory::plain, Directory::zip64}) {
        const auto bytes = archive(dict(text("w") + tensor()), {{"x/byteorder", "little"}, {"x/data/0", "abcd"}}, kind);
        const auto index = indexed(bytes);
        ASSERT_EQ(index.size(), 1U);
        EXPECT_EQ(gathered(index.at("w")), "abcd");
    }
}

TEST(TorchArchive, DataBeginsWhereTheLocalHeaderSaysSo) {
    const auto bytes = archive(dict(text("w") + tensor()), {{.name = "x/data/0", .data = "abcd", .extra = std::string("FB\3\0ZZZ", 7)}});
    EXPECT_EQ(gathered(indexed(bytes).at("w")), "abcd");
}

TEST(TorchArchive, ACheckpointsStateDictIsTaken) {
    const auto bytes = archive(dict(cat(text("epoch"), integer(3), text("outside"), tensor(), text("state_dict"), "}(", text("w"), tensor(), "u")));
    const auto index = indexed(bytes);
    ASSERT_EQ(index.size(), 1U);
    EXPECT_TRUE(index.contains("w"));
}

TEST(TorchArchive, WhatIsNoTensorIsLeftOut) {
    const auto nothing = cat(integer(1), integer(2), text("number"), integer(1), text("none"), "N", text("list"), "](", integer(1), "e", text("float"),
                             "G12345678", text("size"), "ctorch\nSize\n((", integer(1), "ttR");
    const auto bytes = archive(dict(nothing + text("w") + tensor()));
    const auto index = indexed(bytes);
    ASSERT_EQ(index.size(), 1U);
}

TEST(TorchArchive, EmptyAndExpandedTensorsAreAllowed) {
    const auto bytes = archive(dict(text("empty") + tensor({"0", 4, 4, {0, 3}, {3, 1}}) + text("expanded") + tensor({"0", 4, 3, {5}, {0}})));
    const auto index = indexed(bytes);
    EXPECT_EQ(gathered(index.at("empty")), "");
    EXPECT_EQ(gathered(index.at("expanded")), "ddddd");
}

TEST(TorchArchive, PicklesOfPython2AndOfLaterProtocolsAreRead) {
    const auto old_style = cat("\x80\x02", "ccollections\nOrderedDict\n(](](U\x01w", tensor(), "eetR.");
    const auto old_bytes = archive(old_style);
    EXPECT_EQ(gathered(indexed(old_bytes).at("w")), "abcd");
    const auto new_bytes = archive(cat("\x80\x04\x95", std::string(8, '\0'), "}\x94(\x8c\x01w", tensor(), "u."));
    EXPECT_EQ(gathered(indexed(new_bytes).at("w")), "abcd");
}

TEST(TorchArchive, AListThatHoldsItselfManyTimesCostsNothing) {
    // Each round appends the list's predecessor twice: 2^20000 elements if anything followed them.
    std::string pickle = text("bomb") + "]";
    for (int i = 0; i < 20'000; ++i) {
        const auto place = bytes_of_number<std::int32_t>(i);
        pickle += cat("r", place, "0](j", place, "j", place, "e");
    }
    const auto bytes = archive(dict(pickle + text("w") + tensor()));
    EXPECT_EQ(indexed(bytes).size(), 1U);
}

TEST(TorchArchiveRefuses, AFileThatIsCutShort) {
    const auto whole = archive(dict(text("w") + tensor()));
    EXPECT_THAT(refusal_of(whole.substr(0, whole.size() - 1)), AllOf(HasSubstr("cut short"), HasSubstr(cat(whole.size() - 1, " bytes"))));
    EXPECT_THAT(refusal_of(whole.substr(0, 40)), HasSubstr("cut short"));
    EXPECT_THAT(refusal_of(whole.substr(0, 4)), HasSubstr("cut short"));
    EXPECT_THAT(refusal_of(cat("PK\3\4", whole.substr(60))), HasSubstr("zip directory"));
}

TEST(TorchArchiveRefuses, ALegacyFileThatIsCutShort) {
    const auto whole = content(golden("pth-variants/legacy.pth"));
    EXPECT_THAT(refusal_of(whole.substr(0, whole.size() - 2)),
                AllOf(HasSubstr(cat(whole.size(), " bytes are expected")), HasSubstr(cat(whole.size() - 2, " are there"))));
    for (const std::size_t size : {1, 14, 15, 20, 100, 140, 500, 900}) EXPECT_THAT(refusal_of(whole.substr(0, size)), HasSubstr("cut short")) << size;
}

TEST(TorchArchiveRefuses, AStorageThatIsMissing) {
    EXPECT_THAT(refusal_of(archive(dict(text("w") + tensor()), {{"x/data/1", "abcd"}})), AllOf(HasSubstr("x/data/0"), HasSubstr("missing")));
}

TEST(TorchArchiveRefuses, AStorageOfAnotherSize) {
    EXPECT_THAT(refusal_of(archive(dict(text("w") + tensor()), {{"x/data/0", "abc"}})), AllOf(HasSubstr("has 3 bytes"), HasSubstr("4 elements of type U8")));
}

TEST(TorchArchiveRefuses, ATensorOutsideItsStorage) {
    for (const auto& it :
         {Described{"0", 4, 1, {4}, {1}}, Described{"0", 4, 0, {2, 2}, {3, 1}}, Described{"0", 4, -1, {1}, {1}}, Described{"0", 4, 5, {0}, {1}},
          Described{"0", 4, 0, {3}, {std::int64_t{1} << 62}}, Described{"0", 4, std::numeric_limits<std::int64_t>::max(), {2}, {1}}})
        EXPECT_THAT(refusal_of_tensor(it), AllOf(HasSubstr("tensor \"w\""), HasSubstr("does not lie inside its storage")));
}

TEST(TorchArchiveRefuses, AShapeThatCannotBe) {
    EXPECT_THAT(refusal_of_tensor({"0", 4, 0, {-1}, {1}}), HasSubstr("dim below zero"));
    EXPECT_THAT(refusal_of_tensor({"0", 4, 3, {2}, {-1}}), HasSubstr("stride below zero"));
    EXPECT_THAT(refusal_of_tensor({"0", 4, 0, {2, 2}, {1}}), HasSubstr("2 dims, but 1 strides"));
    EXPECT_THAT(refusal_of_tensor({"0", 4, 0, Shape(17, 1), Shape(17, 1)}), HasSubstr("more than 16 dims"));
    EXPECT_THAT(refusal_of_tensor({"0", 4, 0, {std::int64_t{1} << 40, std::int64_t{1} << 40}, {0, 0}}), HasSubstr("larger than any file"));
    EXPECT_THAT(refusal_of_tensor({"0", -4, 0, {1}, {1}}), HasSubstr("cannot be"));
}

TEST(TorchArchiveRefuses, ANegatedView) {
    EXPECT_EQ(indexed(archive(dict(text("w") + tensor({"0", 4, 0, {4}, {1}, "N"})))).size(), 1U);
    EXPECT_THAT(refusal_of_tensor({"0", 4, 0, {4}, {1}, cat("}", text("neg"), "\x88s")}), HasSubstr("resolve_neg()"));
}

TEST(TorchArchiveRefuses, APickleThatCallsAFunction) {
    EXPECT_THAT(refusal_of_pickle(cat("\x80\x02", "cposix\nsystem\n", text("touch /tmp/weft-was-here"), "\x85R.")),
                AllOf(HasSubstr("posix.system"), HasSubstr("nothing of it was run")));
    EXPECT_THAT(refusal_of_pickle(cat("\x80\x04", text("os"), text("system"), "\x93", text("true"), "\x85R.")), HasSubstr("os.system"));
    EXPECT_THAT(refusal_of_pickle(cat("\x80\x02", "c__builtin__\neval\n", text("1"), "\x85R.")), HasSubstr("__builtin__.eval"));
    const auto legacy = content(golden("pth-variants/legacy.pth"));
    EXPECT_THAT(refusal_of(cat(legacy.substr(0, 137), "\x80\x02", "cos\nsystem\n", text("true"), "\x85R.")), HasSubstr("os.system"));
}

TEST(TorchArchiveRefuses, ADamagedPickle) {
    for (const std::string& pickle :
         {std::string{""}, std::string{"\x80\x02"}, std::string{"\x80\x02."}, std::string{"\x80\x02u."}, std::string{"h\x05."},
          std::string{"}K\x01K\x02K\x03u."}, std::string{"](K\x01u."}, std::string{"}(K\x01u."},
          std::string{"}K\x01"
                      "a."},
          std::string{"}]R."}, std::string{"}Nb0Nb."}, std::string{")Q."}, std::string{"\xff."}, std::string{"X\xff\xff\xff\xff."},
          std::string{"\x8b\xff\xff\xff\xff."}, std::string{"U\x02\xc3\x28."}, cat("c", std::string(1000, 'm')), std::string{"\x80\x09."}})
        EXPECT_THAT(refusal_of_pickle(pickle), HasSubstr("its pickle")) << pickle;
}

TEST(TorchArchiveRefuses, APickleOfTooManyOperations) {
    EXPECT_THAT(refusal_of_pickle(std::string(5'000'000, ']') + "."), HasSubstr("needs more than"));
}

TEST(TorchArchiveRefuses, APickleWithoutTensors) {
    EXPECT_THAT(refusal_of_pickle("\x80\x02K\x01."), HasSubstr("no dict of tensors"));
    EXPECT_THAT(refusal_of_pickle(dict(text("a") + integer(1))), HasSubstr("no tensors by name"));
}

TEST(TorchArchiveRefuses, ANameThatIsThereTwice) {
    EXPECT_THAT(refusal_of_pickle(dict(text("w") + tensor() + text("w") + tensor())), HasSubstr("twice"));
}

TEST(TorchArchiveRefuses, ACompressedRecord) {
    const auto message = refusal_of(archive(dict(text("w") + tensor()), {{"x/data/0", "abcd", 8}}));
    EXPECT_THAT(message, AllOf(HasSubstr("x/data/0"), HasSubstr("compressed"), HasSubstr("save it again with torch.save")));
}

TEST(TorchArchiveRefuses, AZipBomb) {
    const std::uint64_t petabyte = std::uint64_t{1} << 50;
    EXPECT_THAT(refusal_of(zip({{"x/data.pkl", "abcd", 8, petabyte}}, Directory::zip64)), HasSubstr("compressed"));
    EXPECT_THAT(refusal_of(zip({{"x/data.pkl", "abcd", 0, petabyte}}, Directory::zip64)), HasSubstr(std::to_string(petabyte)));
    EXPECT_THAT(refusal_of(zip({{"x/data.pkl", "abcd", 0, 0xfffffff0}})), HasSubstr("4294967280 bytes"));
    EXPECT_THAT(refusal_of(zip({{"x/data.pkl", "abcd", 0, ~std::uint64_t{0}}}, Directory::zip64)), HasSubstr("zip directory"));
    // Records that lie in each other.
    const auto inner = zip({{"x/data/0", "abcd"}});
    const auto nested = zip({{"x/data.pkl", inner}, {"x/data/0", "abcd", 0, {}, 40}});
    EXPECT_THAT(refusal_of(nested), HasSubstr("overlap"));
}

TEST(TorchArchiveRefuses, ADirectoryThatPointsElsewhere) {
    EXPECT_THAT(refusal_of(zip({{"x/data.pkl", "abcd", 0, {}, 5}})), HasSubstr("where none begins"));
    EXPECT_THAT(refusal_of(zip({{"x/data.pkl", "abcd", 0, {}, ~std::uint64_t{0}}}, Directory::zip64)), HasSubstr("where none begins"));
    EXPECT_THAT(refusal_of(zip({{"x/data.pkl", "abcd"}, {"x/data.pkl", "abcd"}})), HasSubstr("twice"));
    EXPECT_THAT(refusal_of(zip({{"x/data.pkl", "abcd"}, {"y/data.pkl", "abcd", 0, {}, 0}})), HasSubstr("disagree on the name"));
}

TEST(TorchArchiveRefuses, ZipFilesThatAreNoArchive) {
    EXPECT_THAT(refusal_of(zip({{"word/document.xml", "abcd"}})), HasSubstr("no torch archive"));
    EXPECT_THAT(refusal_of(zip({{"x/data.pkl", "abcd"}, {"y/data.pkl", "abcd"}})),
                AllOf(HasSubstr("x/data.pkl"), HasSubstr("y/data.pkl"), HasSubstr("more than one")));
}

TEST(TorchArchiveRefuses, AnotherByteOrder) {
    EXPECT_THAT(refusal_of(archive(dict(text("w") + tensor()), {{"x/byteorder", "big"}, {"x/data/0", "abcd"}})), HasSubstr("byte order"));
}

TEST(TorchArchiveRefuses, PicklesThatAreNoArchive) {
    EXPECT_THAT(refusal_of("\x80\x02}."), HasSubstr("is a pickle, but no torch archive"));
}

TEST(TorchArchiveRefuses, ALegacyStorageOfAnotherSize) {
    auto bytes = content(golden("pth-variants/legacy-shared.pth"));
    ++bytes[816];  // the element count in front of the storage
    EXPECT_THAT(refusal_of(bytes), AllOf(HasSubstr("has 356 elements"), HasSubstr("355 are expected")));
}

}  // namespace weft::io
