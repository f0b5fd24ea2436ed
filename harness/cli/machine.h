// Where and when a run takes place, for its header.
#pragma once

#include <string>

#include "reports/record.h"

namespace attest::cli {

// started_utc, host, cpu and a fresh id; the rest is left to the caller.
RunHeader machine_header();

// What this CPU is and can do: machines that give the same text run the same code alike.
std::string cpu_identity();

}  // namespace attest::cli
