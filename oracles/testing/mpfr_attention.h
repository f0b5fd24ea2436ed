// Attention of one row in 256-bit arithmetic: what the oracles themselves are judged by.
#pragma once

#include <vector>

#include "oracles/oracle.h"

namespace attest::testing {

// O[:, row] as semantics.md defines it, rounded once to double at the end. Every input is read through element().
std::vector<double> mpfr_attention(const AttentionInputs& inputs, const Row& row,
                                   const ScoreCorrection& correction = {});

}  // namespace attest::testing
