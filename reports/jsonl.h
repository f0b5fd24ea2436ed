// The record of truth on disk: one JSON object per line, written whole and at once (schema.md).
#pragma once

#include <filesystem>
#include <memory>
#include <optional>

#include "reports/reporter.h"
#include "reports/sink.h"

namespace attest {

class JsonlReporter : public RunListener {
 public:
  static Expected<std::unique_ptr<JsonlReporter>> open(const std::filesystem::path& path,
                                                       FileMode mode = FileMode::replace);
  explicit JsonlReporter(std::unique_ptr<Sink> sink) : sink_(std::move(sink)) {}

  void on_start(const RunHeader& header) override;
  void on_earlier_verdict(const VerdictRecord&) override {}  // the file has it already
  void on_case_start(std::string_view line, std::string_view case_id, std::string_view backend) override;
  void on_verdict(const VerdictRecord& record) override;
  void on_finish(const RunSummary& summary) override;
  Expected<void> failed() const override;  // after the first error nothing more is written

 private:
  void put(std::string json);

  std::unique_ptr<Sink> sink_;
  std::optional<Error> error_;
};

}  // namespace attest
