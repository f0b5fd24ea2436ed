// Every device of a ggml build, loaded at run time, as a backend: ggml[@NAME]:DEVICE[,ref][,unfused][,variant=V].
#pragma once

#include <memory>
#include <vector>

#include "backends/backend.h"
#include "backends/registry.h"
#include "cases/error.h"

namespace attest {

// Loads foreign code into this process: only call it in a subject process. Options: ref (the CPU's own reference
// path), unfused (mul_mat + soft_max_ext + mul_mat), variant=V (which CPU backend file), threads=N (default 1).
// Errors: input for unknown options, devices and variants, with the nearest valid word; harness for a build that is
// missing or does not load.
Expected<std::unique_ptr<Backend>> make_ggml_backend(const BackendSpec& spec, const BackendEnvironment& environment);

// The build that ggml[@NAME] means. Errors: input for a name that is not there, and for none where there are several;
// harness where there is no build at all.
Expected<GgmlBuild> choose_ggml_build(const BackendSpec& spec, const std::vector<GgmlBuild>& builds);

// What a build offers on this machine: its devices, the CPU's ref and unfused forms, and every CPU variant, those that
// cannot run here with the reason. Loads the build into this process. A build with an empty name is listed as
// ggml:DEVICE, else as ggml@NAME:DEVICE. A build that does not load is one unavailable entry with the error's text.
std::vector<BackendListing> ggml_listings(const GgmlBuild& build);

}  // namespace attest
