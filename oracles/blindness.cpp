#include "oracles/blindness.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <set>

#include "cases/inputs.h"

namespace attest {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr double kTakenForHidden = -1e4;          // finite mask values that kernels are known to treat as -inf
constexpr std::int64_t kTile = 32, kPadded = 64;  // keys per rescale, and per padded tile
constexpr std::int64_t kNoKey = -1;

void read_row(const TensorView& t, std::int64_t i1, std::int64_t i2, std::int64_t i3, std::vector<float>& row) {
  row.resize(static_cast<std::size_t>(t.ne[0]));
  if (t.contiguous_rows()) return decode_row(t.dtype, t.row(i1, i2, i3), row.data(), t.ne[0]);
  for (std::int64_t e = 0; e < t.ne[0]; ++e) row[static_cast<std::size_t>(e)] = element(t, e, i1, i2, i3);
}

double dot(const std::vector<float>& a, const std::vector<float>& b) {
  double part[4] = {};
  const std::size_t whole = a.size() / 4 * 4;
  for (std::size_t e = 0; e < whole; e += 4) {
    for (std::size_t lane = 0; lane < 4; ++lane) {
      part[lane] += static_cast<double>(a[e + lane]) * static_cast<double>(b[e + lane]);
    }
  }
  for (std::size_t e = whole; e < a.size(); ++e) part[0] += static_cast<double>(a[e]) * static_cast<double>(b[e]);
  return (part[0] + part[1]) + (part[2] + part[3]);
}

// How one row is worked out: as it should be, or with something wrong.
struct Rule {
  std::int64_t head_k = 0, head_v = 0, seq_kv = 0;
  std::int64_t mask_head = 0, mask_seq = 0;
  double scale = 0, softcap = 0, slope = 1, sink = -kInfinity;
  bool masked = true, finite_hides = false, live_dead_rows = false, rescaled = true;
  std::int64_t revealed = kNoKey, dropped = kNoKey, padding = 0;
};

// Weights of a row's keys under a rule, not yet divided by their sum.
struct Weights {
  std::vector<double> p;
  double sum = 0;
};

// Rows are few and every rule reads the same scores: the products q.k are kept per KV head.
class RowAnswers {
 public:
  RowAnswers(const AttentionInputs& in, const Row& row) : in_(in), row_(row) {
    read_row(in.q, row.query, row.head, row.seq, q_);
  }

  std::vector<double> mask(std::int64_t head, std::int64_t seq) const {
    const auto n = static_cast<std::size_t>(in_.problem->n_kv);
    if (!in_.mask.present()) return std::vector<double>(n, 0.0);
    std::vector<float> row;
    read_row(in_.mask, row_.query, head, seq, row);
    return {row.begin(), row.end()};
  }

  // O under each rule, one after the other. Rules that read the same V travel together.
  std::vector<std::vector<double>> answers(const std::vector<Rule>& rules) {
    const AttentionProblem& p = *in_.problem;
    std::vector<Weights> weights;
    for (const Rule& rule : rules) weights.push_back(weigh(rule));
    std::vector<std::vector<double>> out(rules.size(), std::vector<double>(static_cast<std::size_t>(p.d_v), 0.0));
    std::vector<bool> done(rules.size(), false);
    std::vector<float> v;
    for (std::size_t first = 0; first < rules.size(); ++first) {
      if (done[first]) continue;
      std::vector<std::size_t> together;
      for (std::size_t r = first; r < rules.size(); ++r) {
        if (rules[r].head_v != rules[first].head_v || rules[r].seq_kv != rules[first].seq_kv) continue;
        together.push_back(r);
        done[r] = true;
      }
      for (std::int64_t j = 0; j < p.n_kv; ++j) {
        const auto at = static_cast<std::size_t>(j);
        const bool wanted =
            std::any_of(together.begin(), together.end(), [&](auto r) { return weights[r].p[at] != 0; });
        if (!wanted) continue;
        read_row(in_.v, j, rules[first].head_v, rules[first].seq_kv, v);
        for (const std::size_t r : together) {
          const double w = weights[r].p[at];
          if (w == 0) continue;  // 0 * NaN: a hidden key has no V
          double* o = out[r].data();
          for (std::size_t e = 0; e < v.size(); ++e) o[e] += w * static_cast<double>(v[e]);
        }
      }
    }
    for (std::size_t r = 0; r < rules.size(); ++r) {
      if (weights[r].sum == 0) continue;
      for (double& o : out[r]) o /= weights[r].sum;
    }
    return out;
  }

