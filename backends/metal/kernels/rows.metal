// The ops beside attention: set_rows stores f32 rows into a cache of another type, soft_max works out the weights of
// given scores. Both f32 throughout.

constant int FC_cache_type [[function_constant(20)]];  // a StorageType
constant bool FC_index_i32 [[function_constant(21)]];  // else 64 bits

inline void store_u16(device uchar* p, uint v) {
  if (FC_bytewise) {
    p[0] = uchar(v);
    p[1] = uchar(v >> 8);
  } else {
    *(device ushort*)p = ushort(v);
  }
}
inline void store_u32(device uchar* p, uint v) {
  store_u16(p, v & 0xffffu);
  store_u16(p + 2, v >> 16);
}
inline void store_f16(device uchar* p, float v) { store_u16(p, as_type<ushort>(half(v))); }

// To nearest even by the carry of the bits that go; NaN stays one.
inline uint bf16_bits(float v) {
  const uint bits = as_type<uint>(v);
  if (isnan(v)) return bits >> 16 | 0x40u;
  return (bits + 0x7fffu + (bits >> 16 & 1u)) >> 16;
}

// The code of v * per_step: the nearest of low to high, even where two are as near.
inline uint code_of(float v, float per_step, float low, float high) {
  return uint(int(clamp(rint(v * per_step), low, high)) - int(low));
}
// Steps per unit for a largest code; 0 where f16 has no such step.
inline float per_unit(float steps, float span) { return fabs(span) < 1e-30f ? 0.0f : steps / span; }

inline void store_codes(device uchar* to, thread const uint* codes, bool five) {
  if (five) {
    uint high = 0;
    for (uint e = 0; e < 32; ++e) high |= (codes[e] >> 4 & 1u) << e;
    store_u32(to, high);
    to += 4;
  }
  for (int e = 0; e < 16; ++e) to[e] = uchar((codes[e] & 15u) | (codes[e + 16] & 15u) << 4);
}

inline int block_bytes(int type) {
  switch (type) {
    case type_q8_0: return 34;
    case type_q4_0: return 18;
    case type_q4_1: return 20;
    case type_q5_0: return 22;
    default: return 24;
  }
}

// 32 values as one block. Nothing is promised about blocks with a value that is not finite: it counts as 0.
inline void store_block(device uchar* to, thread const float* values) {
  float x[32];
  float least = INFINITY, most = -INFINITY, farthest = 0.0f;
  for (int e = 0; e < 32; ++e) {
    x[e] = isfinite(values[e]) ? values[e] : 0.0f;
    least = min(least, x[e]);
    most = max(most, x[e]);
    if (fabs(x[e]) > fabs(farthest)) farthest = x[e];
  }
  uint codes[32];
  const bool five = FC_cache_type == type_q5_0 || FC_cache_type == type_q5_1;
  if (FC_cache_type == type_q8_0) {
    store_f16(to, fabs(farthest) / 127.0f);
    const float steps = per_unit(127.0f, fabs(farthest));
    for (int e = 0; e < 32; ++e) to[2 + e] = uchar(code_of(x[e], steps, -127.0f, 127.0f) - 127u);
  } else if (FC_cache_type == type_q4_0 || FC_cache_type == type_q5_0) {
    const float low = five ? -16.0f : -8.0f;  // the code of the value farthest from 0
    store_f16(to, farthest / low);
    const float steps = per_unit(low, farthest);
    for (int e = 0; e < 32; ++e) codes[e] = code_of(x[e], steps, low, -low - 1.0f);
    store_codes(to + 2, codes, five);
  } else {
    const float top = five ? 31.0f : 15.0f;
    store_f16(to, (most - least) / top);
    store_f16(to + 2, least);
    const float steps = per_unit(top, most - least);
    for (int e = 0; e < 32; ++e) codes[e] = code_of(x[e] - least, steps, 0.0f, top);
    store_codes(to + 4, codes, five);
  }
}

inline int64_t row_index(device const uchar* index, int row) {
  if (FC_index_i32) return int64_t(int(load_u32(index + 4 * row)));
  return int64_t(ulong(load_u32(index + 8 * row)) | ulong(load_u32(index + 8 * row + 4)) << 32);
}

