// From what was ruled to the exit code of a process, with a word on standard error where the reason is not in the
// table.
#pragma once

#include "reports/record.h"

namespace attest::cli {

// The word of RunHeader::options that says a request for precision must be honoured.
inline constexpr const char* kStrictPrec = "strict-prec";

// 130 interrupted, 1 some verdict is bad, 3 verdicts are missing or nothing of a backend was compared (it took no case,
// or all it took are RANGE), else 0. A shard of a larger selection may be empty or unsupported as a whole: merge has the
// last word on that.
// `otherwise_bad`: --strict-prec was not honoured, or the ledger is outdated.
int verdict_exit(const RunSummary& summary, const RunHeader& header, bool otherwise_bad);

}  // namespace attest::cli
