#include "reports/history/comparison.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <set>
#include <span>

#include "reports/history/timeline.h"

namespace attest {

namespace {

// An answer that is wrong, whether the ledger knows of it or not.
bool wrong(Verdict v) { return fails(v) && v != Verdict::XPASS; }

std::string list_of(const std::vector<std::string>& names) { return fmt::format("{}", fmt::join(names, ", ")); }

std::span<const BriefVerdict> verdicts_of(const BriefRun& run, const std::string& backend) {
  const auto& names = run.header.backends;
  const auto number = static_cast<std::size_t>(std::find(names.begin(), names.end(), backend) - names.begin());
  const auto range = std::equal_range(
      run.verdicts.begin(), run.verdicts.end(), BriefVerdict{.backend = static_cast<std::uint16_t>(number)},
      [](const BriefVerdict& x, const BriefVerdict& y) { return x.backend < y.backend; });
  return {range.first, range.second};
}

bool has_backend(const BriefRun& run, const std::string& name) {
  return std::find(run.header.backends.begin(), run.header.backends.end(), name) != run.header.backends.end();
}

std::vector<std::string> warnings_of(const BriefRun& a, const BriefRun& b) {
  const RunHeader &h = a.header, &g = b.header;
  std::vector<std::string> said;
  const auto differ = [&](const char* what, const auto& x, const auto& y, const char* so) {
    if (x != y) said.push_back(fmt::format("{} differ: '{}' and '{}'{}", what, x, y, so));
  };
  differ("suites", h.suite, g.suite, ": only cases that are in both are compared");
  differ("seeds", h.seed, g.seed, ": the cases have other values, and only those with equal lines are compared");
  differ("options of the runs", h.options, g.options, "");
  if (h.shard_index != g.shard_index || h.shard_count != g.shard_count) {
    said.push_back(
        fmt::format("shards differ: {}/{} and {}/{}", h.shard_index, h.shard_count, g.shard_index, g.shard_count));
  }
  for (const auto& [name, run] : {std::pair{"A", &a}, {"B", &b}}) {
    if (run->complete) continue;
    said.push_back(fmt::format("{} is not finished: {} of {} verdicts are there", name, run->verdicts.size(),
                               run->header.verdicts_expected));
  }
  differ("versions of attest", h.version, g.version, ": budgets may be others");
  const auto machine = [](const RunHeader& x) {
    return x.cpu.empty() ? x.host : fmt::format("{} ({})", x.host, x.cpu);
  };
  differ("machines", machine(h), machine(g), ": times say little, and bits may differ for that alone");
  return said;
}

// Sorted ranges, side by side: equal case ids meet.
template <class Both, class Left, class Right>
void walk(std::span<const BriefVerdict> a, std::span<const BriefVerdict> b, Both both, Left left, Right right) {
  const auto id = [](const BriefVerdict& v) { return static_cast<std::int64_t>(v.case_id); };
  std::size_t i = 0, j = 0;
  while (i < a.size() || j < b.size()) {
    if (j == b.size() || (i < a.size() && id(a[i]) < id(b[j]))) {
      left(a[i++]);
    } else if (i == a.size() || id(b[j]) < id(a[i])) {
      right(b[j++]);
    } else {
      both(a[i++], b[j++]);
    }
  }
}

bool slower(double a_s, double b_s, double part) { return b_s > a_s * (1 + part) && b_s - a_s >= kNoiseSeconds; }

class Comparer {
 public:
  Comparer(const CompareOptions& options, Comparison& result) : options_(options), result_(result) {}

