#include "cases/grammar/lexer.h"

#include <fmt/format.h>

#include <cctype>
#include <charconv>
#include <cmath>
#include <cstdlib>
#include <version>

namespace attest::grammar {
namespace {

bool is_blank(char c) { return c == ' ' || c == '\t' || c == '\r'; }
bool is_digit(char c) { return c >= '0' && c <= '9'; }

bool is_exponent_sign(std::string_view text, std::size_t plus) {
  return plus >= 2 && plus + 1 < text.size() && (text[plus - 1] == 'e' || text[plus - 1] == 'E') &&
         (is_digit(text[plus - 2]) || text[plus - 2] == '.') && is_digit(text[plus + 1]);
}

bool looks_like_number(std::string_view text) {
  if (text.empty()) return false;
  if (text.front() == '-') text.remove_prefix(1);
  return !text.empty() && (is_digit(text.front()) || text.front() == '.');
}

template <class T>
std::errc convert(std::string_view text, T& value) {
#if defined(__cpp_lib_to_chars)
  const auto [end, code] = std::from_chars(text.data(), text.data() + text.size(), value);
  return code == std::errc() && end != text.data() + text.size() ? std::errc::invalid_argument : code;
#else
  // libc++ before 20 reads no floating-point numbers with from_chars.
  const std::string copy(text);
  char* end = nullptr;
  if constexpr (sizeof(T) == sizeof(float)) {
    value = std::strtof(copy.c_str(), &end);
  } else {
    value = std::strtod(copy.c_str(), &end);
  }
  if (end != copy.c_str() + copy.size()) return std::errc::invalid_argument;
  return std::isfinite(value) ? std::errc() : std::errc::result_out_of_range;
#endif
}

template <class T>
Expected<T> read_real(const Token& token, std::string_view what) {
  T value = 0;
  const std::errc code = looks_like_number(token.text) ? convert(token.text, value) : std::errc::invalid_argument;
  if (code == std::errc::result_out_of_range) {
    return error_at(token, fmt::format("{} is out of range: '{}'", what, token.text));
  }
  if (code != std::errc()) return error_at(token, fmt::format("{} must be a number, not '{}'", what, token.text));
  return value + T{0};
}

std::string without_plus(std::string text) {
  if (const auto plus = text.find('+'); plus != std::string::npos) text.erase(plus, 1);
  return text;
}

}  // namespace

Unexpected error_at(const Token& token, std::string message, std::string hint) {
  return Unexpected(Error{ErrorKind::input, std::move(message), {}, 0, token.column, {}, std::move(hint)});
}

std::vector<Token> split_words(const Token& line) {
  std::vector<Token> words;
  std::size_t i = 0;
  while (i < line.text.size()) {
    if (is_blank(line.text[i])) {
      ++i;
      continue;
    }
    std::size_t end = i;
    while (end < line.text.size() && !is_blank(line.text[end])) ++end;
    words.push_back(line.from(i).first(end - i));
    i = end;
  }
  return words;
}

std::vector<Term> split_terms(const Token& value) {
  std::vector<Term> terms;
  std::size_t begin = 0;
  for (std::size_t i = 0; i <= value.text.size(); ++i) {
    if (i < value.text.size() && (value.text[i] != '+' || is_exponent_sign(value.text, i))) continue;
    Term term;
    term.whole = value.from(begin).first(i - begin);
    const auto colon = term.whole.text.find(':');
    term.has_arg = colon != std::string_view::npos;
    term.name = term.has_arg ? term.whole.first(colon) : term.whole;
    if (term.has_arg) term.arg = term.whole.from(colon + 1);
    terms.push_back(term);
    begin = i + 1;
  }
  return terms;
}

Expected<std::int64_t> read_int(const Token& token, std::string_view what, std::int64_t low, std::int64_t high) {
  std::int64_t value = 0;
  const char* end = token.text.data() + token.text.size();
  const auto [stop, code] = std::from_chars(token.text.data(), end, value);
  if (code == std::errc::invalid_argument || stop != end) {
    return error_at(token, fmt::format("{} must be a whole number, not '{}'", what, token.text));
  }
  if (code == std::errc::result_out_of_range || value < low || value > high) {
    return error_at(token, fmt::format("{} = {} is out of range", what, token.text),
                    fmt::format("{} to {}", low, high));
  }
  return value;
}

Expected<std::uint64_t> read_seed(const Token& token, std::string_view what) {
  std::uint64_t value = 0;
  const char* end = token.text.data() + token.text.size();
  const auto [stop, code] = std::from_chars(token.text.data(), end, value);
  if (code == std::errc::result_out_of_range) {
    return error_at(token, fmt::format("{} = {} is out of range", what, token.text), "0 to 2^64 - 1");
  }
  if (code != std::errc() || stop != end) {
    return error_at(token, fmt::format("{} must be a whole number from 0 on, not '{}'", what, token.text));
  }
  return value;
}

Expected<double> read_double(const Token& token, std::string_view what) { return read_real<double>(token, what); }
Expected<float> read_float(const Token& token, std::string_view what) { return read_real<float>(token, what); }

std::string number_text(double value) { return without_plus(fmt::format("{}", value)); }
std::string number_text(float value) { return without_plus(fmt::format("{}", value)); }

}  // namespace attest::grammar
