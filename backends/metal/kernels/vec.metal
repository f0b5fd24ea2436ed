// Decode: a threadgroup per query, head and chunk of keys; its simdgroups take blocks of 32 keys in turn and merge their
// maxima, sums and outputs at the end. With several chunks attention_reduce merges those.
// Threadgroup memory, floats: q[d_k], weights[32 per simdgroup], m and l[1 per simdgroup each], o[d_v per simdgroup].

constant constexpr int kMaxColumns = 5;  // float4 of O per lane: ceil(576 / 4 / 32)

kernel void attention_vec(constant AttentionArgs& args [[buffer(0)]],
                          device const uchar* q [[buffer(1)]],
                          device const uchar* k [[buffer(2)]],
                          device const uchar* v [[buffer(3)]],
                          device const uchar* mask [[buffer(4)]],
                          device const float* sinks [[buffer(5)]],
                          device const float* slopes [[buffer(6)]],
                          device float* out [[buffer(7)]],
                          device float* partial [[buffer(8)]],
                          threadgroup float* memory [[threadgroup(0)]],
                          uint3 group [[threadgroup_position_in_grid]],
                          ushort thread_index [[thread_index_in_threadgroup]],
                          ushort lane [[thread_index_in_simdgroup]],
                          ushort simdgroup [[simdgroup_index_in_threadgroup]],
                          ushort simdgroups [[simdgroups_per_threadgroup]]) {
  const int split = int(group.x), query = int(group.y);
  const int head = int(group.z) % args.n_head, seq = int(group.z) / args.n_head;
  const int first = split * args.keys_per_split;
  const int end = min(first + args.keys_per_split, args.n_kv);
  const int d_k4 = FC_d_k / 4, d_v4 = FC_d_v / 4;

  threadgroup float4* shared_q = (threadgroup float4*)memory;
  threadgroup float* weights = memory + FC_d_k + 32 * simdgroup;
  threadgroup float* all_m = memory + FC_d_k + 32 * simdgroups;
  threadgroup float* all_l = all_m + simdgroups;
  threadgroup float4* all_o = (threadgroup float4*)(memory + FC_d_k + 32 * simdgroups + (2 * simdgroups + 3) / 4 * 4);

  device const uchar* q_row = q + args.q_nb1 * query + args.q_nb2 * head + args.q_nb3 * seq;
  for (int i = thread_index; i < d_k4; i += 32 * simdgroups) shared_q[i] = load4_f32(q_row + 16 * i);
  threadgroup_barrier(mem_flags::mem_threadgroup);

  device const uchar* bias_row = mask_row(args, mask, query, head, seq);
  const float slope = FC_slopes ? slopes[head] : 1.0f;
  float m = -INFINITY, l = 0.0f;
  float4 o[kMaxColumns];
  for (int c = 0; c < kMaxColumns; ++c) o[c] = float4(0.0f);

  for (int block = first + 32 * simdgroup; block < end; block += 32 * simdgroups) {
    // Four lanes per key, eight keys at a time; lane 4 i + j keeps the score of key 8 j + i.
    float dot_mine = 0.0f;
    for (int j = 0; j < 4; ++j) {
      const int key = block + 8 * j + lane / 4;
      float sum = 0.0f;
      if (key < end) {
        device const uchar* row = k_row(args, k, key, head, seq);
        for (int i = lane % 4; i < d_k4; i += 4) sum += dot(shared_q[i], load4_k(args, row, i));
      }
      sum += simd_shuffle_xor(sum, 1);
      sum += simd_shuffle_xor(sum, 2);
      if (lane % 4 == j) dot_mine = sum;
    }
    const int slot = 8 * (lane % 4) + lane / 4;
    float z = -INFINITY;
    if (block + slot < end) z = logit(args, dot_mine, mask_value(bias_row, block + slot), slope);

    const float now = max(m, simd_max(z));
    if (now == -INFINITY) continue;  // the same for all lanes
    const float p = precise::exp(z - now), old = rescale(m, now);
    l = l * old + simd_sum(p);
    m = now;
    simdgroup_barrier(mem_flags::mem_threadgroup);  // the last block's weights have been read
    weights[slot] = p;
    simdgroup_barrier(mem_flags::mem_threadgroup);
    for (int c = 0; c < kMaxColumns; ++c) o[c] *= old;
    const int keys = min(32, end - block);
    for (int j = 0; j < keys; ++j) {
      const float w = weights[j];
      if (w == 0.0f) continue;  // hidden: its bytes do not count
      if (FC_vskip && w < args.vskip) continue;
      device const uchar* row = v_row(args, v, block + j, head, seq);
      for (int c = 0; c < kMaxColumns; ++c) {
        const int i = 32 * c + lane;
        if (i < d_v4) o[c] = fma(float4(w), load4(row, FC_v_type, i), o[c]);
      }
    }
  }

  if (lane == 0) {
    all_m[simdgroup] = m;
    all_l[simdgroup] = l;
  }
  for (int c = 0; c < kMaxColumns; ++c) {
    const int i = 32 * c + lane;
    if (i < d_v4) all_o[simdgroup * d_v4 + i] = o[c];
  }
  threadgroup_barrier(mem_flags::mem_threadgroup);

  float now = -INFINITY, sum = 0.0f;
  for (int s = 0; s < simdgroups; ++s) now = max(now, all_m[s]);
  for (int s = 0; s < simdgroups; ++s) sum += all_l[s] * rescale(all_m[s], now);
  const int64_t row = (int64_t(seq) * args.n_q + query) * args.n_head + head;
  const float factor = final_factor(now, sum, FC_sinks, FC_sinks ? sinks[head] : 0.0f);
  for (int i = thread_index; i < d_v4; i += 32 * simdgroups) {
    float4 total = float4(0.0f);
    for (int s = 0; s < simdgroups; ++s) total += all_o[s * d_v4 + i] * rescale(all_m[s], now);
    if (args.splits == 1) {
      *(device packed_float4*)(out + row * FC_d_v + 4 * i) = total * factor;
    } else {
      *(device packed_float4*)(partial + (row * args.splits + split) * (FC_d_v + 2) + 4 * i) = total;
    }
  }
  if (args.splits > 1 && thread_index == 0) {
    device float* state = partial + (row * args.splits + split) * (FC_d_v + 2) + FC_d_v;
    state[0] = now;
    state[1] = sum;
  }
}

