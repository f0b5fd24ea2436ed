#include "backends/metal/packing.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "cases/embedded_files.h"

namespace attest::metal {

std::string kernel_library(std::initializer_list<std::string_view> files) {
  std::string text = "#include <metal_stdlib>\n";
  for (const std::string_view name : files) {
    for (const EmbeddedFile& file : embedded_metal_kernels()) {
      if (file.name != name) continue;
      std::string part = file.text();
      // There is one text, included once.
      if (const auto at = part.find("#pragma once"); at != std::string::npos) part.replace(at, 12, "");
      text += fmt::format("#line 1 \"{}\"\n{}", name, part);
    }
  }
  return text;
}

std::optional<int> type_number(DType type) {
  constexpr std::array<DType, 11> types{DType::f32,  DType::f16,  DType::bf16,   DType::q8_0, DType::q4_0, DType::q4_1,
                                        DType::q5_0, DType::q5_1, DType::iq4_nl, DType::q1_0, DType::q2_0};
  const auto found = std::find(types.begin(), types.end(), type);
  if (found == types.end()) return std::nullopt;
  return static_cast<int>(found - types.begin());
}

int mask_number(const TensorView& mask) { return !mask.present() ? 0 : mask.dtype == DType::f16 ? 1 : 2; }

bool aligned(const TensorView& t) {
  if (!t.present()) return true;
  const std::int64_t size = t.dtype == DType::f32 ? 4 : 2;
  bool fits = reinterpret_cast<std::uintptr_t>(t.data) % static_cast<std::uintptr_t>(size) == 0;
  for (std::size_t i = 0; i < 4; ++i) fits = fits && t.nb[i] % size == 0;
  return fits;
}

std::size_t span_bytes(const TensorShape& t) {
  if (t.elements() == 0) return 0;
  const DTypeInfo& storage = info(t.dtype);
  std::int64_t bytes = (t.ne[0] / storage.block - 1) * t.nb[0] + storage.block_bytes;
  for (std::size_t i = 1; i < 4; ++i) bytes += (t.ne[i] - 1) * t.nb[i];
  return static_cast<std::size_t>(bytes);
}

Argument tensor_argument(int index, const TensorView& t) {
  return Argument::of(index, t.data, t.present() ? span_bytes(t) : 0);
}

std::size_t floats(std::int64_t n) { return (static_cast<std::size_t>(n) * sizeof(float) + 15) / 16 * 16; }

Size3 size3(std::int64_t x, std::int64_t y, std::int64_t z) {
  return {static_cast<std::uint32_t>(x), static_cast<std::uint32_t>(y), static_cast<std::uint32_t>(z)};
}

}  // namespace attest::metal
