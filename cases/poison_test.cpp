#include "cases/poison.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <cmath>
#include <cstring>

#include "cases/inputs.h"
#include "cases/random_problem.h"

namespace attest {
namespace {

using Bytes = std::vector<std::byte>;

Bytes copy(const std::byte* memory, std::int64_t bytes) { return Bytes(memory, memory + bytes); }

Case poisoned(Case c, PoisonWhere where, PoisonWhat what) {
  c.poison = {where, what, what == PoisonWhat::previous ? 4711U : 0U};
  return c;
}

// Bytes of K's (V's) allocation by who may look at them, worked out from the finished mask alone.
enum class Use : std::uint8_t { gap, hidden, read };

void mark(const AttentionInputs& in, const TensorView& tensor, const std::byte* memory, std::vector<Use>& uses) {
  const AttentionProblem& p = *in.problem;
  const std::int64_t heads = tensor.ne[2], bytes = row_bytes(tensor.dtype, tensor.ne[0]);
  const auto mark_row = [&](std::int64_t j, std::int64_t h, std::int64_t s, Use use) {
    const auto first = static_cast<std::size_t>(tensor.row(j, h, s) - memory);
    for (std::size_t b = first; b < first + static_cast<std::size_t>(bytes); ++b) uses[b] = std::max(uses[b], use);
  };
  for (std::int64_t s = 0; s < p.n_seq; ++s)
    for (std::int64_t h = 0; h < p.n_head; ++h)
      for (std::int64_t j = 0; j < p.n_kv; ++j) {
        bool visible = !in.mask.present();
        for (std::int64_t i = 0; i < p.n_q && !visible; ++i)
          visible = !std::isinf(element(in.mask, j, i, h % in.mask.ne[2], s % in.mask.ne[3]));
        mark_row(j, h / (p.n_head / heads), s / (p.n_seq / p.n_seq_kv), visible ? Use::read : Use::hidden);
      }
}

struct Uses {
  std::vector<Use> k, v;
};

Uses uses_of(const OwnedInputs& in) {
  Uses uses;
  uses.k.resize(static_cast<std::size_t>(in.plan().k.bytes), Use::gap);
  uses.v.resize(static_cast<std::size_t>(in.plan().v.bytes), Use::gap);
  mark(in.inputs(), in.inputs().k, in.buffers().k, uses.k);
  if (in.plan().v_view_of_k) mark(in.inputs(), in.inputs().v, in.buffers().k, uses.k);
  if (!in.plan().v_view_of_k) mark(in.inputs(), in.inputs().v, in.buffers().v, uses.v);
  return uses;
}

// Zeros wherever `where` says, and not one byte changed elsewhere.
void check_zeros(const std::byte* plain, const std::byte* zeroed, const std::vector<Use>& uses, PoisonWhere where) {
  for (std::size_t b = 0; b < uses.size(); ++b) {
    const bool target =
        (uses[b] == Use::gap && where != PoisonWhere::hidden) || (uses[b] == Use::hidden && where != PoisonWhere::gaps);
    if (target) RC_ASSERT(zeroed[b] == std::byte{0});
    if (!target) RC_ASSERT(zeroed[b] == plain[b]);
  }
}

RC_GTEST_PROP(Poison, LiesWhereNobodyMayLookAndNowhereElse, ()) {
  const Case c = testing::random_case();
  const auto where = *rc::gen::element(PoisonWhere::everywhere, PoisonWhere::hidden, PoisonWhere::gaps);
  const OwnedInputs plain(c), zeroed(poisoned(c, where, PoisonWhat::zero));
  const Uses uses = uses_of(plain);
  check_zeros(plain.buffers().k, zeroed.buffers().k, uses.k, where);
  check_zeros(plain.buffers().v, zeroed.buffers().v, uses.v, where);
  const auto same = [&](const std::byte* a, const std::byte* b, const TensorPlan& plan) {
    const std::int64_t from = plan.bytes == 0 ? 0 : plan.offset;
    return plan.bytes == 0 || copy(a + from, plan.bytes - from) == copy(b + from, plan.bytes - from);
  };
  RC_ASSERT(same(plain.buffers().q, zeroed.buffers().q, plain.plan().q));
  RC_ASSERT(same(plain.buffers().mask, zeroed.buffers().mask, plain.plan().mask));
  RC_ASSERT(same(plain.buffers().sinks, zeroed.buffers().sinks, plain.plan().sinks));
}

RC_GTEST_PROP(Poison, NanReachesEveryElementOutsideTheViewAndNoneInside, ()) {
  Case c = testing::random_case();
  c.problem.mask.terms.push_back({MaskKind::used, std::floor(double(c.problem.n_kv) / 2), DeadRows::none});
  const OwnedInputs plain(c), with_nan(poisoned(c, PoisonWhere::everywhere, PoisonWhat::nan));
  const Uses uses = uses_of(plain);
  const TensorPlan& plan = plain.plan().k;
  const std::int64_t block = info(plan.shape.dtype).block;
  std::vector<float> values(static_cast<std::size_t>(block));
  for (std::int64_t at = plan.offset; at + plan.shape.nb[0] <= plan.bytes; at += plan.shape.nb[0]) {
    if (plan.shape.elements() == 0) break;
    decode_row(plan.shape.dtype, with_nan.buffers().k + at, values.data(), block);
    for (const float value : values) RC_ASSERT(std::isnan(value) == (uses.k[std::size_t(at)] != Use::read));
  }
}

RC_GTEST_PROP(Poison, ChangesBytesExactlyWhereItSaysSo, ()) {
  Case c = testing::random_case();
  if (c.problem.n_kv > 0 && *rc::gen::arbitrary<bool>())
    c.problem.mask.terms.push_back({MaskKind::used, std::floor(double(c.problem.n_kv) / 2), DeadRows::none});
  Case with = c;
  with.poison.where = static_cast<PoisonWhere>(*rc::gen::inRange(0, static_cast<int>(PoisonWhere::mask_cols) + 1));
  with.poison.what = static_cast<PoisonWhat>(*rc::gen::inRange(0, static_cast<int>(PoisonWhat::previous) + 1));
  if (with.poison.what == PoisonWhat::previous) with.poison.seed = *rc::gen::arbitrary<bool>() ? c.seed : 4711;
  const OwnedInputs plain(c), poisoned(with);
  bool differs = false;
  const auto compare = [&](const TensorPlan& plan, const std::byte* a, const std::byte* b) {
    differs |= plan.bytes > 0 && std::memcmp(a, b, static_cast<std::size_t>(plan.bytes)) != 0;
  };
  const InputPlan& plan = plain.plan();
  compare(plan.q, plain.buffers().q, poisoned.buffers().q);
  compare(plan.k, plain.buffers().k, poisoned.buffers().k);
  compare(plan.v, plain.buffers().v, poisoned.buffers().v);
  compare(plan.mask, plain.buffers().mask, poisoned.buffers().mask);
  compare(plan.out, plain.buffers().out, poisoned.buffers().out);
  RC_ASSERT(changes_bytes(with) == differs);
}

TEST(Poison, TakesItsValueInEveryStorageType) {
  const auto values_of = [](PoisonWhat what, DType type) {
    const std::int64_t n = 2 * info(type).block;
    Bytes memory(static_cast<std::size_t>(row_bytes(type, n)));
    fill_poison(what, type, memory.data(), row_bytes(type, n), 5);
    std::vector<float> values(static_cast<std::size_t>(n));
    decode_row(type, memory.data(), values.data(), n);
    return values;
  };
  for (int t = 0; t < kDTypeCount; ++t) {
    const auto type = static_cast<DType>(t);
    float largest = 0;
    for (const float value : values_of(PoisonWhat::plus_60000, type)) largest = std::max(largest, std::abs(value));
    EXPECT_GE(largest, 59000) << info(type).name;
    EXPECT_TRUE(std::isfinite(largest)) << info(type).name;
    for (const float value : values_of(PoisonWhat::nan, type)) EXPECT_TRUE(std::isnan(value)) << info(type).name;
    for (const float value : values_of(PoisonWhat::inf, type)) EXPECT_FALSE(std::isfinite(value)) << info(type).name;
    for (const float value : values_of(PoisonWhat::zero, type)) EXPECT_EQ(value, 0) << info(type).name;
    if (!is_quantised(type)) {
      const float written = values_of(PoisonWhat::minus_60000, type)[1];
      EXPECT_NEAR(written, -60000, type == DType::bf16 ? 200 : 0);
    }
  }
}

TEST(Poison, RandomBytesFollowTheirKey) {
  const auto bytes = [](std::uint64_t key) {
    Bytes memory(18 * 3);
    fill_poison(PoisonWhat::random, DType::q4_0, memory.data(), 18 * 3, key);
    return memory;
  };
  EXPECT_EQ(bytes(1), bytes(1));
  EXPECT_NE(bytes(1), bytes(2));
  EXPECT_NE(copy(bytes(1).data(), 18), copy(bytes(1).data() + 18, 18));
}

Case parsed(const std::string& line) { return parse_case("flash_attn_ext " + line).value(); }

TEST(Poison, PreviousLeavesTheBytesOfTheOtherSeed) {
  const std::string problem = "d=64 n_kv=32 kv=q8_0 mask=used:20 layout=cache:40 ";
  const OwnedInputs now(parsed(problem + "seed=1 poison=previous:2")), other(parsed(problem + "seed=2"));
  const OwnedInputs plain(parsed(problem + "seed=1"));
  const auto row = [](const OwnedInputs& in, std::int64_t j) { return copy(in.inputs().k.row(j, 0, 0), 68); };
  for (std::int64_t j = 0; j < 40; ++j) EXPECT_EQ(row(now, j), row(j < 20 ? plain : other, j)) << j;
}

TEST(Poison, OutputHoldsNanUntilPoisonSaysOtherwise) {
  const auto first_word = [](const std::string& poison) {
    const OwnedInputs in(parsed("d=64 n_q=3 " + poison));
    std::uint32_t word = 0;
    std::memcpy(&word, in.output().row(0, 2, 0), sizeof word);
    return word;
  };
  EXPECT_EQ(first_word(""), 0x7fc0dead);
  EXPECT_EQ(first_word("poison=gaps:zero"), 0x7fc0dead);
  EXPECT_EQ(first_word("poison=output:zero"), 0);
  EXPECT_EQ(first_word("poison=output:60000"), 0x476a6000);
  EXPECT_NE(first_word("poison=output:previous:3"), 0x7fc0dead);
}

// Every place of poison.h in one layout: which bytes differ from the unpoisoned case.
TEST(Poison, EveryPlaceIsItsOwn) {
  const std::string problem =
      "d=64 n_head=2 n_q=3 n_kv=8 kv=f16 mask=used:6 layout=cache:10+heads:3+pad:8+offset:4+tail:6+mask-rows:2+"
      "mask-cols:5";
  const OwnedInputs plain(parsed(problem));
  struct Changed {
    std::int64_t k, mask;
  };
  const auto changed = [&](const std::string& where) {
    const OwnedInputs in(parsed(problem + " poison=" + where + ":60000"));
    const auto differing = [](const std::byte* a, const std::byte* b, std::int64_t bytes) {
      std::int64_t count = 0;
      for (std::int64_t at = 0; at < bytes; at += 2) count += std::memcmp(a + at, b + at, 2) != 0 ? 2 : 0;
      return count;
    };
    return Changed{differing(plain.buffers().k, in.buffers().k, plain.plan().k.bytes),
                   differing(plain.buffers().mask, in.buffers().mask, plain.plan().mask.bytes)};
  };
  const auto expect = [&](const std::string& where, std::int64_t k, std::int64_t mask) {
    const Changed c = changed(where);
    EXPECT_EQ(c.k, k) << where;
    EXPECT_EQ(c.mask, mask) << where;
  };
  constexpr std::int64_t kRow = 128, kPads = 30 * 16, kOutside = (30 - 16) * kRow, kMaskRow = 2 * 13;
  expect("hidden", 2 * 2 * kRow, 0);
  expect("rows", kPads, 0);
  expect("heads", kOutside, 0);
  expect("end", 6, 6);
  expect("mask-rows", 0, 2 * kMaskRow);
  expect("mask-cols", 0, 3 * 10);
  expect("mask-padding", 0, 2 * kMaskRow + 3 * 10 + 4);
  expect("gaps", kPads + kOutside + 6 + 4, 6);
  expect("output", 0, 0);
  expect("everywhere", 2 * 2 * kRow + kPads + kOutside + 6 + 4, 2 * kMaskRow + 3 * 10 + 4 + 6);
}

TEST(Poison, MaskPaddingIsWhatLiesBeforeTheMask) {
  const OwnedInputs in(parsed("d=64 n_kv=8 mask=causal layout=offset:6 poison=mask-padding:60000"));
  for (std::int64_t b = 0; b < 6; b += 2) {
    std::uint16_t half = 0;
    std::memcpy(&half, in.buffers().mask + b, sizeof half);
    EXPECT_EQ(f16_to_f32(half), 60000);
  }
  EXPECT_EQ(in.buffers().k[0], std::byte{0});
}

}  // namespace
}  // namespace attest
