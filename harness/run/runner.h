// Runs cases against backends over parallel slots and tells a listener what happened; nothing a backend does ends it.
#pragma once

#include <atomic>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "cases/case.h"
#include "cases/relations.h"
#include "harness/key.h"
#include "harness/ledger.h"
#include "harness/run/failure_saver.h"
#include "harness/run/shard.h"
#include "harness/run/subject.h"
#include "harness/run/tensor_source.h"
#include "reports/record_file.h"
#include "reports/reporter.h"

namespace attest {

struct RunPlan {
  std::vector<Case> cases;            // the whole selection, no two alike
  Shard shard;                        // the part of it that this run is for
  std::vector<std::string> backends;  // specs; the subject tells the canonical name
  std::string suite;                  // for the records; "" for --case
};

struct RunOptions {
  KeyOptions key;
  int jobs = 0;                              // slots working at a time; 0: one per core
  double timeout_s = 0;                      // deadline per case; 0: from the case's cost
  int repeat = 1;                            // runs of each case in the same subject, outputs compared bit for bit
  bool blindness = true;                     // a PASS that could not have been anything else becomes BLIND
  bool probe_causal = false;                 // classify causal cases that pass, too (causal_probe.h)
  RelationChoice relations;                  // tried on every case that passes
  bool hints = true;                         // triage may run altered cases (TriageDepth::full)
  bool fail_fast = false;                    // stop at the first bad verdict
  bool cheapest_first = false;               // else the longest, so that slots end together
  // Asked after every final verdict, one at a time: true, and its backend leaves the run. A backend that left is not
  // ruled on the rest of the cases.
  std::function<bool(const VerdictRecord&)> leaves;
  Ledger* ledger = nullptr;                  // counts what it matched
  FailureSaver* failures = nullptr;          // gets every bad verdict that the ledger does not know, with its tensors
  const TensorSource* tensors = nullptr;     // of captured cases; `cache` must be empty then
  const RecordFile* earlier = nullptr;       // resume this run: its verdicts stand, their cases do not run again
  std::filesystem::path cache;               // where keys and budgets are kept between runs; empty: nowhere
  std::uint64_t cache_bytes = std::uint64_t{2} << 30;
  std::atomic<bool>* interrupted = nullptr;  // set by a signal handler: finish what runs, then stop
};

// Makes the subject for one backend of one slot; `places` are the shared memory descriptors it may be given.
using SubjectMaker =
    std::function<std::unique_ptr<Subject>(const std::string& backend, const std::vector<int>& places)>;

// Runs every case of the shard on every backend. Events reach `listener` one at a time. Errors of kind harness: a
// backend that cannot be loaded, no shared memory, a report that cannot be written; verdicts already made have been
// reported. Errors of kind input: options.earlier is a record of something else, or two backends are the same. `header`
// is completed (backends, build ids, counts, shard, fingerprint) and passed on.
Expected<RunSummary> run(const RunPlan& plan, const RunOptions& options, const SubjectMaker& make_subject,
                         RunHeader header, RunListener& listener);

}  // namespace attest
