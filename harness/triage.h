// What a failure looks like: where it sits, which bug class and which arithmetic it is like, what makes it go away.
#pragma once

#include <functional>
#include <optional>
#include <string_view>
#include <vector>

#include "harness/error_map.h"
#include "harness/fingerprint.h"
#include "reports/record.h"

namespace attest {

struct SuspectInfo {
  std::string_view word, meaning;
};
const std::vector<SuspectInfo>& suspects();

// Runs an altered case on the backend that failed; `fresh`: on one that has run nothing else. Nothing: no verdict.
using Rerun = std::function<std::optional<Verdict>(const Case& altered, bool fresh)>;

enum class TriageDepth : std::uint8_t {
  place,    // where the error sits; free
  pattern,  // and what it is like, from this output alone
  full,     // and with altered cases, where `rerun` is given
};

// Fills record.triage and record.maps of a bad verdict that compare() gave under this contract, and makes a FAIL that other arithmetic
// than the stated one explains CONTRACT: the fingerprint's emulation takes away most of the evidence, its deviations
// are none the contract states, and every bad row (at most 64, the worst ones) lies within the budget of the contract
// it names.
void triage(Key& key, const ArithmeticContract& contract, const TensorView& out, TriageDepth depth, const Rerun& rerun,
            VerdictRecord& record);

// The same for verdicts without an output to look at: CRASH, OOB, HANG ...
void triage_fault(VerdictRecord& record);

}  // namespace attest
