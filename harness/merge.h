// Joins the records of a run's shards into the record of the whole run, and refuses what does not belong together.
#pragma once

#include <vector>

#include "reports/record_file.h"

namespace attest {

// One run, complete: verdicts sorted by case id, then backend. Equal selections give equal merged records, but for
// times and for what tells machines apart.
struct MergedRun {
  RunHeader header;
  std::vector<VerdictRecord> verdicts;
  RunSummary summary;
};

// A file that records one run, finished or not: every `run` in it is a part of the first, and no pair has two verdicts.
Expected<void> one_run(const RecordFile& file);

// Every shard of one selection exactly once, each with a verdict for every (case, backend) pair. Errors are input
// errors that name the file and say what is wrong or missing.
Expected<MergedRun> merge(std::vector<RecordFile> files);

}  // namespace attest