// Merges the chunks of a row: a threadgroup of one simdgroup per query and head.
kernel void attention_reduce(constant AttentionArgs& args [[buffer(0)]],
                             device const float* sinks [[buffer(5)]],
                             device float* out [[buffer(7)]],
                             device const float* partial [[buffer(8)]],
                             uint3 group [[threadgroup_position_in_grid]],
                             ushort lane [[thread_index_in_simdgroup]]) {
  const int query = int(group.y);
  const int head = int(group.z) % args.n_head, seq = int(group.z) / args.n_head;
  const int64_t row = (int64_t(seq) * args.n_q + query) * args.n_head + head;
  device const float* chunks = partial + row * args.splits * (FC_d_v + 2);

  float now = -INFINITY, sum = 0.0f;
  for (int s = 0; s < args.splits; ++s) now = max(now, chunks[s * (FC_d_v + 2) + FC_d_v]);
  for (int s = 0; s < args.splits; ++s) {
    device const float* state = chunks + s * (FC_d_v + 2) + FC_d_v;
    sum += state[1] * rescale(state[0], now);
  }
  const float factor = final_factor(now, sum, FC_sinks, FC_sinks ? sinks[head] : 0.0f);
  for (int i = lane; i < FC_d_v / 4; i += 32) {
    float4 total = float4(0.0f);
    for (int s = 0; s < args.splits; ++s) {
      device const float* chunk = chunks + s * (FC_d_v + 2);
      total += float4(*(device const packed_float4*)(chunk + 4 * i)) * rescale(chunk[FC_d_v], now);
    }
    *(device packed_float4*)(out + row * FC_d_v + 4 * i) = total * factor;
  }
}
