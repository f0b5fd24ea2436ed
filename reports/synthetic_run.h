// A made-up run with every verdict in it and fixed times: what the approval tests of all reporters are fed.
#pragma once

#include <vector>

#include "reports/reporter.h"

namespace attest {

struct SyntheticRun {
  RunHeader header;
  std::vector<VerdictRecord> records;
  RunSummary summary;
};

SyntheticRun synthetic_run();
// on_start, then on_case_start and on_verdict per record, then on_finish.
void play(const SyntheticRun& run, RunListener& listener);

}  // namespace attest
