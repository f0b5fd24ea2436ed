// Rows of random numbers by vectors: bit for bit what RandomRow gives column by column.
#pragma once

#include <cstdint>

#include "cases/random_rows.h"

namespace attest {

// row[e] = random.uniform(e)
void fill_uniform(const RandomRow& random, float* row, std::uint32_t n);
// row[e] = random.normal(e) * deviation
void fill_normal(const RandomRow& random, float deviation, float* row, std::uint32_t n);

}  // namespace attest
