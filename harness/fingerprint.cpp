#include "harness/fingerprint.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <map>

namespace attest {

namespace {

constexpr std::array kWords = {
#define ATTEST_DEVIATION(name, words) std::string_view{words},
#include "harness/deviations.def"
#undef ATTEST_DEVIATION
};
constexpr std::size_t kCount = kWords.size();
constexpr std::size_t kMostDeviations = 3;
constexpr double kPenalty = 2;          // ln(elements) per deviation
constexpr double kEmulatedSteps = 3e5;  // roundings that emulating one candidate may take
constexpr std::int64_t kMostColumns = 64;
constexpr double kExplained = 0.7;  // share of the evidence that is gone
constexpr double kNoNumber = 1400;  // evidence of an element without one: ln(1 + DBL_MAX), about

enum class Slot { q, k, v, score, logit, slope, bias, sink, p, acc, factor, partial, sum, out };
Slot slot(Deviation d) {
  switch (d) {
    case Deviation::q_f16:
    case Deviation::q_bf16:
    case Deviation::q_q8_0:
    case Deviation::q_q8_1:
      return Slot::q;
    case Deviation::k_f16:
    case Deviation::k_bf16:
      return Slot::k;
    case Deviation::v_f16:
    case Deviation::v_bf16:
      return Slot::v;
    case Deviation::score_f16:
    case Deviation::score_bf16:
      return Slot::score;
    case Deviation::logit_f16:
    case Deviation::logit_bf16:
      return Slot::logit;
    case Deviation::slope_f16:
    case Deviation::slope_bf16:
      return Slot::slope;
    case Deviation::bias_f16:
      return Slot::bias;
    case Deviation::sink_f16:
      return Slot::sink;
    case Deviation::factor_f16:
      return Slot::factor;
    case Deviation::partial_f16:
      return Slot::partial;
    case Deviation::p_f16:
    case Deviation::p_bf16:
    case Deviation::p_e4m3:
      return Slot::p;
    case Deviation::acc_f16:
    case Deviation::acc_bf16:
      return Slot::acc;
    case Deviation::sum_f16:
    case Deviation::sum_bf16:
      return Slot::sum;
    default:
      return Slot::out;
  }
}

Narrow narrow(Deviation d) {
  switch (d) {
    case Deviation::k_bf16:
    case Deviation::v_bf16:
    case Deviation::score_bf16:
    case Deviation::logit_bf16:
    case Deviation::slope_bf16:
    case Deviation::p_bf16:
    case Deviation::acc_bf16:
    case Deviation::sum_bf16:
    case Deviation::out_bf16:
      return Narrow::bf16;
    case Deviation::p_e4m3:
      return Narrow::e4m3;
    default:
      return Narrow::f16;
  }
}

struct Unit {
  double u, floor;
};
Unit unit(Narrow to) {
  if (to == Narrow::bf16) return {kUnitBf16, 0};
  if (to == Narrow::e4m3) return {0x1p-4, 0x1p-10};
  return {kUnitF16, 0x1p-25};
}

QRounding q_rounding(const std::vector<Deviation>& deviations) {
  for (const Deviation d : deviations) {
    if (d == Deviation::q_f16) return QRounding::f16;
    if (d == Deviation::q_bf16) return QRounding::bf16;
    if (d == Deviation::q_q8_0) return QRounding::q8_0;
    if (d == Deviation::q_q8_1) return QRounding::q8_1;
  }
  return QRounding::none;
}

// Deviations that could show at all in this problem.
std::vector<Deviation> possible(const AttentionProblem& p, const NarrowArithmetic& order) {
  std::vector<Deviation> found;
  const auto wider = [](DType type, Narrow to) {
    return type == DType::f32 || (type == DType::bf16 && to == Narrow::f16) ||
           (type == DType::f16 && to == Narrow::bf16);
  };
  const bool minima = p.k_type == DType::q4_1 || p.k_type == DType::q5_1;
  const bool capped = p.softcap > 0 || p.mask.present();
  for (std::size_t i = 0; i < kCount; ++i) {
    const auto d = static_cast<Deviation>(i);
    if (slot(d) == Slot::k && !wider(p.k_type, narrow(d))) continue;
    if (slot(d) == Slot::v && !wider(p.v_type, narrow(d))) continue;
    if (slot(d) == Slot::slope && !(p.max_bias > 0)) continue;
    if (slot(d) == Slot::logit && !capped) continue;
    if (slot(d) == Slot::bias && !p.mask.present()) continue;
    if (slot(d) == Slot::sink && p.sinks.kind == SinkKind::none) continue;
    if (slot(d) == Slot::partial && order.chunks < 2) continue;
    if ((d == Deviation::q_q8_0 || d == Deviation::q_q8_1) && p.d_k % 32 != 0) continue;
    if (d == Deviation::q_q8_1 && !minima) continue;
    found.push_back(d);
  }
  return found;
}

// The emulation with deviations, and K's precision.
std::pair<NarrowArithmetic, Narrow> narrowed_by(NarrowArithmetic a, const std::vector<Deviation>& deviations) {
  Narrow k = Narrow::wide;
  for (const Deviation d : deviations) {
    switch (slot(d)) {
      case Slot::q:
        break;
      case Slot::k:
        k = narrow(d);
        break;
      case Slot::v:
        a.v = narrow(d);
        break;
      case Slot::score:
        a.score = narrow(d);
        break;
      case Slot::logit:
        a.logit = narrow(d);
        break;
      case Slot::slope:
        a.slope = narrow(d);
        break;
      case Slot::bias:
        a.bias = narrow(d);
        break;
      case Slot::sink:
        a.sink = narrow(d);
        break;
      case Slot::factor:
        a.factor = narrow(d);
        break;
      case Slot::partial:
        a.partial = narrow(d);
        break;
      case Slot::p:
        a.p = narrow(d);
        break;
      case Slot::acc:
        a.acc = narrow(d);
        break;
      case Slot::sum:
        a.sum = narrow(d);
        break;
      case Slot::out:
        a.out = narrow(d);
        break;
    }
  }
  return {a, k};
}

class Search {
 public:
  Search(Key& key, const ArithmeticContract& stated, const TensorView& out, const std::vector<Row>& rows);

