// One status line on a terminal while a run lasts: how many, how many bad, how fast, how long still. Erased at the end.
#pragma once

#include <deque>
#include <functional>
#include <utility>

#include "reports/reporter.h"
#include "reports/sink.h"

namespace attest {

// Monotonic seconds.
double steady_seconds();

// Silent where the sink is no terminal, and for the first two seconds. The sink outlives the reporter.
class ProgressReporter : public RunListener {
 public:
  explicit ProgressReporter(Sink& sink, std::function<double()> now = steady_seconds)
      : sink_(&sink), now_(std::move(now)) {}

  void on_start(const RunHeader& header) override;
  void on_earlier_verdict(const VerdictRecord& record) override;  // counts, but says nothing about speed
  void on_verdict(const VerdictRecord& record) override;
  void expect_fewer(std::int64_t verdicts) { expected_ -= verdicts; }  // they will not come
  void on_finish(const RunSummary& summary) override;

 private:
  Sink* sink_;
  std::function<double()> now_;
  bool active_ = false, drawn_ = false;
  std::int64_t expected_ = 0, done_ = 0, bad_ = 0;
  double started_ = 0, last_drawn_ = 0;
  std::deque<std::pair<double, std::int64_t>> samples_;  // (time, done) of the last seconds: the current rate
};

}  // namespace attest
