// Where an output is wrong: error over budget by row and column, and a description of the place in words.
#pragma once

#include <string>
#include <vector>

#include "harness/key.h"

namespace attest {

struct RowError {
  Row row;
  double ratio = 0;  // largest err/B; infinity where an element is NaN, Inf or unwritten
  bool nonfinite = false, unwritten = false, dead = false;
  bool bad() const { return !(ratio <= 1); }
};

struct ErrorMap {
  std::vector<RowError> rows;   // judged ones, and others that are not finite; sorted by row
  std::vector<double> columns;  // [d_v] largest err/B
  std::int64_t bad_elements = 0;
  std::vector<RowError> bad() const;  // worst first
};

// Budgets that compare() has not worked out count as kept.
ErrorMap map_errors(Key& key, const ArithmeticContract& contract, const TensorView& out);

// "head 3, every query, columns 64 to 71; 40 of 64 rows": what the bad rows have in common, tile and thread periods.
std::string describe_place(const ErrorMap& map, const AttentionProblem& problem);

// Rows x heads as text, a sign per cell for err/B below 1, 10, 100 ... ("." to "9", "N" for NaN), and the profile over
// columns. At most `width` columns and 40 lines.
std::string draw(const ErrorMap& map, const AttentionProblem& problem, std::size_t width);

}  // namespace attest
