// Loops over rows and blocks, compiled once per instruction set by Highway's foreach_target and chosen at run time.
// Without contraction (-ffp-contract=off) every set performs the same IEEE operations on every element.
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

namespace hn = hwy::HWY_NAMESPACE;
using Byte = std::uint8_t;

// At most 16 lanes: half a block.
using F32 = hn::CappedTag<float, 16>;
using I32 = hn::RebindToSigned<F32>;
using U32 = hn::RebindToUnsigned<F32>;
using I8 = hn::Rebind<std::int8_t, F32>;
using U8 = hn::Rebind<std::uint8_t, F32>;
using Floats = hn::Vec<F32>;
using Ints = hn::Vec<I32>;
constexpr F32 f32;
constexpr I32 i32;
constexpr U32 u32;
constexpr U8 u8;
int lanes() { return static_cast<int>(hn::Lanes(f32)); }

constexpr int kHalf = 16, kBlock = 32;

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
std::uint32_t load_word(const Byte* p) {
  std::uint32_t word;
  std::memcpy(&word, p, sizeof word);
  return word;
}
void store_word(Byte* p, std::uint32_t word) { std::memcpy(p, &word, sizeof word); }

// Masks for bits of a word, one lane each: shifts by a varying count are no vector operation before AVX2.
struct BitTable {
  std::uint32_t at[32];
};
constexpr BitTable make_bits(unsigned distance) {
  BitTable bits{};
  for (unsigned j = 0; j * distance < 32; ++j) bits.at[j] = 1U << (j * distance);
  return bits;
}
constexpr BitTable kBits = make_bits(1), kPairs = make_bits(2);

float inverse(float d) { return d != 0.0F ? 1.0F / d : 0.0F; }

// Conversion of scaled values to codes. Values no code stands for (NaN, infinity: blocks that hold infinities, or
// whose scale is so small that its inverse overflows) give 0, as x86's conversion does in ggml's builds.
Ints to_codes(Floats scaled) {
  const auto is_code = hn::Lt(hn::Abs(scaled), hn::Set(f32, 1024.0F));
  return hn::ConvertTo(i32, hn::IfThenElseZero(is_code, scaled));
}

// Bit j: lane j.
std::uint32_t mask_bits(hn::Mask<F32> mask) {
  Byte bytes[8] = {};
  hn::StoreMaskBits(f32, mask, bytes);
  return static_cast<std::uint32_t>(bytes[0] | (bytes[1] << 8));
}

// Largest magnitude of a block, NaN left out.
float largest_magnitude(const float* x) {
  Floats best = hn::Zero(f32);
  for (int j = 0; j < kBlock; j += lanes()) {
    const Floats v = hn::LoadU(f32, x + j);
    best = hn::Max(best, hn::IfThenElseZero(hn::Eq(v, v), hn::Abs(v)));
  }
  return hn::GetLane(hn::MaxOfLanes(f32, best));
}

// The first of the values whose magnitude is the largest.
float signed_extreme(const float* x) {
  const float magnitude = largest_magnitude(x);
  std::uint32_t word = 0;
  for (int j = 0; j < kBlock; j += lanes())
    word |= mask_bits(hn::Eq(hn::Abs(hn::LoadU(f32, x + j)), hn::Set(f32, magnitude))) << j;
  return word != 0 && magnitude != 0.0F ? x[std::countr_zero(word)] : 0.0F;
}

struct Range {
  float low, high;
};

// Smallest and largest of n values; low starts at FLT_MAX and high at -FLT_MAX, so one-sided infinities never reach
// both. A lowest value of zero is the first of the zeros, a highest one +0.
Range value_range(const float* x, int n) {
  const Floats most = hn::Set(f32, FLT_MAX), least = hn::Set(f32, -FLT_MAX);
  Floats low = most, high = least;
  for (int j = 0; j < n; j += lanes()) {
    const Floats v = hn::LoadU(f32, x + j);
    const auto number = hn::Eq(v, v);
    low = hn::Min(low, hn::IfThenElse(number, v, most));
    high = hn::Max(high, hn::IfThenElse(number, v, least));
  }
  Range range{hn::GetLane(hn::MinOfLanes(f32, low)), hn::GetLane(hn::MaxOfLanes(f32, high)) + 0.0F};
  if (range.low == 0.0F) range.low = *std::find(x, x + n, 0.0F);
  return range;
}

