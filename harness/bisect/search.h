// Boundary search: the first of many steps at which something holds, when some steps cannot be judged.
#pragma once

#include <cstdint>
#include <optional>
#include <set>
#include <string_view>
#include <vector>

namespace attest {

enum class Answer : std::uint8_t { no, yes, unknown };
std::string_view answer_word(Answer answer);

// Searches between a number where the answer is `no` and a larger one where it is `yes`: steps of a history, or values
// of one parameter. If the answers change once, finds where, in about log2(distance) questions and a few more for each
// `unknown` that is met; if they change more than once, finds one of the places.
class Search {
 public:
  // no < yes.
  Search(std::int64_t no, std::int64_t yes) : no_(no), yes_(yes) {}

  // The next one to ask about: the middle of what is left, or where that is unknown, further and further from it, so
  // that a long stretch of unknowns costs the logarithm of its length. Nothing: all is known that can be.
  std::optional<std::int64_t> next() const;
  // An answer about anything that is settled already is not needed and is ignored.
  void record(std::int64_t step, Answer answer);

  std::int64_t last_no() const { return no_; }
  std::int64_t first_yes() const { return yes_; }
  // Those in between that were asked about in vain: the first `yes` is one of them or first_yes().
  std::vector<std::int64_t> unknown() const { return {unknown_.begin(), unknown_.end()}; }

  std::int64_t untested() const { return yes_ - no_ - 1 - static_cast<std::int64_t>(unknown_.size()); }
  // How many more questions, if none is answered `unknown`; at most one too many.
  int questions_left() const;

 private:
  bool open(std::int64_t step) const { return step > no_ && step < yes_ && unknown_.count(step) == 0; }

  std::int64_t no_, yes_;
  std::set<std::int64_t> unknown_;
};

}  // namespace attest
