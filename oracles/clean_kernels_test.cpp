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
#include "oracles/error_budget.h"

namespace attest {
namespace {

// What a group of kernels came to: the largest err/B, and the line that shows it.
struct Worst {
  double ratio = 0, det_ratio = 0, bound_ratio = 0;
  std::string line;
  int rows = 0, statistical = 0, range = 0;
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
  for (std::size_t r = 0; r < chosen.size(); ++r) {
    const RowBudget& b = budgets[r];
    const std::vector<float> out = kernel.row(emulated.inputs(), chosen[r]);
    ++worst.rows;
    worst.range += b.range;
    worst.statistical += b.inadmissible == Inadmissible::no && !b.dead && !b.range;
    std::vector<double> bound(out.size());
    budget.lower_bound(chosen[r], b.reference, b.log_sum_exp, bound);
    for (std::size_t e = 0; e < out.size(); ++e) {
      ASSERT_FALSE(std::isnan(b.det[e]) || std::isnan(b.stat8[e]) || std::isnan(b.stat14[e]) || std::isnan(b.fail[e]) ||
                   std::isnan(b.suspect[e]) || std::isnan(b.reference[e]))
          << line;
      ASSERT_LE(b.suspect[e], b.fail[e]) << line;
      ASSERT_LE(bound[e], b.suspect[e]) << "lower bound, e=" << e << " " << kernel.name << " " << line;
      if (b.range) continue;
      const double err = std::abs(static_cast<double>(out[e]) - b.reference[e]);
      const double ratio = err == 0 ? 0 : err / b.fail[e], det = err == 0 ? 0 : err / b.det[e];
      ASSERT_TRUE(err <= b.fail[e]) << kernel.name << ": err/B " << ratio << " det " << det << " dominant "
                                    << term_name(b.dominant[e]) << ", row " << chosen[r].head << "," << chosen[r].query
                                    << " e=" << e << " err " << err << " O " << b.reference[e] << " inadmissible '"
                                    << inadmissible_name(b.inadmissible) << "'\n"
                                    << line;
      worst.det_ratio = std::max(worst.det_ratio, det);
      if (b.suspect[e] > 0) worst.bound_ratio = std::max(worst.bound_ratio, bound[e] / b.suspect[e]);
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

TEST(CleanKernels, NeverReachTheirBudget) {
  static constexpr std::int64_t kLengths[] = {1, 2, 3, 5, 17, 33, 64, 65, 100, 129, 257, 513, 1000};
  std::map<std::string, Worst> groups;
  std::uint64_t seed = 1;
  for (const SimulatedKernel& kernel : clean_kernels())
    for (int i = 0; i < 120; ++i, ++seed) {
      const std::int64_t n = i % 40 == 39 ? 4096 : kLengths[static_cast<std::size_t>(i) % std::size(kLengths)];
      judge(kernel, random_line(seed, n), n > 1000 ? 1 : 4, groups[kernel.name]);
      if (HasFatalFailure()) return;
    }
  report(groups);
}

}  // namespace
}  // namespace attest
