// A run as one HTML file that opens anywhere: summary, failures, matrices, spread, curves and every verdict.
#pragma once

#include <string>

#include "reports/record_file.h"

namespace attest {

struct HtmlOptions {
  std::string repro_options;  // stands behind `attest run` in repro lines
};

// The page carries its data, style and script and loads nothing. Verdicts travel as columns of numbers and one table of
// texts; whole records of those that are not PASS alone, so that 100,000 verdicts stay below 20 MB.
std::string html_page(const RecordFile& file, const HtmlOptions& options = {});

}  // namespace attest