 private:
  const std::vector<double>& products(std::int64_t head, std::int64_t seq) {
    auto [at, fresh] = products_.try_emplace({head, seq});
    if (!fresh) return at->second;
    std::vector<float> k;
    at->second.resize(static_cast<std::size_t>(in_.problem->n_kv));
    for (std::size_t j = 0; j < at->second.size(); ++j) {
      read_row(in_.k, static_cast<std::int64_t>(j), head, seq, k);
      at->second[j] = dot(q_, k);
    }
    return at->second;
  }

  Weights weigh(const Rule& rule) {
    const std::vector<double>& x = products(rule.head_k, rule.seq_kv);
    const std::vector<double> mask = rule.masked ? this->mask(rule.mask_head, rule.mask_seq) : std::vector<double>{};
    std::vector<double> z(x.size());
    double maximum = rule.sink;
    bool any = false;
    for (std::size_t j = 0; j < x.size(); ++j) {
      double m = mask.empty() ? 0 : mask[j];
      const auto key = static_cast<std::int64_t>(j);
      if (rule.finite_hides && m <= kTakenForHidden) m = -kInfinity;
      if (key == rule.revealed) m = 0;
      if (key == rule.dropped) m = -kInfinity;
      if (m == -kInfinity) {
        z[j] = -kInfinity;
        continue;
      }
      z[j] = rule.scale * x[j];
      if (rule.softcap > 0) z[j] = rule.softcap * std::tanh(z[j] / rule.softcap);
      z[j] += rule.slope * m;
      if (z[j] > maximum) maximum = z[j];
      any = true;
    }
    const double padding = rule.softcap > 0 ? -rule.softcap : 0;
    if (rule.padding > 0) maximum = std::max(maximum, padding);
    Weights out{std::vector<double>(x.size(), 0.0), 0};
    if (!any) {
      if (!rule.live_dead_rows) return out;
      std::fill(out.p.begin(), out.p.end(), 1.0);
      out.sum = static_cast<double>(x.size());
      return out;
    }
    for (std::size_t j = 0; j < x.size(); ++j) {
      if (z[j] == -kInfinity) continue;
      out.p[j] = std::exp(z[j] - maximum);
      out.sum += out.p[j];
    }
    if (rule.sink != -kInfinity) out.sum += std::exp(rule.sink - maximum);
    if (rule.padding > 0) out.sum += static_cast<double>(rule.padding) * std::exp(padding - maximum);
    if (!rule.rescaled) forget_rescale(z, out.p);
    return out;
  }

  // The sums of the tiles before the last one that brings a new maximum stay as they were: too large by the factor
  // that was left out.
  static void forget_rescale(const std::vector<double>& z, std::vector<double>& p) {
    double running = -kInfinity, factor = 1;
    std::size_t before = 0;
    for (std::size_t first = 0; first < z.size(); first += kTile) {
      const std::size_t end = std::min(first + kTile, z.size());
      const double best = *std::max_element(z.begin() + static_cast<std::ptrdiff_t>(first),
                                            z.begin() + static_cast<std::ptrdiff_t>(end));
      if (best > running && running != -kInfinity) {
        before = first;
        factor = std::exp(best - running);
      }
      running = std::max(running, best);
    }
    for (std::size_t j = 0; j < before; ++j) p[j] *= p[j] == 0 ? 1 : factor;
  }

  const AttentionInputs& in_;
  Row row_;
  std::vector<float> q_;
  std::map<std::pair<std::int64_t, std::int64_t>, std::vector<double>> products_;
};

}  // namespace

// One row, and by how much its answer moves when a feature is altered.
struct Blindness::Probe {
  Row row;
  std::map<Feature, std::optional<std::vector<double>>> change;  // nullopt: nothing to alter here
};

