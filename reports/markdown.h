// A run as Markdown for the step summary of a CI job: the table, failures by cause, what was not compared.
#pragma once

#include <string>

#include "reports/record_file.h"

namespace attest {

// At most about 100 kB, however many verdicts there are.
std::string markdown_summary(const RecordFile& file, const std::string& repro_options = {});

}  // namespace attest
