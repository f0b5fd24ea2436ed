// One output row laid open, key by key in fp64, to be put together again: rightly, in narrow arithmetic, or wrongly.
#pragma once

#include <cstdint>
#include <vector>

#include "oracles/oracle.h"

namespace attest {

// Formats that intermediate values are rounded to; `wide` leaves them as they are.
enum class Narrow : std::uint8_t { wide, f16, bf16, e4m3 };
double narrowed(double value, Narrow to);

// Which heads, sequence and keys' precision to read a row with; by default those of semantics.md.
struct RowReading {
  std::int64_t head_k = -1, head_v = -1, seq_kv = -1;  // -1: the right one
  Narrow k = Narrow::wide;                             // K rounded before the dot product
  std::int64_t skip_first = 0, skip_end = 0;           // dimensions [skip_first, skip_end) left out of the dot product
};

struct RowTerms {
  Row row;
  std::int64_t n_kv = 0, d_v = 0;
  double scale = 1, softcap = 0, slope = 1;
  double sink = 0;           // -infinity: none
  std::vector<double> dot;   // [n_kv] q.k_j, hidden keys included: NaN where their bytes are
  std::vector<double> mask;  // [n_kv] as stored, -infinity hides; zeros without a mask
  std::vector<float> v;      // [n_kv][d_v], hidden keys included
  const float* value(std::int64_t key) const { return v.data() + key * d_v; }
};

// The terms of `row`, at most `columns` (0: all) of V.
RowTerms read_row_terms(const AttentionInputs& inputs, const Row& row, const ScoreCorrection& correction = {},
                        const RowReading& reading = {}, std::int64_t columns = 0);

// scale * dot, softcap, mask: [n_kv], -infinity where hidden.
std::vector<double> logits(const RowTerms& terms);
// Softmax over logits z [n_kv] and `sink`, times V: [d_v]. No visible key: 0.
std::vector<double> weighted_values(const RowTerms& terms, const std::vector<double>& z, double sink);

// What f32 arithmetic may be off by per element: a few roundings of the terms of the sum, and of the scores behind the
// weights. A yardstick, not a budget.
std::vector<double> f32_units(const RowTerms& terms);

}  // namespace attest
