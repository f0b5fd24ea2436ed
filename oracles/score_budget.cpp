#include "oracles/score_budget.h"

#include <algorithm>
#include <cmath>

namespace attest {
namespace {

constexpr double kU = kUnitF32;
constexpr double kLargestF16 = 65504;
constexpr double kNegligible = 0x1p-45;

// Upper bound of expm1(t) for 0 <= t < 1 and lower bound of exp(-t); both within 0.1 t^4.
double expm1_above(double t) { return t * (1 + t * (0.5 + t * 0.21829)); }
double exp_minus_below(double t) { return 1 - t * (1 - t * (0.5 - t * (1.0 / 6))); }

void charge(TermShares& shares, BudgetTerm term, double amount) { shares[static_cast<std::size_t>(term)] += amount; }

// Scores after softcap and mask, with the derivative of the softcap.
struct Logits {
  std::vector<double> phi, dphi, z;
};

Logits logits(const RowScores& row, double softcap) {
  Logits out;
  out.phi = row.x;
  if (softcap > 0) {
    out.dphi.resize(row.x.size());
    for (std::size_t i = 0; i < row.x.size(); ++i) {
      const double t = std::tanh(row.x[i] / softcap);
      out.phi[i] = softcap * t;
      out.dphi[i] = (1 - t) * (1 + t);
    }
  }
  out.z.resize(row.x.size());
  for (std::size_t i = 0; i < row.x.size(); ++i) out.z[i] = out.phi[i] + row.mask[i];
  return out;
}

// Follows the running maximum in the kernel's order, tile by tile, restarted in every chunk; `at` counts visible keys.
void follow_order(const RowScores& row, const BudgetRules& rules, const std::vector<double>& z, ScoreBudget& out) {
  const ArithmeticContract& contract = rules.contract;
  const std::int64_t chunks = std::max<std::int64_t>(contract.chunks, 1),
                     tile = std::max<std::int64_t>(contract.tile, 1);
  const std::int64_t chunk_length = std::max<std::int64_t>((rules.n_kv + chunks - 1) / chunks, 1);
  const double u_l = contract.u_l, sink = out.p_sink;
  const bool follow_peak = rules.f16_accumulator();
  double last_max = -std::numeric_limits<double>::infinity(), l = 0, raw = 0;
  std::int64_t count = 0, most = 0, chunk = -1;
  const std::size_t n = z.size();
  for (std::size_t i = 0; i < n;) {
    const std::int64_t this_chunk = row.key[i] / chunk_length;
    if (this_chunk != chunk) {
      if (chunk >= 0 && chunks > 1) out.rescales.push_back({i, l, out.max - last_max, true});
      chunk = this_chunk;
      last_max = -std::numeric_limits<double>::infinity();
      l = 0;
      count = 0;
    }
    const std::int64_t begin = chunk * chunk_length;
    const std::int64_t tile_end = std::min(begin + ((row.key[i] - begin) / tile + 1) * tile, begin + chunk_length);
    std::size_t end = i;
    double top = -std::numeric_limits<double>::infinity(), shrink = std::isfinite(last_max) ? 1 : 0;
    for (; end < n && row.key[end] < tile_end; ++end) top = std::max(top, z[end]);
    if (top > last_max) {
      if (std::isfinite(last_max)) {
        out.rescales.push_back({i, l, top - last_max, false});
        most = std::max(most, ++count);
        shrink = std::exp(last_max - top);
      }
      last_max = top;
    }
    for (; i < end; ++i) {
      l += out.p[i];
      const double with_sink = l + sink;
      out.sum_l_squared += with_sink * with_sink;
      if (out.p[i] < 4 * u_l * with_sink) out.lost_l += std::min(out.p[i], u_l * with_sink);
      if (!follow_peak) continue;
      out.raw_weight.push_back(std::exp(z[i] - last_max));
      out.raw_factor.push_back(shrink);
      raw = raw * shrink + out.raw_weight.back();
      out.peak_sum = std::max(out.peak_sum, raw);
      shrink = 1;
    }
  }
  if (chunks > 1) out.rescales.push_back({n, l, out.max - last_max, true});
  out.rescale_count = static_cast<double>(most);
}

// Largest sum of exp(z_j - m) over keys with z_j <= m, for any m: no partial sum in any order exceeds it.
double largest_partial_sum(std::vector<double> z) {
  std::sort(z.begin(), z.end());
  double sum = 0, most = 0, m = 0;
  for (const double next : z) {
    sum = 1 + (sum > 0 ? sum * std::exp(m - next) : 0.0);
    most = std::max(most, sum);
    m = next;
  }
  return most;
}

// No order known: at most one rescale per tile, every partial sum at most its order-free bound.
void any_order(const RowScores& row, const BudgetRules& rules, const std::vector<double>& z, ScoreBudget& out) {
  const ArithmeticContract& contract = rules.contract;
  const std::int64_t chunks = std::max<std::int64_t>(contract.chunks, 1),
                     tile = std::max<std::int64_t>(contract.tile, 1);
  const std::int64_t longest = std::min((rules.n_kv + chunks - 1) / chunks, static_cast<std::int64_t>(row.key.size()));
  out.rescale_count = static_cast<double>(std::max<std::int64_t>((longest + tile - 1) / tile - 1, 0));
  out.sum_l_squared = static_cast<double>(row.key.size());
  for (const double p : out.p)
    if (p < 4 * contract.u_l) out.lost_l += std::min(p, contract.u_l);
  if (rules.f16_accumulator()) out.peak_sum = largest_partial_sum(z);
}

// D_j and v_j of one key with their parts.
struct Deviation {
  double d = 0, v = 0, sigma2_q = 0;
};

class Deviations {
 public:
  Deviations(const BudgetRules& rules, const ScoreBudget& scores)
      : c_(rules.contract),
        softcap_(rules.softcap),
        alibi_(rules.alibi),
        scale_(std::abs(rules.scale)),
        d_(static_cast<double>(rules.d_k)),
        exp_det_(c_.eps_exp * (1 + scores.rescale_count)),
        max_abs_(std::abs(scores.max)),
        dot_det_((d_ + 2) * c_.u_qk),
        u_qk2_(c_.u_qk * c_.u_qk / 3) {}

