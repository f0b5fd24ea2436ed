#include "reports/history/comparison_text.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <tuple>

#include "reports/text.h"

namespace attest {

namespace {

constexpr std::size_t kWidth = 100;

std::string side(std::string_view letter, const BriefRun& run, const std::vector<std::string>& backends) {
  const RunHeader& h = run.header;
  std::string text = fmt::format("{}, {}", run.name, h.suite.empty() ? "single cases" : "suite " + h.suite);
  text += fmt::format(", seed {}", h.seed);
  if (!h.started_utc.empty()) text += ", " + h.started_utc;
  if (!h.commit.empty()) text += ", commit " + h.commit;
  text = fmt::format("{}  {}\n", letter, wrapped(printable(text), kWidth, 3));
  for (std::size_t i = 0; i < h.backends.size(); ++i) {
    if (std::find(backends.begin(), backends.end(), h.backends[i]) == backends.end()) continue;
    const std::string build = i < h.build_ids.size() ? h.build_ids[i] : "";
    text += fmt::format("   {}\n", shortened(printable(fmt::format("{}  {}", h.backends[i], build)), kWidth - 3));
  }
  return text;
}

std::string ratio_text(const BriefVerdict& v) {
  if (std::isnan(v.err_over_b)) return "none";
  return fmt::format("{}{:.3g}", v.err_over_b_is_bound ? "<=" : "", v.err_over_b);
}

std::string percent(double a, double b) {
  return b >= 3 * a ? fmt::format("x {:.3g}", b / a) : fmt::format("{:+.0f} %", 100 * (b / a - 1));
}

std::string seconds(double s) { return s < 0.1 ? fmt::format("{:.3g} ms", 1000 * s) : duration(s); }

class Teller {
 public:
  Teller(const Comparison& comparison, const BriefRun& a, const BriefRun& b, std::size_t most)
      : comparison_(comparison), a_(a), b_(b), most_(most) {}

  std::string table() const;
  std::string changes(const ChangeInfo& change) const;
  std::vector<ChangeGroup> groups(Change change) const;
  std::string times() const;

 private:
  std::string backend_of(const Pair& pair) const {
    return pair.b != nullptr ? b_.header.backends[pair.b->backend] : a_.header.backends[pair.a->backend];
  }
  static std::string verdict_of(const BriefVerdict* v) {
    return v == nullptr ? "-" : std::string(info(v->verdict).name);
  }
  std::string text_of(const BriefVerdict* v, const BriefRun& run, std::uint32_t BriefVerdict::*text) const {
    return v == nullptr ? "" : run.texts[v->*text];
  }
  // What tells groups apart, what the worst member is, and what is said of it.
  std::string title(Change change, const Pair& pair) const;
  static double weight(Change change, const Pair& pair);
  static std::string said(Change change, const Pair& pair);

