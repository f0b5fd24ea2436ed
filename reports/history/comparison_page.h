// A comparison as one HTML file that opens anywhere: counts, A against B as plots, changes in groups with their lines.
#pragma once

#include <string>

#include "reports/history/comparison.h"

namespace attest {

// At most 20,000 cases are drawn: those that changed first, and an even choice of the others.
std::string comparison_page(const Comparison& comparison, const BriefRun& a, const BriefRun& b,
                            const CompareOptions& options);

}  // namespace attest
