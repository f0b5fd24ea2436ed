// Fused scaled-dot-product attention in the layouts of frameworks that keep heads inside: Q and O [n_q, head, d],
// V [n_kv, head, d], and K transposed, [head, d, n_kv]: a lane per key reads neighbouring elements of K. Causality comes as
// an additive mask. A simdgroup per query, four queries per threadgroup.
#include <metal_stdlib>
using namespace metal;

struct Params {
  uint n_q, n_kv, n_head;
  uint heads_per_kv, seqs_per_kv;
  uint mask_heads, mask_seqs;
  float scale;
};

constant int d [[function_constant(0)]];
constant bool has_mask [[function_constant(1)]];

constant constexpr uint kQueries = 4, kKeys = 32, kColumns = 4;  // of a threadgroup, a step, a lane (d <= 128)

template <typename T>
kernel void fused_sdpa(device const float* q [[buffer(0)]],
                       device const T* k [[buffer(1)]],
                       device const T* v [[buffer(2)]],
                       device float* out [[buffer(3)]],
                       constant Params& p [[buffer(4)]],
                       device const float* mask [[buffer(5)]],
                       threadgroup float* queries [[threadgroup(0)]],
                       uint3 group [[threadgroup_position_in_grid]],
                       uint thread_index [[thread_index_in_threadgroup]],
                       uint lane [[thread_index_in_simdgroup]],
                       uint simdgroup [[simdgroup_index_in_threadgroup]]) {
  const uint head = group.y, seq = group.z;
  const uint n_head_kv = p.n_head / p.heads_per_kv;
  const uint kv_head = head / p.heads_per_kv, kv_seq = seq / p.seqs_per_kv;

  for (uint i = thread_index; i < kQueries * d; i += 32 * kQueries) {
    const uint row = min(group.x * kQueries + i / d, p.n_q - 1);
    queries[i] = q[((seq * p.n_q + row) * p.n_head + head) * d + i % d] * p.scale;
  }
  threadgroup_barrier(mem_flags::mem_threadgroup);

  const uint query = group.x * kQueries + simdgroup;
  if (query >= p.n_q) return;  // a whole simdgroup, and nobody waits for it below
  threadgroup const float* mine = queries + simdgroup * d;
  device const T* keys = k + (kv_seq * n_head_kv + kv_head) * d * p.n_kv;
  device const float* bias = mask;
  if (has_mask) bias += ((seq % p.mask_seqs * p.mask_heads + head % p.mask_heads) * p.n_q + query) * p.n_kv;

  float best = -INFINITY, sum = 0.0f;
  float o[kColumns] = {0.0f, 0.0f, 0.0f, 0.0f};
  for (uint step = 0; step < p.n_kv; step += kKeys) {
    const uint key = step + lane;
    float z = -INFINITY;
    if (key < p.n_kv && (!has_mask || bias[key] != -INFINITY)) {
      z = has_mask ? bias[key] : 0.0f;
      float product = 0.0f;
      for (int i = 0; i < d; ++i) product += mine[i] * float(keys[i * p.n_kv + key]);
      z += product;
    }
    const float now = max(best, simd_max(z));
    if (now == -INFINITY) continue;
    const float w = precise::exp(z - now), old = precise::exp(best - now);
    sum = sum * old + simd_sum(w);
    best = now;
    for (uint c = 0; c < kColumns; ++c) o[c] *= old;
    for (uint j = 0; j < min(kKeys, p.n_kv - step); ++j) {
      const float weight = simd_broadcast(w, ushort(j));
      if (weight == 0.0f) continue;  // hidden keys may hold NaN
      device const T* row = v + ((kv_seq * p.n_kv + step + j) * n_head_kv + kv_head) * d;
      for (uint c = 0; c < kColumns; ++c) {
        if (32 * c + lane < uint(d)) o[c] += weight * float(row[32 * c + lane]);
      }
    }
  }
  device float* answer = out + ((seq * p.n_q + query) * p.n_head + head) * d;
  for (uint c = 0; c < kColumns; ++c) {
    if (32 * c + lane < uint(d)) answer[32 * c + lane] = sum == 0.0f ? 0.0f : o[c] / sum;
  }
}

template [[host_name("fused_sdpa_f32")]] kernel void fused_sdpa<float>(
    device const float*, device const float*, device const float*, device float*, constant Params&, device const float*,
    threadgroup float*, uint3, uint, uint, uint);
template [[host_name("fused_sdpa_f16")]] kernel void fused_sdpa<half>(
    device const float*, device const half*, device const half*, device float*, constant Params&, device const float*,
    threadgroup float*, uint3, uint, uint, uint);
