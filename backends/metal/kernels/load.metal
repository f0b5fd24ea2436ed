// What all attention kernels share: features as function constants, and reading K, V and the mask as f32.
#include <metal_stdlib>
using namespace metal;

constant int FC_d_k [[function_constant(0)]];
constant int FC_d_v [[function_constant(1)]];
constant int FC_k_type [[function_constant(2)]];
constant int FC_v_type [[function_constant(3)]];
constant int FC_mask [[function_constant(4)]];       // 0: none, 1: f16, 2: f32
constant bool FC_sinks [[function_constant(5)]];
constant bool FC_softcap [[function_constant(6)]];
constant bool FC_slopes [[function_constant(7)]];    // ALiBi
constant bool FC_bytewise [[function_constant(8)]];  // some tensor is not aligned to its elements
constant bool FC_vskip [[function_constant(9)]];
constant bool FC_k_apart [[function_constant(10)]];  // K's blocks do not lie side by side: K is transposed

// The numbers of the storage types in FC_k_type and FC_v_type.
enum StorageType {
  type_f32, type_f16, type_bf16, type_q8_0, type_q4_0, type_q4_1, type_q5_0, type_q5_1, type_iq4_nl, type_q1_0, type_q2_0
};

constant float iq4_nl_values[16] = {-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113};

inline uint load_u16(device const uchar* p) {
  return FC_bytewise ? uint(p[0]) | uint(p[1]) << 8 : uint(*(device const ushort*)p);
}
inline uint load_u32(device const uchar* p) { return load_u16(p) | load_u16(p + 2) << 16; }
inline float load_f16(device const uchar* p) { return float(as_type<half>(ushort(load_u16(p)))); }
inline float load_f32(device const uchar* p) {
  return FC_bytewise ? as_type<float>(load_u32(p)) : *(device const float*)p;
}

inline float4 load4_f32(device const uchar* p) {
  if (!FC_bytewise) return float4(*(device const packed_float4*)p);
  return float4(load_f32(p), load_f32(p + 4), load_f32(p + 8), load_f32(p + 12));
}
inline float4 load4_f16(device const uchar* p) {
  if (!FC_bytewise) return float4(half4(*(device const packed_half4*)p));
  return float4(load_f16(p), load_f16(p + 2), load_f16(p + 4), load_f16(p + 6));
}
inline float4 load4_bf16(device const uchar* p) {
  return as_type<float4>(uint4(load_u16(p), load_u16(p + 2), load_u16(p + 4), load_u16(p + 6)) << 16);
}

// Four nibbles of a block whose elements j and j + 16 share byte j; j is a multiple of 4.
inline uint4 nibbles(device const uchar* codes, int j) {
  device const uchar* p = codes + j % 16;
  const uint4 bytes = uint4(p[0], p[1], p[2], p[3]);
  return j < 16 ? bytes & 15u : bytes >> 4;
}
inline uint4 fifth_bits(device const uchar* p, int j) {
  const uint bits = load_u32(p) >> uint(j);
  return (uint4(bits, bits >> 1, bits >> 2, bits >> 3) & 1u) << 4;
}

