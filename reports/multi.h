// One listener that passes every event on to several, in order.
#pragma once

#include <vector>

#include "reports/reporter.h"

namespace attest {

// The listeners outlive it.
class MultiListener : public RunListener {
 public:
  explicit MultiListener(std::vector<RunListener*> listeners) : listeners_(std::move(listeners)) {}

  void on_start(const RunHeader& header) override {
    for (auto* listener : listeners_) listener->on_start(header);
  }
  void on_earlier_verdict(const VerdictRecord& record) override {
    for (auto* listener : listeners_) listener->on_earlier_verdict(record);
  }
  void on_case_start(std::string_view line, std::string_view case_id, std::string_view backend) override {
    for (auto* listener : listeners_) listener->on_case_start(line, case_id, backend);
  }
  void on_verdict(const VerdictRecord& record) override {
    for (auto* listener : listeners_) listener->on_verdict(record);
  }
  void on_finish(const RunSummary& summary) override {
    for (auto* listener : listeners_) listener->on_finish(summary);
  }
  // The first error, in the order of the listeners.
  Expected<void> failed() const override {
    for (const auto* listener : listeners_) {
      if (auto result = listener->failed(); !result) return result;
    }
    return {};
  }

 private:
  std::vector<RunListener*> listeners_;
};

}  // namespace attest
