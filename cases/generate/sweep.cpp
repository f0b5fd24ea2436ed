#include "cases/generate/sweep.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <optional>

#include "cases/grammar/lexer.h"

namespace attest {
namespace {

constexpr double kLogFrom = 32;
constexpr std::int64_t kStandardPoints = 13, kMaxPoints = 10000;

std::optional<double> number(std::string_view text) {
  const auto read = grammar::read_double({text, 1}, "the value");
  if (!read) return {};
  return *read;
}

Unexpected wrong(std::string_view text, std::string_view why) {
  return input_error(fmt::format("--axis '{}': {}", text, why),
                     "e.g. n_kv=1..4096:log, d=64,128 or softcap=1..50:lin:9");
}

std::vector<std::string_view> split(std::string_view text, char at) {
  std::vector<std::string_view> out;
  for (std::size_t begin = 0; begin <= text.size();) {
    const auto end = std::min(text.find(at, begin), text.size());
    out.push_back(text.substr(begin, end - begin));
    begin = end + 1;
  }
  return out;
}

}  // namespace

Expected<SweepAxis> parse_sweep_axis(std::string_view text, bool (*whole)(std::string_view name)) {
  const auto equals = text.find('=');
  if (equals == std::string_view::npos || equals == 0) return wrong(text, "expected name=range");
  SweepAxis axis{std::string(text.substr(0, equals)), {}};
  const auto range = text.substr(equals + 1);
  const auto dots = range.find("..");
  if (dots == std::string_view::npos) {
    for (const auto word : split(range, ',')) {
      if (word.empty()) return wrong(text, "an empty value");
      axis.values.emplace_back(word);
    }
    return axis;
  }
  const auto parts = split(range.substr(dots + 2), ':');
  const auto low = number(range.substr(0, dots)), high = number(parts[0]);
  if (!low || !high || !(*low < *high)) return wrong(text, "a range is LOW..HIGH, two numbers");
  bool logarithmic = *low > 0 && *high / *low >= kLogFrom;
  std::int64_t points = kStandardPoints;
  for (std::size_t i = 1; i < parts.size(); ++i) {
    if (parts[i] == "log" || parts[i] == "lin") {
      logarithmic = parts[i] == "log";
    } else if (const auto n = grammar::read_int({parts[i], 1}, "points", 2, kMaxPoints)) {
      points = *n;
    } else {
      return wrong(text, fmt::format("'{}' is neither log, lin nor a number of points", parts[i]));
    }
  }
  if (logarithmic && !(*low > 0)) return wrong(text, "a logarithmic range starts above 0");
  const bool rounded = *low == std::floor(*low) && *high == std::floor(*high) && whole(axis.name);
  for (std::int64_t i = 0; i < points; ++i) {
    const double share = static_cast<double>(i) / static_cast<double>(points - 1);
    double value = logarithmic ? *low * std::pow(*high / *low, share) : *low + (*high - *low) * share;
    if (i == 0) value = *low;
    if (i == points - 1) value = *high;
    // Six digits say which point it is; more would only make lines long.
    std::string word = rounded ? fmt::format("{}", std::llround(value))
                               : grammar::number_text(std::stod(fmt::format("{:.6g}", value)));
    if (axis.values.empty() || axis.values.back() != word) axis.values.push_back(std::move(word));
  }
  return axis;
}

}  // namespace attest
