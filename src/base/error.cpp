#include "base/error.hpp"

#include "base/text.hpp"

#include <new>
#include <system_error>

namespace weft {

namespace {
std::string place(const std::source_location& at) {
    std::string_view file = at.file_name();
    if (const auto slash = file.rfind("/src/"); slash != std::string_view::npos) file.remove_prefix(slash + 1);
    return cat(" (", file, ":", at.line(), ")");
}
}  // namespace

ExitCode exit_code_of(const std::exception& error) noexcept {
    if (const auto* const ours = dynamic_cast<const Error*>(&error)) return ours->code();
    return dynamic_cast<const std::bad_alloc*>(&error) != nullptr ? ExitCode::does_not_fit : ExitCode::failure;
}

std::string text_of(const std::exception& error) {
    return dynamic_cast<const std::bad_alloc*>(&error) != nullptr ? "out of memory" : error.what();
}

void fail(const std::string& text, std::source_location at) {
    throw Error(ExitCode::failure, text + place(at));
}

void refuse(const std::string& text) {
    throw Error(ExitCode::user_mistake, text);
}

void ensure(bool condition, std::string_view what, std::source_location at) {
    if (!condition) throw Error(ExitCode::failure, cat("weft has a bug: ", what, place(at), ". Please report it."));
}

std::string errno_text(int number) {
    return std::generic_category().message(number);
}

void Mistakes::add(std::string_view key, std::string_view value, std::string_view allowed, std::string_view advice) {
    std::string text = cat(key, " = ", value, ": ", allowed);
    if (!advice.empty()) text += cat("; ", advice);
    add(std::move(text));
}

void Mistakes::throw_if_any(std::string_view about) const {
    if (empty()) return;
    std::string text{about};
    for (const auto& one : texts_) text += cat("\n  ", one);
    refuse(text);
}

}  // namespace weft
