// What became of a case that was posted: the one place that reads a subject's answers to it and looks at the red zones.
#pragma once

#include <functional>

#include "harness/run/subject.h"

namespace attest {

inline constexpr std::uint8_t kRedZone = 0xa5;  // what Place::fill_red_zones() is given before a case is posted

struct CaseAnswer {
  enum class Kind : std::uint8_t {
    done,         // with an output in the place
    spilled,      // the same, and bytes next to the output were written: `fault` says so
    unsupported,  // no output; `fault` has the verdict, here and below
    failed,
    fault,        // the same, and the subject is gone
    interrupted,  // the subject is gone, and there is no verdict
  };
  Kind kind = Kind::done;
  ArithmeticContract contract = {};          // where the subject accepted the case
  double cpu_seconds = 0, wall_seconds = 0;  // done, spilled
  std::string text = {};                     // the same: what a simulator noticed beside
  Fault fault = {};

  bool has_output() const { return kind == Kind::done || kind == Kind::spilled; }
  bool subject_gone() const { return kind == Kind::fault || kind == Kind::interrupted; }
};

// Waits for the case posted to `subject` whose tensors lie in `place`; each of its two answers may take `timeout_s`.
// `accepted` is called with the contract, while the subject works.
CaseAnswer await_case(Subject& subject, const Place& place, double timeout_s,
                      const std::function<void(const ArithmeticContract&)>& accepted = {});

}  // namespace attest
