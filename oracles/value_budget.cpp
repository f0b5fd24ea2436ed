#include "oracles/value_budget.h"

#include <algorithm>
#include <cmath>

namespace attest {
namespace {

constexpr double kU = kUnitF32;
constexpr double kInfinity = std::numeric_limits<double>::infinity();
// Room for the f32 sums of this file, and below 65504 for the rounding of the kernel's own sums.
constexpr double kOutward = 1 + 0x1p-9;
constexpr double kOverflow = 65504 * 0.95;
constexpr double kStat8 = 8, kStat14 = 8 * 1.7320508075688772;

double square(double x) { return x * x; }

}  // namespace

struct ValueBudget::Sums {
  double o, a, most;  // |O|, A, max |V|, in units
  double score, variance, n_squared, stagnation, p_abs, p_squared, product, v_abs, v_squared, common, hull;
};

ValueBudget::ValueBudget(const BudgetRules& rules, const RowScores& row, const ScoreBudget& scores, std::int64_t d_v)
    : rules_(rules),
      row_(row),
      scores_(scores),
      d_v_(static_cast<std::size_t>(d_v)),
      stride_(budget_padded(d_v_)),
      extra_(rules.contract.u_p > 0 || rules.contract.omega > 0x1p-100 || rules.contract.products_rounded ||
             rules.error_recursion() || rules.alibi > 0),
      o_(stride_, 0.0),
      a_(stride_, 0.0),
      top_(stride_, -std::numeric_limits<float>::infinity()),
      bottom_(stride_, std::numeric_limits<float>::infinity()),
      columns_a_(stride_, 0.0F) {}

void ValueBudget::add_columns(const DecodedBlock& v) {
  rows_.clear();
  const std::size_t begin = next_visible_;
  for (; next_visible_ < row_.key.size() && row_.key[next_visible_] < v.end; ++next_visible_)
    rows_.push_back(static_cast<std::int32_t>(row_.key[next_visible_] - v.first));
  if (rows_.empty()) return;
  budget_columns({v.data, v.stride, rows_.data(), rows_.size()}, scores_.p.data() + begin,
                 {o_.data(), columns_a_.data(), top_.data(), bottom_.data()});
  if (rules_.contract.drop > 0) drop(v, begin);
  for (std::size_t e = 0; e < stride_; ++e) {
    a_[e] += static_cast<double>(columns_a_[e]);
    columns_a_[e] = 0;
  }
}

// Dropped are weights below c.drop times the largest so far, hence below c.drop times the largest of all. The kernel
// compares its own weights: some room for their error.
void ValueBudget::drop(const DecodedBlock& v, std::size_t begin) {
  constexpr double kRoom = 1.125;
  if (dropped_.empty()) {
    dropped_.assign(stride_, 0.0);
    largest_weight_ = *std::max_element(scores_.p.begin(), scores_.p.end());
  }
  for (std::size_t i = 0; i < rows_.size(); ++i) {
    const double p = scores_.p[begin + i];
    if (!(p < rules_.contract.drop * kRoom * largest_weight_)) continue;
    const float* values = v.data + static_cast<std::size_t>(rows_[i]) * v.stride;
    for (std::size_t e = 0; e < stride_; ++e) dropped_[e] += p * std::abs(static_cast<double>(values[e]));
  }
}

double ValueBudget::largest_value() const {
  double most = 0;
  for (std::size_t e = 0; e < d_v_; ++e)
    most = std::max({most, std::abs(static_cast<double>(top_[e])), std::abs(static_cast<double>(bottom_[e]))});
  return most;
}

bool ValueBudget::finite() const {
  for (std::size_t e = 0; e < d_v_; ++e)
    if (!std::isfinite(o_[e]) || !std::isfinite(top_[e]) || !std::isfinite(bottom_[e])) return false;
  return true;
}

void ValueBudget::centre(double unit, std::vector<std::int32_t> q_columns) {
  unit_ = unit;
  q_columns_ = std::move(q_columns);
  centre_.resize(stride_);
  for (std::size_t e = 0; e < stride_; ++e) centre_[e] = static_cast<float>(o_[e] * unit);
  partial_.assign(kTerms * stride_, 0.0F);
  sums_.assign(kTerms * stride_, 0.0);
  n_rescaled_.assign(stride_, 0.0);
  g_rescaled_.assign(stride_, 0.0);
  beta_.assign(stride_, 0.0);
  jacobian_.assign(q_columns_.size() * stride_, 0.0F);
  // No partial sum exceeds the sum of its positive (negative) parts, (A +- O)/2, in any order.
  if (!ordered())
    for (std::size_t e = 0; e < stride_; ++e) part(kN)[e] = static_cast<float>((a_[e] + std::abs(o_[e])) / 2 * unit);
}

void ValueBudget::add_values(const DecodedBlock& v, const DecodedBlock* k) {
  const auto key_of = [&](std::size_t active) { return row_.key[static_cast<std::size_t>(scores_.active[active])]; };
  // Weights far above the stagnation threshold meet it only where V_je happens to be near 0, without a common sign.
  const float far_above = static_cast<float>(std::min(1.0, 256 * rules_.contract.u_acc));
  const std::size_t count = scores_.active.size();
  std::size_t stop = next_active_;
  while (stop < count && key_of(stop) < v.end) ++stop;
  while (next_active_ < stop ||
         (next_rescale_ < scores_.rescales.size() && scores_.rescales[next_rescale_].at <= stop && stop == count)) {
    while (next_rescale_ < scores_.rescales.size() && scores_.rescales[next_rescale_].at <= next_active_)
      rescale(scores_.rescales[next_rescale_++]);
    const std::size_t begin = next_active_;
    const std::size_t end =
        next_rescale_ < scores_.rescales.size() ? std::min(stop, scores_.rescales[next_rescale_].at) : stop;
    if (begin == end) continue;
    rows_.clear();
    bool stagnation = false;
    for (std::size_t i = begin; i < end; ++i) {
      rows_.push_back(static_cast<std::int32_t>(key_of(i) - v.first));
      stagnation |= scores_.weight[i] < far_above;
    }
    const ValueWeights weights{scores_.weight.data() + begin,
                               scores_.deviation.data() + begin,
                               scores_.variance.data() + begin,
                               (scores_.mask_weight.empty() ? scores_.weight : scores_.mask_weight).data() + begin,
                               centre_.data(),
                               static_cast<float>(rules_.contract.u_acc),
                               stagnation,
                               extra_,
                               !ordered()};
    const KeyBlock values{v.data, v.stride, rows_.data(), rows_.size()};
    budget_values(values, weights,
                  {part(kScore), part(kVariance), part(kN), part(kNSquared), part(kStagnation), part(kPAbs),
                   part(kPSquared), part(kProduct), part(kVAbs), part(kVSquared), part(kCommon), part(kBeta)});
    if (!q_columns_.empty())
      budget_jacobian({k->data, k->stride, rows_.data(), rows_.size()}, values, scores_.slope.data() + begin,
                      centre_.data(), q_columns_.data(), q_columns_.size(), jacobian_.data());
    next_active_ = end;
  }
  flush();
}

// The accumulator is multiplied: one more rounding of N_t, and the error of the factor, common to all earlier keys.
void ValueBudget::rescale(const Rescale& event) {
  const ArithmeticContract& c = rules_.contract;
  const double factor = (c.eps_exp * c.eps_exp + 0x1p-48 * (1 + event.step * event.step)) / 3;
  const double sink = scores_.p_sink;
  for (std::size_t e = 0; e < stride_; ++e) {
    float& n = part(kN)[e];
    const double partial = static_cast<double>(n), o = static_cast<double>(centre_[e]);
    const double g = partial - o * event.l, g_sink = g - o * sink;
    n_rescaled_[e] += partial * partial;
    g_rescaled_[e] += std::max(g * g, g_sink * g_sink) * factor;
    float& beta = part(kBeta)[e];
    beta += static_cast<float>(c.u_acc * (std::abs(partial) + static_cast<double>(beta)));
    if (event.chunk_end) {
      beta_[e] += static_cast<double>(beta);
      n = beta = 0;
    }
  }
}

void ValueBudget::flush() {
  for (std::size_t term = 0; term < kTerms; ++term) {
    if (term == kN || term == kBeta) continue;
    float* from = part(static_cast<Term>(term));
    double* to = sums_.data() + term * stride_;
    for (std::size_t e = 0; e < stride_; ++e) {
      to[e] += static_cast<double>(from[e]);
      from[e] = 0;
    }
  }
}

ValueBudget::Sums ValueBudget::sums(std::size_t e) const {
  const auto sum = [&](Term term) { return sums_[term * stride_ + e] * kOutward; };
  const double o = o_[e] * unit_, top = static_cast<double>(top_[e]) * unit_,
               bottom = static_cast<double>(bottom_[e]) * unit_;
  Sums s{};
  s.o = std::abs(o);
  s.a = std::max(a_[e] * unit_ * kOutward, s.o);
  s.most = std::max(std::abs(top), std::abs(bottom));
  s.hull = std::max({0.0, top - o, o - bottom, row_.has_sink() ? s.o : 0.0});
  const double rest = static_cast<double>(scores_.rest_count);
  // |V - O| was formed in f32: up to one ulp of O short.
  s.score =
      sum(kScore) + scores_.rest_deviation * s.hull + scores_.sink_deviation * s.o + scores_.total_deviation * kU * s.o;
  // Squares were formed and weighed in f32: what vanished there is at most this.
  const double lost = static_cast<double>(row_.key.size()) * 0x1p-126 * (1 + 4 * square(s.most));
  s.variance = (sum(kVariance) + lost) * scores_.variance_unit + scores_.sink_variance * square(s.o);
  s.n_squared = sum(kNSquared) + lost;
  s.stagnation = sum(kStagnation) + scores_.rest_p * s.most;
  if (!extra_) return s;
  s.p_abs = sum(kPAbs) + 2 * scores_.rest_p * s.most + scores_.p_sink * s.o;
  s.p_squared = sum(kPSquared) + lost + square(scores_.p_sink * s.o);
  s.product = sum(kProduct) + lost;
  s.v_abs = sum(kVAbs) + rest * s.most;
  s.v_squared = sum(kVSquared) + rest * square(s.most);
  s.common = std::abs(sum(kCommon)) + scores_.rest_mask * s.hull;
  return s;
}

ValueBudget::QTerms ValueBudget::q_terms(std::size_t e, const std::vector<double>& q_sigma,
                                         const std::vector<double>& q_tie) const {
  QTerms q;
  for (std::size_t k = 0; k < q_columns_.size(); ++k) {
    const double g = static_cast<double>(jacobian_[k * stride_ + e]);
    q.variance += square(q_sigma[k] * g);
    q.tie += q_tie[k] * std::abs(g);
  }
  return q;
}

void ValueBudget::element(std::size_t e, const QTerms& q, RowBudget& out) const {
  const ArithmeticContract& c = rules_.contract;
  const Sums s = sums(e);
  const double n = static_cast<double>(row_.key.size()), r = scores_.rescale_count,
               chunks = static_cast<double>(std::max<std::int64_t>(c.chunks, 1));
  const double omega_out = c.omega_out * unit_;
  // Floors are in units of what is stored: weights below the row sum, or weights already divided by it.
  const double whole = c.p_normalised ? 1 : scores_.l;
  // Under a maximum that may lag by a factor of 256 a sum may reach that before it meets a factor too small for f32.
  const double omega = c.lazy_rescale ? c.omega + 0xffp-126 : c.omega;
  const double p_floor = extra_ ? omega / whole * s.v_abs : omega / whole * n * s.most;
  const double acc_floor = (n + r) * c.omega_acc / whole * unit_;

  // Equations 2 and 3.
  const bool hull_binds = scores_.hull_only || !(s.score < s.hull);
  const double score = hull_binds ? s.hull : s.score;
  const double spread = scores_.hull_only ? kInfinity : s.score + scores_.total_deviation * s.o;
  const double a = std::min(s.a + spread, std::max(s.most, s.a)), o = s.o + score;
  const double dropped = dropped_.empty() ? 0 : dropped_[e] * unit_ * kOutward;
  const double p_det = dropped + (c.u_p > 0 ? c.u_p / (1 - c.u_p) * (s.p_abs + score) : 0);
  double acc = (n + r + 2 * chunks + 4) * c.u_acc * a;
  if (rules_.error_recursion()) {
    const double beta = (beta_[e] + static_cast<double>(partial_[kBeta * stride_ + e])) * kOutward;
    const double rounded = (1 + (c.products_rounded ? 1 : 0) + (chunks > 1 ? 2 * chunks : 0)) * c.u_acc * a;
    const double growth = s.a > 0 ? std::max(1.0, a / s.a) : 1.0;
    acc = std::min(acc + c.u_acc * a, (beta + rounded) * growth);
  }
  acc += acc_floor;
  const double row_sum = (n + r + 2 * chunks + 6) * c.u_l * o;
  const double output = (c.u_out + 3 * kU) * o + omega_out;
  const double tie = q.tie * kOutward + scores_.tie_second_order * score;
  const double det = score + p_det + p_floor + acc + row_sum + output + tie;

  // B_stat = k sigma + beta.
  const double variances[] = {
      s.variance,
      q.variance,
      square(c.u_p) / 3 * s.p_squared + (extra_ ? square(omega / whole) * s.v_squared : square(p_floor)),
      square(c.u_acc) / 3 *
              (s.n_squared + n_rescaled_[e] + (chunks + 2) * square(s.o) + (c.products_rounded ? s.product : 0)) +
          (n + r) * square(c.omega_acc / whole * unit_) / 3,
      g_rescaled_[e],
      square(c.u_l) / 3 * scores_.sum_l_squared * square(s.o),
      (square(c.u_out) + 4 * kU * kU) * square(s.o),
  };
  double variance = 0;
  for (const double v : variances) variance += v;
  const double sigma = std::sqrt(variance) * kOutward;
  const double stagnation = s.stagnation + s.o * scores_.lost_l;
  const double slope = rules_.alibi * s.common;
  const double shifted = scores_.tie_shift * (s.a + s.o) + tie;
  const double beta = stagnation + 2 * kU * s.o + omega_out + slope + shifted + dropped;
  const double back = kOutward / unit_;
  const bool admissible = scores_.inadmissible == Inadmissible::no;
  const auto settle = [&](double value) { return value * back <= 1e300 ? value * back : kInfinity; };
  out.reference.push_back(o_[e]);
  out.det.push_back(settle(det));
  out.stat8.push_back(admissible ? settle(kStat8 * sigma + beta) : kInfinity);
  out.stat14.push_back(admissible ? settle(kStat14 * sigma + beta) : kInfinity);
  out.suspect.push_back(std::min(out.det.back(), out.stat8.back()));
  out.fail.push_back(std::min(out.det.back(), out.stat14.back()));

  const auto leading = [](const TermShares& shares) {
    return static_cast<BudgetTerm>(std::max_element(shares.begin(), shares.end()) - shares.begin());
  };
  struct Share {
    BudgetTerm term;
    double amount;
  };
  const auto largest = [](std::initializer_list<Share> shares) {
    Share most{BudgetTerm::none, 0};
    for (const Share& share : shares)
      if (share.amount > most.amount) most = share;
    return most.term;
  };
  if (out.stat14.back() < out.det.back()) {
    const auto part = [&](int i) { return kStat14 * std::sqrt(variances[i]); };
    out.dominant.push_back(largest({{leading(scores_.stat_shares), part(0)},
                                    {BudgetTerm::q_rounding, part(1) + shifted},
                                    {BudgetTerm::p_rounding, part(2) + dropped},
                                    {BudgetTerm::accumulator, part(3)},
                                    {BudgetTerm::rescale, part(4)},
                                    {BudgetTerm::row_sum, part(5)},
                                    {BudgetTerm::output, part(6) + 2 * kU * s.o + omega_out},
                                    {BudgetTerm::stagnation, stagnation},
                                    {BudgetTerm::mask, slope}}));
  } else {
    out.dominant.push_back(largest({{hull_binds ? BudgetTerm::hull : leading(scores_.det_shares), score},
                                    {BudgetTerm::p_rounding, p_det + p_floor},
                                    {BudgetTerm::accumulator, acc},
                                    {BudgetTerm::row_sum, row_sum},
                                    {BudgetTerm::output, output},
                                    {BudgetTerm::q_rounding, tie}}));
  }
}

void ValueBudget::finish(const std::vector<double>& q_sigma, const std::vector<double>& q_tie, RowBudget& out) const {
  for (std::size_t e = 0; e < d_v_; ++e) element(e, q_terms(e, q_sigma, q_tie), out);
}

bool ValueBudget::peak_in_doubt() const {
  const ArithmeticContract& c = rules_.contract;
  const double lead = c.lazy_rescale ? 256 : 1;
  return rules_.f16_accumulator() && !(scores_.peak_sum * largest_value() * lead <= kOverflow);
}

void ValueBudget::add_peak(const DecodedBlock& v) {
  if (raw_.empty()) {
    raw_.assign(d_v_, 0.0);
    next_visible_ = 0;
  }
  if (!ordered()) {  // from the weights' scale to the kernel's; a sink may come last
    const double to_raw = scores_.key_weight > 1e-300 ? scores_.peak_sum / scores_.key_weight : 0;
    for (std::size_t e = 0; e < d_v_; ++e) {
      const double raw = to_raw > 0 ? (a_[e] + std::abs(o_[e])) / 2 * to_raw : scores_.peak_sum * largest_value();
      peak_ = std::max(peak_, raw);
    }
    return;
  }
  for (; next_visible_ < row_.key.size() && row_.key[next_visible_] < v.end; ++next_visible_) {
    const float* values = v.data + static_cast<std::size_t>(row_.key[next_visible_] - v.first) * v.stride;
    const double factor = scores_.raw_factor[next_visible_], weight = scores_.raw_weight[next_visible_];
    for (std::size_t e = 0; e < d_v_; ++e) {
      raw_[e] = raw_[e] * factor + weight * static_cast<double>(values[e]);
      peak_ = std::max(peak_, std::abs(raw_[e]));
    }
  }
}

bool ValueBudget::overflows() const {
  const double lead = rules_.contract.lazy_rescale ? 256 : 1;
  if (rules_.contract.omega_out >= 0x1p-25)
    for (std::size_t e = 0; e < d_v_; ++e)
      if (!(std::abs(o_[e]) <= kOverflow)) return true;
  return !(peak_ * lead <= kOverflow);
}

}  // namespace attest
