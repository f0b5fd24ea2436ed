#include "backends/plugin/plugin_backend.h"

#include <fmt/format.h>
#include <xxhash.h>

#include <array>
#include <chrono>
#include <fstream>
#include <iterator>
#include <map>
#include <utility>

#include "backends/guarded_memory.h"
#include "backends/plugin/plugin_file.h"
#include "backends/plugin/translate.h"
#include "backends/process_clock.h"

namespace attest {
namespace plugin {
namespace {

constexpr std::uint64_t kLargestAlignment = 4096;

Outcome failed(std::string why) {
  Outcome outcome;
  outcome.ok = false;
  outcome.error = std::move(why);
  return outcome;
}

class PluginBackend final : public Backend {
 public:
  PluginBackend(BackendSpec spec, const attest_plugin* plugin, int threads, std::string file_hash)
      : spec_(std::move(spec)),
        plugin_(plugin),
        threads_(threads),
        label_(clean_text(plugin->name)),
        file_hash_(std::move(file_hash)) {}

  std::string name() const override { return spec_.text(); }
  std::string description() const override { return label_; }
  std::string build_id() const override {
    const std::string build = clean_text(plugin_->build);
    return fmt::format("{}{}{} {}", label_, build.empty() ? "" : " ", build, file_hash_);
  }

  // An answer that is neither yes nor no is a yes here, so that run() can say so: UNSUPPORTED would hide it.
  Support supports(const AttentionProblem& problem) const override {
    std::string reason;
    if (ask(problem, reason) != 0) return {};
    return Support::no(label_ + ": " + (reason.empty() ? "the plug-in says no and gives no reason" : reason));
  }

  ArithmeticContract contract(const AttentionProblem& problem) const override {
    const auto stated = read(problem);
    return stated ? *stated : ArithmeticContract{};
  }

  Outcome run(const AttentionInputs& inputs, const MutableTensorView& out) override {
    const AttentionProblem& problem = *inputs.problem;
    std::string reason;
    if (const int answer = ask(problem, reason); answer != 0 && answer != 1) {
      return failed(said("supports returned " + std::to_string(answer) + ", which is neither yes (1) nor no (0)"));
    }
    if (const auto stated = read(problem); !stated) return failed(stated.error().message);
    const attest_problem p = problem_for_plugin(inputs, out, threads_for(problem));
    attest_job job{};
    job.struct_size = sizeof job;
    job.workspace_alignment = 64;
    if (plugin_->prepare != nullptr) {
      const attest_problem shapes = problem_for_plugin(problem, threads_for(problem));
      if (const int status = plugin_->prepare(&shapes, &job); status != 0) {
        return failed(said("prepare returned " + std::to_string(status) + last_error()));
      }
    }
    Outcome outcome = run_prepared(p, job, out);
    if (plugin_->prepare != nullptr && plugin_->release != nullptr) plugin_->release(job.job);
    return outcome;
  }

 private:
  int threads_for(const AttentionProblem& problem) const { return problem.threads > 0 ? problem.threads : threads_; }
  std::string said(const std::string& what) const { return "plugin " + label_ + ": " + what; }
  std::string last_error() const {
    const std::string text = plugin_->last_error == nullptr ? "" : clean_text(plugin_->last_error());
    return text.empty() ? ", and does not say why" : ": " + text;
  }

  int ask(const AttentionProblem& problem, std::string& reason) const {
    std::array<char, 512> text{};
    const attest_problem p = problem_for_plugin(problem, threads_for(problem));
    const int answer = plugin_->supports(&p, text.data(), static_cast<std::uint32_t>(text.size()));
    text.back() = '\0';
    reason = clean_text(text.data());
    return answer;
  }

  Expected<ArithmeticContract> read(const AttentionProblem& problem) const {
    attest_contract contract = standard_contract();
    if (plugin_->contract != nullptr) {
      const attest_problem p = problem_for_plugin(problem, threads_for(problem));
      if (const int status = plugin_->contract(&p, &contract); status != 0) {
        return harness_error(said("contract returned " + std::to_string(status) + last_error()));
      }
    }
    auto stated = read_contract(contract);
    if (!stated) stated.error().message = said("its contract: " + stated.error().message);
    return stated;
  }

