// attest coverage: which pairs and triples of the declared axes a suite holds, which are missing, and which a backend
// does not take.
#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <map>
#include <memory>
#include <set>
#include <thread>

#include "cases/generate/covering.h"
#include "cases/rng.h"
#include "cases/suites/suite.h"
#include "harness/backends.h"
#include "harness/cli/run_support.h"
#include "harness/cli/verbs.h"
#include "oracles/blindness.h"
#include "reports/tally.h"
#include "reports/text.h"

namespace attest::cli {

namespace {

constexpr std::size_t kWidth = 100;
constexpr std::uint64_t kTries = 24;  // other cases asked for before a tuple counts as unsupported

struct CoverageArguments {
  std::string suite, axes;
  std::vector<std::string> backends, ggml;
  std::size_t list = 20;
  double at_least_2 = 0, at_least_3 = 0;
  bool no_blindness = false;
};

// The suite's cases as rows over the axes of one covering group.
struct Rows {
  std::vector<CoveringRow> rows;
  std::vector<const Case*> cases;
};

Rows rows_over(const AxisSpace& space, const Suite& suite, const SuiteCovering* own) {
  std::map<std::string, CoveringRow> known;
  if (own != nullptr) {
    for (const auto& row : own->rows) {
      if (const auto c = space.case_of(row)) known.emplace(text(*c), row);
    }
  }
  Rows out;
  for (const Case& c : suite.cases) {
    const auto at = known.find(text(c));
    out.rows.push_back(at != known.end() ? at->second : space.shown_by(c));
    out.cases.push_back(&c);
  }
  return out;
}

// Takes from the rows what their cases could not have seen go wrong: a blind case shows its other values alone.
std::size_t leave_out_the_unseen(const AxisSpace& space, const std::vector<std::vector<Feature>>& blind, Rows& rows) {
  const auto sets = [](const Axis& axis, std::string_view key) {
    return std::any_of(axis.values.begin(), axis.values.end(), [&](const AxisValue& value) {
      return std::any_of(value.words.begin(), value.words.end(), [&](const AxisWord& word) { return word.key == key; });
    });
  };
  std::size_t blind_rows = 0;
  for (std::size_t i = 0; i < rows.rows.size(); ++i) {
    if (!blind[i].empty()) ++blind_rows;
    for (const Feature feature : blind[i]) {
      for (std::size_t axis = 0; axis < space.axes().size(); ++axis) {
        if (sets(space.axes()[axis], key_of(feature))) rows.rows[i][axis] = kFree;
      }
    }
  }
  return blind_rows;
}

// What every case of the suite is blind to under an f32 contract.
std::vector<std::vector<Feature>> blind_features(const Suite& suite) {
  std::vector<std::vector<Feature>> out(suite.cases.size());
  std::atomic<std::size_t> next{0};
  std::vector<std::thread> workers;
  for (unsigned i = 0; i < std::max(1U, std::thread::hardware_concurrency()); ++i) {
    workers.emplace_back([&] {
      for (std::size_t c = next++; c < out.size() && !interrupted(); c = next++) out[c] = blind_to(suite.cases[c]);
    });
  }
  for (auto& worker : workers) worker.join();
  return out;
}

void print_tuples(const AxisSpace& space, const std::vector<ValueTuple>& tuples, std::size_t most) {
  for (std::size_t i = 0; i < std::min(tuples.size(), most); ++i) fmt::print("    {}\n", space.text(tuples[i]));
  if (tuples.size() > most) fmt::print("    and {} more (--list N shows more)\n", tuples.size() - most);
}

void print_coverage(const TupleCoverage& c) {
  fmt::print("  {:<7} {:>9} of {:>9} covered  {:>8.3f} %  {:>7} missing  {:>7} excluded by rules\n",
             c.strength == 2 ? "pairs" : "triples", c.covered, c.valid(), 100 * c.share(), c.missing.size(),
             c.excluded);
}

// What a backend says to cases, each asked once.
class Answers {
 public:
  explicit Answers(Subject& subject) : subject_(&subject) {}

  // "": it takes the case; else why not.
  const std::string& reason(const Case& c) {
    const std::string line = text(c);
    auto at = known_.find(line);
    if (at == known_.end()) {
      const SubjectAnswer answer = subject_->ask(c, line);
      std::string why;
      if (answer.kind == SubjectAnswer::Kind::unsupported) why = answer.text;
      if (answer.kind == SubjectAnswer::Kind::fault) {
        why = "it fails when asked: " + answer.fault.detail;
        static_cast<void>(subject_->start());
      }
      at = known_.emplace(line, std::move(why)).first;
    }
    return at->second;
  }

