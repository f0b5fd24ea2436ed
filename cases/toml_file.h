// A TOML file that is read for a user: errors have file, line, column, the line itself and the nearest valid word.
#pragma once

#include <toml++/toml.h>

#include <string>
#include <string_view>
#include <vector>

#include "cases/error.h"

namespace attest {

// The text must outlive it.
class TomlFile {
 public:
  TomlFile(std::string_view text, std::string path) : text_(text), path_(std::move(path)) {}

  Expected<toml::table> parse() const;
  const std::string& path() const { return path_; }

  // `offset`: columns behind the place, e.g. into a string.
  Unexpected wrong(const toml::source_region& where, std::string message, std::string hint = {}, int offset = 0) const {
    return wrong_at(static_cast<int>(where.begin.line), static_cast<int>(where.begin.column) + offset,
                    std::move(message), std::move(hint));
  }
  Unexpected wrong_at(int line, int column, std::string message, std::string hint = {}) const;

  // Every key of the table is one of these; `where` stands before the message, e.g. "contract: ".
  Expected<void> known_keys(const toml::table& table, std::string_view where,
                            const std::vector<std::string>& names) const;

 private:
  std::string line_of(int number) const;

  std::string_view text_;
  std::string path_;
};

}  // namespace attest
