// One set of plain loops, compiled once per instruction set by Highway's foreach_target and chosen at run time. The
// compiler vectorises them; without contraction (-ffp-contract=off) every set performs the same IEEE operations.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "cases/block_codecs.cpp"
#include "cases/block_codecs.h"

#include <algorithm>
#include <bit>
#include <cfloat>
#include <cstdlib>
#include <cstring>

#include "cases/half_bits.h"
#include "hwy/foreach_target.h"  // must come before highway.h
#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace attest::HWY_NAMESPACE {
namespace {

using Byte = std::uint8_t;

// All blocks begin with f16 fields; nothing is aligned to more than two bytes.
float load_f16(const Byte* p) {
  std::uint16_t bits;
  std::memcpy(&bits, p, sizeof bits);
  return f16_bits_to_f32(bits);
}
void store_f16(Byte* p, float value) {
  const std::uint16_t bits = f32_to_f16_bits(value);
  std::memcpy(p, &bits, sizeof bits);
}

// Conversion of a scaled value to a code. Values no code stands for (NaN, infinity: blocks that hold infinities, or
// whose scale is so small that its inverse overflows) give 0, as x86's conversion does in ggml's builds.
int to_code(float scaled) { return static_cast<int>(std::abs(scaled) < 1024.0F ? scaled : 0.0F); }
float inverse(float d) { return d != 0.0F ? 1.0F / d : 0.0F; }

// Integer keys in the order of the floats: reductions over integers vectorise, those over floats may not be reordered.
std::int32_t order_key(float value) {
  const auto bits = std::bit_cast<std::int32_t>(value);
  return bits ^ ((bits >> 31) & 0x7fffffff);
}
float from_order_key(std::int32_t key) { return std::bit_cast<float>(key ^ ((key >> 31) & 0x7fffffff)); }
bool is_nan_bits(std::int32_t magnitude) { return magnitude > 0x7f800000; }

// Largest magnitude of n values, NaN left out.
float largest_magnitude(const float* x, int n) {
  std::int32_t best = 0;
  for (int i = 0; i < n; ++i) {
    const auto magnitude = static_cast<std::int32_t>(std::bit_cast<std::uint32_t>(x[i]) & 0x7fffffffU);
    best = std::max(best, is_nan_bits(magnitude) ? 0 : magnitude);
  }
  return std::bit_cast<float>(best);
}

// The first of the values whose magnitude is the largest.
float signed_extreme(const float* x, int n) {
  const float magnitude = largest_magnitude(x, n);
  int first = n;
  for (int i = 0; i < n; ++i) first = std::min(first, std::abs(x[i]) == magnitude ? i : n);
  return first < n && magnitude != 0.0F ? x[first] : 0.0F;
}

struct Range {
  float low, high;
};

// Smallest and largest value; low starts at FLT_MAX and high at -FLT_MAX, so one-sided infinities never reach both.
Range value_range(const float* x, int n) {
  std::int32_t low = order_key(FLT_MAX), high = order_key(-FLT_MAX);
  for (int i = 0; i < n; ++i) {
    const bool nan = is_nan_bits(static_cast<std::int32_t>(std::bit_cast<std::uint32_t>(x[i]) & 0x7fffffffU));
    const std::int32_t key = order_key(x[i]);
    low = std::min(low, nan ? low : key);
    high = std::max(high, nan ? high : key);
  }
  Range range{from_order_key(low), from_order_key(high)};
  // The keys tell -0 from +0, a comparison of floats does not: there the first zero wins.
  if (range.low == 0.0F) range.low = *std::find(x, x + n, 0.0F);
  return range;
}

// Nibble types keep element j and element j + 16 in byte j.
constexpr int kHalf = 16, kBlock = 32;

struct Q8_0 {
  static void decode(const Byte* b, float* y) {
    const float d = load_f16(b);
    for (int j = 0; j < kBlock; ++j) y[j] = static_cast<float>(static_cast<std::int8_t>(b[2 + j])) * d;
  }
  static void encode(const float* x, Byte* b) {
    const float d = largest_magnitude(x, kBlock) / 127.0F;
    const float id = inverse(d);
    store_f16(b, d);
    for (int j = 0; j < kBlock; ++j) {
      // Half away from zero: the largest float below one half added, then cut.
      const float scaled = x[j] * id;
      b[2 + j] = static_cast<Byte>(to_code(scaled + std::copysign(0x1.fffffep-2F, scaled)));
    }
  }
};

struct Q4_0 {
  static void decode(const Byte* b, float* y) {
    const float d = load_f16(b);
    for (int j = 0; j < kHalf; ++j) {
      y[j] = static_cast<float>((b[2 + j] & 15) - 8) * d;
      y[j + kHalf] = static_cast<float>((b[2 + j] >> 4) - 8) * d;
    }
  }
  static void encode(const float* x, Byte* b) {
    const float d = signed_extreme(x, kBlock) / -8.0F;
    const float id = inverse(d);
    store_f16(b, d);
    for (int j = 0; j < kHalf; ++j) {
      const int low = std::min(15, to_code(x[j] * id + 8.5F));
      const int high = std::min(15, to_code(x[j + kHalf] * id + 8.5F));
      b[2 + j] = static_cast<Byte>(low | (high << 4));
    }
  }
};

struct Q4_1 {
  static void decode(const Byte* b, float* y) {
    const float d = load_f16(b), m = load_f16(b + 2);
    for (int j = 0; j < kHalf; ++j) {
      y[j] = static_cast<float>(b[4 + j] & 15) * d + m;
      y[j + kHalf] = static_cast<float>(b[4 + j] >> 4) * d + m;
    }
  }
  static void encode(const float* x, Byte* b) {
    const Range range = value_range(x, kBlock);
    const float d = (range.high - range.low) / 15.0F;
    const float id = inverse(d);
    store_f16(b, d);
    store_f16(b + 2, range.low);
    for (int j = 0; j < kHalf; ++j) {
      const int low = std::min(15, to_code((x[j] - range.low) * id + 0.5F));
      const int high = std::min(15, to_code((x[j + kHalf] - range.low) * id + 0.5F));
      b[4 + j] = static_cast<Byte>(low | (high << 4));
    }
  }
};

// Five-bit types keep the fifth bit of element j in bit j of a 32-bit word.
std::uint32_t pack_fifth_bits(const int* codes) {
  std::uint32_t word = 0;
  for (int j = 0; j < kBlock; ++j) word |= ((static_cast<std::uint32_t>(codes[j]) >> 4) & 1U) << j;
  return word;
}
void pack_nibbles(const int* codes, Byte* b) {
  for (int j = 0; j < kHalf; ++j) b[j] = static_cast<Byte>((codes[j] & 15) | ((codes[j + kHalf] & 15) << 4));
}
void unpack_five_bits(const Byte* fifth, const Byte* nibbles, int* codes) {
  std::uint32_t word;
  std::memcpy(&word, fifth, sizeof word);
  for (int j = 0; j < kHalf; ++j) {
    codes[j] = (nibbles[j] & 15) | static_cast<int>(((word >> j) & 1U) << 4);
    codes[j + kHalf] = (nibbles[j] >> 4) | static_cast<int>(((word >> (j + kHalf)) & 1U) << 4);
  }
}

struct Q5_0 {
  static void decode(const Byte* b, float* y) {
    const float d = load_f16(b);
    int codes[kBlock];
    unpack_five_bits(b + 2, b + 6, codes);
    for (int j = 0; j < kBlock; ++j) y[j] = static_cast<float>(codes[j] - 16) * d;
  }
  static void encode(const float* x, Byte* b) {
    const float d = signed_extreme(x, kBlock) / -16.0F;
    const float id = inverse(d);
    store_f16(b, d);
    int codes[kBlock];
    for (int j = 0; j < kBlock; ++j) codes[j] = std::min(31, to_code(x[j] * id + 16.5F));
    const std::uint32_t fifth = pack_fifth_bits(codes);
    std::memcpy(b + 2, &fifth, sizeof fifth);
    pack_nibbles(codes, b + 6);
  }
};

struct Q5_1 {
  static void decode(const Byte* b, float* y) {
    const float d = load_f16(b), m = load_f16(b + 2);
    int codes[kBlock];
    unpack_five_bits(b + 4, b + 8, codes);
    for (int j = 0; j < kBlock; ++j) y[j] = static_cast<float>(codes[j]) * d + m;
  }
  static void encode(const float* x, Byte* b) {
    const Range range = value_range(x, kBlock);
    const float d = (range.high - range.low) / 31.0F;
    const float id = inverse(d);
    store_f16(b, d);
    store_f16(b + 2, range.low);
    int codes[kBlock];
    for (int j = 0; j < kBlock; ++j) codes[j] = to_code((x[j] - range.low) * id + 0.5F);
    const std::uint32_t fifth = pack_fifth_bits(codes);
    std::memcpy(b + 4, &fifth, sizeof fifth);
    pack_nibbles(codes, b + 8);
  }
};

// Sixteen unevenly spaced values; the larger side is negative.
struct Iq4Nl {
  static constexpr int kValues[16] = {-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113};

