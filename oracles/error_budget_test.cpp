#include "oracles/error_budget.h"

#include <gtest/gtest.h>
#include <hwy/targets.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <stdexcept>

namespace attest {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();

// One head, one sequence, everything f32 and contiguous, values given.
struct Hand {
  Hand(std::int64_t d, std::int64_t n, std::int64_t queries = 1) {
    problem.d_k = problem.d_v = d;
    problem.n_kv = n;
    problem.n_q = queries;
    problem.k_type = problem.v_type = DType::f32;
    problem.scale = 1;
    q.assign(static_cast<std::size_t>(d * queries), 0.5F);
    k.assign(static_cast<std::size_t>(d * n), 0.25F);
    v.assign(static_cast<std::size_t>(d * n), 1.0F);
    for (std::size_t i = 0; i < v.size(); ++i) {
      k[i] = static_cast<float>((i * 37 + 11) % 64) / 64 - 0.5F;
      v[i] = static_cast<float>((i * 53 + 7) % 128) / 64 - 1;
    }
  }

  static TensorView view(const std::vector<float>& values, std::int64_t ne0, std::int64_t ne1) {
    TensorView t;
    t.dtype = DType::f32;
    t.ne = {ne0, ne1, 1, 1};
    t.nb = {4, 4 * ne0, 4 * ne0 * ne1, 4 * ne0 * ne1};
    t.data = reinterpret_cast<const std::byte*>(values.data());
    return t;
  }

  AttentionInputs inputs() const {
    AttentionInputs in;
    in.problem = &problem;
    in.q = view(q, problem.d_k, problem.n_q);
    in.k = view(k, problem.d_k, problem.n_kv);
    in.v = view(v, problem.d_v, problem.n_kv);
    if (!mask.empty()) in.mask = view(mask, problem.n_kv, problem.n_q);
    if (!sinks.empty()) in.sinks = view(sinks, 1, 1);
    return in;
  }

  RowBudget budget(const ArithmeticContract& contract = {}, bool generic = true) const {
    const EmulatedInputs emulated(inputs(), contract.q_rounding);
    return ErrorBudget(emulated, contract, generic).row({0, 0, 0});
  }