namespace {

Rule rule_of(const AttentionInputs& in, const Row& row) {
  const AttentionProblem& p = *in.problem;
  Rule rule;
  rule.head_k = row.head / (p.n_head / p.n_head_kv);
  rule.head_v = row.head / (p.n_head / p.n_head_v);
  rule.seq_kv = row.seq / (p.n_seq / p.n_seq_kv);
  if (in.mask.present()) {
    rule.mask_head = row.head % in.mask.ne[2];
    rule.mask_seq = row.seq % in.mask.ne[3];
  }
  rule.scale = static_cast<double>(p.scale);
  rule.softcap = static_cast<double>(p.softcap);
  rule.slope = alibi_slope(p, row.head);
  if (in.sinks.present()) rule.sink = static_cast<double>(element(in.sinks, row.head, 0, 0, 0));
  return rule;
}

// The visible keys of a row, as its mask has it.
struct Seen {
  std::vector<double> mask;
  std::int64_t first = kNoKey, last = kNoKey;
  bool plain = true;  // no key hidden, no bias
};

Seen seen_by(std::vector<double> mask) {
  Seen seen{std::move(mask)};
  for (std::size_t j = 0; j < seen.mask.size(); ++j) {
    seen.plain &= seen.mask[j] == 0;
    if (seen.mask[j] == -kInfinity) continue;
    seen.last = static_cast<std::int64_t>(j);
    if (seen.first == kNoKey) seen.first = seen.last;
  }
  return seen;
}

// `rule` with the feature gone wrong; nullopt where that changes nothing in this row.
std::optional<Rule> altered(Rule rule, Feature feature, const AttentionInputs& in, const Row& row, const Seen& seen) {
  const AttentionProblem& p = *in.problem;
  const auto n = p.n_kv;
  const bool alive = seen.first != kNoKey;
  const auto when = [&](bool differs) { return differs ? std::optional(rule) : std::nullopt; };
  switch (feature) {
    case Feature::mask:
      rule.masked = false;
      return when(!seen.plain);
    case Feature::planes: {
      const bool other = rule.mask_head != 0 || rule.mask_seq != 0;
      rule.mask_head = rule.mask_seq = 0;
      return when(other);
    }
    case Feature::upper_edge:
      rule.revealed = seen.last + 1;  // the first key of a row that sees none
      return when(rule.revealed < n);
    case Feature::lower_edge:
      rule.revealed = seen.first - 1;
      return when(alive && seen.first > 0);
    case Feature::dead_row:
      rule.live_dead_rows = true;
      return when(!alive && n > 0);
    case Feature::finite_mask:
      rule.finite_hides = true;
      return when(std::any_of(seen.mask.begin(), seen.mask.end(),
                              [](double m) { return m <= kTakenForHidden && m != -kInfinity; }));
    case Feature::first_key:
      rule.dropped = seen.first;
      return when(alive);
    case Feature::last_key:
      rule.dropped = seen.last;
      return when(alive);
    case Feature::tail:
      rule.padding = (kPadded - n % kPadded) % kPadded;
      return when(alive && rule.padding > 0);
    case Feature::rescale:
      rule.rescaled = false;
      return when(alive && seen.last >= kTile);
    case Feature::softcap:
      rule.softcap = 0;
      return when(alive && p.softcap > 0);
    case Feature::alibi:
      rule.slope = 1;
      return when(alive && p.max_bias > 0);
    case Feature::sinks: {
      const bool differs = alive && rule.sink != -kInfinity;
      rule.sink = -kInfinity;
      return when(differs);
    }
    case Feature::scale: {
      const double usual = 1 / std::sqrt(static_cast<double>(p.d_k));
      const bool differs = alive && rule.scale != usual;
      rule.scale = usual;
      return when(differs);
    }
    case Feature::gqa: {
      const Rule right = rule;
      rule.head_k = row.head % p.n_head_kv;
      if (p.n_head_v == p.n_head_kv) rule.head_v = rule.head_k;
      return when(alive && (rule.head_k != right.head_k || rule.head_v != right.head_v));
    }
    case Feature::v_heads: {
      const auto right = rule.head_v;
      rule.head_v = rule.head_k % p.n_head_v;
      return when(alive && rule.head_v != right);
    }
    case Feature::sequences: {
      const auto right = rule.seq_kv;
      rule.seq_kv = (rule.seq_kv + 1) % p.n_seq_kv;
      return when(alive && rule.seq_kv != right);
    }
  }
  return std::nullopt;
}

bool sees(const std::vector<double>& change, const RowBudget& allowed) {
  for (std::size_t e = 0; e < change.size(); ++e) {
    const double c = std::abs(change[e]);
    if (c == 0) continue;
    if (!(c < kSightInBudgets * allowed.fail[e])) return true;
  }
  return false;
}

}  // namespace

