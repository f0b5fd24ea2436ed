#include "cases/problem.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "cases/rules.h"

namespace attest {
namespace {

AttentionProblem gqa() {
  AttentionProblem p;
  p.n_head = 8;
  p.n_head_kv = p.n_head_v = 2;
  p.n_seq = 4;
  p.n_seq_kv = 2;
  p.n_q = 3;
  p.n_kv = 5;
  return p;
}

std::string_view broken_key(const AttentionProblem& p) {
  const auto broken = find_violation(p);
  return broken ? broken->key : "";
}

TEST(Validate, AcceptsGroupedHeadsAndSharedSequences) { EXPECT_EQ(broken_key(gqa()), ""); }

TEST(Validate, NamesTheKeyOfEachBrokenRule) {
  const auto broken_by = [](auto change) {
    AttentionProblem p = gqa();
    change(p);
    return broken_key(p);
  };
  EXPECT_EQ(broken_by([](auto& p) { p.n_head_kv = 3; }), "n_head_kv");
  EXPECT_EQ(broken_by([](auto& p) { p.n_head_v = 16; }), "n_head_v");
  EXPECT_EQ(broken_by([](auto& p) { p.n_seq_kv = 3; }), "n_seq_kv");
  EXPECT_EQ(broken_by([](auto& p) { p.n_head_kv = 0; }), "n_head_kv");
  EXPECT_EQ(broken_by([](auto& p) { p.d_k = 72, p.k_type = DType::q8_0; }), "d_k");
  EXPECT_EQ(broken_by([](auto& p) { p.d_v = 72, p.v_type = DType::iq4_nl; }), "d_v");
  EXPECT_EQ(broken_by([](auto& p) { p.n_kv = -1; }), "n_kv");
  EXPECT_EQ(broken_by([](auto& p) { p.n_kv = kMaxTokens, p.d_k = p.d_v = kMaxHeadSize; }), "n_kv");
  EXPECT_EQ(broken_by([](auto& p) { p.max_bias = 8; }), "max_bias");
  EXPECT_EQ(broken_by([](auto& p) { p.softcap = -1; }), "softcap");
  EXPECT_EQ(broken_by([](auto& p) { p.scale = std::numeric_limits<float>::quiet_NaN(); }), "scale");
  EXPECT_EQ(broken_by([](auto& p) { p.sinks = {SinkKind::value, std::numeric_limits<double>::infinity()}; }), "sinks");
  EXPECT_EQ(broken_by([](auto& p) { p.mask.per_head = true; }), "mask");
  EXPECT_EQ(broken_by([](auto& p) { p.mask.terms = {{MaskKind::used, 6, DeadRows::none}}; }), "mask");
  EXPECT_EQ(broken_by([](auto& p) { p.mask.terms = {{MaskKind::finite, -1e5, DeadRows::none}}; }), "mask");
  EXPECT_EQ(broken_by([](auto& p) { p.layout.cache = 4; }), "layout");
  EXPECT_EQ(broken_by([](auto& p) { p.layout.pad = 8, p.k_type = DType::q8_0; }), "layout");
  EXPECT_EQ(broken_by([](auto& p) { p.layout.v_view_of_k = true, p.d_v = 128; }), "layout");
  EXPECT_EQ(broken_by([](auto& p) { p.layout.v_view_of_k = true, p.v_type = DType::f32; }), "layout");
}

TEST(Validate, AllowsNoKeysAndASinkOfMinusInfinity) {
  AttentionProblem p = gqa();
  p.n_kv = 0;
  p.sinks = {SinkKind::value, -std::numeric_limits<double>::infinity()};
  EXPECT_EQ(broken_key(p), "");
}

TEST(AlibiSlope, FollowsTheTwoFormulasForTwelveHeads) {
  AttentionProblem p;
  p.n_head = 12;
  p.max_bias = 8;
  EXPECT_EQ(alibi_slope(p, 0), 0.5);              // 2^(-8 * 1 / 8)
  EXPECT_EQ(alibi_slope(p, 7), 0x1p-8);           // 2^(-8 * 8 / 8)
  EXPECT_EQ(alibi_slope(p, 8), std::exp2(-0.5));  // 2^(-4 * 1 / 8)
  EXPECT_EQ(alibi_slope(p, 11), std::exp2(-3.5));
  p.max_bias = 0;
  EXPECT_EQ(alibi_slope(p, 11), 1);
}

TEST(Flop, CountsBothProductsOfEveryHeadAndSequence) { EXPECT_EQ(flop(gqa()), 2.0 * 4 * 8 * 3 * 5 * (64 + 64)); }

}  // namespace
}  // namespace attest
