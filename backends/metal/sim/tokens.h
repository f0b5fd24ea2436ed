// Cuts preprocessed MSL into tokens that know where they stand, for the rewriting a host compiler needs.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace attest::metal {

struct Token {
  enum class Kind { word, number, text, sign };
  Kind kind = Kind::sign;
  std::string_view text;  // "::", "->" and "&&" are one sign, all others one character
  std::size_t at = 0;     // offset in the source
  int line = 0;           // as the line markers of the preprocessor have it
  std::string_view file;

  bool is(std::string_view t) const { return text == t; }
};

// Line markers ("# 12 \"file\"") and #pragma lines give no tokens.
std::vector<Token> tokens_of(std::string_view source);

// Index of the token that closes the bracket at `open` ("(", "[", "{" or "<"), or tokens.size().
std::size_t closing(const std::vector<Token>& tokens, std::size_t open);

}  // namespace attest::metal
