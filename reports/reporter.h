// Reporters are listeners of run events; each turns the same events into one form for people or machines.
#pragma once

#include "reports/record.h"

namespace attest {

// Events arrive one at a time, in this order: on_start, on_earlier_verdict for each verdict of the run that is resumed,
// then per (case, backend) on_case_start and on_verdict (several may be in flight with --jobs), then on_finish, also
// after an interrupt. A listener that cannot write
// (full disk, closed pipe) reports it through failed().
class RunListener {
 public:
  virtual ~RunListener() = default;
  virtual void on_start(const RunHeader&) {}
  virtual void on_earlier_verdict(const VerdictRecord& record) { on_verdict(record); }
  virtual void on_case_start(std::string_view /*line*/, std::string_view /*case_id*/, std::string_view /*backend*/) {}
  virtual void on_verdict(const VerdictRecord&) {}
  virtual void on_finish(const RunSummary&) {}
  virtual Expected<void> failed() const { return {}; }  // the first write error, if any
};

}  // namespace attest
