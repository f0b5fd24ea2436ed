// What Metal does not have and a host compiler would take: refused before compiling, with line and construct.
#pragma once

#include <string>
#include <vector>

#include "backends/metal/sim/tokens.h"
#include "cases/error.h"

namespace attest::metal {

Unexpected msl_error(const Token& at, std::string message, std::string hint = {});

// double, std::, exceptions, new, virtual; pointers and references without address space; recursion.
Expected<void> refuse_foreign(const std::vector<Token>& tokens);

}  // namespace attest::metal
