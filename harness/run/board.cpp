#include "harness/run/board.h"

#include <algorithm>
#include <numeric>

namespace attest {

namespace {

constexpr std::size_t kBatch = 16;           // cases that travel together at most
constexpr double kTinyFlop = 4e6;            // a case up to this travels with others
constexpr std::int64_t kTinyBytes = 256 << 10;

std::int64_t total_bytes(const AttentionProblem& problem) {
  const InputPlan p = plan_inputs(problem);
  return p.q.bytes + p.k.bytes + p.v.bytes + p.mask.bytes + p.sinks.bytes + p.out.bytes;
}

bool tiny(const AttentionProblem& problem) {
  return problem.threads <= 1 && flop(problem) <= kTinyFlop && total_bytes(problem) <= kTinyBytes;
}

}  // namespace

Board::Board(const RunPlan& plan, const RunOptions& options, RunListener& listener, int jobs)
    : plan_(plan), options_(options), listener_(listener), order_(plan.cases.size()), free_(jobs), all_(jobs) {
  std::vector<double> cost(plan.cases.size());
  for (std::size_t i = 0; i < cost.size(); ++i) cost[i] = flop(plan.cases[i].problem);
  std::iota(order_.begin(), order_.end(), std::size_t{0});
  std::stable_sort(order_.begin(), order_.end(), [&](std::size_t a, std::size_t b) { return cost[a] > cost[b]; });
  summary_.selected = static_cast<std::int64_t>(plan.cases.size() * plan.backends.size());
}

std::vector<const Case*> Board::take() {
  const std::scoped_lock lock(queue_mutex_);
  std::vector<const Case*> batch;
  if (stopping()) return batch;
  // Near the end batches shrink, so that the last one does not keep a single slot busy.
  const std::size_t left = order_.size() - next_;
  const std::size_t most = options_.fail_fast ? 1 : std::clamp<std::size_t>(left / 8, 1, kBatch);
  while (next_ < order_.size() && batch.size() < most) {
    const Case& c = plan_.cases[order_[next_]];
    const bool small = tiny(c.problem);
    if (!batch.empty() && !small) break;
    batch.push_back(&c);
    ++next_;
    if (!small) break;
  }
  return batch;
}

void Board::started(const Case&, const std::string& line, const std::string& backend) {
  const std::scoped_lock lock(event_mutex_);
  listener_.on_case_start(line, "", backend);
}

void Board::ruled(const Case& c, VerdictRecord record) {
  const std::scoped_lock lock(event_mutex_);
  if (options_.ledger != nullptr) {
    if (const LedgerEntry* entry = options_.ledger->match(c, record.backend, record.path)) {
      options_.ledger->apply(record, *entry);
    }
  }
  tell(record);
}

bool Board::quarantined(const Case& c, VerdictRecord blank) {
  if (options_.ledger == nullptr) return false;
  const std::scoped_lock lock(event_mutex_);
  const LedgerEntry* entry = options_.ledger->match(c, blank.backend, "");
  if (entry == nullptr || entry->mode != LedgerMode::quarantined) return false;
  options_.ledger->apply(blank, *entry);
  tell(blank);
  return true;
}

void Board::tell(const VerdictRecord& record) {
  listener_.on_verdict(record);
  ++summary_.ruled;
  ++summary_.counts[record.backend][record.verdict];
  summary_.backend_cpu_s += record.backend_cpu_s;
  auto& worst = summary_.max_err_over_b[record.backend];
  if (record.err_over_b > worst) worst = record.err_over_b;
  if (options_.fail_fast && info(record.verdict).bad) stop_ = true;
  if (const auto written = listener_.failed(); !written && !error_) {
    error_ = written.error();
    stop_ = true;
  }
}

void Board::failed(Error error) {
  const std::scoped_lock lock(event_mutex_);
  if (!error_) error_ = std::move(error);
  stop_ = true;
}

bool Board::stopping() const {
  return stop_ || (options_.interrupted != nullptr && options_.interrupted->load());
}

void Board::hold(int slots) {
  const int wanted = std::min(slots, all_);
  std::unique_lock lock(hold_mutex_);
  freed_.wait(lock, [&] { return free_ >= wanted; });
  free_ -= wanted;
}

void Board::release(int slots) {
  {
    const std::scoped_lock lock(hold_mutex_);
    free_ += std::min(slots, all_);
  }
  freed_.notify_all();
}

}  // namespace attest
