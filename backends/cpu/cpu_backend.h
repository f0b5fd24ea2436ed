// This project's own CPU kernels as a backend: cpu[:vec|:tiled|:split][,threads=N][,vskip=T].
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "backends/backend.h"
#include "backends/registry.h"
#include "cases/error.h"

namespace attest {

// Without a variant the backend picks a kernel per problem. Option threads=N (default 1); a problem's own `threads`
// overrides it. Errors (input): unknown variant or option, with the nearest valid word.
Expected<std::unique_ptr<Backend>> make_cpu_backend(const BackendSpec& spec, const BackendEnvironment& environment);

std::vector<BackendListing> cpu_listings();

// "attest 0.1.0 AVX3": version and instruction set of the kernels.
std::string cpu_build_id();
// What a kernel ("vec", "tiled", "split") promises with that many threads; another path: one key at a time, as vec.
ArithmeticContract cpu_contract(std::string_view kernel, int threads);

}  // namespace attest
