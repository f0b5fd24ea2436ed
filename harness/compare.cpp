#include "harness/compare.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <span>

#include "cases/poison.h"
#include "harness/measures.h"
#include "oracles/eigen_reference.h"
#include "oracles/error_budget.h"
#include "oracles/scalar_oracle.h"

namespace attest {

namespace {

constexpr std::size_t kMostDoubts = 256;  // rows in doubt confirmed by the scalar oracle, worst first
constexpr double kCheapShare = 0.5;       // of a bound of B from below: an error under that passes at once
// Both references work in fp64: they must agree to this share of the rigorous f32 bound (2^-29 would be exact; the
// rest covers their different orders of summation and Q's exact emulation).
constexpr double kReferenceShare = 0x1p-20;
// B_det allows more than 2^-24 of |O| whatever the contract, so that this share of |O| is always within the share
// above.
constexpr double kReferenceUnit = 0x1p-45;

std::span<const float> output_row(const TensorView& out, const Row& row) {
  return {reinterpret_cast<const float*>(out.row(row.head, row.query, row.seq)), static_cast<std::size_t>(out.ne[0])};
}

bool finite(float x) { return (std::bit_cast<std::uint32_t>(x) & 0x7f800000U) != 0x7f800000U; }

// err / B with 0/0 = 0; never NaN for finite input.
double ratio(double error, double budget) {
  if (error == 0) return 0;
  return budget > 0 ? error / budget : std::numeric_limits<double>::infinity();
}

// NaN, Inf and unwritten elements, wherever they are.
struct Scan {
  std::int64_t unwritten = 0, nonfinite = 0;
  std::vector<Row> rows;  // with a non-finite element
  WorstElement first_unwritten, first_nonfinite;
};

Scan scan(const TensorView& out) {
  Scan found;
  for (std::int64_t s = 0; s < out.ne[3]; ++s) {
    for (std::int64_t h = 0; h < out.ne[1]; ++h) {
      for (std::int64_t i = 0; i < out.ne[2]; ++i) {
        const Row row{s, h, i};
        const auto values = output_row(out, row);
        bool all_finite = true;
        for (const float v : values) all_finite &= finite(v);
        if (all_finite) continue;
        found.rows.push_back(row);
        for (std::size_t e = 0; e < values.size(); ++e) {
          if (finite(values[e])) continue;
          const bool unwritten = std::bit_cast<std::uint32_t>(values[e]) == kOutputPrefill;
          auto& count = unwritten ? found.unwritten : found.nonfinite;
          auto& first = unwritten ? found.first_unwritten : found.first_nonfinite;
          if (count++ == 0) {
            first = {s, h, i, static_cast<std::int64_t>(e), static_cast<double>(values[e]), 0, 0, ""};
          }
        }
      }
    }
  }
  return found;
}

struct Doubt {
  std::size_t index;  // into key.rows()
  double ratio;
};

class Comparison {
 public:
  Comparison(Key& key, const ArithmeticContract& contract, const TensorView& out, VerdictRecord& record)
      : key_(key),
        contract_(contract),
        out_(out),
        record_(record),
        answer_(key.under(contract.q_rounding)),
        bounds_(key.bounds(contract)),
        d_v_(static_cast<std::size_t>(out.ne[0])),
        measures_(static_cast<std::int64_t>(key.rows().size()) * out.ne[0]) {}

  Ruling rule();

 private:
  void describe(const Scan& found);
  void judge_rows(const Scan& found);
  bool passes_cheaply(std::size_t index);
  void judge_row(std::size_t index, const RowBudget& budget);
  bool agrees(const Row& row, std::span<const double> first, std::span<const double> second);
  bool confirm();
  void report_contract_error();
  void report_loss(const Scan& found);
  void report_parties();
  std::span<const double> eigen(std::size_t index) const {
    return std::span(answer_.eigen).subspan(index * d_v_, d_v_);
  }

