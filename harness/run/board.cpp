#include "harness/run/board.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdlib>
#include <unordered_map>

#include "harness/run/resume.h"
#include "harness/run/schedule.h"

namespace attest {

namespace {

constexpr std::size_t kBatch = 16;  // cases that travel together at most
constexpr double kTinyFlop = 4e6;   // a case up to this travels with others
constexpr std::int64_t kTinyBytes = 256 << 10;
constexpr std::size_t kFullTriages = 16, kPatternTriages = 1000;

std::int64_t total_bytes(const AttentionProblem& problem) {
  const InputPlan p = plan_inputs(problem);
  return p.q.bytes + p.k.bytes + p.v.bytes + p.mask.bytes + p.sinks.bytes + p.out.bytes;
}

bool tiny(const AttentionProblem& problem) {
  return flop(problem) <= kTinyFlop && total_bytes(problem) <= kTinyBytes;
}

}  // namespace

Board::Board(const RunPlan& plan, const RunOptions& options, RunListener& listener, int jobs)
    : plan_(plan),
      options_(options),
      listener_(listener),
      order_(scheduled(plan.cases, plan.shard)),
      cases_(order_.size()),
      free_(jobs),
      all_(jobs) {
  if (options.cheapest_first) std::reverse(order_.begin(), order_.end());
  summary_.selected = static_cast<std::int64_t>(cases_ * plan.backends.size());
}

Expected<void> Board::adopt(const RecordFile& earlier, const std::vector<std::string>& backends) {
  const auto wrong = [&](const VerdictRecord& record, const char* how) {
    Error error;
    error.message = fmt::format("the verdict on '{}' by {} {}", record.line, record.backend, how);
    error.file = earlier.name;
    return Unexpected(error);
  };
  std::unordered_map<std::string, std::size_t> index;
  for (const std::size_t i : order_) index.emplace(case_id(plan_.cases[i]), i);
  for (const VerdictRecord& record : earlier.verdicts) {
    const auto found = index.find(record.case_id);
    const bool asked = std::find(backends.begin(), backends.end(), record.backend) != backends.end();
    if (found == index.end() || !asked) return wrong(record, "is none of this run's");
    if (!done_.insert(pair_key(record.case_id, record.backend)).second) return wrong(record, "is there twice");
    if (options_.ledger == nullptr) continue;
    const Case& c = plan_.cases[found->second];
    const bool not_asked = record.verdict == Verdict::QUARANTINED;
    if (const LedgerEntry* entry =
            not_asked ? options_.ledger->match(c, record.backend, "") : options_.ledger->match(c, record)) {
      options_.ledger->recount(record, *entry);
    }
  }
  std::erase_if(order_, [&](std::size_t i) {
    const std::string id = case_id(plan_.cases[i]);
    return std::all_of(backends.begin(), backends.end(), [&](const auto& b) { return already_ruled(id, b); });
  });
  earlier_ = &earlier;
  return {};
}

bool Board::already_ruled(const std::string& case_id, const std::string& backend) const {
  return !done_.empty() && done_.contains(pair_key(case_id, backend));
}

void Board::tell_earlier() {
  const std::scoped_lock lock(event_mutex_);
  if (earlier_ != nullptr) {
    for (const VerdictRecord& record : earlier_->verdicts) {
      listener_.on_earlier_verdict(record);
      summary_.add(record);
    }
  }
  stop_if_unwritten();
}

std::vector<const Case*> Board::take() {
  const std::scoped_lock lock(queue_mutex_);
  std::vector<const Case*> batch;
  if (stopping() || left_count_ == plan_.backends.size()) return batch;
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

void Board::started(const std::string& line, const std::string& case_id, const std::string& backend) {
  const std::scoped_lock lock(event_mutex_);
  listener_.on_case_start(line, case_id, backend);
}

VerdictRecord Board::ruled(const Case& c, VerdictRecord record) {
  const std::scoped_lock lock(event_mutex_);
  if (options_.ledger != nullptr) {
    if (const LedgerEntry* entry = options_.ledger->match(c, record)) {
      options_.ledger->apply(record, *entry);
    }
  }
  tell(record);
  return record;
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

TriageDepth Board::triage_depth(const Case& c, const VerdictRecord& record) const {
  const std::size_t all = plan_.cases.size();
  const std::uint64_t draw = std::strtoull(record.case_id.c_str(), nullptr, 16);  // the id is a hash
  if (options_.hints && draw % all < kFullTriages) return TriageDepth::full;
  const bool named = options_.ledger != nullptr && options_.ledger->asks_for_class(c, record.backend, record.path);
  return named || draw % all < kPatternTriages ? TriageDepth::pattern : TriageDepth::place;
}

void Board::tell(const VerdictRecord& record) {
  listener_.on_verdict(record);
  summary_.add(record);
  if (options_.leaves && options_.leaves(record) && left_.insert(record.backend).second) ++left_count_;
  if (options_.fail_fast && info(record.verdict).bad) stop_ = true;
  stop_if_unwritten();
}

void Board::stop_if_unwritten() {
  if (const auto written = listener_.failed(); !written && !error_) {
    error_ = written.error();
    stop_ = true;
  }
}

bool Board::left(const std::string& backend) const {
  if (left_count_ == 0) return false;
  const std::scoped_lock lock(event_mutex_);
  return left_.contains(backend);
}

void Board::failed(Error error) {
  if (options_.interrupted != nullptr && options_.interrupted->load()) return;  // the interrupt explains it
  error.kind = ErrorKind::harness;
  const std::scoped_lock lock(event_mutex_);
  if (!error_) error_ = std::move(error);
  stop_ = true;
}

bool Board::stopping() const { return stop_ || (options_.interrupted != nullptr && options_.interrupted->load()); }

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
