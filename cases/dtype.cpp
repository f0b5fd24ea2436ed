#include "cases/dtype.h"

#include <algorithm>
#include <array>

#include "cases/block_codecs.h"
#include "cases/half_bits.h"

namespace attest {
namespace {

// The numbers of the last column are those of enum ggml_type, stable since the types exist.
constexpr std::array<DTypeInfo, kDTypeCount> kInfo{{
    {"f32", 1, 4, 0x1p-24, 0},
    {"f16", 1, 2, 0x1p-11, 1},
    {"bf16", 1, 2, 0x1p-8, 30},
    {"q8_0", 32, 34, 0, 8},
    {"q4_0", 32, 18, 0, 2},
    {"q4_1", 32, 20, 0, 3},
    {"q5_0", 32, 22, 0, 6},
    {"q5_1", 32, 24, 0, 7},
    {"iq4_nl", 32, 18, 0, 20},
    {"q1_0", 128, 18, 0, 41},
    {"q2_0", 64, 18, 0, 42},
}};

}  // namespace

const DTypeInfo& info(DType type) { return kInfo[static_cast<std::size_t>(type)]; }

std::optional<DType> dtype_from_name(std::string_view name) {
  const auto* it = std::find_if(kInfo.begin(), kInfo.end(), [&](const DTypeInfo& i) { return i.name == name; });
  if (it == kInfo.end()) return std::nullopt;
  return static_cast<DType>(it - kInfo.begin());
}

float f16_to_f32(std::uint16_t bits) { return f16_bits_to_f32(bits); }
std::uint16_t f32_to_f16(float value) { return f32_to_f16_bits(value); }
float bf16_to_f32(std::uint16_t bits) { return bf16_bits_to_f32(bits); }
std::uint16_t f32_to_bf16(float value) { return f32_to_bf16_bits(value); }

void decode_row(DType type, const std::byte* src, float* dst, std::int64_t n) { row_codec().decode(type, src, dst, n); }
void encode_row(DType type, const float* src, std::byte* dst, std::int64_t n) { row_codec().encode(type, src, dst, n); }

}  // namespace attest
