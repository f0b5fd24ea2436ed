// A tensor as a kernel sees it: pointer, storage type, four extents, four byte strides.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "cases/dtype.h"

namespace attest {

// Extents and strides in ggml's order: dimension 0 is the fastest. nb[0] is the distance in bytes between two
// neighbouring elements (blocks for quantised types); it equals the element (block) size in every layout but those
// that transpose dimension 0.
struct TensorShape {
  DType dtype = DType::f32;
  std::array<std::int64_t, 4> ne{0, 1, 1, 1};
  std::array<std::int64_t, 4> nb{0, 0, 0, 0};

  std::int64_t elements() const { return ne[0] * ne[1] * ne[2] * ne[3]; }
  bool contiguous_rows() const { return nb[0] == info(dtype).block_bytes; }
  std::int64_t offset(std::int64_t i1, std::int64_t i2, std::int64_t i3) const {
    return i1 * nb[1] + i2 * nb[2] + i3 * nb[3];
  }
};

// Read-only view. data == nullptr: the tensor is absent (no mask, no sinks).
struct TensorView : TensorShape {
  const std::byte* data = nullptr;

  bool present() const { return data != nullptr; }
  const std::byte* row(std::int64_t i1, std::int64_t i2, std::int64_t i3) const { return data + offset(i1, i2, i3); }
};

struct MutableTensorView : TensorShape {
  std::byte* data = nullptr;

  std::byte* row(std::int64_t i1, std::int64_t i2, std::int64_t i3) const { return data + offset(i1, i2, i3); }
  TensorView view() const {
    TensorView v;
    static_cast<TensorShape&>(v) = *this;
    v.data = data;
    return v;
  }
};

// Element (i0, i1, i2, i3) as f32, any dtype and stride. Slow and plain: for oracles, tests and reports.
float element(const TensorView& t, std::int64_t i0, std::int64_t i1, std::int64_t i2, std::int64_t i3);

}  // namespace attest
