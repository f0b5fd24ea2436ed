// Random cases weighted to boundaries: where tiles, vectors, blocks and head groups do not come out even.
#pragma once

#include <cstdint>

#include "cases/case.h"

namespace attest {

struct RandomOptions {
  double max_flop = 4e6;         // of one case
  std::int64_t max_n_kv = 2200;  // keys
  std::int64_t max_n_q = 130;    // queries
};

// The index-th case of a seed: valid, canonical (parse_case(text(c)) == c), and a pure function of its arguments.
Case random_case(std::uint64_t seed, std::uint64_t index, const RandomOptions& options = {});

}  // namespace attest
