// An error map as small pictures for the record: queries by heads, and columns, at most so many cells.
#pragma once

#include <cstddef>
#include <vector>

#include "harness/error_map.h"
#include "reports/record.h"

namespace attest {

inline constexpr std::size_t kFullPicture = 1024, kSmallPicture = 256;  // cells

// Heads (of all sequences) down and queries across, then the columns of the output in one row. Neighbours share a cell
// by powers of two, so that tiles stay where they are; a cell holds their largest err/B to two digits. `period` where
// the bad queries or columns come in one.
std::vector<MapRecord> error_pictures(const ErrorMap& map, const AttentionProblem& problem, std::size_t most_cells);

// The smallest power of two, up to 64, with which the true ones repeat: between the first and the last of them they
// fill at most half of the residues, and at least three quarters of the places with those. 0: none. All residues must
// come twice, and two whole periods must be there.
std::int64_t period_of(const std::vector<bool>& marked);

}  // namespace attest