 private:
  Subject* subject_;
  std::map<std::string, std::string> known_;
};

// Tuples that the suite holds but the backend never gets to see, by its reason; `lost` are those it would take in other
// cases.
struct Unsupported {
  std::map<std::string, std::vector<ValueTuple>> by_reason;
  std::vector<ValueTuple> lost;
};

Unsupported sort_out(const AxisSpace& space, const TupleCoverage& all, const TupleCoverage& taken, Answers& answers) {
  const std::set<ValueTuple> missing_anyway(all.missing.begin(), all.missing.end());
  Feasibility feasibility(space.to_cover());
  Unsupported out;
  for (const auto& tuple : taken.missing) {
    if (missing_anyway.contains(tuple)) continue;
    CoveringRow partial(space.axes().size(), kFree);
    for (const auto& [axis, value] : tuple) partial[axis] = value;
    std::map<std::string, int> reasons;
    bool takes = false;
    for (std::uint64_t i = 0; i < kTries && !takes; ++i) {
      const auto row = feasibility.complete(partial, mix64(i));
      const auto c = row ? space.case_of(*row) : Expected<Case>(input_error(""));
      if (!c) continue;
      const std::string& why = answers.reason(*c);
      takes = why.empty();
      if (!takes) ++reasons[alike(why)];
    }
    if (takes || reasons.empty()) {
      out.lost.push_back(tuple);
    } else {
      // The reason most cases with this tuple get.
      const auto most = std::max_element(reasons.begin(), reasons.end(),
                                         [](const auto& x, const auto& y) { return x.second < y.second; });
      out.by_reason[most->first].push_back(tuple);
    }
  }
  return out;
}

int backend_coverage(const CoverageArguments& a, const AxisSpace& space, const Rows& rows, Subject& subject,
                     const std::string& backend) {
  Answers answers(subject);
  std::vector<CoveringRow> taken;
  for (std::size_t i = 0; i < rows.rows.size(); ++i) {
    if (interrupted()) return kInterrupted;
    if (answers.reason(*rows.cases[i]).empty()) taken.push_back(rows.rows[i]);
  }
  fmt::print("{}: takes {} of {} cases\n", backend, taken.size(), rows.rows.size());
  for (int strength = 2; strength <= std::min<int>(3, static_cast<int>(space.axes().size())); ++strength) {
    const auto all = measure_coverage(space.to_cover(), strength, rows.rows);
    const auto own = measure_coverage(space.to_cover(), strength, taken);
    print_coverage(own);
    const Unsupported why = sort_out(space, all, own, answers);
    for (const auto& [reason, tuples] : why.by_reason) {
      fmt::print("  {} unsupported: {}\n", tuples.size(), reason);
      print_tuples(space, tuples, strength == 2 ? a.list : std::min<std::size_t>(a.list, 3));
    }
    if (!why.lost.empty()) {
      fmt::print("  {} it would take, but only in cases that it refuses for something else:\n", why.lost.size());
      print_tuples(space, why.lost, a.list);
    }
  }
  return kOk;
}

int coverage_verb(const CoverageArguments& a) {
  const auto suite = load_suite(a.suite);
  if (!suite) return report(suite.error());
  // A suite without covering groups is measured against the axes of nightly.
  std::optional<Suite> other;
  if (!a.axes.empty() || suite->coverings.empty()) {
    auto loaded = load_suite(a.axes.empty() ? "nightly" : a.axes);
    if (!loaded) return report(loaded.error());
    other = std::move(*loaded);
    if (other->coverings.empty()) {
      return report(
          input_error(fmt::format("suite {} declares no axes: it has no [[covering]] group", other->name)).value());
    }
  }
  const Suite& declares = other ? *other : *suite;
  const auto environment = find_ggml_builds(a.ggml);
  if (!environment) return report(environment.error());
  const SubjectMaker maker = subject_maker(*environment, false, 0);

  std::vector<std::vector<Feature>> blind;
  if (!a.no_blindness) blind = blind_features(*suite);
  if (interrupted()) return kInterrupted;
  bool below = false;
  for (const SuiteCovering& covering : declares.coverings) {
    const AxisSpace& space = covering.space;
    fmt::print("{} over the axes of {}: {}\n", suite->name, declares.name, space.line());
    for (const auto& axis : space.axes()) {
      std::string values;
      for (const auto& value : axis.values) values += fmt::format("{}{}", values.empty() ? "" : " | ", value.label());
      fmt::print("  {:<9} {:>2}  {}\n", axis.name, axis.values.size(), wrapped(values, kWidth, 16));
    }
    Rows rows = rows_over(space, *suite, other ? nullptr : &covering);
    if (!a.no_blindness) {
      const std::size_t count = leave_out_the_unseen(space, blind, rows);
      fmt::print("  {} of {} cases are blind to something they claim: that counts as missing\n", count,
                 suite->cases.size());
    }
    for (int strength = 2; strength <= std::min<int>(3, static_cast<int>(space.axes().size())); ++strength) {
      const TupleCoverage coverage = measure_coverage(space.to_cover(), strength, rows.rows);
      print_coverage(coverage);
      print_tuples(space, coverage.missing, a.list);
      below |= 100 * coverage.share() < (strength == 2 ? a.at_least_2 : a.at_least_3);
    }
    for (const auto& backend : a.backends) {
      const auto subject = maker(backend, {});
      if (auto started = subject->start(); !started) return report_backend(started.error());
      if (const int code = backend_coverage(a, space, rows, *subject, backend); code != kOk) return code;
    }
  }
  return below ? kBad : kOk;
}

}  // namespace

Verb add_coverage(CLI::App& app) {
  auto a = std::make_shared<CoverageArguments>();
  CLI::App* coverage = app.add_subcommand("coverage", "pairs and triples of the declared axes that a suite holds");
  coverage->add_option("--suite", a->suite, "built-in suite or a .toml file")->required();
  coverage->add_option("--axes", a->axes,
                       "the suite whose [[covering]] groups declare the axes; default: the suite "
                       "itself, or nightly where it declares none");
  add_backend_options(*coverage, a->backends, a->ggml, "none");
  coverage
      ->add_option_function<std::string>(
          "--blindness", [a](const std::string& how) { a->no_blindness = how == "off"; },
          "'on' (default): a value does not count in a case that could not have seen it go wrong under an f32 "
          "contract; 'off': every case counts whole")
      ->check(CLI::IsMember({"on", "off"}));
  coverage->add_option("--list", a->list, "show at most N tuples per list (default 20)");
  coverage->add_option("--min-pairs", a->at_least_2, "exit 1 where fewer than this percentage of pairs is covered");
  coverage->add_option("--min-triples", a->at_least_3, "the same for triples");
  coverage->footer(kExitCodes);
  return [a] { return coverage_verb(*a); };
}

}  // namespace attest::cli