  void both(const BriefVerdict& a, const BriefVerdict& b) {
    ++result_.common;
    const bool was_wrong = wrong(a.verdict), is_wrong = wrong(b.verdict);
    if (was_judged(a.verdict) && !was_judged(b.verdict)) {
      add(Change::coverage, a, b);
    } else if (is_wrong && b.verdict == Verdict::XFAIL) {
      if (!was_wrong && was_judged(a.verdict)) add(Change::excused, a, b);
    } else if (is_wrong && !was_wrong) {
      add(Change::new_failure, a, b);
    } else if (is_wrong && a.verdict != b.verdict) {
      add(Change::other_failure, a, b);
    } else if (was_wrong && !is_wrong) {
      add(Change::fixed, a, b);
    } else if (!is_wrong && was_judged(a.verdict) && growth(a, b) > options_.grown) {
      add(Change::error, a, b);
    }
    // A failure is news however few rows showed it.
    if (!is_wrong && judged_in_fewer_rows(a, b)) add(Change::coverage, a, b);
    if (a.digest != 0 && b.digest != 0) {
      ++result_.bits_known;
      if (a.digest != b.digest) add(Change::bits, a, b);
    } else if (!was_wrong && !is_wrong && was_judged(a.verdict) && was_judged(b.verdict)) {
      ++result_.bits_unknown;
    }
    if (a.cpu_s > 0 && b.cpu_s > 0) {
      if (slower(a.cpu_s, b.cpu_s, options_.slower)) add(Change::slower, a, b);
      auto& [cases, a_s, b_s] = times_[b.path];
      ++cases;
      a_s += a.cpu_s;
      b_s += b.cpu_s;
    }
  }
  void only_a(const BriefVerdict& a) {
    ++result_.only_a;
    if (was_judged(a.verdict)) list(Change::coverage).push_back({&a, nullptr});
  }
  void only_b(const BriefVerdict& b) {
    ++result_.only_b;
    if (wrong(b.verdict) && b.verdict != Verdict::XFAIL) list(Change::new_failure).push_back({nullptr, &b});
  }
  void end_backend(const std::string& backend, const BriefRun& b) {
    for (const auto& [path, time] : times_) {
      const auto& [cases, a_s, b_s] = time;
      result_.times.push_back({backend, b.texts[path], cases, a_s, b_s, slower(a_s, b_s, options_.slower)});
    }
    times_.clear();
  }

 private:
  std::vector<Pair>& list(Change change) { return result_.changes[static_cast<std::size_t>(change)]; }
  void add(Change change, const BriefVerdict& a, const BriefVerdict& b) { list(change).push_back({&a, &b}); }

