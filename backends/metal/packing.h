// How the plans of all our Metal kernels pack a problem: libraries from kernel files, tensors as arguments, sizes.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <optional>
#include <string>
#include <string_view>

#include "backends/metal/device.h"
#include "cases/dtype.h"
#include "cases/tensor.h"

namespace attest::metal {

inline constexpr double kEpsExp = 0x1p-21, kEpsTanh = 0x1.4p-21;  // Metal's precise functions: 4 and 5 ulp

// One text of the given kernel files, in order; messages name their lines.
std::string kernel_library(std::initializer_list<std::string_view> files);

// The number of a storage type in the kernels (load.metal); nothing for types they do not read.
std::optional<int> type_number(DType type);

// The kernels' word for a mask: 0 none, 1 of f16, 2 of f32.
int mask_number(const TensorView& mask);

// Every element at a multiple of its size? Block types hold halves and bytes. An absent tensor is.
bool aligned(const TensorView& tensor);
// From the first byte to the last, both included; strides are not negative.
std::size_t span_bytes(const TensorShape& tensor);
Argument tensor_argument(int index, const TensorView& tensor);

// Bytes of threadgroup memory for n floats, a multiple of 16.
std::size_t floats(std::int64_t n);
Size3 size3(std::int64_t x, std::int64_t y, std::int64_t z);

}  // namespace attest::metal
