// Puts a run into a history file while it lasts.
#pragma once

#include <memory>
#include <optional>
#include <vector>

#include "reports/history/history.h"
#include "reports/reporter.h"

namespace attest {

// Verdicts are committed once a second, and at the end. A run that goes on where another stopped (`resumed`: the header
// of that one) takes its place in the history.
class HistoryReporter : public RunListener {
 public:
  explicit HistoryReporter(History history, std::optional<RunHeader> resumed = std::nullopt);

  void on_start(const RunHeader& header) override;
  void on_verdict(const VerdictRecord& record) override;
  void on_finish(const RunSummary& summary) override;
  Expected<void> failed() const override;  // after the first error nothing more is written

  std::int64_t run() const { return run_; }  // its number, once it has started

 private:
  void flush();

  History history_;
  std::optional<RunHeader> resumed_;
  std::int64_t run_ = 0;
  std::vector<VerdictRecord> waiting_;
  double flushed_ = 0;
  std::optional<Error> error_;
};

}  // namespace attest
