#include "harness/shrink/shrinker.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <optional>
#include <set>

namespace attest {
namespace {

// Numbers worth trying before any other: small ones, and the edges of vectors, tiles and chunks.
constexpr std::int64_t kEdges[] = {0,    1,    2,    3,    4,    8,    9,    16,    17,    32,
                                   33,   64,   65,   128,  129,  256,  257,  512,   513,   1024,
                                   1025, 2048, 2049, 4096, 4097, 8192, 8193, 16384, 32768, 65536};
constexpr double kMostFlop = 2e9;       // of a case that only tells where a failure ends
constexpr std::size_t kBoundRuns = 24;  // per number

class Search {
 public:
  Search(const Case& failing, const Observation& seen, const ShrinkOptions& options, const Examine& examine,
         const OnStep& on_step)
      : target_(seen), options_(options), examine_(examine), on_step_(on_step), case_(failing), seen_(seen) {
    known_.emplace(text(failing), seen);
  }

  Expected<ShrinkResult> run() {
    ShrinkResult result;
    if (options_.keep == Keep::class_) result.note = anchor();
    for (bool better = true; better;) {
      better = drop();
      better = lower() || better;
    }
    describe(result);
    if (error_) return Unexpected(*error_);
    result.minimal = case_;
    result.seen = seen_;
    result.runs = runs_;
    result.exhausted = exhausted_;
    return result;
  }

 private:
  // Nothing once there was an error or no more may be run: what is not known does not fail, and the search ends.
  std::optional<Observation> ask(const Case& c) {
    const std::string line = text(c);
    if (const auto found = known_.find(line); found != known_.end()) return found->second;
    if (error_) return std::nullopt;
    if (runs_ >= options_.most_runs) {
      exhausted_ = true;
      return std::nullopt;
    }
    auto seen = examine_(c);
    if (!seen) {
      error_ = seen.error();
      return std::nullopt;
    }
    ++runs_;
    return known_.emplace(line, *seen).first->second;
  }

  // A suspicion about a line of many features may be the odd one out: where no line with one key less shares it and two
  // thirds of those that fail agree on another, theirs is kept.
  std::string anchor() {
    std::map<std::string, int> classes;
    int failing = 0;
    for (const Edit& edit : plainer_lines(case_)) {
      if (edit.key.empty() || edit.what != "without " + edit.key) continue;
      const auto seen = ask(edit.result);
      if (!seen || seen->verdict != target_.verdict) continue;
      ++classes[seen->suspect];
      ++failing;
    }
    if (failing < 3 || classes.contains(target_.suspect)) return "";
    const auto most = std::max_element(classes.begin(), classes.end(),
                                       [](const auto& a, const auto& b) { return a.second < b.second; });
    if (3 * most->second < 2 * failing) return "";
    const std::string note =
        fmt::format("{} of {} lines with one key less that fail are suspected {}, not {}: that is kept", most->second,
                    failing, most->first, target_.suspect);
    target_.suspect = most->first;
    return note;
  }

  bool keeps(const Observation& seen) const {
    switch (options_.keep) {
      case Keep::bad:
        return info(seen.verdict).bad;
      case Keep::verdict:
        return seen.verdict == target_.verdict;
      case Keep::class_:
        break;
    }
    return seen == target_;
  }
  bool fails(const Case& c) {
    const auto seen = ask(c);
    return seen && keeps(*seen);
  }
  void accept(const Case& c, const std::string& what) {
    case_ = c;
    seen_ = *ask(c);
    if (on_step_) on_step_(case_, what);
  }

  bool drop() {
    bool any = false;
    for (bool better = true; better;) {
      better = false;
      for (const Edit& edit : plainer_lines(case_)) {
        if (!fails(edit.result)) continue;
        accept(edit.result, edit.what);
        any = better = true;
        break;
      }
    }
    return any;
  }

  // The plainer of the cases that this number makes.
  std::optional<Case> at(const NumberSlot& slot, double value) const {
    const auto made = with_number(case_, slot, value);
    if (made.empty() || text(made.front()) == text(case_)) return std::nullopt;
    return made.front();
  }

  bool lower() {
    bool any = false;
    for (std::size_t i = 0; i < number_slots(case_).size(); ++i) {
      const NumberSlot slot = number_slots(case_)[i];
      any = (slot.whole ? lower_whole(slot) : lower_real(slot)) || any;
    }
    return any;
  }

  bool try_number(const NumberSlot& slot, double value) {
    const auto c = at(slot, value);
    if (!c || !(rank_of(*c) < rank_of(case_)) || !fails(*c)) return false;
    accept(*c, fmt::format("{} {:g}", slot.name(), value));
    return true;
  }

