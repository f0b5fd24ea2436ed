#include "reports/text.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

namespace attest {

std::string shell_quoted(std::string_view text) {
  std::string out = "'";
  for (const char c : text) {
    if (c == '\'') {
      out += "'\\''";
    } else {
      out += c;
    }
  }
  return out + "'";
}

std::string printable(std::string_view text) {
  std::string out(text);
  std::replace_if(
      out.begin(), out.end(), [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7f; }, ' ');
  return out;
}

std::string wrapped(std::string_view text, std::size_t width, std::size_t indent) {
  const std::size_t room = std::max<std::size_t>(width > indent ? width - indent : 0, 8);
  std::string out;
  std::size_t used = 0;
  while (!text.empty()) {
    if (text.front() == ' ') {
      text.remove_prefix(1);
      continue;
    }
    const std::string_view word = text.substr(0, std::min({text.find(' '), text.size(), room}));
    if (used > 0 && used + 1 + word.size() > room) {
      out += '\n' + std::string(indent, ' ');
      used = 0;
    }
    if (used > 0) {
      out += ' ';
      ++used;
    }
    out += word;
    used += word.size();
    text.remove_prefix(word.size());
  }
  return out;
}

std::string shortened(std::string_view text, std::size_t width) {
  if (text.size() <= width || width < 5) return std::string(text);
  const std::size_t head = (width - 3) / 2, tail = width - 3 - head;
  return fmt::format("{}...{}", text.substr(0, head), text.substr(text.size() - tail));
}

std::string count_of(std::int64_t n, std::string_view singular, std::string_view plural) {
  return fmt::format("{} {}", n, n == 1 ? singular : plural);
}

std::string duration(double seconds) {
  if (!(seconds >= 9.995)) return fmt::format("{:.2f} s", seconds);
  if (seconds < 99.95) return fmt::format("{:.1f} s", seconds);
  const auto whole = static_cast<std::int64_t>(std::llround(seconds));
  if (whole < 3600) return fmt::format("{} min {:02} s", whole / 60, whole % 60);
  return fmt::format("{} h {:02} min", whole / 3600, whole % 3600 / 60);
}

}  // namespace attest
