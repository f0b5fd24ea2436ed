// What a run amounts to: counts per backend, failures grouped by what they have in common, notes with their reasons.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "reports/record.h"

namespace attest {

struct BackendTally {
  std::string backend;
  std::int64_t cases = 0;
  std::map<Verdict, std::int64_t> counts;
  double max_err_over_b = 0;  // over PASS, BLIND and FAIL
  double cpu_s = 0;
  std::int64_t suspects = 0;  // SUSPECT, then PASS on fresh seeds
  std::int64_t prec_not_honoured = 0;
  std::int64_t relations_held = 0, relations_broken = 0, relations_unsupported = 0, relations_inapplicable = 0;
  // What was held against the truth: cases with a judged row that are not BLIND, and rows of all cases.
  std::int64_t cases_judged = 0, rows = 0, rows_judged = 0, rows_confirmed = 0;
};

// A case by what it cost the backend.
struct SlowCase {
  double cpu_s = 0;
  std::string backend, line;
};

// Bad verdicts alike: same backend, verdict, code path and cause.
struct FailureGroup {
  std::string backend;
  Verdict verdict = Verdict::FAIL;
  std::string path;
  std::string cause;  // the suspected class; else alike(detail); else the budget's dominant term
  std::int64_t count = 0;
  VerdictRecord worst;  // largest err/B; among equals the shortest line
};

// XFAIL, QUARANTINED, UNSUPPORTED and BLIND alike: same backend and reason.
struct NoteGroup {
  std::string backend;
  Verdict verdict = Verdict::UNSUPPORTED;
  std::string underlying, reason;
  std::int64_t count = 0;
};

// Verdicts that are not bad and yet far from the exact answer, alike: same backend, code path and loss.
struct LossGroup {
  std::string backend, path, loss;
  std::int64_t count = 0;
  VerdictRecord worst;  // largest NMSE; among equals the shortest line
};

// Does not depend on the order in which records arrive, but for the order of the backends (first seen first).
class Tally {
 public:
  // Gives the backends their places in the table, and a row to those that have no verdict yet.
  void announce(const std::vector<std::string>& backends);
  void add(const VerdictRecord& record);

  const std::vector<BackendTally>& backends() const { return backends_; }
  std::vector<FailureGroup> failures() const;                        // by verdict, then the largest group first
  std::vector<NoteGroup> notes(Verdict verdict) const;               // the largest group first
  std::vector<LossGroup> losses() const;                             // by backend, then the largest group first
  const std::vector<SlowCase>& slowest() const { return slowest_; }  // five at most, the slowest first
  std::int64_t verdicts() const { return verdicts_; }
  std::int64_t bad() const { return bad_; }

 private:
  BackendTally& row(const std::string& backend);

  std::vector<BackendTally> backends_;
  std::map<std::string, FailureGroup> failures_;
  std::map<std::string, NoteGroup> notes_;
  std::map<std::string, LossGroup> losses_;
  std::vector<SlowCase> slowest_;
  std::int64_t verdicts_ = 0, bad_ = 0;
};

// The text with every free-standing number replaced by #: details that differ only in numbers are one cause.
// "row 5 of 64 like an f16 accumulator" -> "row # of # like an f16 accumulator".
std::string alike(std::string_view detail);

}  // namespace attest
