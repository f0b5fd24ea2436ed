// A kernel in somebody's shared library as a backend: plugin:FILE[,threads=N][,option[=value]...].
#pragma once

#include <memory>

#include "backends/backend.h"
#include "backends/registry.h"
#include "cases/error.h"

namespace attest {

// Loads foreign code into this process: only call it in a subject process. Every option but `threads` goes to the
// plug-in's configure(). A plug-in is configured once per process: asking again with other options is an error.
// Errors: input for an option that the plug-in does not take; harness for whatever open_plugin() says.
//
// What the plug-in says that cannot be (a contract with impossible values, an output of another size, a supports() that
// is neither yes nor no) makes the case fail with that sentence: verdict ERROR, never a pass.
Expected<std::unique_ptr<Backend>> make_plugin_backend(const BackendSpec& spec, const BackendEnvironment& environment);

}  // namespace attest
