// attest probe: what a backend does where kernels differ by choice, not by mistake.
#include <fmt/format.h>

#include <map>
#include <memory>

#include "harness/backends.h"
#include "harness/cli/run_support.h"
#include "harness/cli/verbs.h"
#include "harness/cli/verdict_exit.h"

namespace attest::cli {

namespace {

struct ProbeArguments {
  std::string what;
  std::vector<std::string> backends, ggml;
};

constexpr std::pair<int, int> kShapes[] = {{12, 20}, {20, 12}, {16, 16}, {65, 130}, {130, 65}};

class Answers : public RunListener {
 public:
  void on_start(const RunHeader& started) override { header = started; }
  void on_verdict(const VerdictRecord& record) override { records.emplace(record.line + record.backend, record); }
  RunHeader header;
  std::map<std::string, VerdictRecord> records;
};

int probe_verb(const ProbeArguments& a) {
  const auto environment = find_ggml_builds(a.ggml);
  if (!environment) return report(environment.error());
  RunPlan plan;
  plan.backends = a.backends.empty() ? default_backends(*environment) : a.backends;
  for (const auto& backend : plan.backends) {
    if (auto spec = BackendSpec::parse(backend); !spec) return report_backend(spec.error());
  }
  for (const auto& [n_q, n_kv] : kShapes) {
    for (const char* mask : {"causal", "causal:top-left"}) {
      plan.cases.push_back(
          *parse_case(fmt::format("flash_attn_ext d=64 n_head=2 n_q={} n_kv={} mask={}", n_q, n_kv, mask)));
    }
  }
  RunOptions options;
  options.probe_causal = true;
  options.blindness = false;
  options.interrupted = &interrupted();
  Answers answers;
  const auto summary = run(plan, options, subject_maker(*environment, false, 0), {}, answers);
  if (!summary) return report(summary.error());
  for (const auto& backend : answers.header.backends) {
    fmt::print("{}\n  {:>4} {:>5}  {:<13} {:<12} {}\n", backend, "n_q", "n_kv", "asked", "verdict",
               "the output is like");
    for (const Case& c : plan.cases) {
      const auto found = answers.records.find(text(c) + backend);
      if (found == answers.records.end()) continue;
      const VerdictRecord& r = found->second;
      const bool left = c.problem.mask.terms[0].kind == MaskKind::causal_top_left;
      fmt::print("  {:>4} {:>5}  {:<13} {:<12} {}\n", c.problem.n_q, c.problem.n_kv, left ? "top-left" : "bottom-right",
                 info(r.verdict).name, r.alignment.empty() ? r.detail : r.alignment);
    }
  }
  return verdict_exit(*summary, answers.header, false);
}

}  // namespace

Verb add_probe(CLI::App& app) {
  auto a = std::make_shared<ProbeArguments>();
  CLI::App* probe = app.add_subcommand(
      "probe", "classify what a backend does: 'causal' tells full, bottom-right, top-left and anti-causal masks apart");
  probe->add_option("what", a->what, "causal")->required()->check(CLI::IsMember({"causal"}));
  add_backend_options(*probe, a->backends, a->ggml, "every available one");
  probe->footer(kExitCodes);
  return [a] { return probe_verb(*a); };
}

}  // namespace attest::cli
