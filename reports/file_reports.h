// Reports that are written whole at the end of a run: HTML, JUnit, CSV, Markdown, each into its own file.
#pragma once

#include <filesystem>
#include <optional>
#include <string>

#include "reports/record_file.h"
#include "reports/reporter.h"

namespace attest {

struct ReportFiles {
  std::string html, junit, csv, markdown;  // paths; empty: not wanted; "-": standard output

  bool any() const { return !html.empty() || !junit.empty() || !csv.empty() || !markdown.empty(); }
};

// Written beside the target and renamed, so that nobody reads half a report; "-": standard output. The error names the
// file.
Expected<void> write_whole(const std::string& path, const std::string& text);

Expected<void> write_reports(const RecordFile& file, const ReportFiles& where, const std::string& repro_options = {});

// Takes away what an earlier run left there, so that a run that ends without reports has none.
void remove_old_reports(const ReportFiles& where);

// Keeps the verdicts of a run and writes the reports when it ends, interrupted or not.
class FileReporter : public RunListener {
 public:
  FileReporter(ReportFiles where, std::string repro_options)
      : where_(std::move(where)), repro_options_(std::move(repro_options)) {}

  void on_start(const RunHeader& header) override { file_.runs.push_back(header); }
  void on_verdict(const VerdictRecord& record) override { file_.verdicts.push_back(record); }
  void on_finish(const RunSummary& summary) override;
  Expected<void> failed() const override;

 private:
  ReportFiles where_;
  std::string repro_options_;
  RecordFile file_;
  std::optional<Error> error_;
};

}  // namespace attest
