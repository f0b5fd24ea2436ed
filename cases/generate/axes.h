// Axes of a case space: named lists of values, each one or more key=value words that replace those of a base line.
#pragma once

#include <algorithm>
#include <array>
#include <string>
#include <string_view>
#include <vector>

#include "cases/case.h"
#include "cases/error.h"
#include "cases/generate/constraints.h"
#include "cases/rules.h"

namespace attest {

struct AxisWord {
  std::string key, value;
  bool operator==(const AxisWord&) const = default;
};

// Keys that change together: n_head=16 n_head_kv=8. The value of a word may refer to another key of the line as
// {key}, {key+N}, {key-N}, {key*N} or {key/N}, or a chain of these from left to right: mask=used:{n_kv*3/4}.
struct AxisValue {
  std::vector<AxisWord> words;
  std::string label() const;  // "16" for one word, "n_head=16 n_head_kv=8" for several
};

struct Axis {
  std::string name;
  std::vector<AxisValue> values;
};

// Sets `word`. d stands for d_k and d_v, kv for k and v: a word of one form replaces the other. Word has a string key.
template <class Word>
void override_word(std::vector<Word>& words, const Word& word) {
  const auto erase = [&](std::string_view key) { std::erase_if(words, [&](const Word& w) { return w.key == key; }); };
  constexpr std::array<std::array<std::string_view, 3>, 2> kForms{{{"d", "d_k", "d_v"}, {"kv", "k", "v"}}};
  for (const auto& [whole, first, second] : kForms) {
    if (word.key == whole) {
      erase(first);
      erase(second);
    }
    if (word.key != first && word.key != second) continue;
    const auto at = std::find_if(words.begin(), words.end(), [&](const Word& w) { return w.key == whole; });
    if (at != words.end()) at->key = word.key == first ? second : first;
  }
  erase(word.key);
  words.push_back(word);
}

// The words of a descriptor line behind its op; "" as value where a word has none.
std::vector<AxisWord> words_of_line(std::string_view line);
// `value` with its {...} worked out from `words`, which have no references themselves.
Expected<std::string> without_references(std::string_view value, const std::vector<AxisWord>& words);
// The line that `base`, changed by `changes` in order, stands for.
Expected<std::string> changed_line(std::string_view base, const std::vector<AxisWord>& changes);

// All combinations of the axes' values over one base line.
class AxisSpace {
 public:
  // Values that shall not stand together: per named axis the indices of its values, all axes at once.
  struct Forbidden {
    std::vector<std::pair<std::size_t, std::vector<int>>> values;
  };

  // max_flop 0: no limit. A row's cost is estimated as the first row's times one factor per value.
  AxisSpace(std::string line, std::vector<Axis> axes, std::vector<Forbidden> forbidden = {}, double max_flop = 0);

  const std::string& line() const { return line_; }
  const std::vector<Axis>& axes() const { return axes_; }
  std::vector<int> sizes() const;

  // Why a value can never stand in a line, whatever the others are: a word that does not parse.
  Expected<void> check_value(std::size_t axis, int value) const;

  // The line and the case of a row; open axes keep what the base line says. Errors: a broken rule.
  Expected<std::string> line_of(const CoveringRow& row) const;
  Expected<Case> case_of(const CoveringRow& row) const;

  // For cover() and measure_coverage(): the rules of the library (rules.h), the forbidden values, the limit. Refers to
  // this space.
  CoveringSpace to_cover() const;

  // Per axis the value a case shows, i.e. that changes nothing in it; kFree where none does, and where forbidden values
  // would stand together.
  CoveringRow shown_by(const Case& c) const;

  // "n_q=1, kv=q8_0".
  std::string text(const std::vector<std::pair<std::size_t, int>>& tuple) const;

 private:
  const AxisValue& value(std::size_t axis, int index) const {
    return axes_[axis].values[static_cast<std::size_t>(index)];
  }
  std::vector<AxisWord> changes(const CoveringRow& row) const;
  std::vector<std::size_t> axes_of(const Violation& broken, const CoveringRow& row) const;
  // Axes of the first choice of forbidden values that the row holds whole; empty: none.
  std::vector<std::size_t> forbidden_axes(const CoveringRow& row) const;
  std::vector<std::size_t> conflict(const CoveringRow& row) const;

  std::string line_;
  std::vector<Axis> axes_;
  std::vector<Forbidden> forbidden_;
  double max_flop_;
};

}  // namespace attest
