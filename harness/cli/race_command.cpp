// attest race: cases on a simulator in many orders of execution, with lanes in step, and with every access watched.
#include <fmt/format.h>

#include <cstring>
#include <map>
#include <memory>

#include "cases/case.h"
#include "cases/suites/suite.h"
#include "harness/cli/run_support.h"
#include "harness/cli/verbs.h"
#include "harness/run/execution.h"
#include "reports/record.h"

namespace attest::cli {

namespace {

constexpr int kCaseOrders = 20, kSuiteOrders = 7;

struct RaceArguments {
  std::string line, suite, cases_file, backend = "metal:sim";
  int orders = 0;  // 0: kCaseOrders, or kSuiteOrders for many cases
};

// One way to execute cases: a model or an order of the simulator, in a process that goes from case to case.
struct Way {
  std::string option;
  Bench bench;
  int bad = 0;
  double cpu_seconds = 0;
};

// Elements of `a` whose bits differ in `b`.
std::size_t differing(const std::vector<std::byte>& a, const std::vector<std::byte>& b) {
  std::size_t count = 0;
  for (std::size_t at = 0; at + sizeof(float) <= a.size(); at += sizeof(float)) {
    count += std::memcmp(a.data() + at, b.data() + at, sizeof(float)) != 0 ? 1U : 0U;
  }
  return count;
}

struct CaseRace {
  std::vector<Execution> executions;  // one per way, in order
  int bad = 0;
  std::string unsupported;  // not executed, and why
};

// All ways over one case; the first that answers is what the others are held against.
Expected<CaseRace> race_case(std::vector<Way>& ways, const Case& c) {
  CaseRace race;
  const auto unsupported = ways.front().bench.unsupported(c);
  if (!unsupported) return Unexpected(unsupported.error());
  race.unsupported = *unsupported;
  if (!race.unsupported.empty()) return race;
  std::size_t first = ways.size();
  for (Way& way : ways) {
    if (interrupted()) return harness_error("interrupted");
    auto e = way.bench.execute(c);
    if (!e) return Unexpected(e.error());
    if (e->verdict.empty() && first < ways.size() && e->bits != race.executions[first].bits) {
      const std::vector<std::byte>& expected = race.executions[first].bits;
      e->verdict = info(Verdict::RACE).name;
      e->detail = fmt::format("{} of {} elements differ from {}", differing(expected, e->bits),
                              expected.size() / sizeof(float), ways[first].option);
    }
    if (first == ways.size() && !e->bits.empty()) first = race.executions.size();
    way.cpu_seconds += e->cpu_s;
    if (!e->verdict.empty()) {
      ++way.bad;
      ++race.bad;
    }
    race.executions.push_back(std::move(*e));
  }
  return race;
}

void print_execution(const Way& way, const Execution& e) {
  fmt::print("  {:<18} {}\n", way.option, e.verdict.empty() ? "same" : e.verdict);
  const std::string& text = e.verdict.empty() ? e.note : e.detail;
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t end = std::min(text.find('\n', at), text.size());
    fmt::print("    {}\n", text.substr(at, end - at));
    at = end + 1;
  }
}

Expected<std::vector<Case>> cases_of(const RaceArguments& a) {
  std::vector<Case> cases;
  if (!a.line.empty()) {
    auto parsed = parse_case(a.line);
    if (!parsed) return Unexpected(parsed.error());
    cases.push_back(std::move(*parsed));
    return cases;
  }
  auto suite = a.cases_file.empty() ? load_suite(a.suite) : load_case_file(a.cases_file);
  if (!suite) return Unexpected(suite.error());
  if (suite->cases.empty()) return harness_error("0 cases selected: nothing was compared");
  return std::move(suite->cases);
}

int race_verb(const RaceArguments& a) {
  const auto spec = BackendSpec::parse(a.backend);
  if (!spec) return report(spec.error());
  if (spec->family != "msl" && (spec->family != "metal" || spec->variant != "sim")) {
    return report(
        input_error(fmt::format("'{}' has no orders of execution to choose from", a.backend), "-b metal:sim").value());
  }
  if (spec->option("model") != nullptr || spec->option("order") != nullptr) {
    return report(input_error("race chooses model and order itself", "-b metal:sim").value());
  }
  if (a.line.empty() && a.suite.empty() && a.cases_file.empty()) {
    return report(input_error("race needs a case", "--case LINE, --suite NAME or --cases FILE").value());
  }
  const auto cases = cases_of(a);
  if (!cases) return report(cases.error());
  const bool many = a.line.empty();
  const int orders = a.orders > 0 ? a.orders : many ? kSuiteOrders : kCaseOrders;
  std::vector<Way> ways;
  const SubjectMaker maker = subject_maker({}, false, 0);
  const auto add = [&](const std::string& option) {
    ways.push_back({option, Bench(spec->text() + "," + option, maker)});
  };
  for (const char* option : {"model=tsan", "model=lockstep", "order=fifo", "order=lifo"}) add(option);
  for (int i = 2; i < orders; ++i) add(fmt::format("order=random:{}", i - 1));

  int bad_cases = 0, bad = 0;
  std::size_t executed = 0;
  std::map<std::string, int> unsupported;
  if (!many) fmt::print("{}\n", text(cases->front()));
  for (const Case& c : *cases) {
    const auto race = race_case(ways, c);
    if (interrupted()) return kInterrupted;
    if (!race) return report_backend(race.error());
    if (!race->unsupported.empty()) {
      ++unsupported[race->unsupported];
      continue;
    }
    ++executed;
    bad += race->bad;
    bad_cases += race->bad > 0 ? 1 : 0;
    if (many && race->bad > 0) fmt::print("{}\n", text(c));
    for (std::size_t i = 0; i < ways.size(); ++i) {
      if (!many || !race->executions[i].verdict.empty()) print_execution(ways[i], race->executions[i]);
    }
  }
  for (const auto& [reason, count] : unsupported) fmt::print("unsupported: {} {}\n", count, reason);
  if (executed == 0) return report(harness_error("nothing was executed").value());
  if (many) {
    fmt::print("{:<18} {:>6} {:>6} {:>10}\n", "", "cases", "bad", "CPU s");
    for (const Way& way : ways) {
      fmt::print("{:<18} {:>6} {:>6} {:>10.2f}\n", way.option, executed, way.bad, way.cpu_seconds);
    }
  }
  if (bad == 0) {
    fmt::print("no race{}: {} orders and lanes in step give the same bits, and no access is out of order\n",
               many ? fmt::format(" in {} cases", executed) : "", orders);
    return kOk;
  }
  if (many) {
    fmt::print("{} of {} cases race or break a rule\n", bad_cases, executed);
  } else {
    fmt::print("{} of {} executions are bad\nrepro  attest race -b '{}' --case '{}'\n", bad, ways.size(), a.backend,
               text(cases->front()));
  }
  return kBad;
}

}  // namespace

Verb add_race(CLI::App& app) {
  auto a = std::make_shared<RaceArguments>();
  CLI::App* race = app.add_subcommand(
      "race", "cases on the Metal simulator in many orders of execution, lanes in step, and with every access watched");
  race->add_option("-b,--backend", a->backend, "metal:sim, with kernel= or vskip= if wanted; msl:FILE.toml")
      ->capture_default_str();
  auto* line = race->add_option("--case", a->line, "a descriptor or a test-backend-ops line, quoted");
  auto* suite = race->add_option("--suite", a->suite, "all cases of a suite; only those that race are shown");
  auto* file = race->add_option("--cases", a->cases_file, "file with one case line per line");
  suite->excludes(line)->excludes(file);
  file->excludes(line);
  race->add_option("--orders", a->orders,
                   "orders of execution: fifo, lifo, then random ones (default 20 for a case, 7 for a suite)")
      ->check(CLI::Range(2, 1000));
  return [a] { return race_verb(*a); };
}

}  // namespace attest::cli
