// attest race: one case on a simulator in many orders of execution, and once with every access watched.
#include <fmt/format.h>

#include <cstring>
#include <memory>

#include "cases/case.h"
#include "harness/cli/run_support.h"
#include "harness/cli/verbs.h"
#include "harness/run/execution.h"
#include "harness/run/schedule.h"

namespace attest::cli {

namespace {

constexpr double kCompileSeconds = 60;  // the first run of a model may have to compile

struct RaceArguments {
  std::string line, backend = "metal:sim";
  int orders = 20;
};

// Elements of `a` whose bits differ in `b`.
std::size_t differing(const std::vector<std::byte>& a, const std::vector<std::byte>& b) {
  std::size_t count = 0;
  for (std::size_t at = 0; at + sizeof(float) <= a.size(); at += sizeof(float)) {
    count += std::memcmp(a.data() + at, b.data() + at, sizeof(float)) != 0 ? 1U : 0U;
  }
  return count;
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
  const auto parsed = parse_case(a.line);
  if (!parsed) return report(parsed.error());
  const Case& c = *parsed;
  const SubjectMaker maker = subject_maker({}, false, 0);

  std::vector<std::string> ways{"model=tsan", "order=fifo", "order=lifo"};
  for (int i = 2; i < a.orders; ++i) ways.push_back(fmt::format("order=random:{}", i - 1));
  ways.resize(static_cast<std::size_t>(a.orders) + 1);
  fmt::print("{}\n", text(c));
  std::vector<std::byte> first;
  std::string first_way;
  int bad = 0;
  for (const std::string& way : ways) {
    if (interrupted()) return kInterrupted;
    const std::string backend = spec->text() + "," + way;
    auto e = Bench(backend, maker, default_deadline(c.problem) + kCompileSeconds).execute(c);
    if (!e) return interrupted() ? kInterrupted : report_backend(e.error());
    if (e->verdict.empty() && !first.empty() && e->bits != first) {
      e->verdict = info(Verdict::RACE).name;
      e->detail = fmt::format("{} of {} elements differ from {}", differing(first, e->bits),
                              first.size() / sizeof(float), first_way);
    }
    if (first.empty() && !e->bits.empty()) {
      first = e->bits;
      first_way = way;
    }
    bad += e->verdict.empty() ? 0 : 1;
    fmt::print("  {:<18} {}\n", way, e->verdict.empty() ? "same" : e->verdict);
    for (std::size_t at = 0; at < e->detail.size();) {
      const std::size_t end = std::min(e->detail.find('\n', at), e->detail.size());
      fmt::print("    {}\n", e->detail.substr(at, end - at));
      at = end + 1;
    }
  }
  if (bad == 0) {
    fmt::print("no race: {} orders give the same bits, and no access is out of order\n", a.orders);
    return kOk;
  }
  fmt::print("{} of {} executions are bad\nrepro  attest race -b '{}' --case '{}'\n", bad, ways.size(), a.backend,
             text(c));
  return kBad;
}

}  // namespace

Verb add_race(CLI::App& app) {
  auto a = std::make_shared<RaceArguments>();
  CLI::App* race = app.add_subcommand(
      "race", "one case on the Metal simulator in many orders of execution, and with every access watched");
  race->add_option("-b,--backend", a->backend, "metal:sim, with kernel= or vskip= if wanted; msl:FILE.toml")->capture_default_str();
  race->add_option("--case", a->line, "a descriptor or a test-backend-ops line, quoted")->required();
  race->add_option("--orders", a->orders, "orders of execution: fifo, lifo, then random ones")
      ->check(CLI::Range(2, 1000))
      ->capture_default_str();
  return [a] { return race_verb(*a); };
}

}  // namespace attest::cli
