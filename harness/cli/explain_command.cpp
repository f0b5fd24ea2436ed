// attest explain LINE -b B: everything triage can find out about one case on one backend.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <memory>

#include "cases/inputs.h"
#include "harness/backends.h"
#include "harness/cli/run_support.h"
#include "harness/cli/verbs.h"
#include "harness/run/interview.h"
#include "harness/run/place.h"
#include "harness/triage.h"
#include "oracles/eigen_reference.h"
#include "oracles/scalar_oracle.h"
#include "reports/text.h"

namespace attest::cli {

namespace {

constexpr std::size_t kWidth = 100, kLabel = 10, kMatrixRows = 64, kMostParties = 8;

struct ExplainArguments {
  std::string line;
  std::vector<std::string> backends, ggml;
  bool no_hints = false;
};

void say(std::string_view label, std::string_view text) {
  if (!text.empty()) fmt::print("{:<{}}{}\n", label, kLabel, wrapped(printable(text), kWidth, kLabel));
}

// Rows of one party, in the order asked.
struct Party {
  std::string name;
  RowValues values;
  std::vector<double> slack;  // how far its stated contract, rounding of Q included, lets it be off; empty: not at all
};

RowValues rows_of(const Testimony& t, const AttentionProblem& p, const std::vector<Row>& rows) {
  const auto* out = reinterpret_cast<const float*>(t.output.data());
  RowValues values;
  for (const Row& r : rows) {
    const std::int64_t at = ((r.seq * p.n_q + r.query) * p.n_head + r.head) * p.d_v;
    for (std::int64_t e = 0; e < p.d_v; ++e) values.push_back(static_cast<double>(out[at + e]));
  }
  return values;
}

// How far a backend that states `contract` may be from the answer to the question as it stands.
std::vector<double> slack_of(const ArithmeticContract& contract, Key& key, const std::vector<Row>& rows,
                             const RowValues& exact) {
  std::vector<double> slack;
  for (const RowBudget& b : ErrorBudget(key.emulated(contract.q_rounding), contract, key.generic()).rows(rows)) {
    for (std::size_t e = 0; e < b.fail.size(); ++e) {
      slack.push_back(b.fail[e] + std::abs(b.reference[e] - exact[slack.size()]));
    }
  }
  return slack;
}

// Largest difference of two parties over the larger slack of the two, or over `budget`; infinity where either is not
// finite.
double distance(const Party& a, const Party& b, const std::vector<double>& budget) {
  double most = 0;
  for (std::size_t i = 0; i < budget.size(); ++i) {
    const double d = std::abs(a.values[i] - b.values[i]);
    if (!std::isfinite(d)) return std::numeric_limits<double>::infinity();
    double allowed = a.slack.empty() && b.slack.empty() ? budget[i] : 0;
    if (!a.slack.empty()) allowed = std::max(allowed, a.slack[i]);
    if (!b.slack.empty()) allowed = std::max(allowed, b.slack[i]);
    if (d > 0) most = std::max(most, allowed > 0 ? d / allowed : std::numeric_limits<double>::infinity());
  }
  return most;
}

void print_matrix(const std::vector<Party>& parties, const std::vector<double>& budget, std::size_t rows) {
  fmt::print("\nLargest difference of two parties over what the larger stated contract of the two allows ({} rows)\n",
             rows);
  std::string head = fmt::format("{:<22}", "");
  for (std::size_t i = 0; i < parties.size(); ++i) head += fmt::format("{:>9}", static_cast<char>('A' + i));
  fmt::print("{}\n", head);
  std::vector<std::vector<std::size_t>> friends(parties.size());
  for (std::size_t i = 0; i < parties.size(); ++i) {
    std::string line = fmt::format("{} {:<20}", static_cast<char>('A' + i), shortened(parties[i].name, 20));
    for (std::size_t j = 0; j < parties.size(); ++j) {
      if (i == j) {
        line += fmt::format("{:>9}", "-");
        continue;
      }
      const double d = distance(parties[i], parties[j], budget);
      if (d <= 1) friends[i].push_back(j);
      line += fmt::format("{:>9.2g}", d);
    }
    fmt::print("{}\n", line);
  }
  std::vector<std::string> alone;
  for (std::size_t i = 0; i < parties.size(); ++i) {
    if (friends[i].empty()) alone.push_back(parties[i].name);
  }
  say("alone", alone.empty() ? "nobody" : fmt::format("{}", fmt::join(alone, ", ")));
}

// The others who are asked the same question: our kernels, and the reference path of each ggml build.
std::vector<std::string> witnesses(const ExplainArguments& a, const BackendEnvironment& environment) {
  std::vector<std::string> all(a.backends.begin() + 1, a.backends.end());
  for (const std::string& name : default_backends(environment)) {
    if (name.find("ggml") != std::string::npos && name.find(",ref") == std::string::npos) continue;
    if (std::find(a.backends.begin(), a.backends.end(), name) == a.backends.end()) all.push_back(name);
  }
  if (all.size() > kMostParties - 4) all.resize(kMostParties - 4);
  return all;
}

void compare_parties(const ExplainArguments& a, const BackendEnvironment& environment, const SubjectMaker& maker,
                     const Case& c, Key& key, const Testimony& mine) {
  const AttentionProblem& p = c.problem;
  const TensorPlan plan = plan_inputs(p).out;
  TensorView out;
  static_cast<TensorShape&>(out) = plan.shape;
  out.data = mine.output.data();
  const ErrorMap map = map_errors(key, mine.contract, out);
  std::vector<Row> rows;
  for (const RowError& e : map.bad()) {
    if (rows.size() < kMatrixRows && std::binary_search(key.rows().begin(), key.rows().end(), e.row))
      rows.push_back(e.row);
  }
  for (const Row& row : key.sample()) {
    if (rows.size() < kMatrixRows && std::find(rows.begin(), rows.end(), row) == rows.end()) rows.push_back(row);
  }
  const EmulatedInputs& q = key.emulated(mine.contract.q_rounding);
  const RowValues exact = eigen_reference<double>(key.inputs(), rows);
  const std::vector<double> budget = slack_of(mine.contract, key, rows, exact);
  std::vector<Party> parties{{mine.record.backend, rows_of(mine, p, rows), budget},
                             {"scalar oracle", scalar_oracle(q.inputs(), rows, q.score_correction()), {}},
                             {"eigen:f64", eigen_reference<double>(q.inputs(), rows, q.score_correction()), {}},
                             {"eigen:f32", eigen_reference<float>(q.inputs(), rows, q.score_correction()), {}}};
  for (const std::string& name : witnesses(a, environment)) {
    Interview other(name, maker);
    const auto t = other.ask(c, key);
    if (t && t->compared) parties.push_back({name, rows_of(*t, p, rows), slack_of(t->contract, key, rows, exact)});
    if (t && !t->compared) say("note", fmt::format("{}: {}", name, info(t->record.verdict).name));
  }
  print_matrix(parties, budget, rows.size());
  if (!map.bad().empty()) fmt::print("\n{}", draw(map, p, kWidth));
}

std::string described(const ArithmeticContract& contract) {
  return fmt::format("{}; tile {}, {} {}", words(stated_deviations(contract)), contract.tile, contract.chunks,
                     contract.chunks == 1 ? "chunk" : "chunks");
}

int explain_verb(const ExplainArguments& a) {
  const auto parsed = parse_case(a.line);
  if (!parsed) return report(parsed.error());
  if (parsed->problem.op != Op::flash_attn_ext) {
    return report(input_error("attest explain knows flash_attn_ext alone, not " + parsed->op,
                              "attest run --case says what is wrong with the other ops")
                      .value());
  }
  if (const std::string why = beyond_memory(plan_inputs(parsed->problem)); !why.empty()) {
    return report(harness_error(why).value());
  }
  const auto environment = find_ggml_builds(a.ggml);
  if (!environment) return report(environment.error());
  const Case& c = *parsed;
  const SubjectMaker maker = subject_maker(*environment, false, 0);
  Interview interview(a.backends.front(), maker);
  if (auto started = interview.start(); !started) return report_backend(started.error());
  KeyOptions options;
  options.key_flop = kKeySeconds * kKeyFlopPerSecond;
  const OwnedInputs inputs(c);
  Key key(c, inputs.inputs(), options);
  auto mine = interview.ask(c, key);
  if (!mine) return report(mine.error());
  VerdictRecord& record = mine->record;
  const Rerun rerun = [&](const Case& altered, bool fresh) -> std::optional<Verdict> {
    if (interrupted()) return std::nullopt;
    if (fresh && !interview.start()) return std::nullopt;
    const auto verdict = interview.verdict(altered, options);
    return verdict ? std::optional(*verdict) : std::nullopt;
  };
  Fingerprint arithmetic;
  if (mine->compared) {
    TensorView out;
    static_cast<TensorShape&>(out) = plan_inputs(c.problem).out.shape;
    out.data = mine->output.data();
    if (info(record.verdict).bad)
      triage(key, mine->contract, out, TriageDepth::full, a.no_hints ? Rerun{} : rerun, record);
    arithmetic = fingerprint(key, mine->contract, out, key.sample());
  } else {
    triage_fault(record);
  }
  if (interrupted()) return kInterrupted;

  say("line", record.line);
  say("backend", fmt::format("{}  {}", record.backend, record.build_id));
  say("verdict", fmt::format("{}{}", info(record.verdict).name, record.detail.empty() ? "" : ": " + record.detail));
  if (mine->compared) {
    say("states", fmt::format("path {}: {}", record.path, described(mine->contract)));
    const WorstElement& w = record.worst;
    say("worst", fmt::format("seq {}, head {}, query {}, column {}: got {:.9g}, expected {:.9g}, err/B {:.3g}", w.seq,
                             w.head, w.query, w.column, w.got, w.expected, record.err_over_b));
    const bool finds = arithmetic.explains;
    say("like", finds ? arithmetic.text() : "no arithmetic that attest knows");
  }
  const TriageRecord& t = record.triage;
  if (!t.suspect.empty()) say("suspect", fmt::format("{}: {}", t.suspect, t.says));
  say("where", t.place);
  say("hints", fmt::format("{}", fmt::join(t.hints, "; ")));
  if (mine->compared) compare_parties(a, *environment, maker, c, key, *mine);
  if (interrupted()) return kInterrupted;
  return record.verdict == Verdict::UNSUPPORTED ? kHarness : info(record.verdict).bad ? kBad : kOk;
}

}  // namespace

Verb add_explain(CLI::App& app) {
  auto a = std::make_shared<ExplainArguments>();
  CLI::App* explain = app.add_subcommand(
      "explain", "what is wrong with one case on one backend: suspect, place, arithmetic, who stands alone");
  explain->add_option("line", a->line, "a descriptor or a test-backend-ops line, quoted")->required();
  explain->add_option("-b,--backend", a->backends, "the backend in question; further ones are asked as witnesses")
      ->required()
      ->expected(1)
      ->take_all()
      ->allow_extra_args(false);
  explain->add_option("--ggml", a->ggml, "ggml build directory, DIR or NAME=DIR, repeatable")
      ->expected(1)
      ->take_all()
      ->allow_extra_args(false);
  explain->add_flag("--no-hints", a->no_hints, "do not run altered cases");
  explain->footer(kExitCodes);
  return [a] { return explain_verb(*a); };
}

}  // namespace attest::cli
