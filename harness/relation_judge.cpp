#include "harness/relation_judge.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>
#include <optional>

#include "harness/row_choice.h"
#include "oracles/emulate.h"
#include "oracles/error_budget.h"

namespace attest {

namespace {

constexpr std::size_t kMostRows = 16;  // whose budgets are worked out, per experiment
constexpr double kRowsFlop = 2e8;      // or fewer: so much of row_flop()
constexpr double kCheapShare = 0.5;    // of the lower bound of B: a difference under that holds at once
constexpr double kUnknownUnits =
    8;  // rows without a bound are ranked as if B were so many units of their largest value

std::span<const float> row_of(std::span<const float> out, const AttentionProblem& p, const Row& row) {
  const auto d_v = static_cast<std::size_t>(p.d_v);
  const auto at = static_cast<std::size_t>((row.seq * p.n_q + row.query) * p.n_head + row.head);
  return out.subspan(at * d_v, d_v);
}

double largest_unit(const ArithmeticContract& c) {
  return std::max({c.u_out, c.u_acc, c.u_p, c.u_qk, c.u_q, kUnitF32});
}

// printf's sign of NaN differs from case to case and says nothing.
std::string value_text(double value) { return std::isnan(value) ? "nan" : fmt::format("{:.9g}", value); }

std::string place_text(const Row& row, std::size_t column) {
  return fmt::format("seq {}, head {}, query {}, column {}", row.seq, row.head, row.query, column);
}

class RelationJudge {
 public:
  RelationJudge(const Experiment& experiment, Key& key, const ArithmeticContract& contract, std::span<const float> base,
                const std::vector<VariantAnswer>& variants)
      : experiment_(experiment),
        key_(key),
        problem_(key.the_case().problem),
        contract_(contract),
        base_(base),
        variants_(variants) {}

  RelationRuling rule() {
    const std::vector<Row> rows = experiment_.own || experiment_.merged ? chosen_rows() : worst_rows();
    if (rows.empty()) return std::move(ruling_);
    ruling_.rows = static_cast<std::int64_t>(rows.size());
    std::vector<RowBudget> base;
    if (!experiment_.own) base = budgets(key_.emulated(contract_.q_rounding), contract_, rows);
    std::vector<std::vector<RowBudget>> others;
    for (const VariantAnswer& v : variants_) {
      std::vector<Row> own_rows;
      for (const Row& row : rows) own_rows.push_back(in_variant(row));
      others.push_back(budgets(EmulatedInputs(v.inputs, v.contract.q_rounding), v.contract, own_rows));
    }
    for (std::size_t r = 0; r < rows.size(); ++r) {
      std::vector<const RowBudget*> of_variants;
      for (const auto& budget : others) of_variants.push_back(&budget[r]);
      judge_row(rows[r], experiment_.own ? nullptr : &base[r], of_variants);
    }
    return std::move(ruling_);
  }

 private:
  Row in_variant(const Row& row) const { return experiment_.query >= 0 ? Row{row.seq, row.head, 0} : row; }
  std::span<const float> output(std::size_t variant, const Row& row) const {
    return row_of(variants_[variant].out, *variants_[variant].inputs.problem, in_variant(row));
  }
  std::vector<RowBudget> budgets(const EmulatedInputs& inputs, const ArithmeticContract& contract,
                                 const std::vector<Row>& rows) const {
    return ErrorBudget(inputs, contract, key_.generic()).rows(rows);
  }
  std::size_t affordable() const {
    const double rows = kRowsFlop / std::max(1.0, row_flop(problem_));
    return rows >= static_cast<double>(kMostRows) ? kMostRows
                                                  : std::max<std::size_t>(1, static_cast<std::size_t>(rows));
  }

  std::vector<Row> chosen_rows() const {
    const AttentionProblem& p = experiment_.own ? *variants_[0].inputs.problem : problem_;
    return choose_rows(p, static_cast<std::int64_t>(affordable()), key_.the_case().seed);
  }

  // Rows that do not hold at once, largest difference first.
  std::vector<Row> worst_rows() const {
    const Key::Bounds& bounds = key_.bounds(contract_);
    const auto d_v = static_cast<std::size_t>(problem_.d_v);
    std::vector<std::pair<double, Row>> doubts;
    std::size_t judged = 0;  // key_.rows() is sorted as the loops below are
    for (std::int64_t s = 0; s < problem_.n_seq; ++s) {
      for (std::int64_t h = 0; h < problem_.n_head; ++h) {
        for (std::int64_t i = 0; i < problem_.n_q; ++i) {
          const Row row{s, h, i};
          while (judged < key_.rows().size() && key_.rows()[judged] < row) ++judged;
          if (experiment_.query >= 0 && i != experiment_.query) continue;
          const bool known =
              judged < key_.rows().size() && key_.rows()[judged] == row && bounds.state[judged] != Key::kNone;
          const double rank = largest_ratio(row, known ? bounds.values.data() + judged * d_v : nullptr);
          if (rank > (known ? kCheapShare : 0.0)) doubts.emplace_back(rank, row);
        }
      }
    }
    std::stable_sort(doubts.begin(), doubts.end(), [](const auto& a, const auto& b) { return a.first > b.first; });
    if (doubts.size() > affordable()) doubts.resize(affordable());
    std::vector<Row> rows;
    for (const auto& [rank, row] : doubts) rows.push_back(row);
    return rows;
  }