  Fingerprint run();

 private:
  struct Finding {
    std::vector<Deviation> deviations;
    double score = std::numeric_limits<double>::infinity();
  };
  const std::vector<RowTerms>& terms(QRounding q, Narrow k);
  double score(const std::vector<Deviation>& deviations);
  double score(const std::vector<RowTerms>& terms, const NarrowArithmetic& arithmetic, std::size_t rows) const;
  bool reorder(const std::vector<Deviation>& allowed);
  Finding grow(Finding from, const std::vector<Deviation>& allowed);
  void prune(Finding& best);
  void measure();

  Key& key_;
  const AttentionProblem& problem_;
  NarrowArithmetic order_;
  std::vector<Row> rows_;
  std::int64_t columns_;
  std::vector<double> got_, unit_;  // [rows][columns]
  std::map<std::pair<QRounding, Narrow>, std::vector<RowTerms>> terms_;
  std::size_t elements_ = 0;
  double price_ = 0;  // of a deviation
};

Search::Search(Key& key, const ArithmeticContract& stated, const TensorView& out, const std::vector<Row>& rows)
    : key_(key), problem_(key.the_case().problem), order_(order_of(stated, problem_.n_kv)) {
  columns_ = std::min(problem_.d_v, kMostColumns);
  const double steps = static_cast<double>(std::max<std::int64_t>(problem_.n_kv, 1) * columns_);
  const auto most = static_cast<std::size_t>(std::max(1.0, kEmulatedSteps / steps));
  for (const Row& row : rows) {
    if (rows_.size() == most) break;
    const auto* values = reinterpret_cast<const float*>(out.row(row.head, row.query, row.seq));
    if (!std::all_of(values, values + columns_, [](float x) { return std::isfinite(x); })) continue;
    rows_.push_back(row);
    got_.insert(got_.end(), values, values + columns_);
  }
  elements_ = got_.size();
  price_ = kPenalty * std::log(static_cast<double>(std::max<std::size_t>(elements_, 2)));
  if (elements_ > 0) measure();
}

const std::vector<RowTerms>& Search::terms(QRounding q, Narrow k) {
  const auto found = terms_.find({q, k});
  if (found != terms_.end()) return found->second;
  const EmulatedInputs& inputs = key_.emulated(q);
  std::vector<RowTerms> all;
  for (const Row& row : rows_) {
    all.push_back(read_row_terms(inputs.inputs(), row, inputs.score_correction(), {.k = k}, columns_));
  }
  return terms_.emplace(std::pair{q, k}, std::move(all)).first->second;
}

void Search::measure() {
  for (const RowTerms& t : terms(QRounding::none, Narrow::wide)) {
    const std::vector<double> units = f32_units(t);
    unit_.insert(unit_.end(), units.begin(), units.end());
  }
}

double Search::score(const std::vector<RowTerms>& terms, const NarrowArithmetic& arithmetic, std::size_t rows) const {
  double total = 0;
  std::size_t at = 0;
  for (std::size_t r = 0; r < std::min(rows, terms.size()); ++r) {
    for (const double value : narrow_row(terms[r], arithmetic)) {
      const double x = (got_[at] - value) / unit_[at];
      total += std::isfinite(x) ? std::log1p(x * x) : kNoNumber;
      ++at;
    }
  }
  return total;
}

double Search::score(const std::vector<Deviation>& deviations) {
  const auto [arithmetic, k] = narrowed_by(order_, deviations);
  return score(terms(q_rounding(deviations), k), arithmetic, rows_.size());
}

// Another order of summation, where it explains a row better than the stated one: roundings of P and of sums depend on
// it.
bool Search::reorder(const std::vector<Deviation>& allowed) {
  const std::vector<RowTerms>& t = terms(QRounding::none, Narrow::wide);
  const NarrowArithmetic stated = order_;
  double best = score(t, stated, 1);
  bool found = false;
  const auto attempt = [&](const NarrowArithmetic& order, Deviation d) {
    const double s = score(t, narrowed_by(order, {d}).first, 1);
    if (!(s + price_ / 2 < best)) return;
    best = s;
    order_ = order;
    found = !(order == stated);
  };
  for (const Deviation d : allowed) {
    if (slot(d) != Slot::p && slot(d) != Slot::acc && slot(d) != Slot::sum) continue;
    for (const std::int64_t tile : {stated.tile, std::int64_t{1}, std::int64_t{32}, std::int64_t{64}, problem_.n_kv}) {
      NarrowArithmetic order = stated;
      order.tile = std::max<std::int64_t>(tile, 1);
      attempt(order, d);
      if (stated.chunks > 1) {
        order.chunks = 1;
        attempt(order, d);
        order.chunks = stated.chunks;
      }
      if (slot(d) != Slot::acc) continue;
      order.rescale_rounds = false;
      attempt(order, d);
      order.rescale_rounds = true;
      order.tile_product = tile > 1;
      if (tile > 1) attempt(order, d);
    }
  }
  return found;
}

Search::Finding Search::grow(Finding best, const std::vector<Deviation>& allowed) {
  while (best.deviations.size() < kMostDeviations) {
    Finding next = best;
    for (const Deviation d : allowed) {
      if (std::any_of(best.deviations.begin(), best.deviations.end(),
                      [&](Deviation o) { return slot(o) == slot(d); })) {
        continue;
      }
      std::vector<Deviation> more = best.deviations;
      more.push_back(d);
      const double s = score(more);
      if (s < next.score) next = {std::move(more), s};
    }
    if (!(next.score + price_ < best.score)) break;
    best = std::move(next);
  }
  return best;
}

// What was taken first may be there for the sake of what came later.
void Search::prune(Finding& best) {
  for (bool less = true; less && best.deviations.size() > 1;) {
    less = false;
    for (std::size_t i = 0; i < best.deviations.size() && !less; ++i) {
      std::vector<Deviation> fewer = best.deviations;
      fewer.erase(fewer.begin() + static_cast<std::ptrdiff_t>(i));
      const double s = score(fewer);
      less = s < best.score + price_;
      if (less) best = {std::move(fewer), s};
    }
  }
}

Fingerprint Search::run() {
  Fingerprint f;
  if (elements_ == 0) return f;
  f.evidence = score(std::vector<Deviation>{});
  const double small = std::log(2.0) * static_cast<double>(elements_);
  const auto explains = [&](const Finding& found) {
    return found.score < std::max((1 - kExplained) * f.evidence, small);
  };
  Finding best{{}, f.evidence};
  if (!(f.evidence < small)) {
    const std::vector<Deviation> allowed = possible(problem_, order_);
    best = grow(best, allowed);
    if (!explains(best) && reorder(allowed)) best = grow({{}, f.evidence}, allowed);
    prune(best);
  }
  std::sort(best.deviations.begin(), best.deviations.end());
  f.deviations = best.deviations;
  f.remaining = best.score;
  f.explains = explains(best);
  return f;
}

}  // namespace

std::string_view words(Deviation deviation) { return kWords.at(static_cast<std::size_t>(deviation)); }

std::string words(const std::vector<Deviation>& deviations) {
  if (deviations.empty()) return "f32 throughout";
  std::string text;
  for (std::size_t i = 0; i < deviations.size(); ++i) {
    if (i > 0) text += i + 1 == deviations.size() ? " and " : ", ";
    text += words(deviations[i]);
  }
  return text;
}

std::vector<Deviation> stated_deviations(const ArithmeticContract& c) {
  std::vector<Deviation> found;
  switch (c.q_rounding) {
    case QRounding::f16:
      found.push_back(Deviation::q_f16);
      break;
    case QRounding::bf16:
      found.push_back(Deviation::q_bf16);
      break;
    case QRounding::q8_0:
      found.push_back(Deviation::q_q8_0);
      break;
    case QRounding::q8_1:
      found.push_back(Deviation::q_q8_1);
      break;
    case QRounding::none:
      break;
  }
  const auto add = [&](double u, Deviation f16, Deviation bf16) {
    if (u > 0.5 * kUnitF16) found.push_back(u > 4 * kUnitF16 ? bf16 : f16);
  };
  if (c.q_rounding == QRounding::none) add(c.u_q, Deviation::q_f16, Deviation::q_bf16);
  add(c.u_s, Deviation::score_f16, Deviation::score_bf16);
  add(c.u_z, Deviation::logit_f16, Deviation::logit_bf16);
  add(c.u_m, Deviation::slope_f16, Deviation::slope_bf16);
  add(c.u_p, Deviation::p_f16, c.u_p > 4 * kUnitBf16 ? Deviation::p_e4m3 : Deviation::p_bf16);
  add(c.u_acc, Deviation::acc_f16, Deviation::acc_bf16);
  add(c.u_l, Deviation::sum_f16, Deviation::sum_bf16);
  add(c.u_out, Deviation::out_f16, Deviation::out_bf16);
  std::sort(found.begin(), found.end());
  return found;
}

ArithmeticContract widened(ArithmeticContract c, const std::vector<Deviation>& deviations) {
  for (const Deviation d : deviations) {
    const auto [u, floor] = unit(narrow(d));
    switch (slot(d)) {
      case Slot::q:
        c.q_rounding = q_rounding({d});
        c.u_q = 0;
        break;
      case Slot::k:
        c.u_q = std::max(c.u_q, u);
        break;
      case Slot::v:
      case Slot::p:
        c.u_p = std::max(c.u_p, u);
        c.omega = std::max(c.omega, floor);
        break;
      case Slot::score:
        c.u_s = std::max(c.u_s, u);
        break;
      case Slot::logit:
        c.u_z = std::max(c.u_z, u);
        break;
      case Slot::slope:
      case Slot::bias:
        c.u_m = std::max(c.u_m, u);
        break;
      case Slot::sink:
        c.u_z = std::max(c.u_z, u);
        break;
      case Slot::factor:
      case Slot::partial:
        c.u_acc = std::max(c.u_acc, u);
        break;
      case Slot::acc:
        c.u_acc = std::max(c.u_acc, u);
        c.omega_acc = std::max(c.omega_acc, floor);
        break;
      case Slot::sum:
        c.u_l = std::max(c.u_l, u);
        break;
      case Slot::out:
        c.u_out = std::max(c.u_out, u);
        c.omega_out = std::max(c.omega_out, floor);
        break;
    }
  }
  return c;
}

Fingerprint fingerprint(Key& key, const ArithmeticContract& stated, const TensorView& out,
                        const std::vector<Row>& rows) {
  return Search(key, stated, out, rows).run();
}

}  // namespace attest
