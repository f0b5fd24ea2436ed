// Covering arrays: few rows in which every t-tuple of axis values that can stand together does so at least once.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "cases/generate/constraints.h"

namespace attest {

// Values of `strength` axes, in the order of the axes.
using ValueTuple = std::vector<std::pair<std::size_t, int>>;  // (axis, value)

// What is covered of all tuples of one strength. Excluded ones, which have no valid completion, are not missing.
struct TupleCoverage {
  int strength = 0;
  std::int64_t total = 0, covered = 0, excluded = 0;
  std::vector<ValueTuple> missing;

  std::int64_t valid() const { return total - excluded; }
  double share() const { return valid() == 0 ? 1.0 : static_cast<double>(covered) / static_cast<double>(valid()); }
};

struct CoveringOptions {
  int strength = 2;                // 1 to 3, at most the number of axes
  std::vector<CoveringRow> seeds;  // rows that come first; open values are filled in, invalid ones are left out
  std::uint64_t seed = 0;
  std::size_t max_rows = 0;  // 0: as many as it takes
};

struct CoveringArray {
  std::vector<CoveringRow> rows;  // complete and valid
  TupleCoverage coverage;         // of options.strength
  std::vector<std::size_t> bad_seeds;
};

// Greedy, one row at a time, after AETG (Cohen et al. 1997): each row starts from a tuple that is still missing and
// takes axis by axis the value that covers most; the best of several rows stands. Deterministic in its arguments.
CoveringArray cover(const CoveringSpace& space, const CoveringOptions& options);

// What given rows cover; values may be kFree where a row shows none of an axis' values.
TupleCoverage measure_coverage(const CoveringSpace& space, int strength, const std::vector<CoveringRow>& rows);

}  // namespace attest
