// Turns preprocessed MSL into C++ that the simulator's headers understand, and refuses what Apple's compiler would.
#pragma once

#include <string>
#include <string_view>

#include "cases/error.h"

namespace attest::metal {

// Rewrites function constants, threadgroup declarations inside kernels and instantiations with a host_name; appends
// the registration of every kernel. Line numbers stay. Errors (input, with file and line): what MSL does not have
// (double, std::, pointers without address space, recursion, exceptions, new) and attributes that are not simulated.
Expected<std::string> prepare_msl(std::string_view preprocessed);

}  // namespace attest::metal