  const Comparison& comparison_;
  const BriefRun &a_, &b_;
  std::size_t most_;
};

std::string Teller::table() const {
  std::size_t widest = std::string_view("backend").size();
  for (const auto& [in_a, in_b] : comparison_.backends) widest = std::max(widest, (in_b.empty() ? in_a : in_b).size());
  widest = std::min<std::size_t>(widest, 22);
  std::string text = fmt::format("{:<{}}", "backend", widest);
  for (const ChangeInfo& c : all_changes()) text += fmt::format("  {}", c.word);
  text += '\n';
  for (const auto& [in_a, in_b] : comparison_.backends) {
    const std::string& name = in_b.empty() ? in_a : in_b;
    text += fmt::format("{:<{}}", shortened(name, widest), widest);
    for (const ChangeInfo& c : all_changes()) {
      const auto& pairs = comparison_.of(c.change);
      const auto count =
          std::count_if(pairs.begin(), pairs.end(), [&](const Pair& pair) { return backend_of(pair) == name; });
      text += fmt::format("  {:>{}}", count == 0 ? "-" : std::to_string(count), c.word.size());
    }
    text += '\n';
  }
  return text;
}

std::string Teller::title(Change change, const Pair& pair) const {
  const std::string path =
      text_of(pair.b != nullptr ? pair.b : pair.a, pair.b != nullptr ? b_ : a_, &BriefVerdict::path);
  std::string text = backend_of(pair);
  if (!path.empty()) text += ", path " + path;
  const bool judged = change != Change::error && change != Change::bits && change != Change::slower;
  if (!judged) return text;
  if (pair.a == nullptr) {
    text += fmt::format(": {}, not in A", verdict_of(pair.b));
  } else if (pair.b == nullptr) {
    text += fmt::format(": was {}, missing", verdict_of(pair.a));
  } else {
    const bool fewer = change == Change::coverage && judged_in_fewer_rows(*pair.a, *pair.b);
    text += fmt::format(": {}{}, was {}", verdict_of(pair.b), fewer ? " in fewer rows" : "", verdict_of(pair.a));
  }
  const bool good = change == Change::fixed;
  const std::string suspect =
      good ? text_of(pair.a, a_, &BriefVerdict::suspect) : text_of(pair.b, b_, &BriefVerdict::suspect);
  if (!suspect.empty()) text += ", suspected: " + suspect;
  // The reason of UNSUPPORTED and BLIND; details of failures differ in numbers and are for attest explain.
  if (change == Change::coverage || change == Change::excused) {
    const std::string detail = text_of(pair.b, b_, &BriefVerdict::detail);
    if (!detail.empty()) text += ": " + detail;
  }
  return text;
}

double Teller::weight(Change change, const Pair& pair) {
  switch (change) {
    case Change::error:
      return growth(*pair.a, *pair.b);
    case Change::slower:
      return pair.b->cpu_s - pair.a->cpu_s;
    case Change::new_failure:
    case Change::other_failure:
      return std::isnan(pair.b->err_over_b) ? INFINITY : pair.b->err_over_b;
    case Change::coverage:
      return pair.b == nullptr ? 0 : static_cast<double>(pair.a->rows_judged - pair.b->rows_judged);
    default:
      return 0;
  }
}

std::string Teller::said(Change change, const Pair& pair) {
  switch (change) {
    case Change::error:
      return fmt::format("x {:.3g}: err/B {} -> {}, NMSE {:.2g} -> {:.2g}", growth(*pair.a, *pair.b),
                         ratio_text(*pair.a), ratio_text(*pair.b), pair.a->nmse, pair.b->nmse);
    case Change::slower:
      return fmt::format("{}: {} -> {} of CPU time", percent(pair.a->cpu_s, pair.b->cpu_s), seconds(pair.a->cpu_s),
                         seconds(pair.b->cpu_s));
    case Change::new_failure:
    case Change::other_failure:
      return fmt::format("err/B {}{}", ratio_text(*pair.b),
                         pair.a == nullptr ? "" : fmt::format(", was {}", ratio_text(*pair.a)));
    case Change::coverage:
      if (pair.b == nullptr || !judged_in_fewer_rows(*pair.a, *pair.b)) return "";
      return fmt::format("{} judged, was {}", count_of(pair.b->rows_judged, "row", "rows"), pair.a->rows_judged);
    default:
      return "";
  }
}

std::vector<ChangeGroup> Teller::groups(Change change) const {
  struct Worst {
    std::int64_t count = 0;
    double weight = -1;
    const Pair* pair = nullptr;
    std::uint64_t case_id = 0;
  };
  std::map<std::string, Worst> found;
  for (const Pair& pair : comparison_.of(change)) {
    Worst& worst = found[title(change, pair)];
    ++worst.count;
    const std::uint64_t case_id = (pair.b != nullptr ? pair.b : pair.a)->case_id;
    const double weighs = weight(change, pair);
    if (!(weighs > worst.weight || (weighs == worst.weight && case_id < worst.case_id))) continue;
    worst = {worst.count, weighs, &pair, case_id};
  }
  std::vector<ChangeGroup> groups;
  for (const auto& [title, worst] : found) {
    const BriefRun& run = worst.pair->b != nullptr ? b_ : a_;
    const std::string repro = fmt::format("attest run -b {} --case {}", shell_quoted(backend_of(*worst.pair)),
                                          shell_quoted(run.line(worst.case_id)));
    groups.push_back({title, said(change, *worst.pair), repro, worst.count});
  }
  std::stable_sort(groups.begin(), groups.end(),
                   [](const ChangeGroup& x, const ChangeGroup& y) { return x.count > y.count; });
  return groups;
}

std::string Teller::changes(const ChangeInfo& change) const {
  const auto groups = this->groups(change.change);
  if (groups.empty()) return "";
  const auto count = static_cast<std::int64_t>(comparison_.of(change.change).size());
  std::string text = fmt::format(
      "\n{}: {}\n", change.word,
      wrapped(fmt::format("{}: {}", count_of(count, "case", "cases"), change.meaning), kWidth, change.word.size() + 2));
  for (std::size_t i = 0; i < std::min(groups.size(), most_); ++i) {
    const ChangeGroup& group = groups[i];
    const std::string head = fmt::format("{:>7}  ", group.count);
    text += head + wrapped(printable(group.title), kWidth, head.size()) + "\n";
    if (!group.worst.empty()) text += fmt::format("         worst   {}\n", group.worst);
    text += fmt::format("         repro   {}\n", group.repro);
  }
  if (groups.size() > most_) text += fmt::format("{:>7}  more groups: --limit shows them\n", groups.size() - most_);
  return text;
}

std::string Teller::times() const {
  std::string text;
  for (const PathTime& t : comparison_.times) {
    if (!t.slower) continue;
    text += fmt::format("\n{}{} as a whole: {}, {} -> {} of CPU time over {}\n", t.backend,
                        t.path.empty() ? "" : ", path " + t.path, percent(t.a_s, t.b_s), seconds(t.a_s), seconds(t.b_s),
                        count_of(t.cases, "case", "cases"));
  }
  return text;
}

}  // namespace

std::vector<ChangeGroup> change_groups(const Comparison& comparison, const BriefRun& a, const BriefRun& b,
                                       Change change) {
  return Teller(comparison, a, b, 0).groups(change);
}

std::string comparison_text(const Comparison& comparison, const BriefRun& a, const BriefRun& b, std::size_t most) {
  const Teller teller(comparison, a, b, most);
  std::vector<std::string> in_a, in_b;
  for (const auto& [x, y] : comparison.backends) {
    in_a.push_back(x);
    in_b.push_back(y);
  }
  std::string text = side("A", a, in_a) + side("B", b, in_b);
  for (const std::string& warning : comparison.warnings) {
    text += "WARNING: " + wrapped(printable(warning), kWidth, 9) + "\n";
  }
  text += '\n' + teller.table();
  for (const ChangeInfo& change : all_changes()) text += teller.changes(change);
  text += teller.times();
  text += fmt::format("\n{} in both, {} in A alone, {} in B alone", count_of(comparison.common, "verdict", "verdicts"),
                      comparison.only_a, comparison.only_b);
  if (comparison.bits_known > 0) {
    text += fmt::format("; the same bits in {} of {}",
                        comparison.bits_known - static_cast<std::int64_t>(comparison.of(Change::bits).size()),
                        comparison.bits_known);
  }
  return text + "\n";
}

}  // namespace attest
