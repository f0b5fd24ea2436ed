// variant=* in a backend's name: one backend for every CPU variant of the ggml build that this machine can execute.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "backends/registry.h"
#include "cases/error.h"

namespace attest {

struct ExpandedBackends {
  std::vector<std::string> backends;  // each once, in the order given, variants best first
  std::vector<std::string> notes;     // sentences for people: which variants this machine cannot execute
};

// Runnable variants of a build, as runnable_cpu_variants() of harness/backends.h tells them.
using VariantsOf = std::function<Expected<std::vector<std::string>>(const GgmlBuild&)>;

// Names without variant=* stay as they are. Errors: input for another device than CPU, for a name that cannot be read
// and for several builds without a name; harness where the build has no variants, or none that runs here.
Expected<ExpandedBackends> expand_cpu_variants(const std::vector<std::string>& given,
                                               const BackendEnvironment& environment, const VariantsOf& variants_of);

}  // namespace attest
