// What every oracle answers: rows of O, named by sequence, head and query.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "cases/problem.h"

namespace attest {

// One output row O[:, head, query, seq].
struct Row {
  std::int64_t seq = 0, head = 0, query = 0;
  bool operator==(const Row&) const = default;
  auto operator<=>(const Row&) const = default;
};

// Score terms of a rounding that is no change of Q alone, e.g. ggml's q8_1: its block sums are f16, so a K block with
// minimum m adds m times the rounding of the sum of Q. Scores become scale * (q.k + sum_b correction.q_b
// correction.k_b).
struct ScoreCorrection {
  TensorView q;  // [blocks, n_q, n_head, n_seq]; absent: no correction
  TensorView k;  // [blocks, n_kv, n_head_kv, n_seq_kv]; any strides, so it may view the minima inside K's own blocks
};

// Rows d_v long, one after the other, in the order of the request: values[r * d_v + e].
using RowValues = std::vector<double>;

}  // namespace attest
