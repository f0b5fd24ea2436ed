// Cuts a line into words and '+'-joined terms that remember their column, and reads numbers from them.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "cases/error.h"

namespace attest::grammar {

// A piece of a line and where it starts (1-based).
struct Token {
  std::string_view text;
  int column = 1;

  Token from(std::size_t position) const { return {text.substr(position), column + static_cast<int>(position)}; }
  Token first(std::size_t count) const { return {text.substr(0, count), column}; }
};

// "name:argument"; has_arg tells "name" from "name:".
struct Term {
  Token whole, name, arg;
  bool has_arg = false;
};

// An input error that points at a token; the caller of the parser adds line and file.
Unexpected error_at(const Token& token, std::string message, std::string hint = {});

// Words between blanks.
std::vector<Token> split_words(const Token& line);
// Pieces between '+'; the sign of an exponent (1e+20) does not split.
std::vector<Term> split_terms(const Token& value);

// Whole-token numbers. `what` names the value in messages: "n_kv", "window".
Expected<std::int64_t> read_int(const Token& token, std::string_view what, std::int64_t low, std::int64_t high);
Expected<std::uint64_t> read_seed(const Token& token, std::string_view what);
// Finite; -0 becomes 0.
Expected<double> read_double(const Token& token, std::string_view what);
Expected<float> read_float(const Token& token, std::string_view what);

// Shortest text that reads back as the same number; exponents without '+'.
std::string number_text(double value);
std::string number_text(float value);

}  // namespace attest::grammar
