// Both oracles against 256-bit arithmetic and against each other, on random cases over every axis.
#include <gtest/gtest.h>

#include <cmath>
#include <set>

#include "cases/inputs.h"
#include "oracles/eigen_kernels.h"
#include "oracles/eigen_reference.h"
#include "oracles/scalar_oracle.h"
#include "oracles/testing/mpfr_attention.h"
#include "oracles/testing/plain_inputs.h"
#include "oracles/testing/random_case.h"
#include "oracles/testing/row_bound.h"

namespace attest {
namespace {

using testing::all_rows;
using testing::mpfr_attention;
using testing::random_case;
using testing::row_bound;

constexpr double kLinear = 0.01;  // first order holds below this

// max over elements of |a - b| / bound; 0/0 is 0, and NaN never passes for small.
double worst_ratio(std::span<const double> a, std::span<const double> b, std::span<const double> bound) {
  double worst = 0;
  for (std::size_t e = 0; e < a.size(); ++e) {
    const double error = std::abs(a[e] - b[e]);
    if (error == 0) continue;
    const double ratio = error / bound[e];
    if (!(ratio <= worst)) worst = ratio;
    if (std::isnan(ratio)) return ratio;
  }
  return worst;
}

// Three rows of a case: the first, the last and one between.
std::vector<Row> some_rows(const AttentionProblem& p) {
  const std::vector<Row> all = all_rows(p);
  return {all.front(), all[all.size() / 2], all.back()};
}

TEST(OracleAccuracy, BothAgreeWith256Bits) {
  std::set<std::string> families;
  std::set<DType> types;
  for (std::uint64_t number = 0; number < 250; ++number) {
    const Case c = random_case(number, {.n_q = 4, .n_kv = 40});
    const OwnedInputs owned(c);
    const std::vector<Row> rows = some_rows(c.problem);
    const RowValues scalar = scalar_oracle(owned.inputs(), rows), eigen = eigen_reference<double>(owned.inputs(), rows);
    const auto d_v = static_cast<std::size_t>(c.problem.d_v);
    for (std::size_t r = 0; r < rows.size(); ++r) {
      const auto bound = row_bound(owned.inputs(), rows[r], 0x1p-53);
      ASSERT_LT(bound.largest_score_error, kLinear) << text(c);
      const std::vector<double> truth = mpfr_attention(owned.inputs(), rows[r]);
      const auto part = [&](const RowValues& values) { return std::span(values).subspan(r * d_v, d_v); };
      const double of_scalar = worst_ratio(part(scalar), truth, bound.element);
      const double of_eigen = worst_ratio(part(eigen), truth, bound.element);
      EXPECT_TRUE(of_scalar <= 1) << of_scalar << " " << text(c);
      EXPECT_TRUE(of_eigen <= 1) << of_eigen << " " << text(c);
    }
    families.insert(c.data.terms[0].name);
    types.insert(c.problem.k_type);
  }
  EXPECT_GE(families.size(), 15U);
  EXPECT_EQ(types.size(), static_cast<std::size_t>(kDTypeCount));
}

// Moderate scores: a figure a reader can check without the bound.
TEST(OracleAccuracy, ThirteenDigitsOnNormalScores) {
  testing::PlainInputs plain(64, 2, 3, 100);
  const AttentionInputs in = plain.inputs();
  for (const Row& row : all_rows(*in.problem)) {
    const std::vector<double> truth = mpfr_attention(in, row);
    const RowValues scalar = scalar_oracle(in, {&row, 1}), eigen = eigen_reference<double>(in, {&row, 1});
    for (std::size_t e = 0; e < truth.size(); ++e) {
      EXPECT_NEAR(scalar[e], truth[e], 1e-15 * 5);
      EXPECT_NEAR(eigen[e], truth[e], 1e-15 * 5);
    }
  }
}

// tanh of next to nothing: softcap times an ulp of 1 would be seen.
TEST(OracleAccuracy, ASoftcapFarAboveTheScoresCostsNoDigits) {
  for (const char* softcap : {"40", "1e3", "1e6", "1e12"}) {
    const Case c = *parse_case(std::string("flash_attn_ext d=64 n_q=4 n_kv=600 softcap=") + softcap);
    const OwnedInputs owned(c);
    const std::vector<Row> rows = all_rows(c.problem);
    const RowValues scalar = scalar_oracle(owned.inputs(), rows), eigen = eigen_reference<double>(owned.inputs(), rows);
    for (std::size_t e = 0; e < scalar.size(); ++e) EXPECT_NEAR(eigen[e], scalar[e], 1e-14) << softcap;
  }
}

void expect_agreement(const Case& c) {
  const OwnedInputs owned(c);
  const std::vector<Row> rows = all_rows(c.problem);
  const RowValues scalar = scalar_oracle(owned.inputs(), rows), eigen = eigen_reference<double>(owned.inputs(), rows);
  const RowValues single = eigen_reference<float>(owned.inputs(), rows);
  const auto d_v = static_cast<std::size_t>(c.problem.d_v);
  for (std::size_t r = 0; r < rows.size(); ++r) {
    const auto part = [&](const RowValues& values) { return std::span(values).subspan(r * d_v, d_v); };
    const auto bound = row_bound(owned.inputs(), rows[r], 2 * 0x1p-53);
    const double ratio = worst_ratio(part(eigen), part(scalar), bound.element);
    ASSERT_TRUE(ratio <= 1) << ratio << " row " << r << " of " << text(c);
    const auto bound32 = row_bound(owned.inputs(), rows[r], 0x1p-24);
    if (bound32.largest_score_error > kLinear) continue;
    const double ratio32 = worst_ratio(part(single), part(scalar), bound32.element);
    ASSERT_TRUE(ratio32 <= 1) << ratio32 << " row " << r << " of " << text(c);
  }
}

TEST(OracleAccuracy, EigenAgreesWithScalarOnSmallCases) {
  for (std::uint64_t number = 1000; number < 1400; ++number) expect_agreement(random_case(number));
}

// Past one block of keys (512) and one block of rows (256).
TEST(OracleAccuracy, EigenAgreesWithScalarAcrossItsBlocks) {
  for (std::uint64_t number = 2000; number < 2008; ++number) {
    expect_agreement(random_case(number, {.n_q = 40, .n_kv = 1500}));
  }
  Case c;
  c.problem.n_q = 270;
  c.problem.n_kv = 600;
  for (const MaskKind kind : {MaskKind::zeros, MaskKind::causal, MaskKind::causal_top_left, MaskKind::blocks}) {
    c.problem.mask.terms = {{kind, 0, DeadRows::none}};
    expect_agreement(c);
  }
}

template <class Scalar>
void expect_builds_agree(const char* isa, Scalar unit) {
  const auto* kernels = eigen_kernels<Scalar>(isa);
  if (kernels == nullptr) return;  // not this processor's
  const auto* plain = eigen_kernels<Scalar>("baseline");
  EXPECT_STREQ(kernels->isa, isa);
  constexpr std::int64_t kRows = 13, kKeys = 70, kDepth = 37;
  const Rng rng(3, 9);
  std::vector<Scalar> q;
  std::vector<float> k;
  for (std::uint64_t x = 0; x < kRows * kDepth; ++x) q.push_back(static_cast<Scalar>(rng.uniform(x)));
  for (std::uint64_t x = 0; x < kKeys * kDepth; ++x) k.push_back(rng.uniform(10000 + x));
  const auto work = [&](const EigenKernels<Scalar>& use) {
    std::vector<Scalar> s(kRows * kKeys), o(kRows * kDepth);
    use.scores(q.data(), kRows, k.data(), kKeys, kDepth, s.data(), kKeys);
    LogitTerms<Scalar> terms;
    terms.softcap = 2;
    for (std::int64_t r = 0; r < kRows; ++r) use.softmax(s.data() + r * kKeys, kKeys, terms);
    use.weighted_sum(s.data(), kRows, kKeys, k.data(), kKeys, kDepth, o.data());
    return o;
  };
  const auto expected = work(*plain), actual = work(*kernels);
  for (std::size_t x = 0; x < expected.size(); ++x) EXPECT_NEAR(actual[x], expected[x], 200 * unit) << isa;
}

TEST(EigenKernels, EveryInstructionSetGivesTheSameAnswer) {
  for (const char* isa : {"avx2", "avx512"}) {
    expect_builds_agree<double>(isa, 0x1p-53);
    expect_builds_agree<float>(isa, 0x1p-24F);
  }
  EXPECT_EQ(eigen_kernels<double>("none of these"), nullptr);
  EXPECT_NE(eigen_kernels<double>("baseline"), nullptr);
}

}  // namespace
}  // namespace attest
