#include "reports/jsonl.h"

namespace attest {

Expected<std::unique_ptr<JsonlReporter>> JsonlReporter::open(const std::filesystem::path& path, FileMode mode) {
  return open_file_sink(path, mode).map([](std::unique_ptr<Sink> sink) {
    return std::make_unique<JsonlReporter>(std::move(sink));
  });
}

void JsonlReporter::on_start(const RunHeader& header) { put(to_json(header)); }

void JsonlReporter::on_case_start(std::string_view line, std::string_view case_id, std::string_view backend) {
  put(started_json(line, case_id, backend));
}

void JsonlReporter::on_verdict(const VerdictRecord& record) { put(to_json(record)); }

void JsonlReporter::on_finish(const RunSummary& summary) { put(to_json(summary)); }

Expected<void> JsonlReporter::failed() const {
  if (error_) return Unexpected(*error_);
  return {};
}

void JsonlReporter::put(std::string json) {
  if (error_) return;
  json += '\n';
  if (auto written = sink_->write(json); !written) error_ = written.error();
}

}  // namespace attest
