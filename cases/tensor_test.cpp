#include "cases/tensor.h"

#include <gtest/gtest.h>

#include <cstring>
#include <vector>

namespace attest {
namespace {

TEST(DType, NamesAndGeometry) {
  for (int i = 0; i < kDTypeCount; ++i) {
    const auto type = static_cast<DType>(i);
    EXPECT_EQ(dtype_from_name(info(type).name), type);
    EXPECT_EQ(row_bytes(type, 256), 256 / info(type).block * info(type).block_bytes);
  }
  EXPECT_EQ(dtype_from_name("q8_1"), std::nullopt);
  EXPECT_EQ(dtype_from_name(""), std::nullopt);
  EXPECT_EQ(row_bytes(DType::q5_1, 96), 72);
  EXPECT_TRUE(is_quantised(DType::q1_0));
  EXPECT_FALSE(is_quantised(DType::bf16));
}

// A [n0, 3, 2, 2] tensor of `type` with gaps of seven bytes or more between rows, heads and sequences.
struct Padded {
  explicit Padded(DType type, std::int64_t n0) {
    const std::int64_t row = row_bytes(type, n0);
    shape.dtype = type;
    shape.ne = {n0, 3, 2, 2};
    shape.nb = {info(type).block_bytes, row + 8, 3 * (row + 8) + 14, 2 * (3 * (row + 8) + 14) + 6};
    bytes.assign(static_cast<std::size_t>(shape.nb[3] * 2), std::byte{0xee});
    values.resize(static_cast<std::size_t>(shape.elements()));
    for (std::size_t i = 0; i < values.size(); ++i) values[i] = static_cast<float>((i * 37) % 101) - 50.0F;
    decoded.resize(values.size());
    std::size_t at = 0;
    for (int i3 = 0; i3 < 2; ++i3)
      for (int i2 = 0; i2 < 2; ++i2)
        for (int i1 = 0; i1 < 3; ++i1, at += static_cast<std::size_t>(n0)) {
          std::byte* place = bytes.data() + shape.offset(i1, i2, i3);
          encode_row(type, values.data() + at, place, n0);
          decode_row(type, place, decoded.data() + at, n0);
        }
  }
  TensorView view() const {
    TensorView v;
    static_cast<TensorShape&>(v) = shape;
    v.data = bytes.data();
    return v;
  }
  TensorShape shape;
  std::vector<std::byte> bytes;
  std::vector<float> values, decoded;
};

TEST(Element, FollowsStridesForEveryType) {
  for (int type = 0; type < kDTypeCount; ++type) {
    const Padded t(static_cast<DType>(type), 256);
    const TensorView view = t.view();
    std::size_t at = 0;
    for (int i3 = 0; i3 < 2; ++i3)
      for (int i2 = 0; i2 < 2; ++i2)
        for (int i1 = 0; i1 < 3; ++i1)
          for (int i0 = 0; i0 < 256; ++i0, ++at) {
            const float got = element(view, i0, i1, i2, i3);
            ASSERT_EQ(std::memcmp(&got, &t.decoded[at], sizeof got), 0) << info(view.dtype).name << " element " << at;
          }
  }
}

TEST(Element, FollowsATransposedFirstDimension) {
  std::vector<float> values(12);
  for (std::size_t i = 0; i < values.size(); ++i) values[i] = static_cast<float>(i);
  TensorView view;
  view.dtype = DType::f32;
  view.ne = {3, 4, 1, 1};
  view.nb = {16, 4, 48, 48};  // element (i0, i1) of the view is (i1, i0) in memory
  view.data = reinterpret_cast<const std::byte*>(values.data());
  EXPECT_FALSE(view.contiguous_rows());
  for (int i1 = 0; i1 < 4; ++i1)
    for (int i0 = 0; i0 < 3; ++i0) EXPECT_EQ(element(view, i0, i1, 0, 0), static_cast<float>(4 * i0 + i1));
}

TEST(MutableView, SharesShapeAndBytes) {
  std::vector<std::byte> memory(64);
  MutableTensorView out;
  out.ne = {4, 2, 1, 1};
  out.nb = {4, 32, 64, 64};
  out.data = memory.data();
  const float value = 2.5F;
  std::memcpy(out.row(1, 0, 0) + 8, &value, sizeof value);
  EXPECT_EQ(element(out.view(), 2, 1, 0, 0), 2.5F);
  EXPECT_EQ(element(out.view(), 2, 0, 0, 0), 0.0F);
}

}  // namespace
}  // namespace attest