  Outcome run_prepared(const attest_problem& p, const attest_job& job, const MutableTensorView& out) {
    const auto output_bytes = static_cast<std::uint64_t>(out.elements()) * sizeof(float);
    if (job.output_bytes != 0 && job.output_bytes != output_bytes) {
      return failed(said("prepare says that run writes " + std::to_string(job.output_bytes) +
                         " bytes of output; this problem has " + std::to_string(output_bytes)));
    }
    const std::uint64_t alignment = job.workspace_alignment;
    if (alignment == 0 || (alignment & (alignment - 1)) != 0 || alignment > kLargestAlignment) {
      return failed(said("workspace_alignment = " + std::to_string(alignment) + " is no power of two up to " +
                         std::to_string(kLargestAlignment)));
    }
    if (auto ready = workspace_.prepare(job.workspace_bytes, alignment); !ready) {
      return failed(said(ready.error().message));
    }
    const double cpu_before = process_cpu_seconds();
    const auto before = std::chrono::steady_clock::now();
    const int status = plugin_->run(&p, job.job, workspace_.data(), out.data);
    Outcome outcome;
    outcome.wall_seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - before).count();
    outcome.cpu_seconds = process_cpu_seconds() - cpu_before;
    if (status != 0) return failed(said("run returned " + std::to_string(status) + last_error()));
    if (const std::string damage = workspace_.damage(); !damage.empty()) {
      outcome = failed("write " + damage + " of the workspace of " + std::to_string(job.workspace_bytes) +
                       " bytes that the plug-in asked for");
      outcome.finding = "OOB";
    }
    return outcome;
  }

  BackendSpec spec_;
  const attest_plugin* plugin_;
  int threads_;
  std::string label_, file_hash_;
  GuardedMemory workspace_;
};

Expected<void> configure(const attest_plugin& plugin, const BackendSpec& spec) {
  using Options = std::vector<std::pair<std::string, std::string>>;
  static std::map<const attest_plugin*, Options> configured;
  Options options;
  for (const auto& option : spec.options) {
    if (option.first != "threads") options.push_back(option);
  }
  if (const auto [entry, first] = configured.emplace(&plugin, options); !first) {
    if (entry->second == options) return {};
    return harness_error("plugin: this process runs " + spec.variant + " with other options already",
                         "each needs a process of its own: leave out --in-process");
  }
  const std::string label = clean_text(plugin.name);
  for (const auto& [key, value] : options) {
    if (plugin.configure == nullptr) {
      return input_error("plugin " + label + " takes no options: '" + key + "'");
    }
    if (plugin.configure(key.c_str(), value.c_str()) == 0) continue;
    const std::string why = plugin.last_error == nullptr ? "" : clean_text(plugin.last_error());
    return input_error("plugin " + label + " does not take the option '" + key + (value.empty() ? "" : "=" + value) +
                       "'" + (why.empty() ? "" : ": " + why));
  }
  return {};
}

// Of the file's bytes, 8 digits: a plug-in that was built again may say the same of itself.
std::string hash_of(const std::string& file) {
  std::ifstream in(file, std::ios::binary);
  const std::string bytes{std::istreambuf_iterator<char>(in), {}};
  return fmt::format("{:08x}", XXH3_64bits(bytes.data(), bytes.size()) >> 32);
}

}  // namespace
}  // namespace plugin

Expected<std::unique_ptr<Backend>> make_plugin_backend(const BackendSpec& spec, const BackendEnvironment&) {
  if (!spec.build.empty()) return input_error("plugin has no builds to choose from: '@" + spec.build + "'");
  if (spec.variant.empty()) return input_error("plugin needs a file", "plugin:FILE.so");
  const auto threads = spec.threads();
  if (!threads) return Unexpected(threads.error());
  const auto opened = plugin::open_plugin(spec.variant);
  if (!opened) return Unexpected(opened.error());
  if (const auto done = plugin::configure(**opened, spec); !done) return Unexpected(done.error());
  BackendSpec canonical = spec;
  if (*threads == 1) std::erase_if(canonical.options, [](const auto& option) { return option.first == "threads"; });
  return std::make_unique<plugin::PluginBackend>(std::move(canonical), *opened, *threads, plugin::hash_of(spec.variant));
}

}  // namespace attest