  AttentionProblem problem;
  std::vector<float> q, k, v, mask, sinks;
};

void expect_no_nan(const RowBudget& b) {
  for (const auto* list : {&b.reference, &b.det, &b.stat8, &b.stat14, &b.suspect, &b.fail})
    for (const double value : *list) EXPECT_FALSE(std::isnan(value));
  for (std::size_t e = 0; e < b.det.size(); ++e) {
    EXPECT_EQ(b.suspect[e], std::min(b.det[e], b.stat8[e]));
    EXPECT_EQ(b.fail[e], std::min(b.det[e], b.stat14[e]));
  }
}

ArithmeticContract narrow() {
  ArithmeticContract c;
  c.u_acc = kUnitF16;
  c.omega_acc = 0x1p-25;
  return c;
}

TEST(ErrorBudget, RowWithoutVisibleKeyIsDeadWithBudgetZero) {
  Hand hand(4, 3);
  hand.mask.assign(3, -kInfinity);
  hand.sinks = {1.0F};
  hand.k.assign(hand.k.size(), std::numeric_limits<float>::quiet_NaN());
  const RowBudget b = hand.budget();
  EXPECT_TRUE(b.dead);
  EXPECT_FALSE(b.range);
  EXPECT_EQ(b.visible, 0);
  EXPECT_EQ(b.fail, std::vector<double>(4, 0.0));
  EXPECT_EQ(b.reference, std::vector<double>(4, 0.0));
}

TEST(ErrorBudget, NoKeysAtAllIsDead) {
  Hand hand(4, 0);
  EXPECT_TRUE(hand.budget().dead);
}

TEST(ErrorBudget, HiddenKeysCountForNothingWhateverTheirBytes) {
  Hand hand(8, 40);
  hand.mask.assign(40, 0.0F);
  for (std::size_t j = 1; j < 40; j += 3) hand.mask[j] = -kInfinity;
  const RowBudget clean = hand.budget(narrow());
  for (std::size_t j = 1; j < 40; j += 3)
    for (std::size_t e = 0; e < 8; ++e) {
      hand.k[j * 8 + e] = kInfinity;
      hand.v[j * 8 + e] = std::numeric_limits<float>::quiet_NaN();
    }
  const RowBudget poisoned = hand.budget(narrow());
  EXPECT_EQ(clean.visible, 27);
  EXPECT_EQ(clean.det, poisoned.det);
  EXPECT_EQ(clean.stat14, poisoned.stat14);
  EXPECT_EQ(clean.reference, poisoned.reference);
}

TEST(ErrorBudget, ZeroValuesGiveZeroErrorRoomButTheFloors) {
  Hand hand(4, 9);
  hand.v.assign(hand.v.size(), 0.0F);
  const RowBudget b = hand.budget();
  expect_no_nan(b);
  for (const double fail : b.fail) {
    EXPECT_GE(fail, 0x1p-149);
    EXPECT_LE(fail, 0x1p-120);
  }
  expect_no_nan(hand.budget(narrow()));
}

TEST(ErrorBudget, InfiniteDeviationsAreBoundedByTheHullOfV) {
  Hand hand(4, 5);
  ArithmeticContract wild;
  wild.u_s = std::numeric_limits<double>::infinity();
  const RowBudget b = hand.budget(wild);
  expect_no_nan(b);
  EXPECT_EQ(b.inadmissible, Inadmissible::not_first_order);
  for (std::size_t e = 0; e < 4; ++e) {
    EXPECT_EQ(b.dominant[e], BudgetTerm::hull);
    EXPECT_LE(b.det[e], 4.01);
  }
}

TEST(ErrorBudget, DotProductsThatOverflowSquaredStayFinite) {
  Hand hand(4, 5);
  hand.q.assign(4, 1e19F);
  hand.k[0] = 1e19F;  // 1e38: finite itself, its square is not
  expect_no_nan(hand.budget());
  hand.problem.softcap = 2;
  expect_no_nan(hand.budget());
}

TEST(ErrorBudget, WeightsThatUnderflowAreNoDivisionByZero) {
  Hand hand(2, 4);
  hand.problem.scale = 1e5F;
  hand.sinks = {3e5F};  // takes all the weight: sum p over the keys is 0
  const RowBudget b = hand.budget(narrow());
  expect_no_nan(b);
  EXPECT_FALSE(b.dead);
  hand.problem.softcap = 1;
  expect_no_nan(hand.budget(narrow()));
}

TEST(ErrorBudget, VisibleValuesThatAreNotFiniteGiveNoRatio) {
  Hand hand(4, 5);
  hand.v[6] = std::numeric_limits<float>::quiet_NaN();
  EXPECT_TRUE(hand.budget().range);
  expect_no_nan(hand.budget());
  Hand scores(4, 5);
  scores.k[6] = kInfinity;
  EXPECT_TRUE(scores.budget().range);
  expect_no_nan(scores.budget());
}

TEST(ErrorBudget, ExtremeMagnitudesOfVScaleTheBudgetExactly) {
  Hand hand(8, 33);
  const RowBudget base = hand.budget();
  for (const float factor : {0x1p100F, 0x1p-60F}) {
    Hand scaled = hand;
    for (float& v : scaled.v) v *= factor;
    const RowBudget b = scaled.budget();
    for (std::size_t e = 0; e < 8; ++e) EXPECT_NEAR(b.fail[e] / factor / base.fail[e], 1, 1e-3);
  }
}

TEST(ErrorBudget, OverflowOfANarrowAccumulatorIsPredicted) {
  Hand hand(2, 2000);
  hand.q.assign(2, 0.0F);  // equal scores: the raw sum is the number of keys times V
  hand.v.assign(hand.v.size(), 50.0F);
  EXPECT_TRUE(hand.budget(narrow()).range);
  EXPECT_FALSE(hand.budget().range);
  hand.v.assign(hand.v.size(), 20.0F);
  EXPECT_FALSE(hand.budget(narrow()).range);
  ArithmeticContract lazy = narrow();
  lazy.lazy_rescale = true;
  EXPECT_TRUE(hand.budget(lazy).range);
  // Alternating signs: the cheap bound cannot say no, the partial sums can.
  for (std::size_t i = 0; i < hand.v.size(); ++i) hand.v[i] = i / 2 % 2 == 0 ? 50.0F : -50.0F;
  EXPECT_FALSE(hand.budget(narrow()).range);
}

// The sink makes every weight small in the end, but it may come last: until then the sums are in the keys' own scale.
TEST(ErrorBudget, OverflowBeforeALateSinkIsPredictedInEveryOrder) {
  Hand hand(2, 2000);
  hand.q.assign(2, 0.0F);
  hand.v.assign(hand.v.size(), 50.0F);
  hand.sinks = {30.0F};
  ArithmeticContract c = narrow();
  EXPECT_TRUE(hand.budget(c).range);
  c.order = SumOrder::unknown;
  EXPECT_TRUE(hand.budget(c).range);
  hand.v.assign(hand.v.size(), 20.0F);
  EXPECT_FALSE(hand.budget(c).range);
}

TEST(ErrorBudget, NarrowScoresAndOutputsOverflowToo) {
  Hand hand(2, 3);
  hand.q.assign(2, 1e3F);
  hand.k.assign(hand.k.size(), 1e3F);
  ArithmeticContract c;
  EXPECT_FALSE(hand.budget(c).range);
  c.u_s = kUnitF16;
  EXPECT_TRUE(hand.budget(c).range);
  ArithmeticContract out;
  out.u_out = kUnitF16;
  out.omega_out = 0x1p-25;
  EXPECT_FALSE(hand.budget(out).range);
  hand.v.assign(hand.v.size(), 1e5F);
  EXPECT_TRUE(hand.budget(out).range);
}

TEST(ErrorBudget, SaysWhyTheStatisticalBudgetDoesNotApply) {
  Hand hand(8, 20);
  EXPECT_EQ(hand.budget().inadmissible, Inadmissible::no);
  const RowBudget structured = hand.budget({}, false);
  EXPECT_EQ(structured.inadmissible, Inadmissible::structured_data);
  EXPECT_EQ(structured.fail, structured.det);
  EXPECT_TRUE(std::isinf(structured.stat14[0]));
  ArithmeticContract truncating;
  truncating.truncating = true;
  EXPECT_EQ(hand.budget(truncating).inadmissible, Inadmissible::truncating);
  Hand huge = hand;
  huge.problem.scale = 1e7F;
  EXPECT_EQ(huge.budget().inadmissible, Inadmissible::not_first_order);
  Hand saturated = hand;
  for (float& k : saturated.k) k = std::abs(k) + 1;
  saturated.problem.scale = 5;
  saturated.problem.softcap = 1;
  EXPECT_EQ(saturated.budget().inadmissible, Inadmissible::softcap_saturated);
}

TEST(ErrorBudget, EveryPromiseThatIsWithdrawnWidensTheBudget) {
  Hand hand(16, 100);
  hand.mask.assign(100, 0.25F);
  for (std::size_t j = 0; j < 100; j += 7) hand.mask[j] = -1.5F;
  hand.problem.softcap = 4;
  const RowBudget base = hand.budget();
  const auto wider = [&](auto&& change) {
    ArithmeticContract c;
    change(c);
    const RowBudget b = hand.budget(c);
    for (std::size_t e = 0; e < 16; ++e) {
      EXPECT_GT(b.det[e], base.det[e]);
      EXPECT_GT(b.stat8[e], base.stat8[e]);
    }
  };
  wider([](ArithmeticContract& c) { c.u_q = kUnitF16; });
  wider([](ArithmeticContract& c) { c.u_qk = kUnitF16; });
  wider([](ArithmeticContract& c) { c.u_s = kUnitF16; });
  wider([](ArithmeticContract& c) { c.u_z = kUnitF16; });
  wider([](ArithmeticContract& c) { c.u_m = kUnitF16; });
  wider([](ArithmeticContract& c) { c.eps_tanh = 1e-4; });
  wider([](ArithmeticContract& c) { c.eps_exp = 1e-5; });
  wider([](ArithmeticContract& c) { c.u_p = kUnitBf16; });
  wider([](ArithmeticContract& c) { c.omega = 0x1p-12; });
  wider([](ArithmeticContract& c) { c.drop = 0.9; });
  wider([](ArithmeticContract& c) { c.u_acc = kUnitF16; });
  wider([](ArithmeticContract& c) { c.omega_acc = 0x1p-12; });
  wider([](ArithmeticContract& c) { c.u_l = kUnitF16; });
  wider([](ArithmeticContract& c) { c.u_out = kUnitF16; });
  wider([](ArithmeticContract& c) { c.omega_out = 0x1p-12; });
  wider([](ArithmeticContract& c) { c.order = SumOrder::unknown; });
}

TEST(ErrorBudget, DroppedWeightsWidenTheBudgetByTheirShareOfV) {
  Hand hand(4, 3);
  hand.q.assign(4, 1.0F);
  hand.k.assign(12, 0.0F);
  hand.k[0] = 5;  // weights 1, exp(-5), exp(-5)
  const double weight = std::exp(-5.0), share = weight / (1 + 2 * weight);
  for (const bool generic : {false, true}) {
    const RowBudget base = hand.budget({}, generic);
    ArithmeticContract kept, left_out;
    kept.drop = weight / 2;
    left_out.drop = weight * 2;
    const RowBudget same = hand.budget(kept, generic), wider = hand.budget(left_out, generic);
    for (std::size_t e = 0; e < 4; ++e) {
      EXPECT_EQ(same.fail[e], base.fail[e]);
      const double mass = share * (std::abs(double(hand.v[4 + e])) + std::abs(double(hand.v[8 + e])));
      EXPECT_GT(wider.fail[e], mass);
      EXPECT_LT(wider.fail[e], mass * 1.01 + base.fail[e]);
    }
  }
}

TEST(ErrorBudget, DominantTermIsTheOneTheContractIsWorstAt) {
  Hand hand(16, 100);
  const auto dominant = [&](auto&& change) {
    ArithmeticContract c;
    change(c);
    return hand.budget(c).dominant[3];
  };
  EXPECT_EQ(dominant([](ArithmeticContract& c) { c.u_q = kUnitBf16; }), BudgetTerm::q_rounding);
  EXPECT_EQ(dominant([](ArithmeticContract& c) { c.u_s = kUnitBf16; }), BudgetTerm::score_store);
  EXPECT_EQ(dominant([](ArithmeticContract& c) { c.eps_exp = 1e-4; }), BudgetTerm::exp);
  EXPECT_EQ(dominant([](ArithmeticContract& c) { c.u_p = kUnitBf16; }), BudgetTerm::p_rounding);
  EXPECT_EQ(dominant([](ArithmeticContract& c) { c.u_acc = kUnitF16; }), BudgetTerm::accumulator);
  EXPECT_EQ(dominant([](ArithmeticContract& c) { c.u_out = 0x1p-6; }), BudgetTerm::output);
}

TEST(ErrorBudget, RowsTogetherEqualRowsAlone) {
  Hand hand(8, 600, 5);
  for (std::size_t i = 0; i < hand.q.size(); ++i) hand.q[i] = static_cast<float>(i % 13) / 13;
  hand.mask.assign(600 * 5, 0.0F);
  for (std::size_t i = 0; i < hand.mask.size(); i += 3) hand.mask[i] = -kInfinity;
  const EmulatedInputs plain(hand.inputs(), QRounding::none);
  const ErrorBudget budget(plain, {}, true);
  const std::vector<Row> rows{{0, 0, 4}, {0, 0, 0}, {0, 0, 2}};
  const std::vector<RowBudget> together = budget.rows(rows);
  for (std::size_t r = 0; r < rows.size(); ++r) {
    const RowBudget alone = budget.row(rows[r]);
    EXPECT_EQ(together[r].row, rows[r]);
    EXPECT_EQ(together[r].fail, alone.fail);
    EXPECT_EQ(together[r].reference, alone.reference);
  }
}

TEST(ErrorBudget, RefusesInputsThatLackTheDeclaredRounding) {
  Hand hand(32, 4);
  const EmulatedInputs plain(hand.inputs(), QRounding::none);
  ArithmeticContract c;
  c.q_rounding = QRounding::f16;
  EXPECT_THROW(ErrorBudget(plain, c, true), std::invalid_argument);
}

// An element of Q half way between two q8_0 codes: kernels disagree about it by one step, and the budget knows.
TEST(ErrorBudget, TiesOfEmulatedQWidenTheBudgetByOneStep) {
  Hand hand(32, 20);
  for (std::size_t k = 0; k < 32; ++k) hand.q[k] = static_cast<float>(k);
  hand.q[0] = 127;
  hand.q[5] = 5.5F;  // d = 1: code 5 or 6
  ArithmeticContract c;
  c.q_rounding = QRounding::q8_0;
  hand.problem.scale = 0.01F;
  const RowBudget tied = hand.budget(c);
  Hand other = hand;
  other.q[5] = 5;
  const RowBudget below = other.budget(c);
  other.q[5] = 6;
  const RowBudget above = other.budget(c);
  double widest = 0;
  for (std::size_t e = 0; e < 32; ++e) {
    widest = std::max(widest, tied.fail[e] / below.fail[e]);
    EXPECT_LE(std::abs(above.reference[e] - tied.reference[e]), tied.fail[e]);
    EXPECT_LE(std::abs(below.reference[e] - tied.reference[e]), tied.fail[e]);
  }
  EXPECT_GT(widest, 10);
}

// More ties than are propagated one by one.
TEST(ErrorBudget, ManyTiesAreBoundedTogether) {
  Hand hand(32, 20);
  for (std::size_t k = 0; k < 32; ++k) hand.q[k] = static_cast<float>(k) + 0.5F;
  hand.q[0] = 127;
  hand.problem.scale = 0.01F;
  ArithmeticContract c;
  c.q_rounding = QRounding::q8_0;
  const RowBudget tied = hand.budget(c);
  Hand above = hand, below = hand;
  for (std::size_t k = 1; k < 32; ++k) {
    above.q[k] = static_cast<float>(k + 1);
    below.q[k] = static_cast<float>(k);
  }
  for (const Hand* other : {&above, &below}) {
    const RowBudget b = other->budget(c);
    for (std::size_t e = 0; e < 32; ++e) EXPECT_LE(std::abs(b.reference[e] - tied.reference[e]), tied.fail[e]);
  }
}

TEST(ErrorBudget, NamesItsTermsAndReasons) {
  EXPECT_EQ(term_name(BudgetTerm::hull), "hull");
  EXPECT_EQ(term_name(BudgetTerm::none), "none");
  EXPECT_EQ(term_name(BudgetTerm::score_store), "score store");
  EXPECT_EQ(inadmissible_name(Inadmissible::truncating), "truncating accumulators");
  EXPECT_EQ(inadmissible_name(Inadmissible::no), "");
}

TEST(ErrorBudget, IsTheSameOnEveryInstructionSet) {
  Hand hand(48, 300);
  const RowBudget best = hand.budget();
  for (const std::int64_t target : hwy::SupportedAndGeneratedTargets()) {  // the baseline last
    hwy::SetSupportedTargetsForTest(target);
    const RowBudget other = hand.budget();
    hwy::SetSupportedTargetsForTest(0);
    for (std::size_t e = 0; e < best.fail.size(); ++e) {
      ASSERT_NEAR(other.reference[e], best.reference[e], 1e-13) << hwy::TargetName(target);
      ASSERT_NEAR(other.fail[e], best.fail[e], 0.01 * best.fail[e]) << hwy::TargetName(target);
    }
  }
}

}  // namespace
}  // namespace attest
