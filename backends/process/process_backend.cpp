#include "backends/process/process_backend.h"

#include <chrono>
#include <optional>
#include <utility>

#include "backends/plugin/translate.h"
#include "backends/process/child.h"
#include "backends/process/exchange.h"
#include "backends/process/protocol.h"

namespace attest {
namespace process {
namespace {

Outcome failed(std::string why, const char* finding = "") {
  Outcome outcome;
  outcome.ok = false;
  outcome.error = std::move(why);
  outcome.finding = finding;
  return outcome;
}

class ProcessBackend final : public Backend {
 public:
  ProcessBackend(BackendSpec spec, std::vector<std::string> words, int threads)
      : spec_(std::move(spec)), words_(std::move(words)), threads_(threads) {}

  Expected<void> start() const {
    const std::string who = "process '" + words_[0] + "': ";
    if (auto started = child_.start(words_); !started) return started;
    auto said = child_.exchange(capabilities_request());
    if (!said) return harness_error(who + said.error().what, "it is asked for its capabilities first");
    auto capabilities = read_capabilities(*said);
    if (!capabilities) {
      capabilities.error().message = who + capabilities.error().message + child_.last_words();
      child_.stop();
      return Unexpected(capabilities.error());
    }
    if (!first_line_.empty() && first_line_ != *said) {
      child_.stop();
      return harness_error(who + "it was started again and says something else of itself than before");
    }
    first_line_ = *said;
    capabilities_ = std::move(*capabilities);
    return {};
  }

  std::string name() const override { return spec_.text(); }
  std::string description() const override { return capabilities_.name; }
  std::string build_id() const override {
    return capabilities_.name + (capabilities_.build.empty() ? "" : " " + capabilities_.build);
  }

  Support supports(const AttentionProblem& problem) const override {
    const auto no = [this](const std::string& why) { return Support::no(capabilities_.name + ": " + why); };
    if (const std::string why = lacking(capabilities_, problem); !why.empty()) return no(why);
    const auto opinion = ask(problem);
    if (!opinion || opinion->yes) return {};  // run() meets the error again and says so
    return no(opinion->reason.empty() ? "it says no and gives no reason" : opinion->reason);
  }

  ArithmeticContract contract(const AttentionProblem& problem) const override {
    const auto opinion = ask(problem);
    const auto stated = plugin::read_contract(opinion ? opinion->contract : capabilities_.contract);
    return stated ? *stated : ArithmeticContract{};
  }

  Outcome run(const AttentionInputs& inputs, const MutableTensorView& out) override {
    const AttentionProblem& problem = *inputs.problem;
    if (const auto opinion = ask(problem); !opinion) return failed(opinion.error().message, trouble_);
    if (!child_.running()) {
      if (auto started = start(); !started) return failed(started.error().text());
    }
    const auto tensors = write_tensors(inputs, out, capabilities_.transfer, child_.directory());
    if (!tensors) return failed(tensors.error().text());
    const std::uint64_t id = next_id_++;
    const double cpu_before = child_.cpu_seconds();
    const auto before = std::chrono::steady_clock::now();
    const auto said = child_.exchange(run_request(id, problem, threads_for(problem), capabilities_.transfer, *tensors));
    Outcome outcome;
    outcome.wall_seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - before).count();
    if (!said) return failed(said.error().what, said.error().crashed ? "CRASH" : "");
    outcome.cpu_seconds = child_.cpu_seconds() - cpu_before;
    auto reply = read_run_reply(*said, id);
    if (!reply) return misspoken(reply.error());
    if (!reply->error.empty()) return failed(capabilities_.name + ": " + reply->error + child_.last_words());
    if (reply->cpu_seconds) outcome.cpu_seconds = *reply->cpu_seconds;
    const std::string file = reply->output.empty() ? tensors->back().file : reply->output;
    if (auto read = read_output(file, capabilities_.transfer, out); !read) return failed(read.error().text());
    return outcome;
  }

 private:
  int threads_for(const AttentionProblem& problem) const { return problem.threads > 0 ? problem.threads : threads_; }

  // After an answer that is none nobody knows what the next one would belong to.
  Outcome misspoken(const Error& error) const {
    const std::string words = child_.last_words();
    child_.stop();
    return failed(error.text() + words);
  }

  Expected<Opinion> ask(const AttentionProblem& problem) const {
    trouble_ = "";
    if (!capabilities_.asks) return Opinion{true, {}, capabilities_.contract};
    if (asked_ && asked_->first == problem) return asked_->second;
    if (!child_.running()) {
      if (auto started = start(); !started) return Unexpected(started.error());
    }
    const std::uint64_t id = next_id_++;
    const auto said = child_.exchange(supports_request(id, problem, threads_for(problem)));
    if (!said) {
      trouble_ = said.error().crashed ? "CRASH" : "";
      return harness_error("asked whether it supports this problem: " + said.error().what);
    }
    auto opinion = read_opinion(*said, id, capabilities_.contract);
    if (!opinion) {
      opinion.error().message = misspoken(opinion.error()).error;
      return opinion;
    }
    asked_ = {problem, *opinion};
    return opinion;
  }

  BackendSpec spec_;
  std::vector<std::string> words_;
  int threads_;
  // Asking is talking to the process, and it may have to be started again.
  mutable Child child_;
  mutable Capabilities capabilities_;
  mutable std::string first_line_;
  mutable std::optional<std::pair<AttentionProblem, Opinion>> asked_;
  mutable std::uint64_t next_id_ = 1;
  mutable const char* trouble_ = "";  // verdict of the last ask() that failed
};

}  // namespace
}  // namespace process

Expected<std::unique_ptr<Backend>> make_process_backend(const BackendSpec& spec, const BackendEnvironment&) {
  if (!spec.build.empty()) return input_error("process has no builds to choose from: '@" + spec.build + "'");
  auto words = process::split_command(spec.variant);
  if (!words) return Unexpected(words.error());
  for (const auto& [key, value] : spec.options) {
    if (key != "threads") {
      return input_error("process has no option '" + key + "'; a command with a comma goes into a script",
                         did_you_mean(key, {"threads"}));
    }
  }
  const auto threads = spec.threads();
  if (!threads) return Unexpected(threads.error());
  BackendSpec canonical = spec;
  if (*threads == 1) canonical.options.clear();
  auto backend = std::make_unique<process::ProcessBackend>(std::move(canonical), std::move(*words), *threads);
  if (auto started = backend->start(); !started) return Unexpected(started.error());
  return backend;
}

}  // namespace attest