// Nibble types keep element j and element j + 16 in byte j. codes(j) are the codes of elements j, j + 1, ...
template <class Codes>
void pack_nibbles(Codes codes, Byte* b) {
  const Ints low_bits = hn::Set(i32, 15);
  for (int j = 0; j < kHalf; j += lanes()) {
    const Ints low = hn::And(codes(j), low_bits);
    const Ints high = hn::And(codes(j + kHalf), low_bits);
    hn::StoreU(hn::DemoteTo(u8, hn::Or(low, hn::ShiftLeft<4>(high))), u8, b + j);
  }
}
// Calls use(j, codes of elements j, j + 1, ...).
template <class Use>
void unpack_nibbles(const Byte* b, Use use) {
  for (int j = 0; j < kHalf; j += lanes()) {
    const Ints bytes = hn::PromoteTo(i32, hn::LoadU(u8, b + j));
    use(j, hn::And(bytes, hn::Set(i32, 15)));
    use(j + kHalf, hn::ShiftRight<4>(bytes));
  }
}

// Five-bit types keep the fifth bit of element j in bit j of a 32-bit word.
template <class Codes>
void pack_five_bits(Codes codes, Byte* fifth, Byte* nibbles) {
  std::uint32_t word = 0;
  const auto note_fifth = [&](int j) {
    const Ints code = codes(j);
    word |= mask_bits(hn::RebindMask(f32, hn::Gt(code, hn::Set(i32, 15)))) << j;
    return code;
  };
  pack_nibbles(note_fifth, nibbles);
  store_word(fifth, word);
}
template <class Use>
void unpack_five_bits(const Byte* fifth, const Byte* nibbles, Use use) {
  const auto word = hn::Set(u32, load_word(fifth));
  unpack_nibbles(nibbles, [&](int j, Ints low) {
    const auto bit = hn::And(word, hn::LoadU(u32, kBits.at + j));
    const auto set = hn::RebindMask(i32, hn::Ne(bit, hn::Zero(u32)));
    use(j, hn::Or(low, hn::IfThenElseZero(set, hn::Set(i32, 16))));
  });
}

void store_scaled(Ints codes, int offset, float d, float* y) {
  hn::StoreU(hn::Mul(hn::ConvertTo(f32, hn::Sub(codes, hn::Set(i32, offset))), hn::Set(f32, d)), f32, y);
}
void store_scaled_from(Ints codes, float d, float m, float* y) {
  hn::StoreU(hn::Add(hn::Mul(hn::ConvertTo(f32, codes), hn::Set(f32, d)), hn::Set(f32, m)), f32, y);
}

struct Q8_0 {
  static void decode(const Byte* b, float* y) {
    const float d = load_f16(b);
    for (int j = 0; j < kBlock; ++j) y[j] = static_cast<float>(static_cast<std::int8_t>(b[2 + j])) * d;
  }
  static void encode(const float* x, Byte* b) {
    const float d = largest_magnitude(x) / 127.0F;
    const Floats id = hn::Set(f32, inverse(d));
    store_f16(b, d);
    for (int j = 0; j < kBlock; j += lanes()) {
      // Half away from zero: the largest float below one half added, then cut.
      const Floats scaled = hn::Mul(hn::LoadU(f32, x + j), id);
      const Ints codes = to_codes(hn::Add(scaled, hn::CopySign(hn::Set(f32, 0x1.fffffep-2F), scaled)));
      hn::StoreU(hn::DemoteTo(I8(), codes), I8(), reinterpret_cast<std::int8_t*>(b) + 2 + j);
    }
  }
};

// Codes 0 .. 2 kZero - 1 stand for code - kZero; the extreme value becomes code 0.
template <int kZero>
struct Centred {
  explicit Centred(const float* values)
      : x(values), d(signed_extreme(x) / static_cast<float>(-kZero)), id(inverse(d)) {}
  Ints operator()(int j) const {
    const Floats scaled = hn::Mul(hn::LoadU(f32, x + j), hn::Set(f32, id));
    const Ints codes = to_codes(hn::Add(scaled, hn::Set(f32, static_cast<float>(kZero) + 0.5F)));
    return hn::Min(codes, hn::Set(i32, 2 * kZero - 1));
  }
  const float* x;
  float d, id;
};

