// The ops beside flash_attn_ext on the CPU: softmax of given scores, scattered rows, and decoding over a cache.
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "backends/backend.h"
#include "backends/cpu/simd.h"
#include "backends/decode_loop.h"
#include "cases/op_inputs.h"
#include "cases/problem.h"

namespace attest::cpu {

// Every decision below that can be taken wrongly; another policy inherits and hides what it does otherwise.
struct OpProduction : DecodeProduction {
  static std::int64_t mask_plane(std::int64_t head, std::int64_t planes) { return head % planes; }
  static bool uses_sink() { return true; }
  static std::int64_t destination(std::int64_t row, std::int64_t /*rows_of_cache*/) { return row; }
};

// `chunk` scores at a time: maximum, weights and sum of each, then all against the maximum of the row. f32 throughout;
// hidden scores are never used. Returns CPU seconds.
template <class Policy>
double soft_max(const AttentionInputs& in, const MutableTensorView& out, const Primitives& simd, std::int64_t chunk,
                int threads);

// Returns CPU seconds.
template <class Policy>
double set_rows(const AttentionInputs& in, const MutableTensorView& out, int threads);

// One row of f32 as `type` stores it: halves to nearest even; blocks by the scale that their largest value asks for.
void store_row(DType type, const float* row, std::byte* dst, std::int64_t n);

// Answers one step: O [d_v, n_head, n, 1] of a flash_attn_ext problem.
using Attend = std::function<Outcome(const AttentionInputs&, const MutableTensorView&)>;
template <class Policy>
Outcome decode(const AttentionInputs& in, const MutableTensorView& out, const Attend& attend);

}  // namespace attest::cpu