  // The largest difference / lower bound of B, or of what stands for it where nothing is known; infinity for NaN.
  double largest_ratio(const Row& row, const std::uint16_t* bound) const {
    const auto got = row_of(base_, problem_, row);
    double stand_in = 0;
    if (bound == nullptr) {
      for (const float x : got) stand_in = std::max(stand_in, std::abs(static_cast<double>(x)));
      stand_in *= kUnknownUnits * largest_unit(contract_);
    }
    double most = 0;
    for (std::size_t e = 0; e < got.size(); ++e) {
      double difference = got[e];
      for (std::size_t v = 0; v < variants_.size(); ++v) {
        difference -= experiment_.variants[v].factor * static_cast<double>(output(v, row)[e]);
      }
      if (difference == 0) continue;
      const double b = bound == nullptr ? stand_in : std::bit_cast<float>(static_cast<std::uint32_t>(bound[e]) << 16);
      const double ratio = std::abs(difference) / b;  // infinity where b is 0
      if (!(ratio <= most)) most = std::isnan(ratio) ? std::numeric_limits<double>::infinity() : ratio;
    }
    return most;
  }

  // Shares of the variants in the softmax's denominator, or their factors.
  std::vector<double> weights(const std::vector<const RowBudget*>& budgets) const {
    std::vector<double> w;
    for (const Variant& v : experiment_.variants) w.push_back(v.factor);
    if (!experiment_.merged) return w;
    double most = -std::numeric_limits<double>::infinity(), sum = 0;
    for (const RowBudget* b : budgets) most = std::max(most, b->log_sum_exp);
    for (std::size_t v = 0; v < w.size(); ++v)
      sum += w[v] = std::isinf(most) ? 0 : std::exp(budgets[v]->log_sum_exp - most);
    for (double& x : w) x = sum > 0 ? x / sum : 0;
    return w;
  }

  void judge_row(const Row& row, const RowBudget* base, const std::vector<const RowBudget*>& others) {
    if (base != nullptr && base->range) return;
    if (std::any_of(others.begin(), others.end(), [](const RowBudget* b) { return b->range; })) return;
    const std::vector<double> w = weights(others);
    for (std::size_t e = 0; e < static_cast<std::size_t>(problem_.d_v); ++e) {
      double sum = 0, reference = 0, allowed = 0;
      for (std::size_t v = 0; v < w.size(); ++v) {
        if (w[v] == 0) continue;
        sum += w[v] * static_cast<double>(output(v, row)[e]);
        reference += w[v] * others[v]->reference[e];
        allowed += std::abs(w[v]) * others[v]->fail[e];
      }
      const double got = base == nullptr ? 0 : static_cast<double>(row_of(base_, problem_, row)[e]);
      const double expected = base == nullptr ? 0 : base->reference[e];
      if (base != nullptr) allowed += base->fail[e];
      const double error = std::abs((got - sum) - (expected - reference));
      const double ratio = error == 0 ? 0 : error / allowed;
      if (!(ratio <= ruling_.ratio)) ruling_.ratio = ratio;
      if (error <= allowed || !ruling_.held) continue;
      ruling_.held = false;
      const std::string place = place_text(row, e);
      ruling_.detail = base == nullptr
                           ? fmt::format("{}: {}, the reference {}; {:.3g} is allowed", place, value_text(sum),
                                         value_text(reference), allowed)
                           : fmt::format("{}: {}, then {}; they may differ by {:.3g}", place, value_text(got),
                                         value_text(sum), allowed + std::abs(expected - reference));
    }
  }

  const Experiment& experiment_;
  Key& key_;
  const AttentionProblem& problem_;
  const ArithmeticContract& contract_;
  std::span<const float> base_;
  const std::vector<VariantAnswer>& variants_;
  RelationRuling ruling_;
};

}  // namespace

std::string first_difference(const AttentionProblem& p, std::span<const float> base, std::span<const float> other) {
  for (std::size_t at = 0; at < base.size(); ++at) {
    if (std::bit_cast<std::uint32_t>(base[at]) == std::bit_cast<std::uint32_t>(other[at])) continue;
    const auto e = static_cast<std::int64_t>(at);
    const Row row{e / (p.d_v * p.n_head * p.n_q), e / p.d_v % p.n_head, e / (p.d_v * p.n_head) % p.n_q};
    return fmt::format("{}: {}, then {}", place_text(row, static_cast<std::size_t>(e % p.d_v)), value_text(base[at]),
                       value_text(other[at]));
  }
  return "";
}

RelationRuling judge_relation(const Experiment& experiment, Key& key, const ArithmeticContract& contract,
                              std::span<const float> base, const std::vector<VariantAnswer>& variants) {
  return RelationJudge(experiment, key, contract, base, variants).rule();
}

}  // namespace attest
