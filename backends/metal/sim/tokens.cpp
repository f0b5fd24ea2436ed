#include "backends/metal/sim/tokens.h"

#include <cctype>
#include <charconv>

namespace attest::metal {
namespace {

bool word_letter(char c) { return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '_'; }

class Cutter {
 public:
  explicit Cutter(std::string_view source) : source_(source) {}

  std::vector<Token> run() {
    while (at_ < source_.size()) step();
    return std::move(tokens_);
  }

 private:
  char here() const { return source_[at_]; }

  void step() {
    const char c = here();
    if (c == '\n') {
      ++line_;
      ++at_;
      line_start_ = true;
    } else if (std::isspace(static_cast<unsigned char>(c)) != 0) {
      ++at_;
    } else if (c == '#' && line_start_) {
      directive();
    } else {
      line_start_ = false;
      token(c);
    }
  }

  // # 12 "file" flags
  void directive() {
    const std::size_t end = std::min(source_.find('\n', at_), source_.size());
    const std::string_view text = source_.substr(at_, end - at_);
    at_ = end;
    const std::size_t digit = text.find_first_not_of("# \t");
    const std::size_t quote = text.find('"');
    if (digit == std::string_view::npos || quote == std::string_view::npos) return;
    int line = 0;
    if (std::from_chars(text.data() + digit, text.data() + text.size(), line).ec != std::errc()) return;
    file_ = text.substr(quote + 1, text.rfind('"') - quote - 1);
    line_ = line - 1;  // the line break after the marker counts
  }

  void token(char c) {
    const std::size_t start = at_;
    Token::Kind kind = Token::Kind::sign;
    if (c == '"' || c == '\'') {
      kind = Token::Kind::text;
      for (++at_; at_ < source_.size() && here() != c; ++at_) {
        if (here() == '\\') ++at_;
      }
      ++at_;
    } else if (std::isdigit(static_cast<unsigned char>(c)) != 0) {
      kind = Token::Kind::number;
      for (; at_ < source_.size(); ++at_) {
        const char previous = at_ > start ? source_[at_ - 1] : '0';
        const bool exponent_sign = (here() == '+' || here() == '-') && (previous == 'e' || previous == 'p');
        if (!word_letter(here()) && here() != '.' && !exponent_sign) break;
      }
    } else if (word_letter(c)) {
      kind = Token::Kind::word;
      while (at_ < source_.size() && word_letter(here())) ++at_;
    } else {
      const std::string_view two = source_.substr(at_, 2);
      at_ += two == "::" || two == "->" || two == "&&" ? 2U : 1U;
    }
    at_ = std::min(at_, source_.size());
    tokens_.push_back({kind, source_.substr(start, at_ - start), start, line_, file_});
  }

  std::string_view source_, file_;
  std::size_t at_ = 0;
  int line_ = 1;
  bool line_start_ = true;
  std::vector<Token> tokens_;
};

}  // namespace

std::vector<Token> tokens_of(std::string_view source) { return Cutter(source).run(); }

std::size_t closing(const std::vector<Token>& tokens, std::size_t open) {
  const std::string_view opener = tokens[open].text;
  const std::string_view closer = opener == "(" ? ")" : opener == "[" ? "]" : opener == "{" ? "}" : ">";
  int depth = 0;
  for (std::size_t i = open; i < tokens.size(); ++i) {
    if (tokens[i].is(opener)) ++depth;
    if (tokens[i].is(closer) && --depth == 0) return i;
  }
  return tokens.size();
}

}  // namespace attest::metal
