// The arithmetic of the CPU kernels: one table of vector primitives per instruction set, chosen at run time.
#pragma once

#include <cstddef>
#include <cstdint>

namespace attest::cpu {

// Relative error of exp and tanh below, against the real functions. exp flushes results below 2^-126 to 0.
inline constexpr double kEpsExp = 0x1p-22, kEpsTanh = 0x1p-22;

// Rows of Q that a tile holds side by side: a multiple of two vectors of every instruction set.
inline constexpr std::int64_t kTileRows = 64;

// Rows given as bytes may have any alignment; n counts elements. Nothing outside [0, n) is read or written.
// Sums of dot run in several lanes; every other primitive treats its elements alike, wherever they stand in a vector.
struct Primitives {
  const char* target = "";  // "AVX3", "AVX2", "NEON", ...
  bool fma = false;         // products are not rounded before they are added

  // sum_k q[k] row[k]
  float (*dot_f32)(const float* q, const std::byte* row, std::int64_t n) = nullptr;
  float (*dot_f16)(const float* q, const std::byte* row, std::int64_t n) = nullptr;
  float (*dot_bf16)(const float* q, const std::byte* row, std::int64_t n) = nullptr;
  // acc[e] += w * row[e]
  void (*axpy_f32)(float w, const std::byte* row, float* acc, std::int64_t n) = nullptr;
  void (*axpy_f16)(float w, const std::byte* row, float* acc, std::int64_t n) = nullptr;
  void (*axpy_bf16)(float w, const std::byte* row, float* acc, std::int64_t n) = nullptr;
  // Exact widening to f32. q8_0: n is a multiple of 32.
  void (*decode_f16)(const std::byte* row, float* dst, std::int64_t n) = nullptr;
  void (*decode_bf16)(const std::byte* row, float* dst, std::int64_t n) = nullptr;
  void (*decode_q8_0)(const std::byte* row, float* dst, std::int64_t n) = nullptr;

  void (*scale)(float factor, float* x, std::int64_t n) = nullptr;                     // x *= factor
  void (*divide)(const float* x, float by, std::byte* dst, std::int64_t n) = nullptr;  // dst = x / by, f32
  void (*softcap)(float cap, float* x, std::int64_t n) = nullptr;                      // x = cap tanh(x / cap)
  void (*bias)(float slope, const float* mask, float* x, std::int64_t n) = nullptr;    // -inf where mask is -inf
  void (*exp)(float* x, std::int64_t n) = nullptr;
  float (*exp_one)(float x) = nullptr;
  float (*tanh_one)(float x) = nullptr;

  // Tiles: a column is one row of Q; there are `columns` of them (a multiple of `lanes`, at most kTileRows), side by
  // side. Each column adds up keys and dimensions in ascending order, whatever the others hold.
  // scores[j][r] = sum_k queries[k][r] keys[j][k]
  void (*scores)(const float* queries, std::int64_t d, const float* const* keys, std::int64_t n_keys,
                 std::int64_t columns, float* scores) = nullptr;
  void (*column_max)(const float* scores, std::int64_t n_keys, std::int64_t columns, float* max) = nullptr;
  void (*column_exp)(float* scores, std::int64_t n_keys, std::int64_t columns, const float* max) = nullptr;
  void (*column_sum)(const float* weights, std::int64_t n_keys, std::int64_t columns, float* sum) = nullptr;
  // acc[r * d + e] += sum_j weights[j * pitch + r] values[j][e] for r in [0, rows), rows = 1 or 4
  void (*values)(const float* weights, std::int64_t pitch, const float* const* values, std::int64_t n_keys,
                 std::int64_t d, std::int64_t rows, float* acc) = nullptr;
  std::int64_t lanes = 1;
};

// The table for the best instruction set this machine (or Highway, when told to restrict itself) has.
const Primitives& primitives();

}  // namespace attest::cpu