  static void decode(const Byte* b, float* y) {
    const float d = load_f16(b);
    for (int j = 0; j < kHalf; ++j) {
      y[j] = d * static_cast<float>(kValues[b[2 + j] & 15]);
      y[j + kHalf] = d * static_cast<float>(kValues[b[2 + j] >> 4]);
    }
  }
  // The finest scale, of either sign, whose values cover the block; then the nearest value for each element.
  static void encode(const float* x, Byte* b) {
    const Range range = value_range(x, kBlock);
    const float upright = std::max(-range.low / 127.0F, range.high / 113.0F);
    const float turned = std::max(range.high / 127.0F, -range.low / 113.0F);
    const float d = f16_bits_to_f32(f32_to_f16_bits(turned < upright ? -turned : upright));
    const float id = inverse(d);
    store_f16(b, d);
    int codes[kBlock];
    for (int j = 0; j < kBlock; ++j) {
      const float scaled = x[j] * id;
      int code = 0;
      for (int k = 0; k < 15; ++k) code += scaled > 0.5F * static_cast<float>(kValues[k] + kValues[k + 1]) ? 1 : 0;
      codes[j] = code;
    }
    pack_nibbles(codes, b + 2);
  }
};

// One bit: -d or d. The mean magnitude is the scale with the least squared error.
struct Q1_0 {
  static constexpr int kElements = 128;