// Codes 0 .. kLast stand for steps from the smallest value up.
template <int kLast>
struct FromMinimum {
  explicit FromMinimum(const float* values)
      : x(values),
        range(value_range(x, kBlock)),
        d((range.high - range.low) / static_cast<float>(kLast)),
        id(inverse(d)) {}
  Ints operator()(int j) const {
    const Floats above = hn::Sub(hn::LoadU(f32, x + j), hn::Set(f32, range.low));
    const Ints codes = to_codes(hn::Add(hn::Mul(above, hn::Set(f32, id)), hn::Set(f32, 0.5F)));
    return hn::Min(codes, hn::Set(i32, kLast));
  }
  const float* x;
  Range range;
  float d, id;
};

struct Q4_0 {
  static void decode(const Byte* b, float* y) {
    const float d = load_f16(b);
    unpack_nibbles(b + 2, [&](int j, Ints codes) { store_scaled(codes, 8, d, y + j); });
  }
  static void encode(const float* x, Byte* b) {
    const Centred<8> codes(x);
    store_f16(b, codes.d);
    pack_nibbles(codes, b + 2);
  }
};

struct Q4_1 {
  static void decode(const Byte* b, float* y) {
    const float d = load_f16(b), m = load_f16(b + 2);
    unpack_nibbles(b + 4, [&](int j, Ints codes) { store_scaled_from(codes, d, m, y + j); });
  }
  static void encode(const float* x, Byte* b) {
    const FromMinimum<15> codes(x);
    store_f16(b, codes.d);
    store_f16(b + 2, codes.range.low);
    pack_nibbles(codes, b + 4);
  }
};

struct Q5_0 {
  static void decode(const Byte* b, float* y) {
    const float d = load_f16(b);
    unpack_five_bits(b + 2, b + 6, [&](int j, Ints codes) { store_scaled(codes, 16, d, y + j); });
  }
  static void encode(const float* x, Byte* b) {
    const Centred<16> codes(x);
    store_f16(b, codes.d);
    pack_five_bits(codes, b + 2, b + 6);
  }
};

struct Q5_1 {
  static void decode(const Byte* b, float* y) {
    const float d = load_f16(b), m = load_f16(b + 2);
    unpack_five_bits(b + 4, b + 8, [&](int j, Ints codes) { store_scaled_from(codes, d, m, y + j); });
  }
  static void encode(const float* x, Byte* b) {
    const FromMinimum<31> codes(x);
    store_f16(b, codes.d);
    store_f16(b + 2, codes.range.low);
    pack_five_bits(codes, b + 4, b + 8);
  }
};

// The finest scale, of either sign, with which codes from -below to above cover the block, as f16 stores it.
float covering_scale(Range range, float below, float above) {
  const float upright = std::max(-range.low / below, range.high / above);
  const float turned = std::max(range.high / below, -range.low / above);
  return f16_bits_to_f32(f32_to_f16_bits(turned < upright ? -turned : upright));
}

// Sixteen unevenly spaced values; the larger side is negative.
struct Iq4Nl {
  static constexpr float kValues[16] = {-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113};

  static void decode(const Byte* b, float* y) {
    const float d = load_f16(b);
    for (int j = 0; j < kHalf; ++j) {
      y[j] = d * kValues[b[2 + j] & 15];
      y[j + kHalf] = d * kValues[b[2 + j] >> 4];
    }
  }
  static void encode(const float* x, Byte* b) {
    const float d = covering_scale(value_range(x, kBlock), 127.0F, 113.0F);
    const Floats id = hn::Set(f32, inverse(d));
    store_f16(b, d);
    pack_nibbles(
        [&](int j) {
          const Floats scaled = hn::Mul(hn::LoadU(f32, x + j), id);
          Ints code = hn::Zero(i32);
          for (int k = 0; k < 15; ++k) {
            const auto beyond = hn::Gt(scaled, hn::Set(f32, 0.5F * (kValues[k] + kValues[k + 1])));
            code = hn::Sub(code, hn::VecFromMask(i32, hn::RebindMask(i32, beyond)));
          }
          return code;
        },
        b + 2);
  }
};

// One bit: -d or d. The mean magnitude is the scale with the least squared error.
struct Q1_0 {
  static constexpr int kElements = 128;

