// A descriptor line as its parts, and the simpler lines one step away from it.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <tuple>
#include <vector>

#include "cases/case.h"

namespace attest {

// Keys whose value is not what a line without them means.
std::vector<std::string> non_default_keys(const Case& c);

// Shortlex over what a person has to read: non-default keys, length of the line, the line.
struct LineRank {
  std::size_t keys = 0, length = 0;
  std::string line;
  auto operator<=>(const LineRank&) const = default;
};
LineRank rank_of(const Case& c);

// A number in the line: the value of a key, or the argument of one of its terms ("used" of mask=causal+used:300).
struct NumberSlot {
  std::string key, term;
  double value = 0;
  bool whole = true;  // a whole number from 0 on
  std::string name() const { return term.empty() ? key : key + "=" + term; }
};
std::vector<NumberSlot> number_slots(const Case& c);
// The case with another number in a slot; nothing where the line would be none.
std::vector<Case> with_number(const Case& c, const NumberSlot& slot, double value);

// One step of a pass: what is done, in words for people, and the case that makes.
struct Edit {
  std::string what;  // "without softcap"
  std::string key;   // of the line; "" where several change
  Case result;
};
// Valid cases of smaller rank, the boldest first: several keys dropped at once, keys dropped one by one, terms dropped,
// words replaced by plainer ones. The same for the same case, always.
std::vector<Edit> plainer_lines(const Case& c);

}  // namespace attest
