#include "cases/stored_array.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>

#include "cases/half_bits.h"

namespace attest {
namespace {

static_assert(std::endian::native == std::endian::little, "files and tensors are read as they lie in memory");

struct TypeInfo {
  std::string_view name;
  int bytes;
};
constexpr std::array<TypeInfo, kArrayTypeCount> kTypes{{{"bool", 1},
                                                        {"i8", 1},
                                                        {"u8", 1},
                                                        {"i16", 2},
                                                        {"u16", 2},
                                                        {"i32", 4},
                                                        {"u32", 4},
                                                        {"i64", 8},
                                                        {"u64", 8},
                                                        {"f16", 2},
                                                        {"bf16", 2},
                                                        {"f32", 4},
                                                        {"f64", 8}}};
constexpr std::size_t kMaxRank = 32;
constexpr std::int64_t kMaxBytes = std::int64_t{1} << 62;

template <class T>
double read_as(const std::byte* at) {
  T value;
  std::memcpy(&value, at, sizeof value);
  return static_cast<double>(value);
}

}  // namespace

std::string_view name(ArrayType type) { return kTypes[static_cast<std::size_t>(type)].name; }
int element_bytes(ArrayType type) { return kTypes[static_cast<std::size_t>(type)].bytes; }

std::optional<ArrayType> array_type_from_name(std::string_view name) {
  const auto* it = std::find_if(kTypes.begin(), kTypes.end(), [&](const TypeInfo& t) { return t.name == name; });
  if (it == kTypes.end()) return std::nullopt;
  return static_cast<ArrayType>(it - kTypes.begin());
}

ArrayType storage_type(DType type) {
  switch (type) {
    case DType::f32:
      return ArrayType::f32;
    case DType::f16:
      return ArrayType::f16;
    case DType::bf16:
      return ArrayType::bf16;
    default:
      return ArrayType::u8;
  }
}

std::string shape_text(std::span<const std::int64_t> shape) { return fmt::format("[{}]", fmt::join(shape, ", ")); }

Expected<std::int64_t> array_bytes(ArrayType type, std::span<const std::int64_t> shape, std::string_view what) {
  if (shape.size() > kMaxRank)
    return input_error(fmt::format("{} has {} dimensions, at most 32 are read", what, shape.size()));
  std::int64_t bytes = element_bytes(type);
  for (const std::int64_t extent : shape) {
    if (extent < 1)
      return input_error(fmt::format("{} has shape {}: every dimension must be at least 1", what, shape_text(shape)));
    if (bytes > kMaxBytes / extent)
      return input_error(fmt::format("{} has shape {}: more than 2^62 bytes", what, shape_text(shape)));
    bytes *= extent;
  }
  return bytes;
}

double array_value(const StoredArray& array, std::int64_t index) {
  const std::byte* at = array.bytes.data() + index * element_bytes(array.type);
  switch (array.type) {
    case ArrayType::boolean:
      return *at != std::byte{0} ? 1 : 0;
    case ArrayType::i8:
      return read_as<std::int8_t>(at);
    case ArrayType::u8:
      return read_as<std::uint8_t>(at);
    case ArrayType::i16:
      return read_as<std::int16_t>(at);
    case ArrayType::u16:
      return read_as<std::uint16_t>(at);
    case ArrayType::i32:
      return read_as<std::int32_t>(at);
    case ArrayType::u32:
      return read_as<std::uint32_t>(at);
    case ArrayType::i64:
      return read_as<std::int64_t>(at);
    case ArrayType::u64:
      return read_as<std::uint64_t>(at);
    case ArrayType::f32:
      return read_as<float>(at);
    case ArrayType::f64:
      return read_as<double>(at);
    case ArrayType::f16:
    case ArrayType::bf16: {
      std::uint16_t bits = 0;
      std::memcpy(&bits, at, sizeof bits);
      return array.type == ArrayType::f16 ? f16_bits_to_f32(bits) : bf16_bits_to_f32(bits);
    }
  }
  return 0;
}

}  // namespace attest
