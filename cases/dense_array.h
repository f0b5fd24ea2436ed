// Tensors of any strides to and from arrays without gaps, as files hold them.
#pragma once

#include <cstdint>
#include <vector>

#include "cases/stored_array.h"
#include "cases/tensor.h"

namespace attest {

// [ne3, ne2, ne1, ne0], the last the fastest; of block types u8 with ne0's bytes last.
std::vector<std::int64_t> dense_shape(const TensorShape& shape);
std::int64_t dense_bytes(const TensorShape& shape);

StoredArray gather(const TensorView& tensor);

// The reverse. An input error unless the array has the type and shape that gather() gives (u16 stands for bf16).
Expected<void> scatter(const StoredArray& array, const MutableTensorView& tensor);

}  // namespace attest
