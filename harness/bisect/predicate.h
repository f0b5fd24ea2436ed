// What makes a step of a history bad: a verdict, an error against the good end's, other bits, more time, a crash.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "cases/error.h"
#include "harness/bisect/measurement.h"
#include "harness/bisect/search.h"

namespace attest {

class Predicate {
 public:
  // ""                        the verdict of the bad end, whichever that is (settle() fills it in)
  // FAIL | FAIL,NAN | bad     these verdicts; any bad verdict
  // err > 2 * baseline        largest absolute error, or `nmse`; `> 1e-3` and `> baseline` too
  // bitwise-change            other bits than the good end's
  // slower 1.2                more than 1.2 times the good end's CPU time
  // crash                     the subject process died, hung, or left its memory
  // The error names the nearest word.
  static Expected<Predicate> parse(std::string_view text);

  // With the default: the verdict the bad end has. An input error where that verdict is not bad.
  Expected<void> settle(const Measurement& bad_end);

  // Is the step bad? `unknown` where it could not be compared, or fails in a way the predicate is not about: a crash
  // hides whether the result was right.
  Answer bad(const Measurement& step, const Measurement& good_end) const;

  bool timed() const { return kind_ == Kind::slower; }
  // Whether bad() looks at the good end.
  bool needs_baseline() const {
    return kind_ == Kind::slower || kind_ == Kind::bits ||
           ((kind_ == Kind::error || kind_ == Kind::nmse) && of_baseline_);
  }
  const std::string& text() const { return text_; }
  // For people: "verdict STALE", "err > 2 * baseline, that is 3.1e-05".
  std::string meaning(const Measurement& good_end) const;

 private:
  enum class Kind : std::uint8_t { bad_end, verdicts, any_bad, error, nmse, bits, slower, crash };
  static Expected<Predicate> parse_metric(std::string_view text, Predicate p);
  double limit(const Measurement& good_end) const;

  Kind kind_ = Kind::bad_end;
  std::vector<Verdict> verdicts_;
  double factor_ = 1;
  bool of_baseline_ = true;  // the limit is factor_ * baseline, else factor_
  std::string text_;
};

}  // namespace attest
