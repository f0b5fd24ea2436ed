// The second opinion: materialises S = Q K^T, the softmax and P V with Eigen. It is not flash attention.
#pragma once

#include <span>

#include "oracles/budget_sketch.h"
#include "oracles/oracle.h"

namespace attest {

// Rows may come in any order and number; all that read the same KV head are stacked into one Q matrix. S is cut by
// rows to stay within 64 MiB. Scalar = double: the reference; Scalar = float: a party of its own. Hidden keys
// contribute exactly nothing, whatever their bytes are. Single-threaded; calls may run in parallel.
template <class Scalar>
RowValues eigen_reference(const AttentionInputs& inputs, std::span<const Row> rows,
                          const ScoreCorrection& correction = {});

// The same, and into `sketch` what a cheap bound of the rows' budgets needs. `rows` as many as the sketch has.
RowValues eigen_reference(const AttentionInputs& inputs, std::span<const Row> rows, const ScoreCorrection& correction,
                          BudgetSketch& sketch);

extern template RowValues eigen_reference<double>(const AttentionInputs&, std::span<const Row>, const ScoreCorrection&);
extern template RowValues eigen_reference<float>(const AttentionInputs&, std::span<const Row>, const ScoreCorrection&);

}  // namespace attest
