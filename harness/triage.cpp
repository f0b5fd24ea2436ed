#include "harness/triage.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <set>

#include "harness/alterations.h"
#include "harness/error_picture.h"
#include "harness/row_choice.h"
#include "oracles/misreading.h"

namespace attest {

namespace {

constexpr std::size_t kRows = 6;   // rows that are looked at closely
constexpr double kRowFlop = 4e6;   // of one row with all guesses about it: larger ones are looked at alone
constexpr double kTooLarge = 2e7;  // and beyond that not at all
constexpr std::int64_t kColumns = 64;
constexpr double kExplained = 0.7;  // share of the evidence a guess has to take away
constexpr double kVague = 0.15;     // share a vague guess is behind one that says more
constexpr double kCounter = 0.06;   // share that a right row may cost a guess under which it would be wrong
constexpr std::size_t kRightRows = 3;
constexpr std::size_t kContractRows = 64;
constexpr double kNoNumber = 1400;
constexpr double kInfinity = std::numeric_limits<double>::infinity();

// -ln of a Cauchy likelihood, as in fingerprint.h; answers larger than the right one are themselves less exact.
double evidence(std::span<const double> got, std::span<const double> values, std::span<const double> units) {
  double total = 0;
  for (std::size_t e = 0; e < got.size(); ++e) {
    const double unit = units[e] + 4 * kUnitF32 * std::abs(values[e]);
    const double x = (got[e] - values[e]) / unit;
    total += std::isfinite(x) ? std::log1p(x * x) + std::log(unit / units[e]) : kNoNumber;
  }
  return total;
}

struct Suspicion {
  std::string suspect, says;
  double left = 1;  // share of the evidence that remains, price of freedom included
};

class Triage {
 public:
  Triage(Key& key, const ArithmeticContract& contract, const TensorView& out, VerdictRecord& record)
      : key_(key), contract_(contract), out_(out), record_(record), problem_(key.the_case().problem) {}

  void run(TriageDepth depth, const Rerun& rerun);

 private:
  void choose_rows();
  std::span<const float> output(const Row& row) const {
    return {reinterpret_cast<const float*>(out_.row(row.head, row.query, row.seq)),
            static_cast<std::size_t>(out_.ne[0])};
  }
  void look_at_arithmetic();
  std::string likeness() const { return "behaves like " + print_.text(); }
  bool within(const ArithmeticContract& other);
  void guess();
  using Gains = std::map<std::pair<std::string, std::string>, double>;
  double guess_row(const Row& row, Gains& gains);
  bool look_at_columns();
  bool look_at_neighbours();
  void look_at_nonfinite();
  void look_at_weights();
  void ask(const Rerun& rerun);
  void conclude();
  void suspect(std::string word, std::string says) {
    record_.triage.suspect = std::move(word);
    record_.triage.says = std::move(says);
  }

