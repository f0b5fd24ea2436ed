#include "harness/shrink/run_examiner.h"

#include <fmt/format.h>

#include <filesystem>
#include <optional>

#include "cases/file_io.h"

namespace attest {
namespace {

constexpr std::string_view kTitle = "attest shrink";

class LastWord : public RunListener {
 public:
  void on_verdict(const VerdictRecord& given) override { record = given; }
  std::optional<VerdictRecord> record;
};

}  // namespace

Expected<ShrinkState> ShrinkState::open(const std::string& path, const std::string& question) {
  ShrinkState state;
  if (path.empty()) return state;
  const std::string title = fmt::format("{}\t{}", kTitle, question);
  bool fresh = true;
  if (std::error_code none; std::filesystem::exists(path, none)) {
    const auto text = read_text_file(path);
    if (!text) return Unexpected(text.error());
    int number = 0;
    std::size_t whole = 0;
    for (std::size_t at = 0; at < text->size();) {
      const std::size_t end = text->find('\n', at);
      if (end == std::string::npos) break;  // cut short
      const std::string line = text->substr(at, end - at);
      at = whole = end + 1;
      const auto wrong = [&](std::string message) {
        return Unexpected(Error{ErrorKind::input, std::move(message), path, number, 0, line, {}});
      };
      if (++number == 1) {
        fresh = false;
        if (line != title) {
          return wrong("the state of another question or build: take another --state file, or remove this one");
        }
        continue;
      }
      const auto first = line.find('\t'), second = line.find('\t', first + 1);
      if (second == std::string::npos) return wrong("no answer of a shrink");
      const auto verdict = verdict_from_name(line.substr(0, first));
      if (!verdict) return wrong(verdict.error().message);
      state.seen_.insert_or_assign(line.substr(second + 1),
                                   Observation{*verdict, line.substr(first + 1, second - first - 1)});
    }
    state.known_ = state.seen_.size();
    // A line cut short must not be taken for another one later.
    std::error_code failed;
    std::filesystem::resize_file(path, whole, failed);
    if (failed) return harness_error(fmt::format("cannot write '{}': {}", path, failed.message()));
  }
  auto sink = open_file_sink(path, fresh ? FileMode::replace : FileMode::append);
  if (!sink) return Unexpected(sink.error());
  state.sink_ = std::move(*sink);
  if (fresh) {
    if (auto written = state.sink_->write(title + "\n"); !written) return Unexpected(written.error());
  }
  return state;
}

const Observation* ShrinkState::find(const std::string& line) const {
  const auto found = seen_.find(line);
  return found == seen_.end() ? nullptr : &found->second;
}

Expected<void> ShrinkState::add(const std::string& line, const Observation& seen) {
  seen_.insert_or_assign(line, seen);
  if (!sink_) return {};
  return sink_->write(fmt::format("{}\t{}\t{}\n", info(seen.verdict).name, seen.suspect, line));
}

Observation observation_of(const VerdictRecord& record) {
  return {record.verdict, info(record.verdict).bad ? record.triage.suspect : ""};
}

Expected<VerdictRecord> RunExaminer::record(const Case& c) {
  RunPlan plan;
  plan.cases = {c};
  plan.backends = {backend_};
  LastWord listener;
  const auto summary = run(plan, options_, make_subject_, {}, listener);
  if (!summary) return Unexpected(summary.error());
  if (summary->interrupted || !listener.record) return harness_error("interrupted");
  return std::move(*listener.record);
}

Expected<Observation> RunExaminer::examine(const Case& c) {
  const std::string line = text(c);
  if (const Observation* seen = state_.find(line)) return *seen;
  const auto ruled = record(c);
  if (!ruled) return Unexpected(ruled.error());
  const Observation seen = observation_of(*ruled);
  if (auto kept = state_.add(line, seen); !kept) return Unexpected(kept.error());
  return seen;
}

}  // namespace attest
