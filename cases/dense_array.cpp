#include "cases/dense_array.h"

#include <fmt/format.h>

#include <cstring>

namespace attest {
namespace {

// copy(tensor bytes, dense offset, count) for every run of bytes that lies together in both.
template <class Copy>
void each_run(const TensorShape& shape, const Copy& copy) {
  const auto unit = static_cast<std::int64_t>(info(shape.dtype).block_bytes);
  const std::int64_t row = row_bytes(shape.dtype, shape.ne[0]);
  std::int64_t dense = 0;
  for (std::int64_t i3 = 0; i3 < shape.ne[3]; ++i3) {
    for (std::int64_t i2 = 0; i2 < shape.ne[2]; ++i2) {
      for (std::int64_t i1 = 0; i1 < shape.ne[1]; ++i1, dense += row) {
        const std::int64_t at = shape.offset(i1, i2, i3);
        if (shape.contiguous_rows()) {
          copy(at, dense, row);
          continue;
        }
        for (std::int64_t b = 0; b * unit < row; ++b) copy(at + b * shape.nb[0], dense + b * unit, unit);
      }
    }
  }
}

}  // namespace

std::vector<std::int64_t> dense_shape(const TensorShape& shape) {
  return {shape.ne[3], shape.ne[2], shape.ne[1],
          is_quantised(shape.dtype) ? row_bytes(shape.dtype, shape.ne[0]) : shape.ne[0]};
}

std::int64_t dense_bytes(const TensorShape& shape) {
  return row_bytes(shape.dtype, shape.ne[0]) * shape.ne[1] * shape.ne[2] * shape.ne[3];
}

StoredArray gather(const TensorView& tensor) {
  StoredArray array{storage_type(tensor.dtype), dense_shape(tensor),
                    std::vector<std::byte>(static_cast<std::size_t>(dense_bytes(tensor)))};
  each_run(tensor, [&](std::int64_t at, std::int64_t dense, std::int64_t count) {
    std::memcpy(array.bytes.data() + dense, tensor.data + at, static_cast<std::size_t>(count));
  });
  return array;
}

Expected<void> scatter(const StoredArray& array, const MutableTensorView& tensor) {
  const ArrayType type = storage_type(tensor.dtype);
  const bool fits = array.type == type || (type == ArrayType::bf16 && array.type == ArrayType::u16);
  if (!fits || array.shape != dense_shape(tensor)) {
    return input_error(fmt::format("{} {} where {} needs {} {}", name(array.type), shape_text(array.shape),
                                   info(tensor.dtype).name, name(type), shape_text(dense_shape(tensor))));
  }
  each_run(tensor, [&](std::int64_t at, std::int64_t dense, std::int64_t count) {
    std::memcpy(tensor.data + at, array.bytes.data() + dense, static_cast<std::size_t>(count));
  });
  return {};
}

}  // namespace attest
