// An array as a file holds it: element type, extents with the fastest last, little-endian bytes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "cases/dtype.h"
#include "cases/error.h"

namespace attest {

enum class ArrayType : std::uint8_t { boolean, i8, u8, i16, u16, i32, u32, i64, u64, f16, bf16, f32, f64 };
inline constexpr int kArrayTypeCount = 13;

std::string_view name(ArrayType type);  // "bool", "u8", "f16", ...
int element_bytes(ArrayType type);
std::optional<ArrayType> array_type_from_name(std::string_view name);
// How a file stores elements of `type`: f32, f16 and bf16 as they are, block types as u8.
ArrayType storage_type(DType type);

struct StoredArray {
  ArrayType type = ArrayType::f32;
  std::vector<std::int64_t> shape;  // C order: the last dimension is the fastest; empty: one element
  std::vector<std::byte> bytes;

  std::int64_t elements() const { return static_cast<std::int64_t>(bytes.size()) / element_bytes(type); }
  bool operator==(const StoredArray&) const = default;
};

// "[2, 3, 64]", for people.
std::string shape_text(std::span<const std::int64_t> shape);

// Bytes of an array: rank at most 32, no extent below 1 and nothing beyond 2^62 bytes. `what` begins the error message.
Expected<std::int64_t> array_bytes(ArrayType type, std::span<const std::int64_t> shape, std::string_view what);

// The element at `index` as a double (bool: 0 or 1); exact but for i64 and u64 beyond 2^53.
double array_value(const StoredArray& array, std::int64_t index);

}  // namespace attest