  const CompareOptions& options_;
  Comparison& result_;
  struct Sum {
    std::int64_t cases = 0;
    double a_s = 0, b_s = 0;
  };
  std::map<std::uint32_t, Sum> times_;
};

// Which backend of B is held against which of A.
Expected<void> pair_up(const BriefRun& a, const BriefRun& b, const CompareOptions& options, Comparison& result) {
  if (!options.backends.empty()) {
    for (const auto& [in_a, in_b] : options.backends) {
      for (const auto& [run, name] : {std::pair{&a, &in_a}, {&b, &in_b}}) {
        if (has_backend(*run, *name)) continue;
        return input_error(fmt::format("{} has no backend '{}'", run->name, *name),
                           fmt::format("it has {}", list_of(run->header.backends)));
      }
    }
    result.backends = options.backends;
    return {};
  }
  std::vector<std::string> left, right;
  for (const auto& name : a.header.backends) {
    if (has_backend(b, name)) {
      result.backends.emplace_back(name, name);
    } else {
      left.push_back(name);
    }
  }
  for (const auto& name : b.header.backends) {
    if (!has_backend(a, name)) right.push_back(name);
  }
  if (result.backends.empty()) {
    return input_error(fmt::format("no backend is in both: {} has {}; {} has {}", a.name, list_of(a.header.backends),
                                   b.name, list_of(b.header.backends)),
                       "-b X=Y holds Y of B against X of A");
  }
  if (!left.empty()) {
    result.warnings.push_back(fmt::format("backends of A alone, all their coverage is lost: {}", list_of(left)));
  }
  if (!right.empty()) result.warnings.push_back(fmt::format("backends of B alone, not compared: {}", list_of(right)));
  for (const auto& name : left) result.backends.emplace_back(name, "");
  return {};
}

}  // namespace

const std::vector<ChangeInfo>& all_changes() {
  static const std::vector<ChangeInfo> all = {
#define ATTEST_CHANGE(name, word, regression, meaning) {Change::name, word, meaning, regression},
#include "reports/history/changes.def"
#undef ATTEST_CHANGE
  };
  return all;
}

Expected<std::vector<Change>> parse_changes(std::string_view list) {
  std::vector<Change> chosen;
  if (list == "none") return chosen;
  std::vector<std::string> words{"all", "none"};
  for (const ChangeInfo& c : all_changes()) {
    if (!c.regression) continue;
    words.emplace_back(c.word);
    if (list == "all") chosen.push_back(c.change);
  }
  if (list == "all") return chosen;
  while (true) {
    const auto comma = list.find(',');
    const std::string_view word = list.substr(0, comma);
    const auto& all = all_changes();
    const auto at =
        std::find_if(all.begin(), all.end(), [&](const ChangeInfo& c) { return c.regression && c.word == word; });
    if (at == all.end()) {
      const std::string near = did_you_mean(word, words);
      return input_error(fmt::format("'{}' is no regression to fail on", word),
                         near.empty() ? fmt::format("one of {}", list_of(words)) : near);
    }
    chosen.push_back(at->change);
    if (comma == std::string_view::npos) return chosen;
    list.remove_prefix(comma + 1);
  }
}

std::vector<Pair> common_pairs(const BriefRun& a, const BriefRun& b,
                               const std::pair<std::string, std::string>& backend) {
  std::vector<Pair> pairs;
  if (backend.second.empty()) return pairs;
  const auto none = [](const BriefVerdict&) {};
  walk(
      verdicts_of(a, backend.first), verdicts_of(b, backend.second),
      [&](const BriefVerdict& x, const BriefVerdict& y) {
        pairs.push_back({&x, &y});
      },
      none, none);
  return pairs;
}

bool judged_in_fewer_rows(const BriefVerdict& a, const BriefVerdict& b) {
  return was_judged(a.verdict) && was_judged(b.verdict) && b.rows_judged < a.rows_judged;
}

double growth(const BriefVerdict& a, const BriefVerdict& b) {
  const auto times = [](double x, double y) {
    return y <= 0 ? 0 : x > 0 ? y / x : std::numeric_limits<double>::infinity();
  };
  double most = 0;
  const bool comparable = !b.err_over_b_is_bound || a.err_over_b_is_bound;
  if (comparable && b.err_over_b >= kNoiseRatio) most = times(a.err_over_b, b.err_over_b);
  if (b.nmse >= kNoiseNmse) most = std::max(most, std::sqrt(times(a.nmse, b.nmse)));
  return most;
}

Expected<std::pair<std::string, std::string>> backend_pair(const BriefRun& a, const BriefRun& b,
                                                           const std::string& word) {
  if (has_backend(a, word) && has_backend(b, word)) return std::pair{word, word};
  for (auto equals = word.find('='); equals != std::string::npos; equals = word.find('=', equals + 1)) {
    std::pair named{word.substr(0, equals), word.substr(equals + 1)};
    if (has_backend(a, named.first) && has_backend(b, named.second)) return named;
  }
  return input_error(
      fmt::format("-b '{}' is no backend of both, nor X=Y of a backend X of A and a backend Y of B", word),
      fmt::format("{} has {}; {} has {}", a.name, list_of(a.header.backends), b.name, list_of(b.header.backends)));
}

bool Comparison::has(Change change) const {
  if (!of(change).empty()) return true;
  return change == Change::slower && std::any_of(times.begin(), times.end(), [](const auto& t) { return t.slower; });
}

Expected<Comparison> compare_runs(const BriefRun& a, const BriefRun& b, const CompareOptions& options) {
  Comparison result;
  result.warnings = warnings_of(a, b);
  if (auto paired = pair_up(a, b, options, result); !paired) return Unexpected(paired.error());
  Comparer comparer(options, result);
  for (const auto& [in_a, in_b] : result.backends) {
    walk(
        verdicts_of(a, in_a), in_b.empty() ? std::span<const BriefVerdict>() : verdicts_of(b, in_b),
        [&](const BriefVerdict& x, const BriefVerdict& y) { comparer.both(x, y); },
        [&](const BriefVerdict& x) { comparer.only_a(x); }, [&](const BriefVerdict& y) { comparer.only_b(y); });
    if (!in_b.empty()) comparer.end_backend(in_b, b);
  }
  if (result.common == 0) {
    std::string why = fmt::format("no case is in both: {} has {} verdicts there, {} has {}", a.name, result.only_a,
                                  b.name, result.only_b);
    for (const std::string& warning : result.warnings) why += "; " + warning;
    return input_error(why);
  }
  if (result.bits_unknown > 0) {
    result.warnings.push_back(
        fmt::format("bits are not known of {} cases: an older attest made the record", result.bits_unknown));
  }
  return result;
}

}  // namespace attest
