// A run as JUnit XML: one test suite per backend and suite, one test case per verdict.
#pragma once

#include <string>

#include "reports/record_file.h"

namespace attest {

// Bad verdicts about the answer are failures; those about the run itself (CRASH, HANG, OOM, OOB, ERROR, ORACLE ...) are
// errors; what is neither PASS nor bad is skipped, with its reason: no comparison that was not made looks like a pass.
// The text of a failure says place, error, budget, dominant term and the line that repeats it. Verdicts that a run
// should have and the record has not become one error per backend.
std::string junit_xml(const RecordFile& file, const std::string& repro_options = {});

}  // namespace attest
