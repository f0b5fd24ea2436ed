#include "reports/progress.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>

#include "reports/text.h"

namespace attest {

namespace {

constexpr double kQuiet = 2.0;     // seconds before the first line
constexpr double kInterval = 0.1;  // seconds between two lines
constexpr double kWindow = 5.0;    // seconds the rate looks back
constexpr const char* kErase = "\r\x1b[K";

}  // namespace

double steady_seconds() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

void ProgressReporter::on_start(const RunHeader& header) {
  active_ = sink_->is_terminal();
  expected_ = header.verdicts_expected;
  started_ = last_drawn_ = now_();
  samples_.assign(1, {started_, 0});
}

void ProgressReporter::on_earlier_verdict(const VerdictRecord& record) {
  ++done_;
  bad_ += info(record.verdict).bad ? 1 : 0;
  samples_.assign(1, {started_, done_});
}

void ProgressReporter::on_verdict(const VerdictRecord& record) {
  ++done_;
  bad_ += info(record.verdict).bad ? 1 : 0;
  if (!active_) return;
  const double now = now_();
  if (now - last_drawn_ < kInterval) return;
  last_drawn_ = now;
  samples_.emplace_back(now, done_);
  while (samples_.size() > 2 && now - samples_[1].first >= kWindow) samples_.pop_front();
  if (now - started_ < kQuiet) return;

  const auto [then, done_then] = samples_.front();
  const double rate = static_cast<double>(done_ - done_then) / std::max(now - then, 1e-9);
  std::string line = fmt::format("{}/{}", done_, expected_);
  if (bad_ > 0) line += fmt::format("  {} bad", bad_);
  line += fmt::format("  {:.{}f}/s", rate, rate < 10 ? 1 : 0);
  if (rate > 0 && expected_ > done_) {
    line += fmt::format("  {} left", duration(static_cast<double>(expected_ - done_) / rate));
  }
  // A status line that cannot be written is no reason to stop a run.
  static_cast<void>(sink_->write(kErase + line));
  drawn_ = true;
}

void ProgressReporter::on_finish(const RunSummary&) {
  if (drawn_) static_cast<void>(sink_->write(kErase));
  drawn_ = false;
}

}  // namespace attest
