// Prefill: a threadgroup of four simdgroups per 8 queries of a head. Scores and outputs are products of 8x8 matrices;
// each simdgroup scores 8 of a tile's 32 keys, does the softmax of two rows and owns a quarter of the output's columns.
// Threadgroup memory, floats, d_k8 = d_k rounded up to 8:
//   q[8 x d_k8], scores[8 x 32], diagonal[8 x 8], factors[8], stage[8 x 64 per simdgroup].

constant constexpr int kQueries = 8, kKeys = 32, kSimdgroups = 4;
constant constexpr int kStageColumns = 64;
constant constexpr int kMaxBlocks = 18;  // of 8 output columns per simdgroup: 576 / 8 / 4

// 8 rows of K or V, columns [column, column + 64), as f32; rows and columns outside are 0, and so are rows that
// `wanted` leaves out, whatever their bytes are.
inline void stage_rows(constant AttentionArgs& args, threadgroup float* stage, device const uchar* rows, bool of_k,
                       int count, uint wanted, int column, int columns, ushort lane) {
  const int64_t row_stride = of_k ? args.k_nb1 : args.v_nb1;
  for (int i = lane; i < 8 * kStageColumns / 4; i += 32) {
    const int row = i / (kStageColumns / 4), at = column + 4 * (i % (kStageColumns / 4));
    float4 value = float4(0.0f);
    if (row < count && (wanted >> uint(row) & 1u) != 0 && at < columns) {
      device const uchar* from = rows + row_stride * row;
      value = of_k ? load4_k(args, from, at / 4) : load4(from, FC_v_type, at / 4);
    }
    threadgroup float* to = stage + row * kStageColumns + 4 * (i % (kStageColumns / 4));
    to[0] = value.x;
    to[1] = value.y;
    to[2] = value.z;
    to[3] = value.w;
  }
}

