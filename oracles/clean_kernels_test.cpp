#include "oracles/clean_kernels.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <map>

#include "cases/case.h"
#include "cases/families.h"
#include "cases/inputs.h"
#include "cases/rng.h"
#include "oracles/eigen_reference.h"
#include "oracles/error_budget.h"

namespace attest {
namespace {

// What a group of kernels came to: the largest err/B, and the line that shows it.
struct Worst {
  double ratio = 0, det_ratio = 0;
  std::string line;
  int rows = 0, statistical = 0, range = 0, cheap = 0;
};

template <class T, std::size_t N>
const T& pick(const T (&list)[N], std::uint64_t bits) {
  return list[bits % N];
}

// A seeded descriptor: family, V, mask, sink, softcap, ALiBi and sizes drawn independently.
std::string random_line(std::uint64_t seed, std::int64_t n_kv) {
  const Rng rng(seed, 77);
  static constexpr const char* kScores[] = {
      "uniform",   "normal:0.3", "normal:1",     "normal:4",     "normal:10",    "normal:30",      "outlier",
      "rising:16", "falling:16", "rising:60",    "spike:8",      "needle_first", "needle_last:20", "needle_edge",
      "onehot",    "flat",       "near_softcap", "anti_aligned", "huge:1e4",     "huge:1e5",       "integer"};
  static constexpr const char* kValues[] = {"", "", "", "+v_const", "+v_shift", "+v_scale", "+v_index", "+v_onehot"};
  static constexpr const char* kMasks[] = {"",
                                           "",
                                           "",
                                           "mask=causal",
                                           "mask=window:7",
                                           "mask=blocks:8",
                                           "mask=random:4",
                                           "mask=random:2+blocks:16",
                                           "mask=finite:-65504",
                                           "mask=dead:first+left:1"};
  static constexpr const char* kSinks[] = {"", "", "sinks=normal:2", "sinks=30", "sinks=-3"};
  static constexpr const char* kCaps[] = {"", "", "", "softcap=1", "softcap=30"};
  static constexpr int kWidths[] = {32, 64, 64, 128};
  std::string mask = pick(kMasks, rng.bits(2));
  std::string line =
      fmt::format("flash_attn_ext d={} n_head=4 n_head_kv=2 n_q=2 n_kv={} k=f32 v=f32 data={}{} {} {} {}",
                  pick(kWidths, rng.bits(0)), n_kv, pick(kScores, rng.bits(1)), pick(kValues, rng.bits(6)), mask,
                  pick(kSinks, rng.bits(3)), pick(kCaps, rng.bits(4)));
  if (!mask.empty() && rng.bits(5) % 2 == 0) line += " max_bias=8";
  return line + fmt::format(" seed={}", seed);
}

void judge(const SimulatedKernel& kernel, const std::string& line, int rows, Worst& worst) {
  const Expected<Case> parsed = parse_case(line);
  ASSERT_TRUE(parsed) << line << ": " << parsed.error().text();
  const Case& c = *parsed;
  const OwnedInputs owned(c);
  const EmulatedInputs emulated(owned.inputs(), kernel.contract.q_rounding);
  const ErrorBudget budget(emulated, kernel.contract, is_generic(c));
  std::vector<Row> chosen;
  for (int i = 0; i < rows; ++i) chosen.push_back({0, (i * 3) % c.problem.n_head, (i + 1) % c.problem.n_q});
  const std::vector<RowBudget> budgets = budget.rows(chosen);
  BudgetSketch sketch(chosen.size(), c.problem.d_v);
  const RowValues reference = eigen_reference(emulated.inputs(), chosen, emulated.score_correction(), sketch);
  for (std::size_t r = 0; r < chosen.size(); ++r) {
    const RowBudget& b = budgets[r];
    const std::vector<float> out = kernel.row(emulated.inputs(), chosen[r]);
    ++worst.rows;
    worst.range += b.range;
    worst.statistical += b.inadmissible == Inadmissible::no && !b.dead && !b.range;
    std::vector<float> bound(out.size());
    const bool cheap = budget.lower_bound(sketch, r, std::span(reference).subspan(r * out.size(), out.size()), bound);
    ASSERT_FALSE(cheap && b.range) << kernel.name << " " << line;
    worst.cheap += cheap && !b.dead;
    for (std::size_t e = 0; e < out.size(); ++e) {
      ASSERT_FALSE(std::isnan(b.det[e]) || std::isnan(b.stat8[e]) || std::isnan(b.stat14[e]) || std::isnan(b.fail[e]) ||
                   std::isnan(b.suspect[e]) || std::isnan(b.reference[e]))
          << line;
      ASSERT_LE(b.suspect[e], b.fail[e]) << line;
      ASSERT_LE(static_cast<double>(bound[e]), b.fail[e])
          << "lower bound, e=" << e << " " << kernel.name << " " << line;
      if (b.range) continue;
      const double err = std::abs(static_cast<double>(out[e]) - b.reference[e]);
      const double ratio = err == 0 ? 0 : err / b.fail[e], det = err == 0 ? 0 : err / b.det[e];
      ASSERT_TRUE(err <= b.fail[e]) << kernel.name << ": err/B " << ratio << " det " << det << " dominant "
                                    << term_name(b.dominant[e]) << ", row " << chosen[r].head << "," << chosen[r].query
                                    << " e=" << e << " err " << err << " O " << b.reference[e] << " inadmissible '"
                                    << inadmissible_name(b.inadmissible) << "'\n"
                                    << line;
      worst.det_ratio = std::max(worst.det_ratio, det);
      if (ratio <= worst.ratio) continue;
      worst.ratio = ratio;
      worst.line = line;
    }
  }
}

void report(const std::map<std::string, Worst>& groups) {
  for (const auto& [name, w] : groups)
    fmt::print("{:46} rows {:5} stat {:5} range {:3}  max err/B {:.3f}  err/B_det {:.3f}  {}\n", name, w.rows,
               w.statistical, w.range, w.ratio, w.det_ratio, w.line);
}

#ifdef ATTEST_LONG
constexpr int kLinesPerKernel = 400;
constexpr std::int64_t kLengths[] = {1, 2, 3, 4, 7, 31, 64, 65, 127, 300, 511, 1025, 2048};
constexpr std::int64_t kGreatLengths[] = {8192, 20000, 65536, 131072};
constexpr int kGreatEvery = 50;
constexpr std::uint64_t kFirstSeed = 1000000;
#else
constexpr int kLinesPerKernel = 120;
constexpr std::int64_t kLengths[] = {1, 2, 3, 5, 17, 33, 64, 65, 100, 129, 257, 513, 1000};
constexpr std::int64_t kGreatLengths[] = {4096};
constexpr int kGreatEvery = 40;
constexpr std::uint64_t kFirstSeed = 1;
#endif

TEST(CleanKernels, NeverReachTheirBudget) {
  std::map<std::string, Worst> groups;
  std::uint64_t seed = kFirstSeed;
  for (const SimulatedKernel& kernel : clean_kernels()) {
    Worst& worst = groups[kernel.name];
    for (int i = 0; i < kLinesPerKernel; ++i, ++seed) {
      const bool great = i % kGreatEvery == kGreatEvery - 1;
      const auto at = static_cast<std::size_t>(i);
      const std::int64_t n =
          great ? kGreatLengths[at / kGreatEvery % std::size(kGreatLengths)] : kLengths[at % std::size(kLengths)];
      judge(kernel, random_line(seed, n), great ? 1 : 4, worst);
      if (HasFatalFailure()) return;
    }
    EXPECT_GT(worst.rows, kLinesPerKernel) << kernel.name;
    EXPECT_LT(worst.range, worst.rows / 5) << kernel.name << ": too few rows were judged";
    const int expected = kernel.contract.truncating ? 0 : worst.rows / 5;
    EXPECT_GE(worst.statistical, expected) << kernel.name << ": too few rows had a statistical budget";
  }
  report(groups);
}

// Scores of great spread and a great many keys: most weights are about one ulp of the sum and are lost alike.
TEST(CleanKernels, StagnationOfManySmallWeightsIsForeseen) {
  std::map<std::string, Worst> groups;
  for (const char* name : {"f32 online", "f32 tiles of 64", "f16 accumulator"})
    for (const SimulatedKernel& kernel : clean_kernels()) {
      if (kernel.name != name) continue;
      for (const char* data : {"normal:3", "normal:5", "normal:4+v_shift", "uniform+v_shift"})
        judge(kernel,
              fmt::format("flash_attn_ext d=32 n_head=4 n_head_kv=2 n_q=2 n_kv={} kv=f16 data={} seed=8",
                          kGreatLengths[std::size(kGreatLengths) - 1], data),
              1, groups[kernel.name]);
    }
  report(groups);
}

// A bound that is never wrong because it is never large would be no use.
TEST(CleanKernels, LowerBoundIsNotFarBelowTheBudget) {
  for (const char* name : {"f32 online", "f32 tiles of 64", "f16 accumulator", "P as f16"})
    for (const SimulatedKernel& kernel : clean_kernels()) {
      if (kernel.name != name) continue;
      for (const char* data : {"uniform", "normal:1", "normal:4"})
        for (const int n_kv : {60, 513, 2000}) {
          const Expected<Case> c =
              parse_case(fmt::format("flash_attn_ext d=128 n_head=2 n_q=8 n_kv={} kv=f16 data={} seed=1", n_kv, data));
          ASSERT_TRUE(c);
          const OwnedInputs owned(*c);
          const EmulatedInputs plain(owned.inputs(), QRounding::none);
          const ErrorBudget budget(plain, kernel.contract, true);
          std::vector<Row> rows;
          for (std::int64_t query = 0; query < 8; ++query) rows.push_back({0, 0, query});
          BudgetSketch sketch(rows.size(), 128);
          const RowValues o = eigen_reference(plain.inputs(), rows, {}, sketch);
          const std::vector<RowBudget> full = budget.rows(rows);
          double sum = 0;
          for (std::size_t r = 0; r < rows.size(); ++r) {
            std::vector<float> bound(128);
            EXPECT_TRUE(budget.lower_bound(sketch, r, std::span(o).subspan(r * 128, 128), bound));
            for (std::size_t e = 0; e < 128; ++e) sum += static_cast<double>(bound[e]) / full[r].fail[e];
          }
          EXPECT_GT(sum / (8 * 128), 0.1) << name << " " << data << " " << n_kv;
        }
    }
}

}  // namespace
}  // namespace attest
