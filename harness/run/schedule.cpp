#include "harness/run/schedule.h"

#include <algorithm>
#include <numeric>
#include <string>
#include <tuple>

#include "cases/inputs.h"

namespace attest {

namespace {

// One core, in round figures: what counts is how the parts compare.
constexpr double kCaseSeconds = 5e-4;    // text, place, hand-over, record
constexpr double kBytesPerSecond = 1e9;  // generated, mapped, read
constexpr double kBackendFlopPerSecond = 2e10;
constexpr double kKeyFlopPerSecond = 4e9;
constexpr double kKeySeconds = 1;  // a key that would take longer is worked out for a choice of rows
constexpr double kThreadedFlop = 1e8;  // 5 ms of one core

double total_bytes(const AttentionProblem& problem) {
  const InputPlan p = plan_inputs(problem);
  if (p.sparse) {  // nothing is written, or read, between the rows
    double elements = 0;
    for (const TensorPlan* t : {&p.q, &p.k, &p.v, &p.mask, &p.sinks, &p.out}) {
      elements += t->bytes > 0 ? static_cast<double>(t->shape.elements()) : 0;
    }
    return 4 * elements;
  }
  return static_cast<double>(p.q.bytes + p.k.bytes + p.v.bytes + p.mask.bytes + p.sinks.bytes + p.out.bytes);
}

}  // namespace

double predicted_cost(const AttentionProblem& problem) {
  const double key = std::min(flop(problem) / kKeyFlopPerSecond, kKeySeconds);
  return kCaseSeconds + total_bytes(problem) / kBytesPerSecond + key + flop(problem) / kBackendFlopPerSecond;
}

int slots_held(const AttentionProblem& problem) {
  return flop(problem) > kThreadedFlop ? std::max(problem.threads, 1) : 1;
}

double default_deadline(const AttentionProblem& problem, std::string_view backend) {
  // A hundred times slower, 0.2 GFLOP/s, is slower than any backend met so far; the constant covers start-up and a busy
  // machine.
  const double seconds = 10.0 + 100 * flop(problem) / kBackendFlopPerSecond;
  const bool simulator = backend.starts_with("metal:sim") || backend.starts_with("msl:");
  return simulator ? 60.0 + 20 * seconds : seconds;
}

std::vector<std::size_t> scheduled(const std::vector<Case>& cases, const Shard& shard) {
  std::vector<double> cost(cases.size());
  std::vector<std::string> id(cases.size());
  for (std::size_t i = 0; i < cases.size(); ++i) {
    cost[i] = predicted_cost(cases[i].problem);
    id[i] = case_id(cases[i]);
  }
  std::vector<std::size_t> order(cases.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::stable_sort(order.begin(), order.end(),
                   [&](std::size_t a, std::size_t b) { return std::tie(cost[b], id[a]) < std::tie(cost[a], id[b]); });
  if (shard.count <= 1) return order;

  std::vector<double> load(static_cast<std::size_t>(shard.count));
  std::vector<std::size_t> mine;
  for (const std::size_t i : order) {
    const auto least = std::min_element(load.begin(), load.end());
    *least += cost[i];
    if (least - load.begin() == shard.index) mine.push_back(i);
  }
  return mine;
}

}  // namespace attest
