// The plain truth: attention of one row in fp64, three loops, single-threaded, any dtype and stride.
#pragma once

#include <span>

#include "oracles/oracle.h"

namespace attest {

// out[d_v] = O[:, row.head, row.query, row.seq] as semantics.md defines it. Hidden keys are never read.
void scalar_oracle(const AttentionInputs& inputs, const Row& row, std::span<double> out,
                   const ScoreCorrection& correction = {});

RowValues scalar_oracle(const AttentionInputs& inputs, std::span<const Row> rows,
                        const ScoreCorrection& correction = {});

}  // namespace attest
