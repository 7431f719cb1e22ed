#pragma once
#include "base/error.hpp"
#include "base/text.hpp"
#include "io/bytes.hpp"
#include "io/weight_file.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <stdlib.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>
#include <string>

/// What the tests of the weight readers share: files made by bytes in a temporary folder.
namespace weft::io {

/// A folder that goes with the object.
class TemporaryFolder {
  public:
    TemporaryFolder() {
        std::string pattern = (std::filesystem::temp_directory_path() / "weft-weights-XXXXXX").string();
        ensure(::mkdtemp(pattern.data()) != nullptr, "a temporary folder");
        path_ = pattern;
    }
    TemporaryFolder(const TemporaryFolder&) = delete;
    TemporaryFolder& operator=(const TemporaryFolder&) = delete;
    ~TemporaryFolder() { std::filesystem::remove_all(path_); }

    [[nodiscard]] const std::filesystem::path& path() const { return path_; }

    [[nodiscard]] std::filesystem::path file(const std::string& name, std::string_view bytes) const {
        std::ofstream(path_ / name, std::ios::binary) << bytes;
        return path_ / name;
    }

  private:
    std::filesystem::path path_;
};

inline std::filesystem::path golden(const std::string& name) {
    const char* const folder = std::getenv("WEFT_GOLDEN");
    return std::filesystem::path{folder != nullptr ? folder : WEFT_SOURCE_DIR "/tests/golden"} / "mimicmotion" / name;
}

inline std::string content(const std::filesystem::path& path) {
    return read_text(path);
}

template <class Number>
std::string bytes_of_number(std::type_identity_t<Number> number) {
    return {reinterpret_cast<const char*>(&number), sizeof(number)};
}

/// The text with which opening `path` is refused, which must be a user's mistake and name the file.
inline std::string refusal(const std::filesystem::path& path) {
    try {
        static_cast<void>(WeightFile::open(path));
    } catch (const Error& error) {
        EXPECT_EQ(error.code(), ExitCode::user_mistake) << error.what();
        EXPECT_THAT(error.what(), ::testing::HasSubstr(path.filename().string()));
        return error.what();
    }
    ADD_FAILURE() << path << " was opened";
    return {};
}

/// The elements in row-major order, read one by one through the strides.
inline std::string gathered(const StoredTensor& tensor) {
    const auto width = element_bytes(tensor.type);
    std::string out;
    Shape at(tensor.shape.size(), 0);
    for (std::int64_t left = tensor.num_elements(); left > 0; --left) {
        std::int64_t element = tensor.offset;
        for (std::size_t dim = 0; dim < at.size(); ++dim) element += at[dim] * tensor.strides[dim];
        out += as_text(tensor.storage.subspan(static_cast<std::size_t>(element) * width, width));
        for (std::size_t dim = at.size(); dim-- > 0;) {
            if (++at[dim] < tensor.shape[dim]) break;
            at[dim] = 0;
        }
    }
    return out;
}

/// Tensors of several types and shapes, empty and scalar ones among them.
struct Samples {
    std::vector<std::string> contents;
    std::vector<TensorToWrite> tensors;

    Samples() {
        const std::vector<std::pair<ElementType, Shape>> kinds{
            {ElementType::f32, {2, 3}}, {ElementType::f16, {5}}, {ElementType::bf16, {1, 3}}, {ElementType::f64, {}}, {ElementType::i64, {2}},
            {ElementType::i32, {0, 4}}, {ElementType::i16, {3}}, {ElementType::i8, {7}},      {ElementType::u8, {1}}, {ElementType::boolean, {2, 2}}};
        contents.reserve(kinds.size());  // the tensors point into it
        for (const auto& [type, shape] : kinds) {
            std::string bytes(static_cast<std::size_t>(*bytes_of(type, shape)), '\0');
            for (std::size_t i = 0; i < bytes.size(); ++i)
                bytes[i] = type == ElementType::boolean ? static_cast<char>(i % 2) : static_cast<char>(17 * i + contents.size());
            contents.push_back(std::move(bytes));
            tensors.push_back({cat("block.", contents.size(), ".\"weight\" \u00e9"), type, shape, std::as_bytes(std::span{contents.back()})});
        }
    }
};

inline void expect_samples(const WeightFile& file, const Samples& samples) {
    ASSERT_EQ(file.tensors().size(), samples.tensors.size());
    for (const auto& written : samples.tensors) {
        const auto found = file.tensors().find(written.name);
        ASSERT_NE(found, file.tensors().end()) << written.name;
        EXPECT_EQ(found->second.type, written.type) << written.name;
        EXPECT_EQ(found->second.shape, written.shape) << written.name;
        EXPECT_TRUE(found->second.contiguous()) << written.name;
        EXPECT_EQ(gathered(found->second), as_text(written.bytes)) << written.name;
    }
}

}  // namespace weft::io
