#include "backends/metal/manifest/tensors.h"

#include <gtest/gtest.h>

#include <cstring>

#include "cases/inputs.h"

namespace attest::metal {
namespace {

Case of(const std::string& line) {
  const auto c = parse_case(line);
  EXPECT_TRUE(c) << line;
  return c ? *c : Case{};
}

void expect_same_elements(const TensorView& a, const TensorView& b) {
  ASSERT_EQ(a.ne, b.ne);
  for (std::int64_t i3 = 0; i3 < a.ne[3]; ++i3) {
    for (std::int64_t i2 = 0; i2 < a.ne[2]; ++i2) {
      for (std::int64_t i1 = 0; i1 < a.ne[1]; ++i1) {
        for (std::int64_t i0 = 0; i0 < a.ne[0]; ++i0) {
          ASSERT_EQ(element(a, i0, i1, i2, i3), element(b, i0, i1, i2, i3));
        }
      }
    }
  }
}

TEST(Tensors, KIsTransposedWhereTheKernelWantsItSo) {
  const OwnedInputs in(of("flash_attn_ext d=32 n_head=4 n_head_kv=2 n_q=3 n_kv=5 n_seq=2 kv=f16"));
  ReadyTensor k;
  ASSERT_TRUE(make_ready({TensorRole::k, {}, {3, 2, 0, 1}}, in.inputs().k, k));
  EXPECT_TRUE(k.packed);
  EXPECT_EQ(k.strides, (std::array<std::int64_t, 4>{5, 1, 5 * 32, 5 * 32 * 2}));
  EXPECT_EQ(k.bytes, 2U * 5 * 32 * 2 * 2);
  expect_same_elements(in.inputs().k, k.view);
}

TEST(Tensors, WhatLiesRightIsHandedOver) {
  const OwnedInputs in(of("flash_attn_ext d=32 n_head=4 n_q=3 n_kv=5 kv=f16 layout=0213+kt"));
  ReadyTensor q, k, v;
  ASSERT_TRUE(make_ready({TensorRole::q, {}, {3, 1, 2, 0}}, in.inputs().q, q));
  ASSERT_TRUE(make_ready({TensorRole::k, {}, {2, 0, 1}}, in.inputs().k, k));
  ASSERT_TRUE(make_ready({TensorRole::v, {}, {1, 2, 0}}, in.inputs().v, v));
  EXPECT_EQ(q.view.data, in.inputs().q.data);
  EXPECT_EQ(k.view.data, in.inputs().k.data);
  EXPECT_EQ(v.view.data, in.inputs().v.data);
  EXPECT_FALSE(q.packed || k.packed || v.packed);
}

TEST(Tensors, WithoutALayoutStridesAreTold) {
  const OwnedInputs in(of("flash_attn_ext d=32 n_head=2 n_q=3 n_kv=5 kv=q8_0 layout=cache:9"));
  ReadyTensor k;
  ASSERT_TRUE(make_ready({TensorRole::k, {}, {}}, in.inputs().k, k));
  EXPECT_EQ(k.view.data, in.inputs().k.data);
  EXPECT_EQ(k.strides, (std::array<std::int64_t, 4>{1, 1, 9, 18})) << "in blocks";
}

TEST(Tensors, TypesAreWidenedExactlyAndRoundedOnlyWhereStated) {
  for (const char* type : {"f16", "bf16", "q8_0", "iq4_nl"}) {
    const OwnedInputs in(of(std::string("flash_attn_ext d=64 n_head=2 n_q=3 n_kv=5 kv=") + type));
    ReadyTensor v;
    ASSERT_TRUE(make_ready({TensorRole::v, DType::f32, {3, 1, 2, 0}}, in.inputs().v, v));
    EXPECT_EQ(v.view.dtype, DType::f32);
    EXPECT_EQ(v.strides, (std::array<std::int64_t, 4>{1, 128, 64, 640})) << type;
    expect_same_elements(in.inputs().v, v.view);
  }
  const OwnedInputs in(of("flash_attn_ext d=64 n_head=2 n_q=3 n_kv=5 kv=f16"));
  ReadyTensor q;
  ASSERT_TRUE(make_ready({TensorRole::q, DType::f16, {}}, in.inputs().q, q));
  const float x = element(in.inputs().q, 7, 2, 1, 0);
  EXPECT_EQ(element(q.view, 7, 2, 1, 0), f16_to_f32(f32_to_f16(x)));
  EXPECT_TRUE(flaw_of({TensorRole::k, DType::f16, {}}));
  EXPECT_FALSE(flaw_of({TensorRole::k, DType::f32, {}}));
}

TEST(Tensors, TheOutputComesBackFromItsLayout) {
  const OwnedInputs in(of("flash_attn_ext d=32 n_head=2 n_q=3 n_kv=5 kv=f16"));
  fill_output(in.the_case(), in.plan(), in.buffers());
  ReadyTensor out;
  ASSERT_TRUE(make_ready({TensorRole::out, {}, {3, 1, 2, 0}}, in.output(), out));
  ASSERT_TRUE(out.packed);
  auto* values = reinterpret_cast<float*>(const_cast<std::byte*>(out.view.data));
  // [n_head, n_q, d]: head 1, query 2, column 31; nothing else is written.
  values[(1 * 3 + 2) * 32 + 31] = 42;
  std::vector<std::byte> before(in.output().data, in.output().data + in.plan().out.bytes);
  give_back(out, in.output());
  EXPECT_EQ(element(in.output().view(), 31, 1, 2, 0), 42);
  const std::size_t at = ((2 * 2 + 1) * 32 + 31) * sizeof(float);
  const float answer = 42;
  std::memcpy(before.data() + at, &answer, sizeof answer);
  EXPECT_EQ(std::memcmp(before.data(), in.output().data, before.size()), 0) << "unwritten elements stay recognisable";
}

TEST(Tensors, ALayoutWithoutPlaceForADimensionIsUnsupported) {
  const auto plan = plan_inputs(of("flash_attn_ext d=32 n_head=2 n_q=3 n_kv=5 n_seq=2 kv=f16 mask=causal+f32").problem);
  const auto no = fits({TensorRole::q, {}, {1, 2, 0}}, plan);
  EXPECT_FALSE(no.yes);
  EXPECT_NE(no.reason.find("no n_seq, which is 2"), std::string::npos) << no.reason;
  EXPECT_TRUE(fits({TensorRole::q, {}, {3, 1, 2, 0}}, plan).yes);
  EXPECT_TRUE(fits({TensorRole::mask, {}, {1, 0}}, plan).yes) << "one plane";
  EXPECT_FALSE(fits({TensorRole::mask, DType::f16, {}}, plan).yes) << "a mask is not narrowed";
}

using TensorsDeathTest = ::testing::Test;

TEST(TensorsDeathTest, APackedInputIsReadOnlyAndAnOutputIsNot) {
  const OwnedInputs in(of("flash_attn_ext d=32 n_head=2 n_q=3 n_kv=5 kv=f16"));
  ReadyTensor q, out;
  ASSERT_TRUE(make_ready({TensorRole::q, DType::f16, {}}, in.inputs().q, q));
  EXPECT_DEATH(*const_cast<std::byte*>(q.view.data) = std::byte{1}, "");
  ASSERT_TRUE(make_ready({TensorRole::q, DType::f16, {}}, in.inputs().q, q)) << "the memory is used again";
  ASSERT_TRUE(make_ready({TensorRole::out, {}, {3, 1, 2, 0}}, in.output(), out));
  *const_cast<std::byte*>(out.view.data) = std::byte{1};
}

}  // namespace
}  // namespace attest::metal
