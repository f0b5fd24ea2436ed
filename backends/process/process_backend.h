// A program that answers requests on its standard input as a backend: process:COMMAND[,threads=N].
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "backends/backend.h"
#include "backends/registry.h"
#include "cases/error.h"

namespace attest {

// Starts the program and asks what it can do. The command is split at blanks, quotes as in a shell (child.h).
// Errors: input for a command that cannot be split and for unknown options; harness for a program that does not start,
// ends, or answers with something else than capabilities.
//
// In a case: a program that ends is CRASH, one that answers nonsense, an error, or a file that is missing or of the
// wrong shape is ERROR, one that does not answer is for the judge's deadline. The next case starts it anew.
Expected<std::unique_ptr<Backend>> make_process_backend(const BackendSpec& spec, const BackendEnvironment& environment);

}  // namespace attest
