#include "oracles/testing/random_case.h"

#include <cmath>
#include <initializer_list>

#include "cases/families.h"
#include "cases/rng.h"

namespace attest::testing {
namespace {

class Chooser {
 public:
  explicit Chooser(std::uint64_t number) : rng_(number, 0x0c1e) {}
  std::int64_t below(std::int64_t n) {
    return static_cast<std::int64_t>(rng_.bits(next_++) % static_cast<std::uint64_t>(n));
  }
  bool one_in(std::int64_t n) { return below(n) == 0; }
  template <class T>
  T of(std::initializer_list<T> values) {
    return values.begin()[below(static_cast<std::int64_t>(values.size()))];
  }
  std::int64_t divisor_of(std::int64_t n) {
    std::int64_t d = 1 + below(n);
    while (n % d != 0) --d;
    return d;
  }

 private:
  Rng rng_;
  std::uint64_t next_ = 0;
};

std::int64_t head_size(Chooser& choose, DType type) {
  if (is_quantised(type)) return info(type).block * choose.of<std::int64_t>({1, 2});
  return choose.of<std::int64_t>({1, 7, 32, 40, 64});
}

MaskSpec mask(Chooser& choose, std::int64_t n_kv) {
  MaskSpec spec;
  const auto first = static_cast<MaskKind>(choose.below(12));
  spec.terms.push_back({first, 0, DeadRows::none});
  if (choose.one_in(3)) spec.terms.push_back({MaskKind::random, 2, DeadRows::none});
  if (choose.one_in(4)) spec.terms.push_back({MaskKind::dead, 0, DeadRows::every_third});
  for (MaskTerm& term : spec.terms) {
    switch (term.kind) {
      case MaskKind::window:
      case MaskKind::used:
      case MaskKind::left:
      case MaskKind::document:
        term.arg = static_cast<double>(1 + choose.below(n_kv));
        break;
      case MaskKind::blocks:
        term.arg = 8;
        break;
      case MaskKind::dead:
        term.where = choose.of({DeadRows::first, DeadRows::last, DeadRows::all, DeadRows::every_third});
        break;
      case MaskKind::finite:
        term.arg = choose.of({-65504.0, 1.5});
        break;
      default:
        break;
    }
  }
  spec.type = choose.of({DType::f16, DType::f32});
  spec.per_head = choose.one_in(3);
  spec.per_seq = choose.one_in(3);
  return spec;
}

Case draw(Chooser& choose, const CaseLimits& limits) {
  Case c;
  AttentionProblem& p = c.problem;
  p.k_type = static_cast<DType>(choose.below(kDTypeCount));
  p.v_type = choose.one_in(3) ? p.k_type : static_cast<DType>(choose.below(kDTypeCount));
  p.d_k = head_size(choose, p.k_type);
  p.d_v = head_size(choose, p.v_type);
  p.n_head = 1 + choose.below(8);
  p.n_head_kv = choose.divisor_of(p.n_head);
  p.n_head_v = choose.one_in(3) ? choose.divisor_of(p.n_head) : p.n_head_kv;
  p.n_seq = choose.of<std::int64_t>({1, 1, 2, 4});
  p.n_seq_kv = choose.divisor_of(p.n_seq);
  p.n_q = 1 + choose.below(limits.n_q);
  p.n_kv = 1 + choose.below(limits.n_kv);
  p.scale = choose.one_in(3) ? 0.3F : 1.0F / std::sqrt(static_cast<float>(p.d_k));
  p.softcap = choose.of({0.0F, 0.0F, 5.0F, 30.0F});
  if (!choose.one_in(3)) p.mask = mask(choose, p.n_kv);
  if (p.mask.present() && choose.one_in(2)) p.max_bias = 8;
  if (choose.one_in(3)) p.sinks = {choose.of({SinkKind::value, SinkKind::uniform, SinkKind::normal}), 3};
  p.layout.permuted = choose.one_in(3);
  if (choose.one_in(4)) p.layout.cache = p.n_kv + 5;
  if (choose.one_in(4)) p.layout.parent_heads = 2 * std::max(p.n_head_kv, p.n_head_v);
  if (choose.one_in(4)) p.layout.pad = 128;
  if (choose.one_in(6)) {
    p.layout.v_view_of_k = true;
    p.v_type = p.k_type;
    p.d_v = p.d_k;
    p.n_head_v = p.n_head_kv;
  }
  const auto& all = families();
  const FamilyInfo& family = all[static_cast<std::size_t>(choose.below(static_cast<std::int64_t>(all.size())))];
  c.data.terms.push_back({std::string(family.name), family.default_arg, false});
  c.poison.what = choose.of({PoisonWhat::none, PoisonWhat::nan, PoisonWhat::inf, PoisonWhat::random});
  c.seed = static_cast<std::uint64_t>(choose.below(1 << 20));
  return c;
}

}  // namespace

Case random_case(std::uint64_t number, const CaseLimits& limits) {
  Chooser choose(number);
  for (;;) {
    Case c = draw(choose, limits);
    if (validate(c.problem) && validate(c.data)) return c;
  }
}

}  // namespace attest::testing
