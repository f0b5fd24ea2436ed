// This project's own Metal kernels as a backend: metal on Apple machines, metal:sim on the simulator everywhere.
#pragma once

#include <memory>
#include <vector>

#include "backends/backend.h"
#include "backends/registry.h"
#include "cases/error.h"

namespace attest {

// metal[,kernel=vec|tiled][,vskip=T][,mutant=NAME], and metal:sim with those and model= and order= (sim_options.h).
// Errors: input for unknown variants, options and values, with the nearest valid word; harness where this machine has
// no compiler for the simulator (with how to get one), and for `metal` away from Apple machines.
Expected<std::unique_ptr<Backend>> make_metal_backend(const BackendSpec& spec, const BackendEnvironment& environment);

std::vector<BackendListing> metal_listings();

}  // namespace attest
