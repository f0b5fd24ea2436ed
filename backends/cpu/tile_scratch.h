// One worker's memory for a tile of cpu:tiled.
#pragma once

#include <algorithm>

#include "backends/cpu/kernel.h"

namespace attest::cpu {

struct TileScratch {
  float* queries;  // [d_k][columns]
  float* keys;     // decoded rows, where they are not read in place
  float* values;
  float* scores;     // [kTileKeys][columns], then weights
  float* mask;       // [kTileKeys][columns]
  float* mask_rows;  // [kTileRows][kTileKeys]
  float* row;        // one row being read
  float* acc;        // [kTileRows][d_v]
  float *max, *sum, *factor;

  static std::int64_t row_floats(const KernelCall& call) {
    return std::max({call.q.scratch_floats(), call.k.scratch_floats(), call.v.scratch_floats(), 2 * kTileKeys});
  }
  static std::int64_t floats(const KernelCall& call) {
    return kTileRows * (call.problem.d_k + call.problem.d_v + 3) + kTileKeys * (call.problem.d_k + call.problem.d_v) +
           3 * kTileKeys * kTileRows + Scratch::padded(row_floats(call));
  }
  TileScratch(const KernelCall& call, Scratch& scratch) {
    scratch.rewind();
    queries = scratch.floats(kTileRows * call.problem.d_k);
    keys = scratch.floats(kTileKeys * call.problem.d_k);
    values = scratch.floats(kTileKeys * call.problem.d_v);
    scores = scratch.floats(kTileKeys * kTileRows);
    mask = scratch.floats(kTileKeys * kTileRows);
    mask_rows = scratch.floats(kTileKeys * kTileRows);
    row = scratch.floats(row_floats(call));
    acc = scratch.floats(kTileRows * call.problem.d_v);
    max = scratch.floats(kTileRows);
    sum = scratch.floats(kTileRows);
    factor = scratch.floats(kTileRows);
  }
};

}  // namespace attest::cpu
