#include "cases/tensor.h"

namespace attest {

float element(const TensorView& t, std::int64_t i0, std::int64_t i1, std::int64_t i2, std::int64_t i3) {
  constexpr std::int64_t kLargestBlock = 128;
  const std::int64_t block = info(t.dtype).block;
  std::array<float, kLargestBlock> values;
  decode_row(t.dtype, t.row(i1, i2, i3) + i0 / block * t.nb[0], values.data(), block);
  return values[static_cast<std::size_t>(i0 % block)];
}

}  // namespace attest