  bool lower_whole(const NumberSlot& slot) {
    const auto own = static_cast<std::int64_t>(slot.value);
    std::int64_t passes = -1, fails_at = own;
    for (const std::int64_t n : kEdges) {
      if (n >= own) break;
      if (try_number(slot, static_cast<double>(n))) {
        fails_at = n;
        break;
      }
      if (at(slot, static_cast<double>(n))) passes = n;
    }
    // Between the last edge that does not fail and the one that does: as if there were one border.
    bool any = fails_at < own;
    while (fails_at - passes > 1) {
      const std::int64_t middle = passes + (fails_at - passes) / 2;
      if (try_number(slot, static_cast<double>(middle))) {
        fails_at = middle;
        any = true;
      } else {
        passes = middle;
      }
    }
    return any;
  }

  bool lower_real(const NumberSlot& slot) {
    std::vector<double> plain{0, 1, 2, 4, 10, 100, 0.5, 0.1, -1, 1000};
    const double round = std::round(slot.value);
    plain.push_back(round);
    return std::any_of(plain.begin(), plain.end(), [&](double x) { return try_number(slot, x); });
  }

  std::string told(const std::optional<Observation>& seen) const {
    if (!seen) return "not run";
    return seen->verdict == target_.verdict ? seen->text() : std::string(info(seen->verdict).name);
  }

  void describe(ShrinkResult& result) {
    const std::vector<std::string> keys = non_default_keys(case_);
    const std::vector<Edit> edits = plainer_lines(case_);
    const std::string line = text(case_);
    for (const std::string& key : keys) {
      const auto begin = line.find(" " + key + "=") + 1;
      const std::string word = line.substr(begin, line.find(' ', begin) - begin);
      const auto edit = std::find_if(edits.begin(), edits.end(),
                                     [&](const Edit& e) { return e.key == key && e.what == "without " + key; });
      result.remaining.push_back(edit == edits.end() ? word + ": no case without it"
                                                     : fmt::format("{}: without it {}", word, told(ask(edit->result))));
    }
    for (const NumberSlot& slot : number_slots(case_)) {
      const bool stays = std::find(keys.begin(), keys.end(), slot.key) != keys.end();
      const bool extent =
          slot.term.empty() && (slot.key.starts_with("n_") || slot.key.starts_with("d") || slot.key == "threads");
      if (!slot.whole || (!stays && !extent)) continue;
      // Of numbers that nobody had to choose, sharp borders alone say something.
      const std::string bound = bound_of(slot);
      if (!bound.empty() && (stays || bound.find("(not") == std::string::npos)) result.bounds.push_back(bound);
    }
  }

  // Numbers around the smallest that fails, and larger ones at and beside multiples of powers of two.
  std::string bound_of(const NumberSlot& slot) {
    const auto own = static_cast<std::int64_t>(slot.value);
    std::set<std::int64_t> wanted;
    for (std::int64_t n = std::max<std::int64_t>(own - 2, 0); n <= own + 3; ++n) wanted.insert(n);
    for (const std::int64_t m : {8, 16, 32, 64, 128, 256}) {
      const std::int64_t multiple = (own / m + 1) * m;
      wanted.insert({multiple, multiple + 1});
      if (own / m * m > 0) wanted.insert(own / m * m);
    }
    wanted.insert({2 * own, 2 * own + 1});
    std::map<std::int64_t, bool> tried{{own, true}};
    for (const std::int64_t n : wanted) {
      if (tried.size() >= kBoundRuns) break;
      const auto c = n == own ? std::nullopt : at(slot, static_cast<double>(n));
      if (!c || flop(c->problem) > kMostFlop) continue;
      const auto seen = ask(*c);
      if (!seen || seen->verdict == Verdict::UNSUPPORTED || seen->verdict == Verdict::RANGE) continue;
      // Another failure is no end of this one, and no part of it either.
      if (info(seen->verdict).bad && !keeps(*seen)) continue;
      tried.emplace(n, keeps(*seen));
    }
    const std::string bound = boundary_text(slot.term.empty() ? slot.key : slot.term, tried);
    return bound.empty() ? "" : fmt::format("{}: fails for {}", slot.name(), bound);
  }

  Observation target_;
  const ShrinkOptions& options_;
  const Examine& examine_;
  const OnStep& on_step_;
  Case case_;
  Observation seen_;
  std::map<std::string, Observation> known_;
  std::int64_t runs_ = 0;
  bool exhausted_ = false;
  std::optional<Error> error_;
};

}  // namespace

std::string Observation::text() const {
  return fmt::format("{}{}", info(verdict).name, suspect.empty() ? "" : ", suspected " + suspect);
}

Expected<ShrinkResult> shrink(const Case& failing, const Observation& seen, const ShrinkOptions& options,
                              const Examine& examine, const OnStep& on_step) {
  return Search(failing, seen, options, examine, on_step).run();
}

}  // namespace attest