// Elements 4 i to 4 i + 3 of a row.
inline float4 load4(device const uchar* row, int type, int i) {
  if (type == type_f16) return load4_f16(row + 8 * i);
  if (type == type_f32) return load4_f32(row + 16 * i);
  if (type == type_bf16) return load4_bf16(row + 8 * i);
  const int block = i / 8, j = i % 8 * 4;
  switch (type) {
    case type_q8_0: {
      device const uchar* b = row + 34 * block;
      device const char* codes = (device const char*)(b + 2) + j;
      return load_f16(b) * float4(codes[0], codes[1], codes[2], codes[3]);
    }
    case type_q4_0: {
      device const uchar* b = row + 18 * block;
      return load_f16(b) * (float4(nibbles(b + 2, j)) - 8.0f);
    }
    case type_q4_1: {
      device const uchar* b = row + 20 * block;
      return load_f16(b) * float4(nibbles(b + 4, j)) + load_f16(b + 2);
    }
    case type_q5_0: {
      device const uchar* b = row + 22 * block;
      return load_f16(b) * (float4(nibbles(b + 6, j) | fifth_bits(b + 2, j)) - 16.0f);
    }
    case type_q5_1: {
      device const uchar* b = row + 24 * block;
      return load_f16(b) * float4(nibbles(b + 8, j) | fifth_bits(b + 4, j)) + load_f16(b + 2);
    }
    case type_q1_0: {  // 128 signs in a block
      device const uchar* b = row + 18 * (i / 32);
      const uint bits = uint(b[2 + i % 32 / 2]) >> uint(i % 2 * 4);
      return load_f16(b) * (float4(uint4(bits, bits >> 1, bits >> 2, bits >> 3) & 1u) * 2.0f - 1.0f);
    }
    case type_q2_0: {  // 64 codes of two bits
      device const uchar* b = row + 18 * (i / 16);
      const uint bits = b[2 + i % 16];
      return load_f16(b) * (float4(uint4(bits, bits >> 2, bits >> 4, bits >> 6) & 3u) - 1.0f);
    }
    default: {
      device const uchar* b = row + 18 * block;
      const uint4 n = nibbles(b + 2, j);
      return load_f16(b) * float4(iq4_nl_values[n.x], iq4_nl_values[n.y], iq4_nl_values[n.z], iq4_nl_values[n.w]);
    }
  }
}

// The same of a row of K, wherever its blocks lie.
inline float4 load4_k(constant AttentionArgs& a, device const uchar* row, int i) {
  if (!FC_k_apart) return load4(row, FC_k_type, i);
  if (a.k_block > 1) return load4(row + (a.k_nb0 - a.k_block_bytes) * (4 * i / a.k_block), FC_k_type, i);
  device const uchar* p = row + a.k_nb0 * (4 * i);
  device const uchar* r = p + 2 * a.k_nb0;
  if (FC_k_type == type_f32) return float4(load_f32(p), load_f32(p + a.k_nb0), load_f32(r), load_f32(r + a.k_nb0));
  if (FC_k_type == type_f16) return float4(load_f16(p), load_f16(p + a.k_nb0), load_f16(r), load_f16(r + a.k_nb0));
  return as_type<float4>(uint4(load_u16(p), load_u16(p + a.k_nb0), load_u16(r), load_u16(r + a.k_nb0)) << 16);
}

inline device const uchar* k_row(constant AttentionArgs& a, device const uchar* k, int key, int head, int seq) {
  return k + a.k_nb1 * key + a.k_nb2 * (head / a.heads_per_k) + a.k_nb3 * (seq / a.seqs_per_kv);
}
inline device const uchar* v_row(constant AttentionArgs& a, device const uchar* v, int key, int head, int seq) {
  return v + a.v_nb1 * key + a.v_nb2 * (head / a.heads_per_v) + a.v_nb3 * (seq / a.seqs_per_kv);
}

// Row of the mask for a query; unused without one.
inline device const uchar* mask_row(constant AttentionArgs& a, device const uchar* mask, int query, int head, int seq) {
  if (FC_mask == 0) return mask;
  return mask + a.mask_nb1 * query + a.mask_nb2 * (head % a.mask_heads) + a.mask_nb3 * (seq % a.mask_seqs);
}
inline float mask_value(device const uchar* row, int key) {
  if (FC_mask == 0) return 0.0f;
  return FC_mask == 1 ? load_f16(row + 2 * key) : load_f32(row + 4 * key);
}

// q.k -> the logit; -inf where the mask hides the key, whatever q.k is.
inline float logit(constant AttentionArgs& a, float dot, float bias, float slope) {
  if (bias == -INFINITY) return -INFINITY;
  float x = dot * a.scale;
  if (FC_softcap) x = a.softcap * precise::tanh(x / a.softcap);
  if (FC_mask != 0) x += slope * bias;
  return x;
}

// Weight of what was summed relative to maximum m once the maximum is `now`.
inline float rescale(float m, float now) { return m == now ? 1.0f : precise::exp(m - now); }

// What turns the sum O over exp(z - m), with row sum l, into the answer; 0 where no key is visible.
inline float final_factor(float m, float l, bool sinks, float sink) {
  if (m == -INFINITY) return 0.0f;
  if (!sinks || sink == -INFINITY) return 1.0f / l;
  const float now = max(m, sink);
  const float w = rescale(m, now);
  return w / (l * w + precise::exp(sink - now));
}
