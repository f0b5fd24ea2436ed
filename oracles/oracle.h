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

// Rows d_v long, one after the other, in the order of the request: values[r * d_v + e].
using RowValues = std::vector<double>;

}  // namespace attest
