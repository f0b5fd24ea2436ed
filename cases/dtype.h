// Storage types of tensors: block geometry, unit roundoff, and bit-exact encode/decode of rows.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

namespace attest {

enum class DType : std::uint8_t { f32, f16, bf16, q8_0, q4_0, q4_1, q5_0, q5_1, iq4_nl, q1_0, q2_0 };
inline constexpr int kDTypeCount = 11;

struct DTypeInfo {
  std::string_view name;
  int block;             // elements per block (1 for f32, f16, bf16)
  int block_bytes;       // bytes per block
  double unit_roundoff;  // f32 2^-24, f16 2^-11, bf16 2^-8; 0 for block types: storing is no error of a kernel
  int ggml_type;         // enum ggml_type of ggml.h
};

const DTypeInfo& info(DType type);
std::optional<DType> dtype_from_name(std::string_view name);
inline bool is_quantised(DType type) { return info(type).block > 1; }
// Bytes of `n` elements; n is a multiple of the block.
inline std::int64_t row_bytes(DType type, std::int64_t n) { return n / info(type).block * info(type).block_bytes; }

// Scalar halves, round to nearest even, NaN stays NaN (quiet), overflow to infinity.
float f16_to_f32(std::uint16_t bits);
std::uint16_t f32_to_f16(float value);
float bf16_to_f32(std::uint16_t bits);
std::uint16_t f32_to_bf16(float value);

// n contiguous elements, n a multiple of the block. decode is exact (every code is representable in f32 up to the
// one rounding the format itself defines); encode is bit-exact with ggml's reference quantisers for f*, q8_0, q4_*,
// q5_*; iq4_nl, q1_0 and q2_0 use a nearest-code search of our own.
void decode_row(DType type, const std::byte* src, float* dst, std::int64_t n);
void encode_row(DType type, const float* src, std::byte* dst, std::int64_t n);

}  // namespace attest
