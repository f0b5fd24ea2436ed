// How far a plain softmax-then-sum computation with a given unit roundoff may be from the exact answer.
#pragma once

#include <vector>

#include "oracles/oracle.h"

namespace attest::testing {

// First-order bound per element of one row, by equation (1) of the error budget with the operation counts of the
// oracles. largest_score_error says whether first order holds: it must stay well below 1.
struct RowBound {
  std::vector<double> element;
  double largest_score_error = 0;
};
RowBound row_bound(const AttentionInputs& inputs, const Row& row, double unit);

}  // namespace attest::testing
