#include "reports/history/history_reporter.h"

#include "reports/progress.h"

namespace attest {

namespace {

constexpr double kFlushSeconds = 1;
constexpr std::size_t kMostWaiting = 50'000;

}  // namespace

HistoryReporter::HistoryReporter(History history, std::optional<RunHeader> resumed)
    : history_(std::move(history)), resumed_(std::move(resumed)), flushed_(steady_seconds()) {}

void HistoryReporter::on_start(const RunHeader& header) {
  if (error_) return;
  RunHeader first = header;
  if (resumed_) {
    auto known = history_.find(*resumed_);
    if (!known) {
      error_ = known.error();
      return;
    }
    if (*known) {
      run_ = (*known)->id;
      if (const auto settled = history_.settle_commit(**known, header.commit); !settled) error_ = settled.error();
      return;
    }
    first = *resumed_;
    if (first.commit.empty()) first.commit = header.commit;
  }
  const auto run = history_.start(first);
  if (!run) {
    error_ = run.error();
  } else {
    run_ = *run;
  }
}

void HistoryReporter::on_verdict(const VerdictRecord& record) {
  if (error_) return;
  waiting_.push_back(record);
  if (waiting_.size() >= kMostWaiting || steady_seconds() - flushed_ >= kFlushSeconds) flush();
}

void HistoryReporter::flush() {
  if (auto written = history_.append(run_, waiting_); !written) error_ = written.error();
  waiting_.clear();
  flushed_ = steady_seconds();
}

void HistoryReporter::on_finish(const RunSummary& summary) {
  if (error_) return;
  flush();
  const bool whole = !summary.interrupted && summary.ruled >= summary.selected;
  if (error_) return;
  if (auto done = history_.finish(run_, !whole, summary.wall_s); !done) error_ = done.error();
}

Expected<void> HistoryReporter::failed() const {
  if (error_) return Unexpected(*error_);
  return {};
}

}  // namespace attest
