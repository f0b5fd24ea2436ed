#include "reports/history/comparison_page.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <set>
#include <unordered_map>

#include "reports/history/comparison_text.h"
#include "reports/html_template.h"

namespace attest {

namespace {

constexpr std::size_t kMostPoints = 20'000, kMostGroups = 60;

// A JSON array, or with names an object, put together piece by piece.
class List {
 public:
  explicit List(char open = '[') : out_(1, open), close_(open == '[' ? ']' : '}') {}
  List& add(const std::string& json) {
    if (out_.size() > 1) out_ += ',';
    out_ += json;
    return *this;
  }
  List& add(std::string_view key, const std::string& json) { return add(json_text(key) + ":" + json); }
  std::string text() const { return out_ + close_; }

 private:
  std::string out_;
  char close_;
};

std::string number(double value) {
  std::string out;
  put_json_number(out, value);
  return out;
}

std::string side(const BriefRun& run, const std::set<std::string>& compared) {
  const RunHeader& h = run.header;
  std::string facts = fmt::format("{}, seed {}", h.suite.empty() ? "single cases" : "suite " + h.suite, h.seed);
  for (const auto& [label, value] :
       {std::pair{"", &h.started_utc}, {"commit ", &h.commit}, {"", &h.host}, {"", &h.cpu}}) {
    if (!value->empty()) facts += fmt::format(", {}{}", label, *value);
  }
  List builds;
  for (std::size_t i = 0; i < h.backends.size(); ++i) {
    if (!compared.contains(h.backends[i])) continue;
    builds.add(json_text(h.backends[i] + (i < h.build_ids.size() ? ": " + h.build_ids[i] : "")));
  }
  return List('{').add("name", json_text(run.name)).add("facts", json_text(facts)).add("builds", builds.text()).text();
}

// What is drawn: for every case that changed the first of its changes, for others none.
struct Point {
  Pair pair;
  std::size_t backend;
  std::int64_t change;
};

std::vector<Point> points_of(const Comparison& comparison, const BriefRun& a, const BriefRun& b) {
  std::unordered_map<const BriefVerdict*, std::int64_t> changed;
  for (std::size_t c = all_changes().size(); c-- > 0;) {
    for (const Pair& pair : comparison.of(all_changes()[c].change)) {
      if (pair.a != nullptr && pair.b != nullptr) changed[pair.b] = static_cast<std::int64_t>(c);
    }
  }
  std::vector<Point> points, same;
  for (std::size_t k = 0; k < comparison.backends.size(); ++k) {
    for (const Pair& pair : common_pairs(a, b, comparison.backends[k])) {
      const auto at = changed.find(pair.b);
      (at != changed.end() ? points : same).push_back({pair, k, at != changed.end() ? at->second : -1});
    }
  }
  if (points.size() > kMostPoints) {
    std::stable_sort(points.begin(), points.end(), [](const Point& x, const Point& y) { return x.change < y.change; });
    points.resize(kMostPoints);
  }
  const std::size_t room = kMostPoints - points.size();
  const std::size_t step = room == 0 ? same.size() + 1 : same.size() / room + 1;
  for (std::size_t i = 0; i < same.size(); i += step) points.push_back(same[i]);
  return points;
}

}  // namespace

std::string comparison_page(const Comparison& comparison, const BriefRun& a, const BriefRun& b,
                            const CompareOptions& options) {
  List changes, backends, warnings, times;
  const auto backend_of = [&](const Pair& pair) -> const std::string& {
    return pair.b != nullptr ? b.header.backends[pair.b->backend] : a.header.backends[pair.a->backend];
  };
  for (const ChangeInfo& change : all_changes()) {
    List counts, groups;
    const auto& pairs = comparison.of(change.change);
    for (const auto& [in_a, in_b] : comparison.backends) {
      const std::string& name = in_b.empty() ? in_a : in_b;
      counts.add(std::to_string(
          std::count_if(pairs.begin(), pairs.end(), [&](const Pair& pair) { return backend_of(pair) == name; })));
    }
    const auto found = change_groups(comparison, a, b, change.change);
    for (std::size_t i = 0; i < std::min(found.size(), kMostGroups); ++i) {
      groups.add(List('{')
                     .add("title", json_text(found[i].title))
                     .add("worst", json_text(found[i].worst))
                     .add("repro", json_text(found[i].repro))
                     .add("count", std::to_string(found[i].count))
                     .text());
    }
    changes.add(List('{')
                    .add("word", json_text(change.word))
                    .add("meaning", json_text(change.meaning))
                    .add("regression", change.regression ? "true" : "false")
                    .add("count", std::to_string(pairs.size()))
                    .add("counts", counts.text())
                    .add("groups", groups.text())
                    .add("more", std::to_string(found.size() - std::min(found.size(), kMostGroups)))
                    .text());
  }
  for (const auto& [in_a, in_b] : comparison.backends) backends.add(json_text(in_b.empty() ? in_a : in_b));
  for (const std::string& warning : comparison.warnings) warnings.add(json_text(warning));
  for (const PathTime& t : comparison.times) {
    times.add(List('{')
                  .add("backend", json_text(t.backend))
                  .add("path", json_text(t.path))
                  .add("cases", std::to_string(t.cases))
                  .add("a", number(t.a_s))
                  .add("b", number(t.b_s))
                  .add("slower", t.slower ? "true" : "false")
                  .text());
  }

  const std::vector<Point> points = points_of(comparison, a, b);
  List backend, change, line;
  for (const Point& p : points) {
    backend.add(std::to_string(p.backend));
    change.add(std::to_string(p.change));
    line.add(json_text(b.line(p.pair.b->case_id)));
  }
  List drawn('{');
  drawn.add("backend", backend.text()).add("change", change.text()).add("line", line.text());
  const auto measure = [&](const char* name, auto of) {
    List in_a, in_b;
    for (const Point& p : points) {
      in_a.add(number(of(*p.pair.a)));
      in_b.add(number(of(*p.pair.b)));
    }
    drawn.add(std::string(name) + "_a", in_a.text()).add(std::string(name) + "_b", in_b.text());
  };
  measure("ratio", [](const BriefVerdict& v) { return was_judged(v.verdict) ? v.err_over_b : NAN; });
  measure("rms", [](const BriefVerdict& v) { return was_judged(v.verdict) ? std::sqrt(v.nmse) : NAN; });
  measure("cpu", [](const BriefVerdict& v) { return v.cpu_s; });

  std::set<std::string> in_a, in_b;
  for (const auto& [x, y] : comparison.backends) {
    in_a.insert(x);
    in_b.insert(y);
  }
  const auto same_bits = comparison.bits_known - static_cast<std::int64_t>(comparison.of(Change::bits).size());
  const std::string data =
      List('{')
          .add("sides", List().add(side(a, in_a)).add(side(b, in_b)).text())
          .add("warnings", warnings.text())
          .add("backends", backends.text())
          .add("changes", changes.text())
          .add("times", times.text())
          .add("points", drawn.text())
          .add("sampled", points.size() < static_cast<std::size_t>(comparison.common) ? "true" : "false")
          .add("common", std::to_string(comparison.common))
          .add("only_a", std::to_string(comparison.only_a))
          .add("only_b", std::to_string(comparison.only_b))
          .add("bits_known", std::to_string(comparison.bits_known))
          .add("same_bits", std::to_string(same_bits))
          .add("grown", number(options.grown))
          .add("slower", number(options.slower))
          .text();
  return filled_page("compare.html", fmt::format("attest: {} against {}", b.name, a.name), {"plots.js", "compare.js"},
                     data);
}

}  // namespace attest
