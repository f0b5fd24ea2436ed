#include <fmt/format.h>
#include <gtest/gtest.h>

#include <array>
#include <cmath>

#include "cases/case.h"
#include "cases/inputs.h"
#include "oracles/error_budget.h"
#include "oracles/simulated_kernel.h"

namespace attest {
namespace {

constexpr std::array<double, 5> kDeviations{0.3, 1, 4, 10, 30};

// Percent of rows in which the bug passes B, as measured for error-budget.md ("What it sees"), by score deviation.
struct Sight {
  const char* name;
  PlantedBug bug;
  RoundTo q, p, acc;
  bool sink;
  std::array<double, 5> percent;
};

constexpr Sight kSights[] = {
    {"none", PlantedBug::none, to_f32, to_f32, to_f32, false, {0, 0, 0, 0, 0}},
    {"scale +0.5 %", PlantedBug::scale, to_f32, to_f32, to_f32, false, {98, 100, 99, 92, 63}},
    {"one element +1 %", PlantedBug::one_element, to_f32, to_f32, to_f32, false, {100, 100, 100, 100, 100}},
    {"exp relative error 1e-3", PlantedBug::exp_error, to_f32, to_f32, to_f32, false, {90, 85, 96, 75, 22}},
    {"sink omitted", PlantedBug::sink_omitted, to_f32, to_f32, to_f32, true, {100, 100, 100, 100, 100}},
    {"f16 accumulator", PlantedBug::none, to_f32, to_f32, to_f16, false, {100, 100, 99, 97, 75}},
    {"Q rounded to f16", PlantedBug::none, to_f16, to_f32, to_f32, false, {85, 88, 97, 88, 56}},
    {"P rounded to bf16", PlantedBug::none, to_f32, to_bf16, to_f32, false, {100, 100, 96, 79, 38}},
    {"last key dropped", PlantedBug::last_key_dropped, to_f32, to_f32, to_f32, false, {100, 100, 48, 6, 2}},
};

double percent_seen(const Sight& sight, double deviation) {
  // A sink where the largest of 513 scores lies, so that it matters whatever the deviation.
  const std::string sinks = sight.sink ? fmt::format(" sinks={}", 3.5 * deviation) : std::string();
  const Expected<Case> c = parse_case(fmt::format(
      "flash_attn_ext d=128 n_head=8 n_head_kv=8 n_q=8 n_kv=513 kv=f16 data=normal:{}{} seed=3", deviation, sinks));
  if (!c) return -1;
  const OwnedInputs inputs(*c);
  const EmulatedInputs plain(inputs.inputs(), QRounding::none);
  SimulatedKernel kernel;
  kernel.bug = sight.bug;
  kernel.round_q = sight.q;
  kernel.round_p = sight.p;
  kernel.round_acc = sight.acc;
  kernel.lanes = 8;
  std::vector<Row> rows;
  for (std::int64_t head = 0; head < 8; ++head)
    for (std::int64_t query = 0; query < 8; ++query) rows.push_back({0, head, query});
  const std::vector<RowBudget> budgets = ErrorBudget(plain, kernel.contract, is_generic(*c)).rows(rows);
  int seen = 0;
  for (std::size_t r = 0; r < rows.size(); ++r) {
    const std::vector<float> out = kernel.row(inputs.inputs(), rows[r]);
    bool failed = false;
    for (std::size_t e = 0; e < out.size(); ++e)
      failed |= !(std::abs(static_cast<double>(out[e]) - budgets[r].reference[e]) <= budgets[r].fail[e]);
    seen += failed;
  }
  return 100.0 * seen / static_cast<double>(rows.size());
}

class PlantedBugs : public testing::TestWithParam<Sight> {};

TEST_P(PlantedBugs, AreSeenAsOftenAsStated) {
  const Sight& sight = GetParam();
  std::string line = fmt::format("{:24}", sight.name);
  for (std::size_t i = 0; i < kDeviations.size(); ++i) {
    const double seen = percent_seen(sight, kDeviations[i]);
    line += fmt::format(" {:4.0f}", seen);
    EXPECT_GE(seen, sight.percent[i] - 10) << sight.name << ", score deviation " << kDeviations[i];
    EXPECT_LE(seen, sight.percent[i] == 0 ? 0 : 100) << sight.name << ", score deviation " << kDeviations[i];
  }
  fmt::print("{}\n", line);
}

INSTANTIATE_TEST_SUITE_P(Bugs, PlantedBugs, testing::ValuesIn(kSights), [](const auto& sight) {
  std::string name;
  for (const char c : std::string(sight.param.name)) name += std::isalnum(static_cast<unsigned char>(c)) ? c : '_';
  return name;
});

// The reason for a budget per element: whole-tensor NMSE forgives what it must not.
TEST(PlantedBugs, OneElementOnePercentOffIsInvisibleToNmse) {
  const Expected<Case> c = parse_case("flash_attn_ext d=64 n_head=1 n_q=64 n_kv=96 kv=f16 data=normal:1 seed=9");
  ASSERT_TRUE(c);
  const OwnedInputs inputs(*c);
  const EmulatedInputs plain(inputs.inputs(), QRounding::none);
  SimulatedKernel kernel;
  const ErrorBudget budget(plain, kernel.contract, true);
  double error = 0, power = 0;
  int failed = 0;
  for (std::int64_t query = 0; query < 64; ++query) {
    const Row row{0, 0, query};
    kernel.bug = query == 40 ? PlantedBug::one_element : PlantedBug::none;
    const std::vector<float> out = kernel.row(inputs.inputs(), row);
    const RowBudget b = budget.row(row);
    for (std::size_t e = 0; e < out.size(); ++e) {
      const double off = std::abs(static_cast<double>(out[e]) - b.reference[e]);
      error += off * off;
      power += b.reference[e] * b.reference[e];
      failed += !(off <= b.fail[e]);
    }
  }
  EXPECT_EQ(failed, 1);
  EXPECT_LT(error / power, 5e-4);
}

}  // namespace
}  // namespace attest
