// --html, --junit, --csv and --markdown, the same for every verb that has verdicts to report.
#pragma once

#include <CLI/CLI.hpp>

#include "reports/file_reports.h"

namespace attest::cli {

void add_report_options(CLI::App& verb, ReportFiles& where);

}  // namespace attest::cli
