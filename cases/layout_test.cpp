#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <algorithm>

#include "cases/random_problem.h"

namespace attest {
namespace {

using Span = std::pair<std::int64_t, std::int64_t>;

// Byte ranges of the tensor's rows inside its allocation.
std::vector<Span> row_spans(const TensorPlan& plan) {
  std::vector<Span> spans;
  const std::int64_t bytes = row_bytes(plan.shape.dtype, plan.shape.ne[0]);
  for (std::int64_t s = 0; s < plan.shape.ne[3]; ++s)
    for (std::int64_t h = 0; h < plan.shape.ne[2]; ++h)
      for (std::int64_t i = 0; i < plan.shape.ne[1]; ++i) {
        const std::int64_t first = plan.offset + plan.shape.offset(i, h, s);
        spans.emplace_back(first, first + bytes);
      }
  std::sort(spans.begin(), spans.end());
  return spans;
}

void check_rows(const TensorPlan& plan, std::int64_t allocation) {
  const auto spans = row_spans(plan);
  const std::int64_t alignment = plan.shape.dtype == DType::f32 ? 4 : 2;
  for (std::size_t i = 0; i < spans.size(); ++i) {
    RC_ASSERT(spans[i].first % alignment == 0);
    RC_ASSERT(spans[i].first >= 0);
    RC_ASSERT(spans[i].second <= allocation);
    if (i > 0) RC_ASSERT(spans[i - 1].second <= spans[i].first);
  }
}

RC_GTEST_PROP(PlanInputs, RowsLieInBoundsAlignedAndApart, ()) {
  const Case c = testing::random_case();
  const auto valid = validate(c.problem);
  if (!valid) RC_FAIL(valid.error().text());
  const InputPlan plan = plan_inputs(c.problem);
  check_rows(plan.q, plan.q.bytes);
  check_rows(plan.k, plan.k.bytes);
  check_rows(plan.v, plan.v_view_of_k ? plan.k.bytes : plan.v.bytes);
  check_rows(plan.out, plan.out.bytes);
  if (plan.mask.bytes > 0) check_rows(plan.mask, plan.mask.bytes);
  RC_ASSERT((plan.mask.bytes > 0) == c.problem.mask.present());
  RC_ASSERT((plan.sinks.bytes > 0) == (c.problem.sinks.kind != SinkKind::none));
  RC_ASSERT(plan.k.offset >= c.problem.layout.offset && plan.k.offset < c.problem.layout.offset + 4);
}

AttentionProblem small_problem() {
  AttentionProblem p;
  p.d_k = 64;
  p.d_v = 32;
  p.n_head = 6;
  p.n_head_kv = 2;
  p.n_head_v = 3;
  p.n_q = 5;
  p.n_kv = 7;
  p.n_seq = 4;
  p.n_seq_kv = 2;
  return p;
}

TEST(PlanInputs, PlainTensorsAreContiguousInDeclaredOrder) {
  const InputPlan plan = plan_inputs(small_problem());
  EXPECT_EQ(plan.q.shape.ne, (std::array<std::int64_t, 4>{64, 5, 6, 4}));
  EXPECT_EQ(plan.q.shape.nb, (std::array<std::int64_t, 4>{4, 256, 1280, 7680}));
  EXPECT_EQ(plan.k.shape.nb, (std::array<std::int64_t, 4>{2, 128, 896, 1792}));
  EXPECT_EQ(plan.k.bytes, 3584);
  EXPECT_EQ(plan.v.shape.nb, (std::array<std::int64_t, 4>{2, 64, 448, 1344}));
  EXPECT_EQ(plan.out.shape.ne, (std::array<std::int64_t, 4>{32, 6, 5, 4}));
  EXPECT_EQ(plan.out.bytes, 4 * 32 * 6 * 5 * 4);
}

TEST(PlanInputs, PermutedMemoryHoldsTheHeadsOfAKeySideBySide) {
  AttentionProblem p = small_problem();
  p.layout.permuted = true;
  p.layout.cache = 10;
  p.layout.parent_heads = 4;
  const InputPlan plan = plan_inputs(p);
  EXPECT_EQ(plan.q.shape.ne, (std::array<std::int64_t, 4>{64, 5, 6, 4}));
  EXPECT_EQ(plan.q.shape.nb, (std::array<std::int64_t, 4>{4, 1536, 256, 7680}));
  EXPECT_EQ(plan.k.shape.nb, (std::array<std::int64_t, 4>{2, 512, 128, 5120}));
  EXPECT_EQ(plan.k.bytes, 10240);
}

TEST(PlanInputs, PadOfQuantisedRowsIsWholeBlocksAndOffsetsKeepAlignment) {
  AttentionProblem p = small_problem();
  p.k_type = DType::q8_0;
  p.layout.pad = 1;
  p.layout.offset = 5;
  const InputPlan plan = plan_inputs(p);
  EXPECT_EQ(plan.k.shape.nb[1], 3 * 34);
  EXPECT_EQ(plan.k.offset, 6);
  EXPECT_EQ(plan.q.offset, 8);
  EXPECT_EQ(plan.v.shape.nb[1], 33 * 2);
}

TEST(PlanInputs, EmptyKeysStillHaveMemory) {
  AttentionProblem p = small_problem();
  p.n_kv = 0;
  const InputPlan plan = plan_inputs(p);
  EXPECT_GT(plan.k.bytes, 0);
  EXPECT_EQ(plan.k.shape.elements(), 0);
}

}  // namespace
}  // namespace attest
