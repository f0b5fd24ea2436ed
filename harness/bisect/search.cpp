#include "harness/bisect/search.h"

#include <bit>

namespace attest {

std::string_view answer_word(Answer answer) {
  return answer == Answer::no ? "no" : answer == Answer::yes ? "yes" : "unknown";
}

std::optional<std::int64_t> Search::next() const {
  if (untested() <= 0) return std::nullopt;
  const std::int64_t middle = no_ + (yes_ - no_) / 2;
  if (open(middle)) return middle;
  // Out of the stretch of unknowns by leaps; then, where those are used up, the nearest one.
  for (std::int64_t leap = 1; leap < yes_ - no_; leap *= 2) {
    for (const std::int64_t step : {middle - leap, middle + leap}) {
      if (open(step)) return step;
    }
  }
  for (std::int64_t away = 1;; ++away) {
    for (const std::int64_t step : {middle - away, middle + away}) {
      if (open(step)) return step;
    }
  }
}

void Search::record(std::int64_t step, Answer answer) {
  if (step <= no_ || step >= yes_) return;
  if (answer == Answer::unknown) {
    unknown_.insert(step);
    return;
  }
  if (answer == Answer::no) {
    no_ = step;
    unknown_.erase(unknown_.begin(), unknown_.upper_bound(step));
  } else {
    yes_ = step;
    unknown_.erase(unknown_.lower_bound(step), unknown_.end());
  }
}

int Search::questions_left() const { return static_cast<int>(std::bit_width(static_cast<std::uint64_t>(untested()))); }

}  // namespace attest
