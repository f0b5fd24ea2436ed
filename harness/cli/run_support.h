// What the verbs that run cases share: subjects, sizes of memory, one listener over several runs.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "backends/registry.h"
#include "harness/cli/verbs.h"
#include "harness/run/runner.h"

namespace attest::cli {

// Assumed speed of the Eigen reference, so that --key-budget, given in seconds, chooses the same rows everywhere.
inline constexpr double kKeyFlopPerSecond = 4e9;
inline constexpr double kKeySeconds = 5.0;

// Backends in processes of their own, or with `in_process` in this one. max_memory 0: no limit.
SubjectMaker subject_maker(const BackendEnvironment& environment, bool in_process, std::uint64_t max_memory);

// "512M", "2G", "100000": bytes; 0 for "". `option` is for messages.
Expected<std::uint64_t> bytes_of(const std::string& text, std::string_view option = "--max-memory");

// -b and --ggml, the same for every verb that runs backends.
void add_backend_options(CLI::App& verb, std::vector<std::string>& backends, std::vector<std::string>& ggml,
                         const std::string& standard);

// "--ggml 'DIR'" for each: what a line that repeats a case needs besides.
std::string ggml_words(const std::vector<std::string>& ggml);

// Adds the record of truth, written to `path`, to the listeners: null where `path` is "". The caller keeps it.
// Error (harness): the file cannot be opened.
Expected<std::unique_ptr<RunListener>> add_jsonl(const std::string& path, std::vector<RunListener*>& listeners);

// --blindness on|off, the same for every verb that judges.
void add_blindness_option(CLI::App& verb, bool& off);

// --relations: names with commas between them, all or none. choose_relations() leaves `choice` alone where it is "".
void add_relations_option(CLI::App& verb, std::string& relations, const std::string& standard);
Expected<void> choose_relations(const std::string& text, RelationChoice& choice);

// Makes one run out of many: passes on the first start and every verdict, and at finish() the sum. `header` has what
// only the caller knows: the counts of all parts.
class JoinedRuns : public RunListener {
 public:
  JoinedRuns(RunListener& target, RunHeader header) : target_(&target), header_(std::move(header)) {}

  void on_start(const RunHeader& part) override;
  void on_case_start(std::string_view line, std::string_view case_id, std::string_view backend) override;
  void on_verdict(const VerdictRecord& record) override;
  void on_finish(const RunSummary& part) override;
  Expected<void> failed() const override { return target_->failed(); }

  void finish();
  const RunHeader& header() const { return header_; }
  const RunSummary& summary() const { return summary_; }

 private:
  RunListener* target_;
  RunHeader header_;
  bool started_ = false;
  RunSummary summary_;
};

}  // namespace attest::cli
