// A Metal kernel that is not ours as a backend: msl:FILE.toml, a manifest and the .metal file it names.
#pragma once

#include <memory>

#include "backends/backend.h"
#include "backends/registry.h"
#include "cases/error.h"

namespace attest {

// msl:FILE.toml[,device=sim|metal][,model=...][,order=...]. Errors: input, with file, line, key and nearest word, where
// manifest or kernel are wrong; harness where this machine has no such device.
Expected<std::unique_ptr<Backend>> make_msl_backend(const BackendSpec& spec, const BackendEnvironment& environment);

}  // namespace attest