  static void decode(const Byte* HWY_RESTRICT b, float* HWY_RESTRICT y) {
    const float d = load_f16(b);
    for (int i = 0; i < kElements / 32; ++i) {
      const std::uint32_t word = load_word(b + 2 + 4 * i);
      for (int j = 0; j < 32; ++j) y[32 * i + j] = (word & kBits.at[j]) != 0 ? d : -d;
    }
  }
  static void encode(const float* x, Byte* b) {
    float sum = 0;
    for (int j = 0; j < kElements; ++j) sum += std::abs(x[j]);
    store_f16(b, sum / static_cast<float>(kElements));
    for (int i = 0; i < kElements; i += 32) {
      std::uint32_t word = 0;
      for (int j = 0; j < 32; j += lanes()) word |= mask_bits(hn::Ge(hn::LoadU(f32, x + i + j), hn::Zero(f32))) << j;
      store_word(b + 2 + i / 8, word);
    }
  }
};

// Two bits: -d, 0, d, 2d.
struct Q2_0 {
  static constexpr int kElements = 64, kPerWord = 16;

  static void decode(const Byte* b, float* y) {
    const float d = load_f16(b);
    for (int i = 0; i < kElements; i += kPerWord) {
      const auto word = hn::Set(i32, static_cast<std::int32_t>(load_word(b + 2 + i / 4)));
      for (int j = 0; j < kPerWord; j += lanes()) {
        const auto low = hn::LoadU(i32, reinterpret_cast<const std::int32_t*>(kPairs.at + j));
        const auto has = [&](Ints bit, int value) {
          return hn::IfThenElseZero(hn::Ne(hn::And(word, bit), hn::Zero(i32)), hn::Set(i32, value));
        };
        store_scaled(hn::Or(has(low, 1), has(hn::ShiftLeft<1>(low), 2)), 1, d, y + i + j);
      }
    }
  }
  static void encode(const float* x, Byte* b) {
    const float d = covering_scale(value_range(x, kElements), 1.0F, 2.0F);
    const Floats id = hn::Set(f32, inverse(d));
    store_f16(b, d);
    for (int i = 0; i < kElements; i += kPerWord) {
      // Codes at distances of two bits do not overlap: their sum is their union.
      auto word = hn::Zero(u32);
      for (int j = 0; j < kPerWord; j += lanes()) {
        const Floats scaled = hn::Mul(hn::LoadU(f32, x + i + j), id);
        const auto place = hn::LoadU(u32, kPairs.at + j);
        for (const float middle : {-0.5F, 0.5F, 1.5F}) {
          const auto beyond = hn::RebindMask(u32, hn::Gt(scaled, hn::Set(f32, middle)));
          word = hn::Add(word, hn::IfThenElseZero(beyond, place));
        }
      }
      store_word(b + 2 + i / 4, hn::GetLane(hn::SumOfLanes(u32, word)));
    }
  }
};

// With an instruction for it; NaN apart, it rounds as f32_to_f16_bits does.
#if HWY_TARGET <= HWY_AVX2 && HWY_ARCH_X86 && !defined(HWY_DISABLE_F16C)
using F16 = hn::Rebind<hwy::float16_t, F32>;
constexpr F16 f16;
std::int64_t decode_f16_vectors(const Byte* src, float* dst, std::int64_t n) {
  std::int64_t i = 0;
  for (; i + lanes() <= n; i += lanes())
    hn::StoreU(hn::PromoteTo(f32, hn::LoadU(f16, reinterpret_cast<const hwy::float16_t*>(src + 2 * i))), f32, dst + i);
  return i;
}
std::int64_t encode_f16_vectors(const float* src, Byte* dst, std::int64_t n) {
  std::int64_t i = 0;
  for (; i + lanes() <= n; i += lanes()) {
    const Floats x = hn::LoadU(f32, src + i);
    if (!hn::AllTrue(f32, hn::Eq(x, x))) break;
    hn::StoreU(hn::DemoteTo(f16, x), f16, reinterpret_cast<hwy::float16_t*>(dst + 2 * i));
  }
  return i;
}
#else
std::int64_t decode_f16_vectors(const Byte*, float*, std::int64_t) { return 0; }
std::int64_t encode_f16_vectors(const float*, Byte*, std::int64_t) { return 0; }
#endif

void decode_f16(const Byte* src, float* dst, std::int64_t n) {
  for (std::int64_t i = decode_f16_vectors(src, dst, n); i < n; ++i) dst[i] = load_f16(src + 2 * i);
}
void encode_f16(const float* src, Byte* dst, std::int64_t n) {
  for (std::int64_t i = encode_f16_vectors(src, dst, n); i < n; ++i) store_f16(dst + 2 * i, src[i]);
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
  if (n == 0) return;  // nothing may have no address
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
  if (n == 0) return;
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
