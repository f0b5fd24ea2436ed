// Reads rows of K, V, Q and the mask as f32, whatever their type and strides.
#pragma once

#include <cstddef>
#include <cstdint>

#include "backends/cpu/simd.h"
#include "cases/tensor.h"

namespace attest::cpu {

class RowReader {
 public:
  RowReader() = default;
  RowReader(const Primitives& simd, const TensorView& tensor);

  std::int64_t size() const { return size_; }
  // What `scratch` below must hold: the decoded row, and its blocks gathered where dimension 0 is strided.
  std::int64_t scratch_floats() const { return 2 * size_; }

  // The row as f32: in the tensor's own memory where it lies there as aligned floats, else in dst [size]. Blocks are
  // collected in `gather` [size] where they do not lie side by side.
  const float* read(const std::byte* row, float* dst, float* gather) const;
  const float* read(const std::byte* row, float* scratch) const { return read(row, scratch, scratch + size_); }
  // `count` elements from element `first` (multiples of the block) into dst.
  void read_range(const std::byte* row, std::int64_t first, std::int64_t count, float* dst, float* gather) const;

  float dot(const float* q, const std::byte* row, float* scratch) const {
    if (dot_ != nullptr) return dot_(q, row, size_);
    return simd_->dot_f32(q, reinterpret_cast<const std::byte*>(read(row, scratch)), size_);
  }
  // acc += w * row
  void axpy(float w, const std::byte* row, float* acc, float* scratch) const {
    if (axpy_ != nullptr) return axpy_(w, row, acc, size_);
    simd_->axpy_f32(w, reinterpret_cast<const std::byte*>(read(row, scratch)), acc, size_);
  }

 private:
  void decode(const std::byte* contiguous, float* dst, std::int64_t n) const;

  const Primitives* simd_ = nullptr;
  DType type_ = DType::f32;
  std::int64_t size_ = 0, stride_ = 0;
  int block_ = 1, block_bytes_ = 4;
  bool contiguous_ = true;
  float (*dot_)(const float*, const std::byte*, std::int64_t) = nullptr;
  void (*axpy_)(float, const std::byte*, float*, std::int64_t) = nullptr;
};

}  // namespace attest::cpu