  Key& key_;
  const ArithmeticContract& contract_;
  const TensorView& out_;
  VerdictRecord& record_;
  const Key::Answer& answer_;
  const Key::Bounds& bounds_;
  std::size_t d_v_;
  Measures measures_;
  std::vector<Doubt> doubts_;
  std::vector<float> bound_;  // of one row
  double worst_ = -1;
  bool above_suspect_ = false, above_fail_ = false, nonfinite_ = false;
};

// Every error below half of a bound of B from below: the row passes without B itself.
bool Comparison::passes_cheaply(std::size_t index) {
  if (bounds_.state[index] == Key::kNone) return false;
  const auto expected = eigen(index);
  const auto got = output_row(out_, key_.rows()[index]);
  const auto* stored = reinterpret_cast<const std::byte*>(bounds_.values.data() + index * d_v_);
  decode_row(DType::bf16, stored, bound_.data(), static_cast<std::int64_t>(d_v_));
  const BoundCheck check = check_bound(got, expected, bound_, kCheapShare);
  if (!check.within) return false;
  if (bounds_.state[index] == Key::kDead) ++record_.rows_dead;
  if (!key_.generic() || contract_.truncating) ++record_.rows_det;
  measures_.add(got, expected);
  if (!(check.worst > worst_)) return true;
  worst_ = check.worst;
  record_.err_over_b_is_bound = true;
  const Row& row = key_.rows()[index];
  const auto ratio_at = [&](std::size_t e) {
    return ratio(std::abs(static_cast<double>(got[e]) - expected[e]), static_cast<double>(bound_[e]));
  };
  std::size_t e = 0;
  while (e + 1 < d_v_ && ratio_at(e) < check.worst) ++e;
  record_.worst = {row.seq,
                   row.head,
                   row.query,
                   static_cast<std::int64_t>(e),
                   static_cast<double>(got[e]),
                   expected[e],
                   static_cast<double>(bound_[e]),
                   ""};
  return true;
}

void Comparison::judge_row(std::size_t index, const RowBudget& budget) {
  const Row& row = key_.rows()[index];
  if (budget.range) {
    ++record_.rows_range;
    return;
  }
  if (budget.dead) ++record_.rows_dead;
  if (budget.inadmissible != Inadmissible::no) ++record_.rows_det;
  const auto got = output_row(out_, row);
  const auto expected = eigen(index);
  double row_worst = 0;
  bool all_finite = true;
  for (std::size_t e = 0; e < d_v_; ++e) {
    const auto value = static_cast<double>(got[e]);
    if (!finite(got[e])) {
      all_finite = false;
      continue;
    }
    const double error = std::abs(value - expected[e]);
    const double r = ratio(error, budget.fail[e]);
    row_worst = std::max(row_worst, r);
    if (!(error <= budget.suspect[e])) above_suspect_ = true;
    if (!(error <= budget.fail[e])) {
      above_fail_ = true;
      ++record_.bad_elements;
    }
    if (r > worst_) {
      worst_ = r;
      record_.err_over_b_is_bound = false;
      record_.worst = {row.seq, row.head,    row.query,      static_cast<std::int64_t>(e),
                       value,   expected[e], budget.fail[e], std::string(term_name(budget.dominant[e]))};
    }
  }
  if (all_finite) measures_.add(got, expected);
  nonfinite_ |= !all_finite;
  if (row_worst > 0.5) doubts_.push_back({index, row_worst});
}

void Comparison::judge_rows(const Scan& found) {
  const std::vector<Row>& rows = key_.rows();
  record_.rows_judged = static_cast<std::int64_t>(rows.size());
  bound_.resize(d_v_);
  std::vector<std::size_t> rest;
  for (std::size_t i = 0; i < rows.size(); ++i) {
    if (!passes_cheaply(i)) rest.push_back(i);
  }
  const auto& budgets = key_.budgets(contract_, rest);
  for (const std::size_t i : rest) judge_row(i, budgets.at(i));
  // A non-finite row outside the judged ones is bad unless the contract predicts its overflow.
  for (const Row& row : found.rows) {
    if (nonfinite_) break;
    if (std::binary_search(rows.begin(), rows.end(), row)) continue;
    nonfinite_ = !ErrorBudget(key_.emulated(contract_.q_rounding), contract_, key_.generic()).row(row).range;
  }
  record_.err_over_b = std::max(worst_, 0.0);
  measures_.report(record_);
}

// Whether the references agree in a row: within a share of the rigorous bound of f32 arithmetic.
bool Comparison::agrees(const Row& row, std::span<const double> first, std::span<const double> second) {
  const ErrorBudget plain(key_.emulated(contract_.q_rounding), ArithmeticContract{.q_rounding = contract_.q_rounding},
                          false);
  // Nearly always they agree to the last digits, which needs no budget.
  const auto same = [&](std::size_t e) {
    return first[e] == second[e] || std::abs(first[e] - second[e]) <= kReferenceUnit * std::abs(first[e]);
  };
  bool equal = true;
  for (std::size_t e = 0; e < d_v_; ++e) equal &= same(e);  // infinities of V are equal
  if (equal) return true;
  const RowBudget own = plain.row(row);
  // No finite answer under the stated rounding of Q (q8_1's sums overflow f16): both have to find none.
  const auto none = [](std::span<const double> values) {
    return std::none_of(values.begin(), values.end(), [](double v) { return std::isfinite(v); });
  };
  if (own.range && none(first) && none(second)) return true;
  for (std::size_t e = 0; e < d_v_; ++e) {
    const double allowed = kReferenceShare * own.det[e];
    if (same(e)) continue;
    if (std::abs(first[e] - second[e]) <= allowed) continue;
    record_.worst = {row.seq,   row.head, row.query, static_cast<std::int64_t>(e),
                     second[e], first[e], allowed,   "reference"};
    record_.detail = "Eigen and the scalar oracle disagree (got: Eigen, expected: scalar oracle)";
    return false;
  }
  return true;
}

// The scalar oracle speaks on the sample and on the rows in doubt. False: the references contradict each other.
bool Comparison::confirm() {
  std::sort(doubts_.begin(), doubts_.end(), [](const Doubt& a, const Doubt& b) { return a.ratio > b.ratio; });
  if (doubts_.size() > kMostDoubts) doubts_.resize(kMostDoubts);
  const std::vector<Row>& sample = key_.sample();
  std::vector<Row> rows;
  for (const auto& doubt : doubts_) {
    const Row& row = key_.rows()[doubt.index];
    if (!std::binary_search(sample.begin(), sample.end(), row)) rows.push_back(row);
  }
  RowValues truth = answer_.truth;
  const EmulatedInputs* q = rows.empty() ? nullptr : &key_.emulated(contract_.q_rounding);
  if (q != nullptr) {
    const RowValues more = scalar_oracle(q->inputs(), rows, q->score_correction());
    truth.insert(truth.end(), more.begin(), more.end());
  }
  rows.insert(rows.begin(), sample.begin(), sample.end());
  record_.rows_confirmed = static_cast<std::int64_t>(rows.size());

  bool confirmed_fail = false;
  for (std::size_t i = 0; i < rows.size(); ++i) {
    const auto at = static_cast<std::size_t>(std::lower_bound(key_.rows().begin(), key_.rows().end(), rows[i]) -
                                             key_.rows().begin());
    const auto first = std::span(truth).subspan(i * d_v_, d_v_);
    const bool known = i < sample.size() && answer_.agreed;
    if (!known && !agrees(rows[i], first, eigen(at))) return false;
    if (!above_fail_) continue;
    const RowBudget& budget = key_.budgets(contract_, {at}).at(at);
    const auto got = output_row(out_, rows[i]);
    for (std::size_t e = 0; e < d_v_ && !budget.range; ++e) {
      confirmed_fail |= !(std::abs(static_cast<double>(got[e]) - first[e]) <= budget.fail[e]);
    }
  }
  key_.agreed(contract_.q_rounding);
  if (above_fail_ && !confirmed_fail) {
    record_.detail = "Eigen finds an error above the budget that the scalar oracle does not";
    return false;
  }
  return true;
}

void Comparison::report_contract_error() {
  double error = 0, reference = 0;
  for (std::size_t i = 0; i < answer_.exact.size(); ++i) {
    const float got = output_row(out_, key_.sample()[i / d_v_])[i % d_v_];
    const double x = answer_.exact[i];
    if (!finite(got)) continue;
    error += (static_cast<double>(got) - x) * (static_cast<double>(got) - x);
    reference += x * x;
  }
  if (!answer_.exact.empty()) {
    record_.contract_nmse = error / std::max(reference, 1e-30 * static_cast<double>(answer_.exact.size()));
  }
}

// The contract allows it, but nobody would call it the answer.
void Comparison::report_loss(const Scan& found) {
  if (found.nonfinite > 0) {
    record_.loss = "overflow";
    return;
  }
  if (!(record_.nmse > kLossyNmse)) return;
  std::string& term = record_.worst.dominant;
  if (term.empty()) {  // passed by the cheap bound, which does not say
    const Row row{record_.worst.seq, record_.worst.head, record_.worst.query};
    const auto at =
        static_cast<std::size_t>(std::lower_bound(key_.rows().begin(), key_.rows().end(), row) - key_.rows().begin());
    term = term_name(key_.budgets(contract_, {at}).at(at).dominant[static_cast<std::size_t>(record_.worst.column)]);
  }
  record_.loss = term;
}

// Who else is how far off: tells a wrong backend from a hard problem.
void Comparison::report_parties() {
  const std::vector<Row>& rows = key_.sample();
  const auto add = [&](const char* party, const RowValues& values) {
    PartyError error{party, 0, 0};
    double squared = 0, reference = 0;
    for (std::size_t i = 0; i < rows.size(); ++i) {
      const auto at = static_cast<std::size_t>(std::lower_bound(key_.rows().begin(), key_.rows().end(), rows[i]) -
                                               key_.rows().begin());
      const auto expected = eigen(at);
      for (std::size_t e = 0; e < d_v_; ++e) {
        const double d = values[i * d_v_ + e] - expected[e];
        squared += d * d;
        reference += expected[e] * expected[e];
        error.max_abs = std::max(error.max_abs, std::abs(d));
      }
    }
    error.nmse = squared / std::max(reference, 1e-30 * static_cast<double>(rows.size() * d_v_));
    record_.parties.push_back(error);
  };
  const EmulatedInputs& q = key_.emulated(contract_.q_rounding);
  add("scalar oracle", answer_.truth);
  add("eigen:f32", eigen_reference<float>(q.inputs(), rows, q.score_correction()));
  if (contract_.q_rounding != QRounding::none) {
    add("exact Q", eigen_reference<double>(key_.inputs(), rows));
  }
}

void Comparison::describe(const Scan& found) {
  const AttentionProblem& p = key_.the_case().problem;
  record_.path = contract_.path_name();
  record_.rows = p.n_seq * p.n_head * p.n_q;
  record_.prec_not_honoured = p.prec == Precision::f32 && !contract_.honours_prec_f32;
  record_.bad_elements = found.unwritten;
}

Ruling Comparison::rule() {
  const Scan found = scan(out_);
  describe(found);
  if (found.unwritten > 0) {
    record_.worst = found.first_unwritten;
    record_.err_over_b = std::numeric_limits<double>::quiet_NaN();
    record_.detail = fmt::format("{} elements were not written", found.unwritten);
    return {Verdict::UNWRITTEN, false};
  }
  judge_rows(found);
  report_contract_error();
  const bool agree = confirm();
  if (!agree) {
    report_parties();
    return {Verdict::ORACLE, false};
  }
  if (nonfinite_) {
    record_.worst = found.first_nonfinite;
    record_.bad_elements += found.nonfinite;
    record_.err_over_b = std::numeric_limits<double>::quiet_NaN();
    record_.detail = fmt::format("{} elements are NaN or Inf where the references are finite", found.nonfinite);
    report_parties();
    return {Verdict::NAN_, false};
  }
  if (above_fail_) {
    report_parties();
    return {Verdict::FAIL, false};
  }
  report_loss(found);
  if (record_.rows_range == record_.rows_judged && record_.rows_judged > 0) {
    record_.err_over_b = std::numeric_limits<double>::quiet_NaN();
    record_.detail = "the stated contract predicts overflow in every judged row";
    return {Verdict::RANGE, false};
  }
  return {Verdict::PASS, above_suspect_};
}

}  // namespace

Ruling compare(Key& key, const ArithmeticContract& contract, const TensorView& out, VerdictRecord& record) {
  return Comparison(key, contract, out, record).rule();
}

}  // namespace attest
