#pragma once
#include "base/error.hpp"

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

namespace weft::model {

/// One JSON config file of a published model; asks for its values and notes what does not fit. Keys that are absent leave a value as it is.
class ConfigReader {
  public:
    ConfigReader(const std::filesystem::path& path, Mistakes& mistakes);

    void whole(const char* key, std::int64_t& value, std::int64_t least = 1);
    void real(const char* key, double& value);
    void reals(const char* key, std::vector<double>& value, std::size_t count);

    /// A list of whole numbers, or one number for all `count` levels.
    void levels(const char* key, std::vector<std::int64_t>& value, std::size_t count, std::int64_t most = 65536);

    /// Entries of a list; `otherwise` where there is none.
    [[nodiscard]] std::size_t length(const char* key, std::size_t otherwise) const;

    /// Each of `count` block names must be `with` or `without`; `value` says which.
    void blocks(const char* key, std::vector<bool>& value, std::size_t count, const char* with, const char* without);

    /// The only value that the published classes use.
    void must_be(const char* key, const char* wanted);
    void must_be(const char* key, std::int64_t wanted);
    void must_be(const char* key, bool wanted);

    /// Every number must be a multiple of `divisor`; `why` says so to people.
    void must_divide(const char* key, const std::vector<std::int64_t>& values, std::int64_t divisor, const char* why);

    void wrong(const char* key, const std::string& allowed);

    /// The same reader over an object inside: `at("vision_config")`; this one where it has no such key.
    [[nodiscard]] ConfigReader inside(const char* key) const;

  private:
    struct Object;  ///< the JSON
    ConfigReader(std::filesystem::path path, std::shared_ptr<const Object> object, Mistakes& mistakes);

    std::filesystem::path path_;
    Mistakes& mistakes_;
    std::shared_ptr<const Object> object_;
};

}  // namespace weft::model