  Deviation key(double x, double a_sum, double b2_sum, double tie, double phi, double dphi, double z, double m,
                double p, TermShares& det, TermShares& stat) const {
    const double a = scale_ * a_sum, b2 = scale_ * scale_ * b2_sum, size = std::abs(x);
    const double dot = dot_det_ * a, q = c_.u_q * a + tie, stored = c_.u_s * size;
    const double dx = dot + q + stored;
    double shift = dx, factor = 1;
    if (softcap_ > 0) {
      // sech^2 grows by at most exp(2 dx / L) over a distance dx; exp(y) <= 1 + y + y^2 below 1.
      const double y = 2 * dx / softcap_;
      factor = y < 1 ? std::min(1.0, (dphi + 4e-16) * (1 + y * (1 + y))) : 1.0;
      shift = std::min(dx * factor, 2 * softcap_);
    }
    const double arithmetic = 4 * kU * (std::abs(phi) + std::abs(m) + max_abs_ + softcap_);
    const double tanh_error = softcap_ > 0 ? c_.eps_tanh * std::abs(phi) : 0;
    const double masked = (c_.u_m + alibi_) * std::abs(m), score = c_.u_z * std::abs(z);
    charge(det, BudgetTerm::dot, p * dot * factor);
    charge(det, BudgetTerm::q_rounding, p * q * factor);
    charge(det, BudgetTerm::score_store, p * (stored * factor + score));
    charge(det, BudgetTerm::softcap, p * tanh_error);
    charge(det, BudgetTerm::mask, p * masked);
    charge(det, BudgetTerm::exp, p * (exp_det_ + arithmetic));

    const double slope2 = dphi * dphi;
    const double v_dot = slope2 * u_qk2_ * ((d_ / 2 + 2) * b2 + (d_ / 3 + 1) * x * x);
    const double v_stored = (slope2 * c_.u_s * c_.u_s * x * x + c_.u_z * c_.u_z * z * z) / 3;
    const double v_mask = c_.u_m * c_.u_m * m * m / 3, v_tanh = tanh_error * tanh_error / 3;
    const double v_exp = c_.eps_exp * c_.eps_exp / 3 + arithmetic * arithmetic / 16;
    const double p2 = p * p;
    charge(stat, BudgetTerm::dot, p2 * v_dot);
    charge(stat, BudgetTerm::score_store, p2 * v_stored);
    charge(stat, BudgetTerm::mask, p2 * v_mask);
    charge(stat, BudgetTerm::softcap, p2 * v_tanh);
    charge(stat, BudgetTerm::exp, p2 * v_exp);
    return {shift + tanh_error + score + masked + exp_det_ + arithmetic, v_dot + v_stored + v_mask + v_tanh + v_exp,
            slope2 * (c_.u_q * c_.u_q * b2 / 3 + tie * tie)};
  }

