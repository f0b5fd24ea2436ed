// What comparisons need of a run: its header and every verdict in few bytes, sorted, wherever it was read from.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "reports/record_file.h"

namespace attest {

struct BriefVerdict {
  std::uint64_t case_id = 0;
  std::uint64_t digest = 0;  // of the output's bits; 0: not known
  std::int64_t rows_judged = 0;
  double err_over_b = 0, nmse = 0, max_abs = 0, cpu_s = 0;
  std::uint32_t path = 0, suspect = 0, detail = 0, underlying = 0;  // into the run's texts
  std::uint16_t backend = 0;                                        // into header.backends
  Verdict verdict = Verdict::PASS;
  bool err_over_b_is_bound = false;
};

struct BriefRun {
  std::string name;  // for messages: "run 7", "new.jsonl"
  RunHeader header;
  bool complete = true;                // every verdict that was asked for is there
  std::vector<BriefVerdict> verdicts;  // by backend, then case id as a signed number; no pair twice
  std::vector<std::string> texts;      // the first is ""
  std::function<std::string(std::uint64_t case_id)> line;
};

// Input errors: a case id that is none, a case twice on one backend.
Expected<BriefRun> brief(RecordFile file);

// Whether an output was held against the truth: not UNSUPPORTED, QUARANTINED, BLIND or RANGE.
bool was_judged(Verdict verdict);

}  // namespace attest
