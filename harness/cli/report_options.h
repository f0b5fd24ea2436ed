// --html, --junit, --csv, --markdown, --db and --commit, the same for every verb that has verdicts to report.
#pragma once

#include <CLI/CLI.hpp>
#include <memory>
#include <optional>
#include <string>

#include "reports/file_reports.h"
#include "reports/history/history_reporter.h"

namespace attest::cli {

void add_report_options(CLI::App& verb, ReportFiles& where);

// --db FILE and --commit ID, for verbs that run cases.
struct HistoryOptions {
  std::string db, commit;
};
void add_history_options(CLI::App& verb, HistoryOptions& options);
// What the user said, else what CI says: ATTEST_COMMIT, GITHUB_SHA, CI_COMMIT_SHA; else "".
std::string commit_under_test(const HistoryOptions& options);
// nullptr without --db. `resumed`: the header of the run that goes on.
Expected<std::unique_ptr<HistoryReporter>> open_history(const HistoryOptions& options,
                                                        std::optional<RunHeader> resumed = std::nullopt);

}  // namespace attest::cli
