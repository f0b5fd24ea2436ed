// Runs a program to its end and returns what it printed.
#pragma once

#include <string>
#include <vector>

#include "cases/error.h"

namespace attest {

// Standard output of `argv`; standard error goes to /dev/null. Errors (harness): cannot be started, ended by a
// signal, exit code not 0, or no end within `timeout_s`.
Expected<std::string> child_output(const std::vector<std::string>& argv, double timeout_s);

}  // namespace attest
