// Where and when a run takes place, for its header.
#pragma once

#include "reports/record.h"

namespace attest::cli {

// started_utc, host, cpu; the rest is left to the caller.
RunHeader machine_header();

}  // namespace attest::cli