  Key& key_;
  const ArithmeticContract& contract_;
  const TensorView& out_;
  VerdictRecord& record_;
  const AttentionProblem& problem_;
  ErrorMap map_;
  std::vector<RowError> bad_;
  std::vector<Row> rows_;  // finite bad rows that are looked at closely
  Fingerprint print_;
  Suspicion best_;
  std::set<std::string> gone_with_;  // suspects whose alteration takes the failure away
  bool asked_ = false;
};

// The worst row and others spread over the bad ones, as many as their cost allows.
void Triage::choose_rows() {
  std::vector<Row> finite;
  for (const RowError& e : bad_) {
    if (!e.nonfinite && !e.unwritten) finite.push_back(e.row);
  }
  if (finite.empty()) return;
  const double flop = row_flop(problem_);
  if (flop > kTooLarge) return;
  const std::size_t most = flop > kRowFlop ? 1 : kRows;
  rows_.push_back(finite.front());
  for (std::size_t i = 1; i < most && finite.size() > 1; ++i) {
    const Row& row = finite[i * (finite.size() - 1) / (most - 1)];
    if (std::find(rows_.begin(), rows_.end(), row) == rows_.end()) rows_.push_back(row);
  }
}

bool Triage::within(const ArithmeticContract& other) {
  std::vector<Row> rows;
  for (std::size_t i = 0; i < std::min(bad_.size(), kContractRows); ++i) {
    if (bad_[i].nonfinite || bad_[i].unwritten) return false;
    rows.push_back(bad_[i].row);
  }
  for (const RowBudget& b : ErrorBudget(key_.emulated(other.q_rounding), other, key_.generic()).rows(rows)) {
    if (b.range) return false;
    const auto got = output(b.row);
    for (std::size_t e = 0; e < got.size(); ++e) {
      if (!(std::abs(static_cast<double>(got[e]) - b.reference[e]) <= b.fail[e])) return false;
    }
  }
  return true;
}

void Triage::look_at_arithmetic() {
  if (rows_.empty()) return;
  print_ = fingerprint(key_, contract_, out_, rows_);
  if (!print_.explains || print_.deviations.empty()) return;
  record_.triage.fingerprint = print_.text();
  best_ = {"precision", likeness(), print_.remaining / print_.evidence};
}

// What each guess takes away of the evidence against the row's right answer, by class and words; and that evidence.
double Triage::guess_row(const Row& row, Gains& gains) {
  const EmulatedInputs& inputs = key_.emulated(contract_.q_rounding);
  const std::int64_t columns = std::min(problem_.d_v, kColumns);
  const RowTerms terms = read_row_terms(inputs.inputs(), row, inputs.score_correction(), {}, columns);
  const auto values = output(row);
  const std::vector<double> got(values.begin(), values.begin() + columns);
  const std::vector<double> units = f32_units(terms);
  const double bare = evidence(got, weighted_values(terms, logits(terms), terms.sink), units);
  const GuessSink sink = [&](Guess&& g) {
    const double gain = bare - evidence(got, g.values, units) - g.freedom - (g.vague ? kVague * bare : 0);
    const auto [at, fresh] = gains.try_emplace({std::string(g.suspect), std::move(g.words)}, gain);
    if (!fresh) at->second = std::max(at->second, gain);
  };
  const MisreadingContext context{inputs, contract_, terms, got, columns};
  guess_question(context, sink);
  guess_softmax(context, sink);
  guess_keys(context, sink);
  return bare;
}

void Triage::guess() {
  Gains total;
  double bare = 0;
  for (const Row& row : rows_) {
    Gains mine;
    bare += guess_row(row, mine);
    for (const auto& [guess, gain] : mine) total[guess] += gain;
  }
  if (!(bare > 0)) return;
  // Rows that are right speak against what would have made them wrong.
  std::size_t right = 0;
  for (std::size_t i = 0; i < map_.rows.size() && right < kRightRows && rows_.size() > 0; ++i) {
    const RowError& e = map_.rows[i * 7919 % map_.rows.size()];
    if (e.bad() || e.dead || row_flop(problem_) > kRowFlop) continue;
    ++right;
    Gains mine;
    guess_row(e.row, mine);
    for (const auto& [guess, gain] : mine) total[guess] += std::clamp(gain, -kCounter * bare, 0.0);
  }
  for (const auto& [guess, gain] : total) {
    const double left = 1 - gain / bare;
    // A guess that names the cause goes before a fingerprint that does as well.
    const bool over_fingerprint = best_.suspect == "precision" && left < best_.left + 0.02;
    if (left < best_.left || over_fingerprint) best_ = {guess.first, guess.second, left};
  }
}

// Only some columns are wrong, and in all bad rows: a store, a vector's rest, a block of V.
bool Triage::look_at_columns() {
  const auto d_v = static_cast<std::int64_t>(map_.columns.size());
  std::int64_t first = d_v, count = 0;
  for (std::int64_t c = d_v - 1; c >= 0; --c) {
    if (map_.columns[static_cast<std::size_t>(c)] <= 1) continue;
    first = c;
    ++count;
  }
  if (map_.bad_elements == 1 && d_v > 1) {
    suspect("output", "a single element is wrong");
    return true;
  }
  if (count == 0 || 2 * count > d_v || d_v < 4) return false;
  if (is_quantised(problem_.v_type) && first % info(problem_.v_type).block == 0 &&
      count <= info(problem_.v_type).block) {
    suspect("quant", "one block of V's columns is wrong");
    return true;
  }
  if (count == d_v - first) {
    suspect("tail", "only the last columns are wrong");
    return true;
  }
  if (count > 1) return false;
  suspect("output", "a single column is wrong");
  return true;
}

// Rows that hold another row's answer, or have something of it on top.
bool Triage::look_at_neighbours() {
  const RowValues& expected = key_.under(contract_.q_rounding).eigen;
  const auto d_v = static_cast<std::size_t>(problem_.d_v);
  std::size_t copies = 0, leftovers = 0;
  for (const Row& row : rows_) {
    const auto got = output(row);
    const auto here =
        static_cast<std::size_t>(std::lower_bound(key_.rows().begin(), key_.rows().end(), row) - key_.rows().begin());
    bool copy = false, leftover = false;
    for (const std::int64_t step : {-1, 1}) {
      const auto there = static_cast<std::int64_t>(here) + step;
      if (there < 0 || there >= static_cast<std::int64_t>(key_.rows().size())) continue;
      const Row& other = key_.rows()[static_cast<std::size_t>(there)];
      double distance = 0, size = 0, along = 0, length = 0, rest = 0;
      for (std::size_t e = 0; e < d_v; ++e) {
        const double theirs = expected[static_cast<std::size_t>(there) * d_v + e];
        const double mine = expected[here * d_v + e], value = static_cast<double>(got[e]);
        distance += (value - theirs) * (value - theirs);
        size += (mine - theirs) * (mine - theirs);
        const double on_top = static_cast<double>(output(other)[e]);
        along += (value - mine) * on_top;
        length += on_top * on_top;
        rest += (value - mine) * (value - mine);
      }
      copy |= distance < 1e-6 * size && other.head == row.head;
      leftover |= step < 0 && d_v >= 8 && length > 0 && rest - along * along / length < 1e-3 * rest;
    }
    copies += copy ? 1 : 0;
    leftovers += leftover ? 1 : 0;
  }
  if (rows_.empty()) return false;
  if (copies == rows_.size()) {
    suspect("tail", "rows hold the answer of the row beside them");
    return true;
  }
  if (leftovers == rows_.size()) {
    suspect("uninitialised", "something of the row before is on top of the answer");
    return true;
  }
  return false;
}

// NaN and Inf: by what the rows that have them share.
void Triage::look_at_nonfinite() {
  std::size_t dead = 0, hidden_chunk = 0, hidden_start = 0, hidden_some = 0, large = 0, low = 0, count = 0;
  for (const RowError& e : bad_) {
    if (!e.nonfinite || count == 32) continue;
    ++count;
    if (e.dead) {
      ++dead;
      continue;
    }
    const EmulatedInputs& inputs = key_.emulated(contract_.q_rounding);
    const std::vector<double> z = logits(read_row_terms(inputs.inputs(), e.row, inputs.score_correction(), {}, 1));
    double top = -kInfinity;
    for (const double x : z) top = std::max(top, std::isfinite(x) ? x : -kInfinity);
    const auto n = static_cast<std::int64_t>(z.size());
    const auto hidden = [&](std::int64_t length) {
      bool some = false;
      for (std::int64_t begin = 0; begin < n && length > 0; begin += length) {
        some |= std::all_of(z.begin() + begin, z.begin() + std::min(begin + length, n),
                            [](double x) { return x == -kInfinity; });
      }
      return some;
    };
    const std::int64_t chunks = std::max<std::int64_t>(contract_.chunks, 1);
    const std::int64_t length = (n + chunks - 1) / chunks;
    if (chunks > 1 && (hidden(length) || length * (chunks - 1) >= n)) ++hidden_chunk;
    if (n > 0 && z.front() == -kInfinity) ++hidden_start;
    if (std::any_of(z.begin(), z.end(), [](double x) { return x == -kInfinity; })) ++hidden_some;
    if (std::abs(top) > 80) ++large;
    if (top < -80) ++low;
  }
  if (count == 0) return;
  const auto finite_rows = map_.rows.size() - std::min(map_.rows.size(), bad_.size());
  if (dead == count) return suspect("dead-row", "only rows without a visible key are NaN or Inf");
  if (hidden_chunk == count) return suspect("split", "rows that see no key of some chunk are NaN or Inf");
  if (gone_with_.contains("hidden")) return suspect("hidden", "NaN or Inf in bytes nobody may use reach the output");
  if (gone_with_.contains("softcap")) return suspect("softcap", "NaN or Inf, and not without the softcap");
  if (gone_with_.contains("sink") && !gone_with_.contains("max")) {
    return suspect("sink", "NaN or Inf, and not without sinks");
  }
  if (large == count)
    return suspect("max", low == count ? "rows of very low logits underflow" : "exp overflows where logits are large");
  if (gone_with_.contains("max")) return suspect("max", "NaN or Inf, and not with small scores");
  if (hidden_start == count) return suspect("max", "rows that do not see the first keys are NaN or Inf");
  if (finite_rows == 0) return suspect("output", "every row is NaN or Inf");
  if (hidden_some == count) return suspect("max", "rows with hidden keys are NaN or Inf");
  suspect("unclear", "NaN or Inf without a pattern in the question");
}

// Independent errors of all weights: their size, where errors in every row have the spread they would make.
void Triage::look_at_weights() {
  double low = kInfinity, high = 0;
  for (const Row& row : rows_) {
    const EmulatedInputs& inputs = key_.emulated(contract_.q_rounding);
    const RowTerms t = read_row_terms(inputs.inputs(), row, inputs.score_correction(), {}, kColumns);
    const std::vector<double> z = logits(t), o = weighted_values(t, z, t.sink);
    std::vector<double> variance(o.size(), 0.0);
    double top = t.sink, sum = 0;
    for (const double x : z) top = std::max(top, x);
    if (t.sink > -kInfinity) sum = std::exp(t.sink - top);
    for (const double x : z) sum += x == -kInfinity ? 0 : std::exp(x - top);
    for (std::size_t j = 0; j < z.size(); ++j) {
      const double p = z[j] == -kInfinity ? 0 : std::exp(z[j] - top) / sum;
      if (p == 0) continue;
      const float* v = t.value(static_cast<std::int64_t>(j));
      for (std::size_t e = 0; e < o.size(); ++e) {
        const double d = p * (static_cast<double>(v[e]) - o[e]);
        variance[e] += d * d;
      }
    }
    double second = 0, fourth = 0;
    const auto got = output(row);
    for (std::size_t e = 0; e < o.size(); ++e) {
      const double x2 = std::pow(static_cast<double>(got[e]) - o[e], 2) / std::max(variance[e], 1e-300);
      second += x2 / static_cast<double>(o.size());
      fourth += x2 * x2 / static_cast<double>(o.size());
    }
    if (!(second > 0) || fourth > 8 * second * second) return;
    low = std::min(low, std::sqrt(second));
    high = std::max(high, std::sqrt(second));
  }
  if (!(high < 0.2) || high > 8 * low) return;
  suspect("exp", fmt::format("weights that are off by about {:.1g}", std::sqrt(low * high)));
}

void Triage::ask(const Rerun& rerun) {
  if (!rerun) return;
  asked_ = true;
  for (const Alteration& a : alterations(key_.the_case())) {
    const std::optional<Verdict> verdict = rerun(a.altered, a.fresh);
    if (!verdict || *verdict == Verdict::UNSUPPORTED) continue;
    const bool gone = !info(*verdict).bad;
    record_.triage.hints.push_back(fmt::format("{} {}", gone ? "goes away" : "stays", a.words));
    if (gone && !a.suspect.empty()) gone_with_.insert(std::string(a.suspect));
    if (gone && a.fresh) break;  // nothing else means anything
  }
}

void Triage::conclude() {
  const Verdict verdict = record_.verdict;
  if (gone_with_.contains("state")) return suspect("state", "right in a fresh process, wrong after other cases");
  if (verdict == Verdict::STALE) return suspect("hidden", "hidden bytes reach the output");
  const bool all_dead = !bad_.empty() && std::all_of(bad_.begin(), bad_.end(), [](const auto& e) { return e.dead; });
  if (verdict == Verdict::UNWRITTEN) {
    if (all_dead) return suspect("dead-row", "rows without a visible key are not written");
    const bool ends =
        std::all_of(bad_.begin(), bad_.end(), [&](const auto& e) { return e.row.query == problem_.n_q - 1; });
    return ends ? suspect("tail", "the last query's rows are not written") : suspect("output", "rows are not written");
  }
  if (rows_.empty() && verdict == Verdict::NAN_) return look_at_nonfinite();
  const bool explained = best_.left < 1 - kExplained;
  if (gone_with_.contains("stride") && !(explained && best_.left < 0.02)) {
    return problem_.layout.sparse ? suspect("offset", "right where the tensors lie close together")
                                  : suspect("stride", "right with a plain layout");
  }
  if (gone_with_.contains("hidden")) return suspect("hidden", "right without poison: bytes nobody may use matter");
  if (look_at_columns()) return;
  if (explained) return suspect(best_.suspect, best_.says);
  if (look_at_neighbours()) return;
  if (all_dead) return suspect("dead-row", "only rows without a visible key are wrong");
  if (verdict == Verdict::NAN_) return look_at_nonfinite();
  const bool huge = problem_.n_kv > 32767 || problem_.layout.sparse;
  if (huge) return suspect("offset", "nothing else explains it, and indices or offsets are large");
  for (const char* word : {"softcap", "sink", "alibi", "mask", "gqa", "quant", "tail", "race", "max"}) {
    if (gone_with_.contains(word)) return suspect(word, "by what makes it go away");
  }
  look_at_weights();
  if (!record_.triage.suspect.empty()) return;
  if (best_.left < 0.6) return suspect(best_.suspect, best_.says + ", in part");
  if (contract_.chunks > 1) return suspect("split", "nothing else explains it, and keys are split into chunks");
  suspect("unclear", "nothing that triage knows explains it");
}

void Triage::run(TriageDepth depth, const Rerun& rerun) {
  map_ = map_errors(key_, contract_, out_);
  bad_ = map_.bad();
  record_.triage.place = describe_place(map_, problem_);
  record_.maps = error_pictures(map_, problem_, depth == TriageDepth::place ? kSmallPicture : kFullPicture);
  record_.triage.depth = "place";
  if (depth == TriageDepth::place) return;
  choose_rows();
  look_at_arithmetic();
  guess();
  if (depth == TriageDepth::full) ask(rerun);
  record_.triage.depth = asked_ ? "full" : "pattern";
  conclude();
  if (record_.verdict != Verdict::FAIL || record_.triage.says != likeness()) return;
  const std::vector<Deviation> stated = stated_deviations(contract_);
  if (std::includes(stated.begin(), stated.end(), print_.deviations.begin(), print_.deviations.end())) return;
  ArithmeticContract other = contract_;
  other.q_rounding = QRounding::none;
  if (!within(widened(other, print_.deviations))) return;
  record_.verdict = Verdict::CONTRACT;
  record_.detail = fmt::format("the backend states {}; behaves like {}", words(stated), print_.text());
}

}  // namespace

const std::vector<SuspectInfo>& suspects() {
  static const std::vector<SuspectInfo> all = {
#define ATTEST_SUSPECT(word, meaning) {word, meaning},
#include "harness/suspects.def"
#undef ATTEST_SUSPECT
  };
  return all;
}

void triage(Key& key, const ArithmeticContract& contract, const TensorView& out, TriageDepth depth, const Rerun& rerun,
            VerdictRecord& record) {
  Triage(key, contract, out, record).run(depth, rerun);
}

void triage_fault(VerdictRecord& record) {
  const auto suspect = [&](const char* word, const char* says) {
    record.triage.suspect = word;
    record.triage.says = says;
    record.triage.depth = "pattern";
  };
  switch (record.verdict) {
    case Verdict::OOB:
    case Verdict::THREADGROUP_OOB:
    case Verdict::CRASH:
    case Verdict::OOM:
      return suspect("memory", "memory that is not the kernel's");
    case Verdict::INPUT_WRITTEN:
      return suspect("memory", "an input was written");
    case Verdict::UNINITIALISED:
      return suspect("uninitialised", "memory is read before it is written");
    case Verdict::RACE:
    case Verdict::BARRIER:
    case Verdict::DIVERGENCE:
      return suspect("race", "threads are not kept in step");
    case Verdict::NONDETERMINISTIC:
    case Verdict::FLAKY:
    case Verdict::HANG:
      return suspect("race", "the answer, or whether there is one, depends on timing");
    default:
      return;
  }
}

}  // namespace attest
