#include "harness/run/runner.h"

#include <algorithm>
#include <chrono>
#include <thread>

#include "harness/run/board.h"
#include "harness/run/slot.h"

namespace attest {

Expected<RunSummary> run(const RunPlan& plan, const RunOptions& options, const SubjectMaker& make_subject,
                         RunHeader header, RunListener& listener) {
  const auto start = std::chrono::steady_clock::now();
  const int cores = static_cast<int>(std::max(1U, std::thread::hardware_concurrency()));
  int jobs = options.jobs > 0 ? options.jobs : cores;
  jobs = std::max(1, std::min(jobs, static_cast<int>(plan.cases.size())));
  Board board(plan, options, listener, jobs);
  // The first slot starts before anything is reported: a backend that cannot be loaded is said at once.
  Slot first(board, make_subject);
  if (auto started = first.start(); !started) return Unexpected(started.error());
  for (const SubjectInfo& backend : first.backends()) {
    header.backends.push_back(backend.name);
    header.build_ids.push_back(backend.build_id);
  }
  header.cases = static_cast<std::int64_t>(plan.cases.size());
  header.verdicts_expected = board.summary().selected;
  listener.on_start(header);

  std::vector<std::jthread> others;
  for (int i = 1; i < jobs; ++i) {
    others.emplace_back([&board, &make_subject] {
      Slot slot(board, make_subject);
      if (auto started = slot.start(); !started) return board.failed(started.error());
      slot.work();
    });
  }
  first.work();
  others.clear();

  RunSummary& summary = board.summary();
  summary.wall_s = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  summary.interrupted = options.interrupted != nullptr && options.interrupted->load();
  listener.on_finish(summary);
  if (board.error()) return Unexpected(*board.error());
  if (const auto written = listener.failed(); !written) return Unexpected(written.error());
  return summary;
}

}  // namespace attest
