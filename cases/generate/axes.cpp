#include "cases/generate/axes.h"

#include <fmt/format.h>

#include <charconv>
#include <cmath>
#include <functional>
#include <numeric>
#include <set>
#include <utility>

#include "cases/grammar/descriptor.h"
#include "cases/grammar/lexer.h"
#include "cases/rules.h"

namespace attest {
namespace {

std::string joined(std::string_view op, const std::vector<AxisWord>& words) {
  std::string line(op);
  for (const auto& word : words) {
    line += fmt::format(" {}", word.key);
    if (!word.value.empty()) line += fmt::format("={}", word.value);
  }
  return line;
}

std::string_view op_of(std::string_view line) {
  const auto words = grammar::split_words({line, 1});
  return words.empty() ? std::string_view{} : words.front().text;
}

std::optional<std::int64_t> whole_number(std::string_view text) {
  std::int64_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (text.empty() || error != std::errc{} || end != text.data() + text.size()) return {};
  return number;
}

constexpr std::string_view kOperators = "+-*/";

// "n_kv*3/4" with the keys of `words`, from left to right.
Expected<std::int64_t> evaluate(std::string_view expression, const std::vector<AxisWord>& words) {
  std::size_t end = std::min(expression.find_first_of(kOperators), expression.size());
  const auto key = expression.substr(0, end);
  const auto named = std::find_if(words.begin(), words.end(), [&](const AxisWord& w) { return w.key == key; });
  if (named == words.end()) return input_error(fmt::format("{{{}}} names no key of the line", expression));
  const auto start = whole_number(named->value);
  if (!start) return input_error(fmt::format("{{{}}}: {} is no whole number", expression, named->value));
  std::int64_t value = *start;
  while (end < expression.size()) {
    const char op = expression[end];
    const auto next = std::min(expression.find_first_of(kOperators, end + 1), expression.size());
    const auto operand = whole_number(expression.substr(end + 1, next - end - 1));
    if (!operand || (op == '/' && *operand == 0)) {
      return input_error(fmt::format("{{{}}} is no expression", expression), "{key}, {key+N}, {key*N/M} ...");
    }
    value = op == '+'   ? value + *operand
            : op == '-' ? value - *operand
            : op == '*' ? value * *operand
                        : value / *operand;
    end = next;
  }
  return std::max<std::int64_t>(value, 0);
}

// Keys that {...} in a value refer to.
std::vector<std::string> referred(std::string_view value) {
  std::vector<std::string> keys;
  for (auto open = value.find('{'); open != std::string_view::npos; open = value.find('{', open + 1)) {
    const auto end = std::min(value.find_first_of("+-*/}", open), value.size());
    keys.emplace_back(value.substr(open + 1, end - open - 1));
  }
  return keys;
}

// Keys that another one takes its value from where the line leaves it out.
constexpr std::array<std::pair<std::string_view, std::array<std::string_view, 2>>, 7> kSources{{
    {"n_head_v", {"n_head_kv", "n_head"}},
    {"n_head_kv", {"n_head"}},
    {"n_seq_kv", {"n_seq"}},
    {"d_v", {"d_k", "d"}},
    {"d_k", {"d"}},
    {"k", {"kv"}},
    {"v", {"kv"}},
}};

}  // namespace

std::string AxisValue::label() const {
  if (words.size() == 1) return words.front().value;
  std::string out;
  for (const auto& word : words) out += fmt::format("{}{}={}", out.empty() ? "" : " ", word.key, word.value);
  return out;
}

std::vector<AxisWord> words_of_line(std::string_view line) {
  std::vector<AxisWord> out;
  const auto tokens = grammar::split_words({line, 1});
  for (std::size_t i = 1; i < tokens.size(); ++i) {
    const auto word = tokens[i].text;
    const auto equals = std::min(word.find('='), word.size());
    out.push_back({std::string(word.substr(0, equals)), std::string(word.substr(std::min(equals + 1, word.size())))});
  }
  return out;
}

Expected<std::string> without_references(std::string_view value, const std::vector<AxisWord>& words) {
  std::string out;
  for (std::size_t at = 0; at < value.size();) {
    const auto open = std::min(value.find('{', at), value.size());
    out += value.substr(at, open - at);
    if (open == value.size()) break;
    const auto close = value.find('}', open);
    if (close == std::string_view::npos)
      return input_error(fmt::format("'{}' opens a {{ and does not close it", value));
    const auto number = evaluate(value.substr(open + 1, close - open - 1), words);
    if (!number) return tl::unexpected(number.error());
    out += fmt::format("{}", *number);
    at = close + 1;
  }
  return out;
}

Expected<std::string> changed_line(std::string_view base, const std::vector<AxisWord>& changes) {
  auto words = words_of_line(base);
  for (const auto& word : changes) override_word(words, word);
  const auto given = words;
  for (auto& word : words) {
    if (word.value.find('{') == std::string::npos) continue;
    auto value = without_references(word.value, given);
    if (!value) return tl::unexpected(value.error());
    word.value = std::move(*value);
  }
  return joined(op_of(base), words);
}

AxisSpace::AxisSpace(std::string line, std::vector<Axis> axes, std::vector<Forbidden> forbidden, double max_flop)
    : line_(std::move(line)), axes_(std::move(axes)), forbidden_(std::move(forbidden)), max_flop_(max_flop) {}

std::vector<int> AxisSpace::sizes() const {
  std::vector<int> out;
  for (const auto& axis : axes_) out.push_back(static_cast<int>(axis.values.size()));
  return out;
}

std::vector<AxisWord> AxisSpace::changes(const CoveringRow& row) const {
  std::vector<AxisWord> out;
  for (std::size_t axis = 0; axis < row.size(); ++axis) {
    if (row[axis] == kFree) continue;
    for (const auto& word : value(axis, row[axis]).words) out.push_back(word);
  }
  return out;
}

Expected<void> AxisSpace::check_value(std::size_t axis, int index) const {
  // The other axes stand at their first values, for what this value may refer to.
  CoveringRow row(axes_.size(), 0);
  row[axis] = index;
  const auto line = changed_line(line_, changes(row));
  if (!line) return tl::unexpected(line.error());
  if (const auto read = grammar::read_descriptor(*line); !read) return tl::unexpected(read.error());
  return {};
}

Expected<std::string> AxisSpace::line_of(const CoveringRow& row) const { return changed_line(line_, changes(row)); }

Expected<Case> AxisSpace::case_of(const CoveringRow& row) const {
  const auto line = line_of(row);
  if (!line) return tl::unexpected(line.error());
  return parse_case(*line);
}

// Axes that set a key the broken rule looks at, or a key that its value is derived from or refers to.
std::vector<std::size_t> AxisSpace::axes_of(const Violation& broken, const CoveringRow& row) const {
  std::set<std::size_t> found;
  std::set<std::string, std::less<>> wanted{std::string(broken.key)};
  wanted.insert(broken.others.begin(), broken.others.end());
  for (const auto& [key, sources] : kSources) {
    if (wanted.contains(key)) wanted.insert(sources.begin(), sources.end());
  }
  for (bool more = true; more;) {
    more = false;
    for (std::size_t axis = 0; axis < row.size(); ++axis) {
      // Any value of the axis may set the key: what this row leaves to the base line, another would not.
      const bool sets = std::any_of(axes_[axis].values.begin(), axes_[axis].values.end(), [&](const AxisValue& v) {
        return std::any_of(v.words.begin(), v.words.end(), [&](const AxisWord& w) { return wanted.contains(w.key); });
      });
      if (!sets || !found.insert(axis).second) continue;
      for (const auto& word : value(axis, row[axis]).words) {
        for (auto& key : referred(word.value)) more |= wanted.insert(std::move(key)).second;
      }
    }
  }
  return {found.begin(), found.end()};
}

std::vector<std::size_t> AxisSpace::forbidden_axes(const CoveringRow& row) const {
  for (const auto& forbidden : forbidden_) {
    std::vector<std::size_t> axes;
    for (const auto& [axis, values] : forbidden.values) {
      if (std::find(values.begin(), values.end(), row[axis]) != values.end()) axes.push_back(axis);
    }
    if (axes.size() == forbidden.values.size()) return axes;
  }
  return {};
}

std::vector<std::size_t> AxisSpace::conflict(const CoveringRow& row) const {
  if (auto axes = forbidden_axes(row); !axes.empty()) return axes;
  std::vector<std::size_t> all(row.size());
  std::iota(all.begin(), all.end(), std::size_t{0});
  const auto line = line_of(row);
  if (!line) return all;
  const auto read = grammar::read_descriptor(*line);
  if (!read) return all;
  const auto broken = find_violation(read->problem);
  if (!broken) return {};
  const auto axes = axes_of(*broken, row);
  return axes.empty() ? all : axes;
}

CoveringSpace AxisSpace::to_cover() const {
  CoveringSpace out{sizes(), [this](const CoveringRow& row) { return conflict(row); }, {}, 0};
  if (!(max_flop_ > 0)) return out;
  const auto log_flop = [&](const CoveringRow& row) {
    const auto line = line_of(row);
    const auto read = line ? grammar::read_descriptor(*line) : Expected<Case>{};
    return std::log(read ? std::max(flop(read->problem), 1.0) : 1.0);
  };
  CoveringRow row(axes_.size(), 0);
  const double first = log_flop(row);
  for (std::size_t axis = 0; axis < row.size(); ++axis) {
    auto& costs = out.costs.emplace_back();
    for (row[axis] = 0; row[axis] < out.sizes[axis]; ++row[axis]) costs.push_back(log_flop(row) - first);
    row[axis] = 0;
  }
  out.max_cost = std::log(max_flop_) - first + 1e-9;
  return out;
}

CoveringRow AxisSpace::shown_by(const Case& c) const {
  CoveringRow row(axes_.size(), kFree);
  const std::string canonical = attest::text(c);
  for (std::size_t axis = 0; axis < axes_.size(); ++axis) {
    for (int v = 0; v < static_cast<int>(axes_[axis].values.size()) && row[axis] == kFree; ++v) {
      const auto line = changed_line(canonical, value(axis, v).words);
      if (!line) continue;
      const auto same = parse_case(*line);
      if (same && attest::text(*same) == canonical) row[axis] = v;
    }
  }
  // Values that may not stand together change nothing beside each other: which of them the case shows is unknown.
  for (auto axes = forbidden_axes(row); !axes.empty(); axes = forbidden_axes(row)) {
    for (const std::size_t axis : axes) row[axis] = kFree;
  }
  return row;
}

std::string AxisSpace::text(const std::vector<std::pair<std::size_t, int>>& tuple) const {
  std::string out;
  for (const auto& [axis, index] : tuple) {
    const auto& v = value(axis, index);
    out += fmt::format("{}{}", out.empty() ? "" : ", ",
                       v.words.size() == 1 ? fmt::format("{}={}", v.words[0].key, v.words[0].value) : v.label());
  }
  return out;
}

}  // namespace attest