Blindness::Blindness(const AttentionInputs& inputs, std::span<const Row> judged) : inputs_(inputs) {
  const AttentionProblem& p = *inputs.problem;
  const std::int64_t q = p.n_q - 1, h = p.n_head - 1, s = p.n_seq - 1;
  // The first row is in the middle: edges on both sides, a head that shares keys with others.
  const std::int64_t ratio = p.n_head / p.n_head_kv;
  std::vector<Row> rows{{s, std::min(h, std::max<std::int64_t>(1, h / 2)), q / 2},
                        {0, std::min<std::int64_t>(1, h), q},
                        {s / 2, std::min(ratio, h), 0},
                        {s, h, std::min<std::int64_t>(1, q)},
                        {0, 0, std::min<std::int64_t>(2, q)},
                        {s, h / 3, q / 4},
                        {0, h, 0},
                        {0, 0, q / 2},
                        {s, h, q}};
  if (!judged.empty()) {
    const std::size_t most = rows.size();
    std::erase_if(rows, [&](const Row& row) { return !std::binary_search(judged.begin(), judged.end(), row); });
    for (std::size_t i = 0; i < most && rows.size() < most; ++i) {
      rows.push_back(judged[i * (judged.size() - 1) / (most - 1)]);
    }
  }
  std::set<Row> known;
  for (const Row& row : rows) {
    if (p.n_q < 1 || !known.insert(row).second) continue;
    probes_.push_back(std::make_unique<Probe>());
    probes_.back()->row = row;
  }
}

Blindness::~Blindness() = default;
Blindness::Blindness(Blindness&&) noexcept = default;

std::vector<Sight> Blindness::look(std::span<const Feature> wanted, const ErrorBudget& budget) {
  std::vector<Sight> sight(wanted.size(), Sight::absent);
  std::size_t open = wanted.size();
  for (const auto& probe : probes_) {
    if (open == 0) break;
    // What this row has not been asked yet.
    std::vector<Feature> fresh;
    std::vector<Rule> rules;
    std::optional<Seen> seen;
    RowAnswers row(inputs_, probe->row);
    const Rule right = rule_of(inputs_, probe->row);
    for (std::size_t f = 0; f < wanted.size(); ++f) {
      if (sight[f] == Sight::seen || probe->change.contains(wanted[f])) continue;
      if (!seen) seen = seen_by(row.mask(right.mask_head, right.mask_seq));
      probe->change[wanted[f]] = std::nullopt;
      if (const auto rule = altered(right, wanted[f], inputs_, probe->row, *seen)) {
        fresh.push_back(wanted[f]);
        rules.push_back(*rule);
      }
    }
    if (!rules.empty()) {
      rules.push_back(right);
      auto answers = row.answers(rules);
      for (std::size_t r = 0; r < fresh.size(); ++r) {
        for (std::size_t e = 0; e < answers[r].size(); ++e) answers[r][e] -= answers.back()[e];
        probe->change[fresh[r]] = std::move(answers[r]);
      }
    }
    std::optional<RowBudget> allowed;
    for (std::size_t f = 0; f < wanted.size(); ++f) {
      const auto& change = probe->change[wanted[f]];
      if (sight[f] == Sight::seen || !change) continue;
      if (!allowed) allowed = budget.row(probe->row);
      sight[f] = !allowed->range && sees(*change, *allowed) ? Sight::seen : Sight::blind;
      if (sight[f] == Sight::seen) --open;
    }
  }
  return sight;
}

std::vector<Feature> blind_to(const Case& c, const ArithmeticContract& contract) {
  const std::vector<Feature> claimed = claimed_features(c);
  std::vector<Feature> blind;
  if (claimed.empty()) return blind;
  const OwnedInputs inputs(c);
  const EmulatedInputs q(inputs.inputs(), contract.q_rounding);
  const ErrorBudget budget(q, contract, is_generic(c));
  const std::vector<Sight> sight = Blindness(inputs.inputs()).look(claimed, budget);
  for (std::size_t f = 0; f < claimed.size(); ++f) {
    if (is_blind(sight[f], c)) blind.push_back(claimed[f]);
  }
  return blind;
}

}  // namespace attest
