// What the slots of one run share: the queue of cases, the listener, the counts, the reasons to stop.
#pragma once

#include <condition_variable>
#include <mutex>
#include <optional>
#include <unordered_set>
#include <vector>

#include "harness/run/runner.h"
#include "harness/triage.h"

namespace attest {

class Board {
 public:
  Board(const RunPlan& plan, const RunOptions& options, RunListener& listener, int jobs);

  // Cases of the shard.
  std::size_t cases() const { return cases_; }

  // Verdicts of the run that is resumed stand, and their cases do not run again. Before take(). An input error where
  // one of them is of no case and backend of this run, or is there twice.
  Expected<void> adopt(const RecordFile& earlier, const std::vector<std::string>& backends);
  // Reports what was adopted, after the listener's on_start().
  void tell_earlier();
  bool already_ruled(const std::string& case_id, const std::string& backend) const;

  // The next cases to run: one large case, or several tiny ones that travel together. Empty: nothing left, or stop.
  std::vector<const Case*> take();

  void started(const std::string& line, const std::string& case_id, const std::string& backend);
  // The final word on a case, which is returned: the ledger may turn it into XFAIL or XPASS.
  VerdictRecord ruled(const Case& c, VerdictRecord record);
  // True where the ledger forbids to start the case on this backend; `blank` then goes out as QUARANTINED.
  bool quarantined(const Case& c, VerdictRecord blank);
  // Whether a backend, by its canonical name, takes no more cases.
  bool left(const std::string& backend) const;
  // How closely a failure is looked at: a function of the case and the size of the selection alone, so that equal runs
  // give equal records. All of a few cases are looked at in full; of many, about kFullTriages and kPatternTriages, were
  // all of them to fail. What a ledger entry names by its class is looked at in any case.
  TriageDepth triage_depth(const Case& c, const VerdictRecord& record) const;
  void failed(Error error);  // the harness could not go on
  bool stopping() const;

  // A case holds slots_held() of the run's slots (all of them, if there are fewer) while it runs.
  void hold(int slots);
  void release(int slots);

  const RunPlan& plan() const { return plan_; }
  const RunOptions& options() const { return options_; }
  RunSummary& summary() { return summary_; }
  const std::optional<Error>& error() const { return error_; }

 private:
  // With event_mutex_ held.
  void tell(const VerdictRecord& record);
  void stop_if_unwritten();

  const RunPlan& plan_;
  const RunOptions& options_;
  RunListener& listener_;
  std::vector<std::size_t> order_;  // longest first, without what was ruled earlier
  const std::size_t cases_;
  const RecordFile* earlier_ = nullptr;
  std::unordered_set<std::string> done_;  // pair_key()
  std::unordered_set<std::string> left_;
  std::atomic<std::size_t> left_count_{0};
  std::size_t next_ = 0;
  std::mutex queue_mutex_;
  mutable std::mutex event_mutex_;
  std::mutex hold_mutex_;
  std::condition_variable freed_;
  int free_;
  const int all_;
  RunSummary summary_;
  std::optional<Error> error_;
  std::atomic<bool> stop_{false};
};

}  // namespace attest
