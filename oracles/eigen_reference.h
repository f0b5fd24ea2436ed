// The second opinion: materialises S = Q K^T, the softmax and P V with Eigen. It is not flash attention.
#pragma once

#include <span>

#include "oracles/oracle.h"

namespace attest {

// Rows may come in any order; those of one (sequence, head) are worked out together, K and V decoded once per KV
// head. Scalar = double: the reference; Scalar = float: a party of its own. Hidden keys contribute exactly nothing,
// whatever their bytes are.
template <class Scalar>
RowValues eigen_reference(const AttentionInputs& inputs, std::span<const Row> rows);

extern template RowValues eigen_reference<double>(const AttentionInputs&, std::span<const Row>);
extern template RowValues eigen_reference<float>(const AttentionInputs&, std::span<const Row>);

}  // namespace attest
