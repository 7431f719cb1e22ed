#pragma once
#include <cstdint>
#include <filesystem>
#include <initializer_list>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <variant>

namespace weft {

/// The `--events FILE`: one JSON object a line. Every line has "event" and "t" (seconds since the file was opened).
class Events {
  public:
    using Value = std::variant<std::int64_t, double, bool, std::string>;
    struct Field {
        std::string_view name;
        Value value;
    };

    /// Writes nothing.
    Events();
    /// Appends to `path`. Refuses (exit code 2) when it cannot be opened.
    explicit Events(const std::filesystem::path& path);
    ~Events();
    [[nodiscard]] bool on() const { return sink_ != nullptr; }

    void emit(std::string_view event, std::initializer_list<Field> fields = {}) { emit(event, std::span(fields)); }
    void emit(std::string_view event, std::span<const Field> fields);

  private:
    struct Sink;
    std::unique_ptr<Sink> sink_;
};

}  // namespace weft
