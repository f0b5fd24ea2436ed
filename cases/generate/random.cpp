#include "cases/generate/random.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <initializer_list>
#include <limits>
#include <vector>

#include "cases/families.h"
#include "cases/grammar/descriptor.h"
#include "cases/poison.h"
#include "cases/rng.h"
#include "cases/rules.h"

namespace attest {
namespace {

// The numbers of one case, drawn one after the other.
class Draws {
 public:
  Draws(std::uint64_t seed, std::uint64_t index) : rng_(seed, mix64(index + 1)) {}

  std::int64_t below(std::int64_t n) {
    return static_cast<std::int64_t>(rng_.bits(drawn_++) % static_cast<std::uint64_t>(n));
  }
  std::int64_t between(std::int64_t low, std::int64_t high) { return low + below(high - low + 1); }
  bool chance(int percent) { return below(100) < percent; }
  template <class T>
  T one_of(std::initializer_list<T> values) {
    return values.begin()[below(static_cast<std::int64_t>(values.size()))];
  }

  // 1 to `most`: tiny, at or beside a multiple of a tile, or anything.
  std::int64_t size(std::int64_t most) {
    const auto kind = below(10);
    if (kind < 3) return between(1, std::min<std::int64_t>(most, 9));
    if (kind < 8) {
      const std::int64_t unit = one_of<std::int64_t>({8, 16, 32, 64, 256});
      const std::int64_t multiple =
          unit * between(1, std::max<std::int64_t>(1, std::min<std::int64_t>(most / unit, 9)));
      return std::clamp<std::int64_t>(multiple + between(-1, 1), 1, most);
    }
    // Every order of magnitude alike.
    const std::int64_t top = between(1, std::max<std::int64_t>(1, std::llround(std::log2(static_cast<double>(most)))));
    return between(1, std::min(most, std::int64_t{1} << top));
  }

  std::int64_t divisor_of(std::int64_t n) {
    std::int64_t d = between(1, n);
    while (n % d != 0) --d;
    return d;
  }

