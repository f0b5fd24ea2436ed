#include "backends/cpu/rows.h"

#include <cstring>

namespace attest::cpu {

RowReader::RowReader(const Primitives& simd, const TensorView& tensor)
    : simd_(&simd),
      type_(tensor.dtype),
      size_(tensor.ne[0]),
      stride_(tensor.nb[0]),
      block_(info(tensor.dtype).block),
      block_bytes_(info(tensor.dtype).block_bytes),
      contiguous_(tensor.contiguous_rows()) {
  if (!contiguous_) return;
  if (type_ == DType::f32) {
    dot_ = simd.dot_f32;
    axpy_ = simd.axpy_f32;
  } else if (type_ == DType::f16) {
    dot_ = simd.dot_f16;
    axpy_ = simd.axpy_f16;
  } else if (type_ == DType::bf16) {
    dot_ = simd.dot_bf16;
    axpy_ = simd.axpy_bf16;
  }
}

void RowReader::decode(const std::byte* contiguous, float* dst, std::int64_t n) const {
  switch (type_) {
    case DType::f32:
      std::memcpy(dst, contiguous, static_cast<std::size_t>(n) * sizeof(float));
      break;
    case DType::f16:
      simd_->decode_f16(contiguous, dst, n);
      break;
    case DType::bf16:
      simd_->decode_bf16(contiguous, dst, n);
      break;
    case DType::q8_0:
      simd_->decode_q8_0(contiguous, dst, n);
      break;
    default:
      decode_row(type_, contiguous, dst, n);
  }
}

const float* RowReader::read(const std::byte* row, float* dst, float* gather) const {
  const bool aligned = reinterpret_cast<std::uintptr_t>(row) % alignof(float) == 0;
  if (type_ == DType::f32 && contiguous_ && aligned) return reinterpret_cast<const float*>(row);
  read_range(row, 0, size_, dst, gather);
  return dst;
}

void RowReader::read_range(const std::byte* row, std::int64_t first, std::int64_t count, float* dst,
                           float* gather) const {
  const std::byte* src = row + first / block_ * stride_;
  if (contiguous_) return decode(src, dst, count);
  auto* gathered = reinterpret_cast<std::byte*>(gather);
  for (std::int64_t block = 0; block < count / block_; ++block) {
    std::memcpy(gathered + block * block_bytes_, src + block * stride_, static_cast<std::size_t>(block_bytes_));
  }
  decode(gathered, dst, count);
}

}  // namespace attest::cpu