  static void decode(const Byte* b, float* y) {
    const float d = load_f16(b);
    for (int j = 0; j < kElements; ++j) y[j] = ((b[2 + j / 8] >> (j % 8)) & 1) != 0 ? d : -d;
  }
  static void encode(const float* x, Byte* b) {
    float sum = 0;
    for (int j = 0; j < kElements; ++j) sum += std::abs(x[j]);
    store_f16(b, sum / static_cast<float>(kElements));
    for (int i = 0; i < kElements / 8; ++i) {
      int bits = 0;
      for (int j = 0; j < 8; ++j) bits |= (x[8 * i + j] >= 0.0F ? 1 : 0) << j;
      b[2 + i] = static_cast<Byte>(bits);
    }
  }
};

// Two bits: -d, 0, d, 2d.
struct Q2_0 {
  static constexpr int kElements = 64;

  static void decode(const Byte* b, float* y) {
    const float d = load_f16(b);
    for (int j = 0; j < kElements; ++j) y[j] = static_cast<float>(((b[2 + j / 4] >> (2 * (j % 4))) & 3) - 1) * d;
  }
  // The finest scale, of either sign, whose values cover the block; then the nearest value for each element.
  static void encode(const float* x, Byte* b) {
    const Range range = value_range(x, kElements);
    const float upright = std::max(-range.low, 0.5F * range.high);
    const float turned = std::max(range.high, -0.5F * range.low);
    const float d = f16_bits_to_f32(f32_to_f16_bits(turned < upright ? -turned : upright));
    const float id = inverse(d);
    store_f16(b, d);
    for (int i = 0; i < kElements / 4; ++i) {
      int bits = 0;
      for (int j = 0; j < 4; ++j) {
        const float scaled = x[4 * i + j] * id;
        const int code = (scaled > -0.5F ? 1 : 0) + (scaled > 0.5F ? 1 : 0) + (scaled > 1.5F ? 1 : 0);
        bits |= code << (2 * j);
      }
      b[2 + i] = static_cast<Byte>(bits);
    }
  }
};

void decode_f16(const Byte* src, float* dst, std::int64_t n) {
  for (std::int64_t i = 0; i < n; ++i) dst[i] = load_f16(src + 2 * i);
}
void encode_f16(const float* src, Byte* dst, std::int64_t n) {
  for (std::int64_t i = 0; i < n; ++i) store_f16(dst + 2 * i, src[i]);
}
void decode_bf16(const Byte* src, float* dst, std::int64_t n) {
  for (std::int64_t i = 0; i < n; ++i) {
    std::uint16_t bits;
    std::memcpy(&bits, src + 2 * i, sizeof bits);
    dst[i] = bf16_bits_to_f32(bits);
  }
}
void encode_bf16(const float* src, Byte* dst, std::int64_t n) {
  for (std::int64_t i = 0; i < n; ++i) {
    const std::uint16_t bits = f32_to_bf16_bits(src[i]);
    std::memcpy(dst + 2 * i, &bits, sizeof bits);
  }
}

template <class Block>
void decode_blocks(DType type, const Byte* src, float* dst, std::int64_t n) {
  const std::int64_t block = info(type).block, bytes = info(type).block_bytes;
  for (std::int64_t i = 0; i < n / block; ++i) Block::decode(src + i * bytes, dst + i * block);
}
template <class Block>
void encode_blocks(DType type, const float* src, Byte* dst, std::int64_t n) {
  const std::int64_t block = info(type).block, bytes = info(type).block_bytes;
  for (std::int64_t i = 0; i < n / block; ++i) Block::encode(src + i * block, dst + i * bytes);
}

void decode(DType type, const std::byte* source, float* dst, std::int64_t n) {
  const auto* src = reinterpret_cast<const Byte*>(source);
  switch (type) {
    case DType::f32:
      std::memcpy(dst, src, static_cast<std::size_t>(n) * sizeof(float));
      return;
    case DType::f16:
      return decode_f16(src, dst, n);
    case DType::bf16:
      return decode_bf16(src, dst, n);
    case DType::q8_0:
      return decode_blocks<Q8_0>(type, src, dst, n);
    case DType::q4_0:
      return decode_blocks<Q4_0>(type, src, dst, n);
    case DType::q4_1:
      return decode_blocks<Q4_1>(type, src, dst, n);
    case DType::q5_0:
      return decode_blocks<Q5_0>(type, src, dst, n);
    case DType::q5_1:
      return decode_blocks<Q5_1>(type, src, dst, n);
    case DType::iq4_nl:
      return decode_blocks<Iq4Nl>(type, src, dst, n);
    case DType::q1_0:
      return decode_blocks<Q1_0>(type, src, dst, n);
    case DType::q2_0:
      return decode_blocks<Q2_0>(type, src, dst, n);
  }
}

void encode(DType type, const float* src, std::byte* destination, std::int64_t n) {
  auto* dst = reinterpret_cast<Byte*>(destination);
  switch (type) {
    case DType::f32:
      std::memcpy(dst, src, static_cast<std::size_t>(n) * sizeof(float));
      return;
    case DType::f16:
      return encode_f16(src, dst, n);
    case DType::bf16:
      return encode_bf16(src, dst, n);
    case DType::q8_0:
      return encode_blocks<Q8_0>(type, src, dst, n);
    case DType::q4_0:
      return encode_blocks<Q4_0>(type, src, dst, n);
    case DType::q4_1:
      return encode_blocks<Q4_1>(type, src, dst, n);
    case DType::q5_0:
      return encode_blocks<Q5_0>(type, src, dst, n);
    case DType::q5_1:
      return encode_blocks<Q5_1>(type, src, dst, n);
    case DType::iq4_nl:
      return encode_blocks<Iq4Nl>(type, src, dst, n);
    case DType::q1_0:
      return encode_blocks<Q1_0>(type, src, dst, n);
    case DType::q2_0:
      return encode_blocks<Q2_0>(type, src, dst, n);
  }
}

}  // namespace

RowCodec make_row_codec() { return RowCodec{hwy::TargetName(HWY_TARGET), &decode, &encode}; }

}  // namespace attest::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace attest {
HWY_EXPORT(make_row_codec);

const RowCodec& row_codec() {
  static const RowCodec codec = HWY_DYNAMIC_DISPATCH(make_row_codec)();
  return codec;
}

std::vector<RowCodec> all_row_codecs() {
#if (HWY_TARGETS & (HWY_TARGETS - 1)) == 0
  return {row_codec()};  // one target, no table
#else
  std::vector<RowCodec> codecs;
  for (const std::int64_t target : hwy::SupportedAndGeneratedTargets()) {
    hwy::ChosenTarget chosen;  // a choice of our own: the process-wide one stays as it is
    chosen.Update(target);
    codecs.push_back((*HWY_DISPATCH_TABLE(make_row_codec)[chosen.GetIndex()])());
  }
  return codecs;
#endif
}

}  // namespace attest
#endif