 private:
  Rng rng_;
  std::uint64_t drawn_ = 0;
};

void draw_types(Draws& draw, AttentionProblem& p) {
  const auto any = [&] { return static_cast<DType>(draw.below(kDTypeCount)); };
  p.k_type = draw.chance(35) ? DType::f16 : any();
  p.v_type = draw.chance(60) ? p.k_type : any();
  const auto width = [&](DType type) -> std::int64_t {
    const std::int64_t block = info(type).block;
    if (block > 1) return block * draw.between(1, std::max<std::int64_t>(1, 256 / block));
    if (draw.chance(60)) return draw.one_of<std::int64_t>({16, 32, 40, 64, 72, 80, 96, 112, 128, 192, 256});
    return draw.between(1, 132);
  };
  p.d_k = width(p.k_type);
  p.d_v = draw.chance(70) && p.d_k % info(p.v_type).block == 0 ? p.d_k : width(p.v_type);
}

void draw_heads(Draws& draw, AttentionProblem& p) {
  p.n_head_kv = draw.one_of<std::int64_t>({1, 1, 2, 2, 3, 4, 5, 8});
  p.n_head = p.n_head_kv * draw.one_of<std::int64_t>({1, 1, 2, 2, 3, 4, 5, 6, 7, 8, 12});
  p.n_head_v = draw.chance(85) ? p.n_head_kv : draw.divisor_of(p.n_head);
  p.n_seq = draw.chance(70) ? 1 : draw.between(2, 4);
  p.n_seq_kv = draw.chance(70) ? p.n_seq : draw.divisor_of(p.n_seq);
}

// Fewer queries, heads and keys, in turn, until the case is cheap enough.
void cut_to(double max_flop, AttentionProblem& p) {
  for (int turn = 0; flop(p) > max_flop; ++turn) {
    if (turn % 3 == 0 && p.n_q > 1) p.n_q = p.n_q * 2 / 3;
    if (turn % 3 == 1 && p.n_head_kv > 1) {
      const std::int64_t ratio = p.n_head / p.n_head_kv, v_ratio = p.n_head / p.n_head_v;
      --p.n_head_kv;
      p.n_head = p.n_head_kv * ratio;
      p.n_head_v = p.n_head % v_ratio == 0 ? p.n_head / v_ratio : p.n_head_kv;
    }
    if (turn % 3 == 2 && p.n_q == 1) p.n_kv = p.n_kv * 2 / 3;
    if (turn > 30) p.n_kv = p.n_kv * 2 / 3;
  }
}

void draw_mask(Draws& draw, AttentionProblem& p) {
  if (draw.chance(25)) return;
  for (std::int64_t terms = draw.one_of<std::int64_t>({1, 1, 1, 2, 2, 3}); terms > 0; --terms) {
    MaskTerm term{static_cast<MaskKind>(draw.below(static_cast<int>(MaskKind::ggml) + 1)), 0, DeadRows::none};
    if (draw.chance(20)) term.kind = MaskKind::causal;
    switch (term.kind) {
      case MaskKind::used:
      case MaskKind::left:
        term.arg = static_cast<double>(draw.chance(70) ? draw.between(0, p.n_kv) : std::min(draw.size(64), p.n_kv));
        break;
      case MaskKind::window:
      case MaskKind::document:
        term.arg = static_cast<double>(draw.size(std::max<std::int64_t>(p.n_kv, 1)));
        break;
      case MaskKind::blocks:
        term.arg = static_cast<double>(draw.one_of({0, 1, 7, 32}));
        break;
      case MaskKind::random:
        term.arg = draw.one_of({0.0, 0.125, 8.0});
        break;
      case MaskKind::finite:
      case MaskKind::finite_rows:
      case MaskKind::finite_blocks:
      case MaskKind::finite_left:
        term.arg = draw.one_of({-65504.0, -10000.0, 3.0});
        break;
      case MaskKind::dead:
        term.where = static_cast<DeadRows>(draw.between(1, static_cast<int>(DeadRows::every_third)));
        break;
      default:
        break;
    }
    const bool again = std::any_of(p.mask.terms.begin(), p.mask.terms.end(),
                                   [&](const MaskTerm& other) { return other.kind == term.kind; });
    if (!again) p.mask.terms.push_back(term);
  }
  if (draw.chance(20)) p.mask.type = DType::f32;
  p.mask.per_head = draw.chance(20);
  p.mask.per_seq = draw.chance(30);
}

void draw_parameters(Draws& draw, AttentionProblem& p) {
  p.scale = grammar::default_scale(p.d_k);
  if (draw.chance(20)) p.scale = draw.one_of({1.0F, 1.0F / 128, 0.0F, -0.25F, 2.0F});
  if (draw.chance(25)) p.softcap = draw.one_of({1.0F, 10.0F, 30.0F, 50.0F});
  if (p.mask.present() && draw.chance(25)) p.max_bias = draw.one_of({1.0F, 8.0F, 16.0F});
  if (draw.chance(25)) {
    p.sinks.kind = static_cast<SinkKind>(draw.between(1, 3));
    if (p.sinks.kind == SinkKind::value) {
      p.sinks.arg = draw.one_of({-std::numeric_limits<double>::infinity(), 40.0, -3.0, 0.0});
    } else {
      p.sinks.arg = draw.one_of({0.0, 2.0, 30.0});
    }
  }
  if (draw.chance(10)) p.prec = Precision::f32;
  if (draw.chance(25)) p.threads = static_cast<int>(draw.between(1, 5));
}

void draw_layout(Draws& draw, AttentionProblem& p) {
  LayoutSpec& at = p.layout;
  at.permuted = draw.chance(35);
  if (draw.chance(25)) at.cache = p.n_kv + draw.size(70);
  if (draw.chance(15)) at.parent_heads = std::max(p.n_head_kv, p.n_head_v) + draw.between(1, 3);
  if (draw.chance(20)) at.pad = draw.between(1, 2) * std::max(info(p.k_type).block, info(p.v_type).block);
  if (draw.chance(20)) at.offset = 2 * draw.size(40);
  at.left_aligned = draw.chance(15);
  if (draw.chance(10)) at.tail = 2 * draw.size(40);
  if (p.mask.present() && draw.chance(25)) at.mask_rows = draw.between(1, 64);
  if (p.mask.present() && draw.chance(15)) at.mask_cols = draw.size(40);
  at.k_transposed = draw.chance(10);
  at.v_view_of_k =
      !at.k_transposed && p.k_type == p.v_type && p.d_v <= p.d_k && p.n_head_v == p.n_head_kv && draw.chance(15);
}

void draw_values(Draws& draw, Case& c) {
  const auto term = [&](bool shapes_qk) {
    const FamilyInfo* family = nullptr;
    do {
      family = &families()[static_cast<std::size_t>(draw.below(static_cast<std::int64_t>(families().size())))];
    } while (family->shapes_qk != shapes_qk);
    DataTerm out{std::string(family->name), 0, false};
    if (family->has_arg && draw.chance(40)) {
      out.has_arg = true;
      out.arg = family->default_arg * draw.one_of({0.25, 0.5, 2.0, 3.0});
    }
    return out;
  };
  if (draw.chance(65)) c.data.terms.push_back(term(true));
  if (!c.problem.layout.v_view_of_k && draw.chance(30)) c.data.terms.push_back(term(false));
  c.seed = static_cast<std::uint64_t>(draw.below(1 << 20));
}

// In a place that layout and mask have: elsewhere it would be no poison.
void draw_poison(Draws& draw, Case& c) {
  if (!draw.chance(45)) return;
  c.poison.what = static_cast<PoisonWhat>(draw.between(1, static_cast<int>(PoisonWhat::previous)));
  if (c.poison.what == PoisonWhat::previous) c.poison.seed = static_cast<std::uint64_t>(draw.below(1000));
  std::vector<PoisonWhere> places;
  for (int place = 0; place <= static_cast<int>(PoisonWhere::mask_cols); ++place) {
    c.poison.where = static_cast<PoisonWhere>(place);
    if (changes_bytes(c)) places.push_back(c.poison.where);
  }
  c.poison.where = places[static_cast<std::size_t>(draw.below(static_cast<std::int64_t>(places.size())))];
}

bool differs_by_plane(const AttentionProblem& p) {
  return std::any_of(p.mask.terms.begin(), p.mask.terms.end(), [](const MaskTerm& t) {
    return t.kind != MaskKind::zeros && t.kind != MaskKind::finite && t.kind != MaskKind::finite_left;
  });
}

// Mostly gives a case data that would betray what it is about (error-budget.md, "Blindness check"): slopes need a bias
// to act on, a softcap scores near it, a sink a place among the scores, and everything V that differs from key to key.
void let_see(Draws& draw, Case& c) {
  AttentionProblem& p = c.problem;
  const ResolvedData data = resolve(c.data);
  const auto replace = [&](bool shapes_qk, DataTerm with) {
    std::erase_if(c.data.terms, [&](const DataTerm& t) { return find_family(t.name)->shapes_qk == shapes_qk; });
    c.data.terms.push_back(std::move(with));
  };
  if (p.max_bias > 0) {
    const bool biased = std::any_of(p.mask.terms.begin(), p.mask.terms.end(), [](const MaskTerm& t) {
      return t.kind == MaskKind::random || t.kind == MaskKind::ggml;
    });
    if (!biased) p.mask.terms.push_back({MaskKind::random, 8, DeadRows::none});
  }
  if (!differs_by_plane(p)) p.mask.per_head = p.mask.per_seq = false;
  const bool one_answer = data.has_values && data.values == Family::v_const;
  const bool asks = p.mask.present() || p.n_head_kv < p.n_head || p.n_seq_kv > 1 || p.softcap > 0;
  if (one_answer && asks) replace(false, {"v_shift", 0, false});
  // One key has all the weight, or none has more than another.
  using enum Family;
  const bool stark = data.scores == huge || data.scores == onehot || data.scores == low || data.scores == flat ||
                     (data.scores == normal && data.scores_arg > 12) || data.scores == outlier_channel ||
                     data.scores == spike_first || data.scores == spike_last || data.scores_arg > 24;
  if (p.softcap > 0) {
    const bool near = data.scores == near_softcap || data.scores == anti_aligned;
    if (!near) replace(true, draw.chance(70) ? DataTerm{"near_softcap", 0, false} : DataTerm{"anti_aligned", 0, false});
  } else if (stark && asks) {
    replace(true, {"normal", draw.one_of({0.5, 1.0, 3.0}), true});
  }
  if (p.scale == 0 && (p.softcap > 0 || data.scores != normal)) p.scale = 2.0F;
  if (p.sinks.kind == SinkKind::uniform || p.sinks.kind == SinkKind::normal) p.sinks.arg = draw.one_of({2.0, 4.0});
  if (p.sinks.kind == SinkKind::value && p.sinks.arg < 0 && std::isfinite(p.sinks.arg)) p.sinks.arg = 1;
}

}  // namespace

Case random_case(std::uint64_t seed, std::uint64_t index, const RandomOptions& options) {
  // Few draws break a rule; the next attempt of the same index takes their place.
  for (std::uint64_t attempt = 0;; ++attempt) {
    Draws draw(seed, mix64(index) + attempt);
    Case c;
    AttentionProblem& p = c.problem;
    draw_types(draw, p);
    draw_heads(draw, p);
    p.n_q = draw.chance(35) ? 1 : draw.size(options.max_n_q);
    p.n_kv = draw.chance(2) ? 0 : draw.size(options.max_n_kv);
    cut_to(options.max_flop, p);
    draw_mask(draw, p);
    draw_parameters(draw, p);
    draw_layout(draw, p);
    draw_values(draw, c);
    if (draw.chance(80)) let_see(draw, c);
    if (find_violation(p) || !validate(c.data)) continue;
    draw_poison(draw, c);
    if (auto canonical = parse_case(text(c))) return std::move(*canonical);
  }
}

}  // namespace attest