kernel void attention_tiled(constant AttentionArgs& args [[buffer(0)]],
                            device const uchar* q [[buffer(1)]],
                            device const uchar* k [[buffer(2)]],
                            device const uchar* v [[buffer(3)]],
                            device const uchar* mask [[buffer(4)]],
                            device const float* sinks [[buffer(5)]],
                            device const float* slopes [[buffer(6)]],
                            device float* out [[buffer(7)]],
                            threadgroup float* memory [[threadgroup(0)]],
                            uint3 group [[threadgroup_position_in_grid]],
                            ushort thread_index [[thread_index_in_threadgroup]],
                            ushort lane [[thread_index_in_simdgroup]],
                            ushort simdgroup [[simdgroup_index_in_threadgroup]]) {
  const int first_query = int(group.x) * kQueries, head = int(group.y), seq = int(group.z);
  const int d_k8 = (FC_d_k + 7) / 8 * 8, blocks = (FC_d_v + 7) / 8;
  const int own = (blocks + kSimdgroups - 1) / kSimdgroups;  // output blocks of a simdgroup
  const int own_first = own * simdgroup, own_count = min(own, blocks - own_first);

  threadgroup float* shared_q = memory;
  threadgroup float* scores = shared_q + kQueries * d_k8;
  threadgroup float* diagonal = scores + kQueries * kKeys;
  threadgroup float* factors = diagonal + 64;
  threadgroup float* stage = factors + kQueries + 8 * kStageColumns * simdgroup;

  for (int i = thread_index; i < kQueries * d_k8; i += 32 * kSimdgroups) {
    const int row = i / d_k8, column = i % d_k8;
    device const uchar* q_row = q + args.q_nb1 * (first_query + row) + args.q_nb2 * head + args.q_nb3 * seq;
    shared_q[i] = first_query + row < args.n_q && column < FC_d_k ? load_f32(q_row + 4 * column) : 0.0f;
  }
  threadgroup_barrier(mem_flags::mem_threadgroup);

  const float slope = FC_slopes ? slopes[head] : 1.0f;
  float m[2] = {-INFINITY, -INFINITY}, l[2] = {0.0f, 0.0f};  // of rows 2 simdgroup and the next, alike in all lanes
  simdgroup_float8x8 o[kMaxBlocks];
  for (int b = 0; b < kMaxBlocks; ++b) o[b] = make_filled_simdgroup_matrix<float, 8, 8>(0.0f);

  for (int tile = 0; tile < args.n_kv; tile += kKeys) {
    if (FC_mask != 0) {  // a tile that no row sees is left out, by all simdgroups alike
      bool seen = false;
      for (int row = 0; row < kQueries && first_query + row < args.n_q && tile + lane < args.n_kv; ++row) {
        device const uchar* bias_row = mask_row(args, mask, first_query + row, head, seq);
        seen = seen || mask_value(bias_row, tile + lane) != -INFINITY;
      }
      if (!simd_any(seen)) continue;
    }

    const int key = tile + 8 * simdgroup;
    simdgroup_float8x8 s = make_filled_simdgroup_matrix<float, 8, 8>(0.0f);
    if (key < args.n_kv) {
      for (int column = 0; column < d_k8; column += kStageColumns) {
        stage_rows(args, stage, k_row(args, k, key, head, seq), true, args.n_kv - key, 255u, column, FC_d_k, lane);
        simdgroup_barrier(mem_flags::mem_threadgroup);
        for (int c = 0; c < kStageColumns && column + c < d_k8; c += 8) {
          simdgroup_float8x8 a, b;
          simdgroup_load(a, shared_q + column + c, d_k8);
          simdgroup_load(b, stage + c, kStageColumns, ulong2(0), true);
          simdgroup_multiply_accumulate(s, a, b, s);
        }
        simdgroup_barrier(mem_flags::mem_threadgroup);  // the stage has been read
      }
    }
    simdgroup_store(s, scores + 8 * simdgroup, kKeys);
    threadgroup_barrier(mem_flags::mem_threadgroup);

    for (int r = 0; r < 2; ++r) {
      const int row = 2 * simdgroup + r;
      float z = -INFINITY;
      if (first_query + row < args.n_q && tile + lane < args.n_kv) {
        const float bias = mask_value(mask_row(args, mask, first_query + row, head, seq), tile + lane);
        z = logit(args, scores[row * kKeys + lane], bias, slope);
      }
      const float now = max(m[r], simd_max(z));
      const float old = rescale(m[r], now);
      float p = z == -INFINITY ? 0.0f : precise::exp(z - now);
      l[r] = l[r] * old + simd_sum(p);
      m[r] = now;
      if (FC_vskip && p < args.vskip) p = 0.0f;
      scores[row * kKeys + lane] = p;
      if (lane < 8) diagonal[row * 8 + lane] = lane == row ? old : 0.0f;
    }
    threadgroup_barrier(mem_flags::mem_threadgroup);

    bool weighs = false;  // does any row give this lane's key a weight?
    for (int row = 0; row < kQueries; ++row) weighs = weighs || scores[row * kKeys + lane] != 0.0f;
    const uint weighed = uint(ulong(simd_ballot(weighs)));
    if (simd_any(lane < 8 && diagonal[9 * (lane % 8)] != 1.0f)) {
      simdgroup_float8x8 d;
      simdgroup_load(d, diagonal, 8);
      for (int b = 0; b < own_count; ++b) simdgroup_multiply(o[b], d, o[b]);
    }
    for (int keys = 0; keys < kKeys; keys += 8) {
      const uint wanted = weighed >> uint(keys) & 255u;
      if (wanted == 0) continue;
      simdgroup_float8x8 p;
      simdgroup_load(p, scores + keys, kKeys);
      for (int b = 0; b < own_count; b += kStageColumns / 8) {
        stage_rows(args, stage, v_row(args, v, tile + keys, head, seq), false, args.n_kv - tile - keys, wanted,
                   8 * (own_first + b), FC_d_v, lane);
        simdgroup_barrier(mem_flags::mem_threadgroup);
        for (int c = 0; c < kStageColumns / 8 && b + c < own_count; ++c) {
          simdgroup_float8x8 values;
          simdgroup_load(values, stage + 8 * c, kStageColumns);
          simdgroup_multiply_accumulate(o[b + c], p, values, o[b + c]);
        }
        simdgroup_barrier(mem_flags::mem_threadgroup);
      }
    }
    threadgroup_barrier(mem_flags::mem_threadgroup);  // scores and diagonal have been read
  }

  for (int r = 0; r < 2; ++r) {
    const float factor = final_factor(m[r], l[r], FC_sinks, FC_sinks ? sinks[head] : 0.0f);
    if (lane == 0) factors[2 * simdgroup + r] = factor;
  }
  threadgroup_barrier(mem_flags::mem_threadgroup);
  for (int b = 0; b < own_count; ++b) {
    simdgroup_store(o[b], stage, 8);
    simdgroup_barrier(mem_flags::mem_threadgroup);
    for (int i = lane; i < 64; i += 32) {
      const int row = i / 8, column = 8 * (own_first + b) + i % 8;
      if (first_query + row >= args.n_q || column >= FC_d_v) continue;
      const int64_t at = (int64_t(seq) * args.n_q + first_query + row) * args.n_head + head;
      out[at * FC_d_v + column] = factors[row] == 0.0f ? 0.0f : stage[i] * factors[row];
    }
    simdgroup_barrier(mem_flags::mem_threadgroup);  // the stage has been read
  }
}
