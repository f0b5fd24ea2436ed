// Definitions of the templates in ops.h: for ops.cpp, and for tests that plant bugs by another policy.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstring>
#include <vector>

#include "backends/cpu/ops.h"
#include "backends/cpu/rows.h"
#include "backends/cpu/threads.h"
#include "backends/decode_loop.h"

namespace attest::cpu {

// Weights of one row from its logits z, -inf where hidden; returns through z. No visible key and the row is 0.
inline void soft_max_row(const Primitives& simd, float* z, std::int64_t n, std::int64_t chunk, float sink) {
  struct Part {
    float max, sum;
  };
  constexpr float kNone = -std::numeric_limits<float>::infinity();
  std::vector<Part> parts;
  for (std::int64_t first = 0; first < n; first += chunk) {
    const std::int64_t count = std::min(chunk, n - first);
    const float max = *std::max_element(z + first, z + first + count);
    float sum = 0;
    for (std::int64_t j = first; j < first + count; ++j) z[j] = max == kNone ? kNone : z[j] - max;
    simd.exp(z + first, count);
    for (std::int64_t j = first; j < first + count; ++j) sum += z[j];
    parts.push_back({max, max == kNone ? 0 : sum});
  }
  float max = kNone, sum = 0;
  for (const Part& part : parts) max = std::max(max, part.max);
  if (max == kNone) return std::fill(z, z + n, 0.0F);
  max = std::max(max, sink);
  for (Part& part : parts) {
    part.max = part.max == kNone ? 0 : simd.exp_one(part.max - max);  // now a factor
    sum += part.sum * part.max;
  }
  if (sink != kNone) sum += simd.exp_one(sink - max);
  for (std::size_t i = 0; i < parts.size(); ++i) {
    const std::int64_t first = static_cast<std::int64_t>(i) * chunk, count = std::min(chunk, n - first);
    if (parts[i].max != 1) simd.scale(parts[i].max, z + first, count);
  }
  simd.divide(z, sum, reinterpret_cast<std::byte*>(z), n);
}

template <class Policy>
double soft_max(const AttentionInputs& in, const MutableTensorView& out, const Primitives& simd, std::int64_t chunk,
                int threads) {
  const AttentionProblem& p = *in.problem;
  const std::int64_t n = p.n_kv;
  if (n == 0) return 0.0;
  return parallel_for(threads, p.n_seq * p.n_head * p.n_q, [&](std::int64_t row, int) {
    const std::int64_t i = row % p.n_q, h = row / p.n_q % p.n_head, s = row / p.n_q / p.n_head;
    std::vector<float> z(static_cast<std::size_t>(n)), bias(static_cast<std::size_t>(2 * n));
    std::memcpy(z.data(), in.q.row(i, h, s), static_cast<std::size_t>(4 * n));
    simd.scale(p.scale, z.data(), n);
    if (in.mask.present()) {
      const float slope = p.max_bias > 0 ? static_cast<float>(alibi_slope(p, h)) : 1.0F;
      const float* mask =
          RowReader(simd, in.mask)
              .read(in.mask.row(i, Policy::mask_plane(h, in.mask.ne[2]), s % in.mask.ne[3]), bias.data());
      simd.bias(slope, mask, z.data(), n);
    }
    const float sink = in.sinks.present() && Policy::uses_sink() ? element(in.sinks, h, 0, 0, 0)
                                                                 : -std::numeric_limits<float>::infinity();
    if (n > 0) soft_max_row(simd, z.data(), n, chunk, sink);
    std::memcpy(out.row(i, h, s), z.data(), static_cast<std::size_t>(4 * n));
  });
}

template <class Policy>
double set_rows(const AttentionInputs& in, const MutableTensorView& out, int threads) {
  const AttentionProblem& p = *in.problem;
  return parallel_for(threads, p.n_seq * p.n_head * p.n_q, [&](std::int64_t row, int) {
    const std::int64_t r = row % p.n_q, h = row / p.n_q % p.n_head, s = row / p.n_q / p.n_head;
    const std::int64_t to = Policy::destination(row_index(in, r, s), p.n_kv);
    store_row(out.dtype, reinterpret_cast<const float*>(in.q.row(r, h, s)), out.row(to, h, s), p.d_k);
  });
}

template <class Policy>
Outcome decode(const AttentionInputs& in, const MutableTensorView& out, const Attend& attend) {
  const auto store = [](const TensorView& rows, const MutableTensorView& cache, std::int64_t to) {
    for (std::int64_t h = 0; h < cache.ne[2]; ++h) {
      for (std::int64_t i = 0; i < rows.ne[1] && to + i < cache.ne[1]; ++i) {
        store_row(cache.dtype, reinterpret_cast<const float*>(rows.row(i, h, 0)), cache.row(to + i, h, 0), cache.ne[0]);
      }
    }
  };
  return decode_loop<Policy>(in, out, [&](const DecodeCall& call) {
    store(call.new_k, call.k_cache, call.position);
    store(call.new_v, call.v_cache, call.position);
    return attend(call.inputs, call.out);
  });
}

}  // namespace attest::cpu