  Deviation sink(double sink) const {
    const double arithmetic = 4 * kU * (std::abs(sink) + max_abs_ + softcap_);
    return {exp_det_ + c_.eps_exp + arithmetic, c_.eps_exp * c_.eps_exp / 3 + arithmetic * arithmetic / 16, 0};
  }

 private:
  const ArithmeticContract& c_;
  double softcap_, alibi_, scale_, d_, exp_det_, max_abs_, dot_det_, u_qk2_;
};

// w_j of error-budget.md: what a weight p = exp(z - M)/l can be off by when its score is off by d.
double weight_error(double p, double z, double d, const ScoreBudget& scores) {
  return d < 1 ? p * expm1_above(d) : std::exp(std::min(700.0, z - scores.max + d)) / scores.l;
}
double weight_below(double p, double d) { return p > 0 ? p * (d < 1 ? exp_minus_below(d) : std::exp(-d)) : 0; }
double first_order_excess(double p, const Deviation& dev) {
  const double t = 8 * std::sqrt(dev.v + dev.sigma2_q);
  if (!(p > 0)) return 0;
  return p * (t < 1 ? expm1_above(t) : std::expm1(t));
}

// Keys at the softcap have one logit in f32, so one weight, and its roundings add up instead of cancelling: n equal terms
// are off by up to n u / 2 together where the statistics expect 8 sqrt(n) u at most. A quarter of that may be theirs.
constexpr double kAtCap = 0x1p-22, kMostAtCap = 4;

}  // namespace

ScoreBudget score_budget(const RowScores& row, const BudgetRules& rules) {
  ScoreBudget out;
  const std::size_t n = row.x.size();
  const Logits s = logits(row, rules.softcap);
  double last_visible = -std::numeric_limits<double>::infinity(), largest_x = 0, largest_z = 0;
  for (std::size_t i = 0; i < n; ++i) {
    if (!std::isfinite(s.z[i]) || !std::isfinite(row.x[i])) out.finite = false;
    last_visible = std::max(last_visible, s.z[i]);
    largest_x = std::max(largest_x, std::abs(row.x[i]));
    largest_z = std::max(largest_z, std::abs(s.z[i]));
  }
  if (std::isnan(row.sink) || row.sink == std::numeric_limits<double>::infinity()) out.finite = false;
  if (!out.finite) return out;
  const ArithmeticContract& contract = rules.contract;
  out.range =
      (contract.u_s == kUnitF16 && largest_x > kLargestF16) || (contract.u_z == kUnitF16 && largest_z > kLargestF16);

  out.max = std::max(last_visible, row.sink);
  out.p.resize(n);
  for (std::size_t i = 0; i < n; ++i) out.l += out.p[i] = std::exp(s.z[i] - out.max);
  out.p_sink = row.has_sink() ? std::exp(row.sink - out.max) : 0;
  out.l += out.p_sink;
  const double inverse = 1 / out.l;
  for (double& p : out.p) out.key_weight += p *= inverse;
  out.p_sink *= inverse;

  if (contract.order == SumOrder::ascending)
    follow_order(row, rules, s.z, out);
  else
    any_order(row, rules, s.z, out);
  out.rescale_count += (contract.chunks > 1 ? 1 : 0) + (row.has_sink() ? 1 : 0);

  const Deviations deviations(rules, out);
  std::vector<Deviation> dev(n);
  double below = 0, excess = 0, unsaturated = 0, at_cap = 0, largest_tie = 0;
  for (std::size_t i = 0; i < n; ++i) {
    const double p = out.p[i], dphi = s.dphi.empty() ? 1.0 : s.dphi[i];
    const double tie = row.tie.empty() ? 0.0 : static_cast<double>(row.tie[i]);
    const double slack = row.slack.empty() ? 0.0 : static_cast<double>(row.slack[i]);
    const double charged = slack + (row.exact_ties ? 0.0 : tie);
    dev[i] = deviations.key(row.x[i], static_cast<double>(row.a[i]), static_cast<double>(row.b2[i]), charged, s.phi[i],
                            dphi, s.z[i], row.mask[i], p, out.det_shares, out.stat_shares);
    below += weight_below(p, dev[i].d);
    excess += first_order_excess(p, dev[i]);
    unsaturated += p * dphi;
    if (dphi < kAtCap) at_cap += p;
    largest_tie = std::max(largest_tie, tie);
    if (p > kNegligible) out.tie_shift = std::max(out.tie_shift, charged * dphi);
  }
  if (row.exact_ties) out.tie_second_order = std::expm1(std::min(2 * largest_tie, 700.0));
  const Deviation sink = row.has_sink() ? deviations.sink(row.sink) : Deviation{};
  if (row.has_sink()) {
    below += weight_below(out.p_sink, sink.d);
    excess += first_order_excess(out.p_sink, sink);
    out.sink_variance = out.p_sink * out.p_sink * sink.v;
  }
  if (contract.truncating)
    out.inadmissible = Inadmissible::truncating;
  else if (!rules.generic)
    out.inadmissible = Inadmissible::structured_data;
  else if (!(excess <= 0.25))
    out.inadmissible = Inadmissible::not_first_order;
  else if (!(unsaturated >= 0.02 * out.key_weight) || !(at_cap * std::sqrt(static_cast<double>(n)) <= kMostAtCap))
    out.inadmissible = Inadmissible::softcap_saturated;

  // Weights of the second pass over V, in units that keep f32 away from overflow and underflow.
  double largest_variance = 0;
  for (std::size_t i = 0; i < n; ++i) largest_variance = std::max(largest_variance, out.p[i] * out.p[i] * dev[i].v);
  out.variance_unit = std::isfinite(largest_variance) ? largest_variance : 0;
  const double to_unit = out.variance_unit > 0 ? 1 / out.variance_unit : 0;
  const double negligible = kNegligible / static_cast<double>(n);
  constexpr double kTooLarge = 1e6;
  out.hull_only = !(below > 0);
  std::size_t next_rescale = 0;
  for (std::size_t i = 0; i < n; ++i) {
    for (; next_rescale < out.rescales.size() && out.rescales[next_rescale].at == i; ++next_rescale)
      out.rescales[next_rescale].at = out.active.size();
    const double p = out.p[i];
    const double w = out.hull_only ? 0 : weight_error(p, s.z[i], dev[i].d, out) / below;
    if (!(w <= kTooLarge)) out.hull_only = true;
    const double kept = out.hull_only ? 0 : w;
    const double common = rules.alibi > 0 ? p * row.mask[i] : 0;
    out.total_deviation += kept;
    if (p < negligible && kept < negligible) {
      out.rest_p += p;
      out.rest_deviation += kept;
      out.rest_mask += std::abs(common);
      ++out.rest_count;
      continue;
    }
    out.active.push_back(static_cast<std::int32_t>(i));
    out.weight.push_back(static_cast<float>(p));
    out.deviation.push_back(static_cast<float>(kept));
    const double variance = p * p * dev[i].v * to_unit;
    out.variance.push_back(std::isfinite(variance) ? static_cast<float>(variance) : 0.0F);
    if (rules.alibi > 0) out.mask_weight.push_back(static_cast<float>(common));
    out.slope.push_back(static_cast<float>(rules.scale * p * (s.dphi.empty() ? 1.0 : s.dphi[i])));
  }
  for (; next_rescale < out.rescales.size(); ++next_rescale) out.rescales[next_rescale].at = out.active.size();
  if (row.has_sink() && !out.hull_only) {
    out.sink_deviation = weight_error(out.p_sink, row.sink, sink.d, out) / below;
    if (!(out.sink_deviation <= kTooLarge)) out.hull_only = true;
    out.total_deviation += out.sink_deviation;
  }
  // A sink that enters last rescales everything once more (one that enters first does not: the bound covers both).
  if (row.has_sink() && contract.order == SumOrder::ascending && contract.chunks <= 1)
    out.rescales.push_back({out.active.size(), out.key_weight, std::max(0.0, row.sink - last_visible), true});
  return out;
}

}  // namespace attest
