#include "harness/run/runner.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <thread>

#include "harness/run/board.h"
#include "harness/run/resume.h"
#include "harness/run/slot.h"

namespace attest {

namespace {

// A backend that cannot be had is the harness's trouble; a file of the user's that is wrong stays that.
Error of_harness(Error error) {
  if (error.file.empty()) error.kind = ErrorKind::harness;
  return error;
}

// Backends, counts, shard and fingerprint: what the caller cannot know.
Expected<void> complete(RunHeader& header, const RunPlan& plan, const std::vector<SubjectInfo>& backends,
                        std::size_t cases) {
  for (const SubjectInfo& backend : backends) {
    if (std::find(header.backends.begin(), header.backends.end(), backend.name) != header.backends.end()) {
      return input_error(fmt::format("backend {} is asked for twice", backend.name));
    }
    header.backends.push_back(backend.name);
    header.build_ids.push_back(backend.build_id);
  }
  header.cases = static_cast<std::int64_t>(cases);
  header.verdicts_expected = static_cast<std::int64_t>(cases * backends.size());
  header.shard_index = plan.shard.index;
  header.shard_count = plan.shard.count;
  std::vector<std::string> ids;
  for (const Case& c : plan.cases) ids.push_back(case_id(c));
  header.selection = selection_fingerprint(std::move(ids), header.backends, header.seed);
  return {};
}

}  // namespace

Expected<RunSummary> run(const RunPlan& plan, const RunOptions& options, const SubjectMaker& make_subject,
                         RunHeader header, RunListener& listener) {
  const auto start = std::chrono::steady_clock::now();
  const int cores = static_cast<int>(std::max(1U, std::thread::hardware_concurrency()));
  int jobs = options.jobs > 0 ? options.jobs : cores;
  jobs = std::max(1, std::min(jobs, static_cast<int>(plan.cases.size())));
  Board board(plan, options, listener, jobs);
  const auto interrupted = [&] { return options.interrupted != nullptr && options.interrupted->load(); };
  // The first slot starts before anything is reported: a backend that cannot be loaded is said at once.
  Slot first(board, make_subject);
  if (auto started = first.start(); !started) {
    if (!interrupted()) return Unexpected(of_harness(started.error()));
    board.summary().interrupted = true;
    return board.summary();
  }
  if (auto known = complete(header, plan, first.backends(), board.cases()); !known) return Unexpected(known.error());
  if (options.earlier != nullptr) {
    if (auto fit = fits(*options.earlier, header); !fit) return Unexpected(fit.error());
    if (auto taken = board.adopt(*options.earlier, header.backends); !taken) return Unexpected(taken.error());
  }
  listener.on_start(header);
  board.tell_earlier();

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
  summary.jobs = options.earlier == nullptr ? jobs : 0;
  summary.interrupted = interrupted();
  listener.on_finish(summary);
  if (board.error()) return Unexpected(*board.error());
  if (const auto written = listener.failed(); !written) return Unexpected(written.error());
  return summary;
}

}  // namespace attest
