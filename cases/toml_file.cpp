#include "cases/toml_file.h"

#include <fmt/format.h>

#include <algorithm>

namespace attest {

Expected<toml::table> TomlFile::parse() const {
  try {
    return toml::parse(text_, path_);
  } catch (const toml::parse_error& error) {
    return wrong(error.source(), std::string(error.description()));
  }
}

Unexpected TomlFile::wrong_at(int line, int column, std::string message, std::string hint) const {
  return Unexpected(Error{ErrorKind::input, std::move(message), path_, line, column, line_of(line), std::move(hint)});
}

Expected<void> TomlFile::known_keys(const toml::table& table, std::string_view where,
                                    const std::vector<std::string>& names) const {
  for (const auto& [key, value] : table) {
    if (std::find(names.begin(), names.end(), key.str()) != names.end()) continue;
    std::string hint = did_you_mean(key.str(), names);
    if (hint.empty()) hint = fmt::format("one of: {}", fmt::join(names, ", "));
    return wrong(key.source(), fmt::format("{}unknown key '{}'", where, key.str()), hint);
  }
  return {};
}

std::string TomlFile::line_of(int number) const {
  std::string_view rest = text_;
  for (int i = 1; i < number; ++i) {
    const auto end = rest.find('\n');
    if (end == std::string_view::npos) return {};
    rest.remove_prefix(end + 1);
  }
  return number < 1 ? std::string() : std::string(rest.substr(0, rest.find_first_of("\r\n")));
}

}  // namespace attest
