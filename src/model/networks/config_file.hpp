#pragma once
#include "base/error.hpp"

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

namespace weft::model {

/// Where the files of a model folder lie, by a short name. What is not there has an empty path.
using Files = std::map<std::string, std::filesystem::path>;

/// One config file of a published model, JSON or YAML. What describes a config goes through it value by value, in the same way when a file is read and when
/// one is written. Reading notes what does not fit, with what is allowed; keys that are absent leave a value as it is.
class ConfigFile {
  public:
    /// A file that does not exist reads as an empty one: who looks for files has named it.
    [[nodiscard]] static ConfigFile read(const std::filesystem::path& path, Mistakes& mistakes);
    /// To be written: `text` when all values are in.
    [[nodiscard]] static ConfigFile blank();

    [[nodiscard]] bool reading() const { return mistakes_ != nullptr; }
    /// What was put in, as JSON, which is YAML as well.
    [[nodiscard]] std::string text() const;

    void whole(const char* key, std::int64_t& value, std::int64_t least = 1);
    void real(const char* key, double& value);  ///< above 0
    void reals(const char* key, std::vector<double>& value, std::size_t count);

    /// A list of whole numbers, or one number for all levels.
    void levels(const char* key, std::vector<std::int64_t>& value, std::int64_t most = 65536);
    /// The list whose length is the number of levels, one to eight: all others get that many entries.
    void widths(const char* key, std::vector<std::int64_t>& value);
    /// A block name a level: `with` or `without`; `value` says which.
    void blocks(const char* key, std::vector<bool>& value, const std::string& with, const std::string& without);
    /// A list with the same name for each level.
    void all_blocks(const char* key, const std::string& name);

    /// The only value that weft knows, which is that of the published models.
    void must_be(const char* key, const char* wanted);
    void must_be(const char* key, std::int64_t wanted);
    void must_be(const char* key, bool wanted);

    /// Every number must be a multiple of `divisor`; `why` says so to people.
    void must_divide(const char* key, const std::vector<std::int64_t>& values, std::int64_t divisor, const char* why);

    void wrong(const std::string& key, const std::string& allowed) const;

    enum class Absent { empty, same };
    /// The object `key` inside; where it is absent an empty one, or this one.
    [[nodiscard]] ConfigFile inside(const std::string& key, Absent absent = Absent::empty) const;

  private:
    struct Root;
    ConfigFile(std::shared_ptr<Root> root, Mistakes* mistakes) : root_{std::move(root)}, mistakes_{mistakes} {}

    void must_be_json(const char* key, const std::string& wanted);
    [[nodiscard]] std::size_t num_levels() const;

    std::shared_ptr<Root> root_;
    std::vector<std::string> at_;  ///< keys from the root down to the object that this is
    Mistakes* mistakes_;           ///< nowhere when a file is written
};

/// The config files of a model folder by their names in `Files`: all read, or all written.
class ConfigFiles {
  public:
    ConfigFiles(const Files& files, Mistakes& mistakes) : files_{files}, mistakes_{&mistakes} {}
    explicit ConfigFiles(const Files& files) : files_{files} {}

    [[nodiscard]] bool reading() const { return mistakes_ != nullptr; }
    [[nodiscard]] const Files& files() const { return files_; }
    [[nodiscard]] Mistakes& mistakes() const { return *mistakes_; }

    /// Goes through the file `name`.
    void file(const char* name, const std::function<void(ConfigFile&)>& describe) const;

  private:
    Files files_;
    Mistakes* mistakes_ = nullptr;
};

}  // namespace weft::model