// A threadgroup of one simdgroup per row, head and sequence; lanes take elements, or blocks, in turn.
kernel void set_rows(constant RowsArgs& args [[buffer(0)]],
                     device const uchar* source [[buffer(1)]],
                     device const uchar* index [[buffer(2)]],
                     device uchar* cache [[buffer(3)]],
                     uint3 group [[threadgroup_position_in_grid]],
                     ushort lane [[thread_index_in_simdgroup]]) {
  const int row = int(group.x), head = int(group.y), seq = int(group.z);
  const int64_t to_row = row_index(index + args.index_nb1 * seq, row);
  if (to_row < 0 || to_row >= args.n_ctx) return;
  device const uchar* from = source + args.source_nb1 * row + args.source_nb2 * head + args.source_nb3 * seq;
  device uchar* to = cache + args.cache_nb1 * to_row + args.cache_nb2 * head + args.cache_nb3 * seq;
  if (FC_cache_type == type_f32) {
    for (int e = lane; e < args.n; e += 32) store_u32(to + 4 * e, load_u32(from + 4 * e));
  } else if (FC_cache_type == type_f16) {
    for (int e = lane; e < args.n; e += 32) store_f16(to + 2 * e, load_f32(from + 4 * e));
  } else if (FC_cache_type == type_bf16) {
    for (int e = lane; e < args.n; e += 32) store_u16(to + 2 * e, bf16_bits(load_f32(from + 4 * e)));
  } else {
    for (int b = lane; b < args.n / 32; b += 32) {
      float values[32];
      for (int e = 0; e < 32; ++e) values[e] = load_f32(from + 4 * (32 * b + e));
      store_block(to + block_bytes(FC_cache_type) * b, values);
    }
  }
}

constant constexpr int kSoftMaxThreads = 128;

// A threadgroup of four simdgroups per row of scores: maximum, sum, weights.
// Threadgroup memory, floats: maxima[4], sums[4].
kernel void soft_max(constant AttentionArgs& args [[buffer(0)]],
                     device const uchar* scores [[buffer(1)]],
                     device const uchar* mask [[buffer(4)]],
                     device const float* sinks [[buffer(5)]],
                     device const float* slopes [[buffer(6)]],
                     device float* out [[buffer(7)]],
                     threadgroup float* memory [[threadgroup(0)]],
                     uint3 group [[threadgroup_position_in_grid]],
                     ushort thread_index [[thread_index_in_threadgroup]],
                     ushort lane [[thread_index_in_simdgroup]],
                     ushort simdgroup [[simdgroup_index_in_threadgroup]]) {
  const int query = int(group.x), head = int(group.y), seq = int(group.z);
  device const uchar* row = scores + args.q_nb1 * query + args.q_nb2 * head + args.q_nb3 * seq;
  device const uchar* bias_row = mask_row(args, mask, query, head, seq);
  device float* to = out + ((int64_t(seq) * args.n_head + head) * args.n_q + query) * args.n_kv;
  const float slope = FC_slopes ? slopes[head] : 1.0f;
  threadgroup float* maxima = memory;
  threadgroup float* sums = memory + 4;

  float m = -INFINITY;
  for (int j = thread_index; j < args.n_kv; j += kSoftMaxThreads) {
    m = max(m, logit(args, load_f32(row + 4 * j), mask_value(bias_row, j), slope));
  }
  m = simd_max(m);
  if (lane == 0) maxima[simdgroup] = m;
  threadgroup_barrier(mem_flags::mem_threadgroup);
  m = max(max(maxima[0], maxima[1]), max(maxima[2], maxima[3]));
  if (m == -INFINITY) {  // nothing visible: the same for all threads
    for (int j = thread_index; j < args.n_kv; j += kSoftMaxThreads) to[j] = 0.0f;
    return;
  }
  if (FC_sinks) m = max(m, sinks[head]);

  float sum = 0.0f;
  for (int j = thread_index; j < args.n_kv; j += kSoftMaxThreads) {
    sum += precise::exp(logit(args, load_f32(row + 4 * j), mask_value(bias_row, j), slope) - m);
  }
  sum = simd_sum(sum);
  if (lane == 0) sums[simdgroup] = sum;
  threadgroup_barrier(mem_flags::mem_threadgroup);
  sum = (sums[0] + sums[1]) + (sums[2] + sums[3]);
  if (FC_sinks) sum += precise::exp(sinks[head] - m);
  for (int j = thread_index; j < args.n_kv; j += kSoftMaxThreads) {
    to[j] = precise::exp(logit(args, load_f32(row + 4 * j), mask_value(bias_row, j), slope) - m) / sum;
  }
}
