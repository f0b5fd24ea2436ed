#include "cases/relations.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>
#include <numeric>
#include <set>

#include "cases/masks.h"
#include "cases/poison.h"
#include "cases/rng.h"

namespace attest {
namespace {

constexpr std::uint64_t kStream = 0x72656c73;  // separates these choices from the tensors' streams

std::vector<std::int64_t> key_range(std::int64_t first, std::int64_t end) {
  std::vector<std::int64_t> keys(static_cast<std::size_t>(end - first));
  std::iota(keys.begin(), keys.end(), first);
  return keys;
}

// Mask values at [j, i, h, s] of a present mask.
template <class Visit>
bool all_mask_values(const TensorView& mask, Visit holds) {
  for (std::int64_t s = 0; s < mask.ne[3]; ++s) {
    for (std::int64_t h = 0; h < mask.ne[2]; ++h) {
      for (std::int64_t i = 0; i < mask.ne[1]; ++i) {
        for (std::int64_t j = 0; j < mask.ne[0]; ++j) {
          if (!holds(element(mask, j, i, h, s))) return false;
        }
      }
    }
  }
  return true;
}

class Relater {
 public:
  Relater(const Case& c, const AttentionInputs& base) : c_(c), p_(c.problem), base_(base), random_(c.seed, kStream) {}

  Experiments relate(Relation relation) {
    switch (relation) {
      case Relation::hidden:
        return hidden();
      case Relation::again:
        return one("once more", same());
      case Relation::order:
        return order();
      case Relation::threads:
        return threads();
      case Relation::contiguous:
        return contiguous();
      case Relation::zero_mask:
        return zero_mask();
      case Relation::row_alone:
        return row_alone();
      case Relation::key_order:
        return key_order();
      case Relation::gqa:
        return gqa();
      case Relation::scale_in_q:
        return scale_in_q();
      case Relation::sink_none:
        return sink_none();
      case Relation::sink_key:
        return sink_key();
      case Relation::kv_split:
        return kv_split();
      case Relation::v_scaled:
        return v_scaled();
      case Relation::v_sum:
        return v_sum();
    }
    return no("no such relation");
  }

 private:
  static Experiments no(std::string why) { return {{}, std::move(why)}; }

  // The subject reads a line: what the judge fills has to be what that line says. Impossible variants do not apply.
  static Experiments checked(std::vector<Experiment> list) {
    for (Experiment& e : list) {
      for (Variant& v : e.variants) {
        v.the_case.tags.clear();
        auto read = parse_case(text(v.the_case));
        if (!read) return no(fmt::format("the variant is no problem: {}", read.error().message));
        v.the_case = std::move(*read);
      }
    }
    return {std::move(list), ""};
  }
  static Experiments one(std::string what, Variant v) { return checked({Experiment{std::move(what), {std::move(v)}}}); }

  // The case itself.
  Variant same() const {
    Variant v;
    v.the_case = c_;
    v.generated = true;
    return v;
  }

  // A variant whose tensors are made from the base's, in the base's layout where that can hold others.
  Variant derived() const {
    Variant v;
    v.the_case.op = c_.op;
    v.the_case.problem = p_;
    v.the_case.seed = c_.seed;
    AttentionProblem& p = v.the_case.problem;
    if (p_.layout.sparse) {
      p.layout = {};
      p.layout.v_view_of_k = p_.layout.v_view_of_k;
    }
    if (p_.mask.present()) p.mask.terms = {MaskTerm{}};  // the values are in the tensor
    return v;
  }

  // Without a view of K, so that V can differ from it.
  Variant with_own_v() const {
    Variant v = derived();
    v.the_case.problem.layout.v_view_of_k = false;
    return v;
  }

  static void without_mask(AttentionProblem& p) {
    p.mask = {};
    p.max_bias = 0;
    p.layout.mask_rows = p.layout.mask_cols = 0;
  }

  bool has_hidden_bytes() const {
    const LayoutSpec& at = p_.layout;
    const bool around = at.cache > p_.n_kv || at.parent_heads > std::min(p_.n_head_kv, p_.n_head_v) || at.pad > 0 ||
                        at.offset > 0 || at.tail > 0 || at.mask_rows > 0 || at.mask_cols > 0;
    if (around) return true;
    const MaskRows mask(p_, c_.seed);
    for (const std::int64_t heads : {p_.n_head_kv, p_.n_head_v}) {
      const auto hidden = hidden_rows(p_, mask, heads);
      if (std::find(hidden.begin(), hidden.end(), 1) != hidden.end()) return true;
    }
    return false;
  }

  Experiments hidden() const {
    if (!has_hidden_bytes()) return no("no key is hidden from everyone and nothing lies around the tensors");
    Variant other = same(), large = same();
    other.the_case.poison = {PoisonWhere::everywhere, PoisonWhat::previous, mix64(c_.seed + 1) >> 32};
    const bool was_large = c_.poison.what == PoisonWhat::plus_60000;
    large.the_case.poison = {PoisonWhere::everywhere, was_large ? PoisonWhat::minus_60000 : PoisonWhat::plus_60000, 0};
    return checked({{"other values in hidden bytes", {std::move(other)}},
                    {was_large ? "-60000 in hidden bytes" : "60000 in hidden bytes", {std::move(large)}}});
  }

  // A pipeline that is cached under too short a key answers the twin with the case's pipeline.
  Experiments order() const {
    Variant twin = same();
    AttentionProblem& p = twin.the_case.problem;
    if (p_.mask.present()) {
      without_mask(p);
    } else {
      p.mask.terms = {{MaskKind::causal, 0, DeadRows::none}};
    }
    p.softcap = p_.softcap > 0 ? 0.0F : 20.0F;
    p.sinks = p_.sinks.kind == SinkKind::none ? SinkSpec{SinkKind::value, 1} : SinkSpec{};
    twin.the_case.poison = {};
    Experiment first{"its twin with and without mask, softcap and sinks", {std::move(twin)}};
    first.own = true;
    return checked({std::move(first), {"the same after its twin", {same()}}});
  }

  Experiments threads() const {
    std::vector<Experiment> list;
    const int base = std::max(p_.threads, 1);
    for (const int n : {2, 3, 1}) {
      if (n == base || list.size() == 2) continue;
      Variant v = same();
      v.the_case.problem.threads = n;
      list.push_back({fmt::format("threads={}", n), {std::move(v)}});
    }
    return checked(std::move(list));
  }

  Experiments contiguous() const {
    LayoutSpec plain;
    plain.left_aligned = p_.layout.left_aligned;
    if (p_.layout == plain) return no("the tensors are contiguous");
    Variant v = derived();
    v.the_case.problem.layout = plain;
    return one("contiguous", std::move(v));
  }

  Experiments zero_mask() const {
    Variant v = derived();
    if (!p_.mask.present()) {
      v.the_case.problem.mask.terms = {MaskTerm{}};
      return one("with a mask of zeros", std::move(v));
    }
    if (!all_mask_values(base_.mask, [](float m) { return m == 0; })) return no("the mask is not zero");
    without_mask(v.the_case.problem);
    return one("without the mask of zeros", std::move(v));
  }

  Experiments row_alone() const {
    if (p_.n_q == 1) return no("there is one query only");
    const auto n_q = static_cast<std::uint64_t>(p_.n_q);
    std::vector<Experiment> list;
    for (const std::int64_t i :
         std::set<std::int64_t>{0, p_.n_q - 1, static_cast<std::int64_t>(random_.bits(0) % n_q)}) {
      Variant v = derived();
      v.the_case.problem.n_q = 1;
      v.query = i;
      Experiment e{fmt::format("query {} alone", i), {std::move(v)}};
      e.query = i;
      list.push_back(std::move(e));
    }
    return checked(std::move(list));
  }

  Experiments key_order() const {
    if (p_.n_kv < 2) return no("there are fewer than two keys");
    Variant v = derived();
    v.keys = key_range(0, p_.n_kv);
    for (std::size_t j = v.keys.size() - 1; j > 0; --j) {
      std::swap(v.keys[j], v.keys[random_.bits(1000 + j) % (j + 1)]);
    }
    return one("keys in another order", std::move(v));
  }

  Experiments gqa() const {
    if (p_.n_head_kv == p_.n_head && p_.n_head_v == p_.n_head && p_.n_seq_kv == p_.n_seq) {
      return no("every query head has K and V of its own");
    }
    Variant v = with_own_v();
    AttentionProblem& p = v.the_case.problem;
    p.n_head_kv = p.n_head_v = p.n_head;
    p.n_seq_kv = p.n_seq;
    if (p.layout.parent_heads < p.n_head) p.layout.parent_heads = 0;
    return one("K and V repeated for every query head", std::move(v));
  }

  Experiments scale_in_q() const {
    if (p_.scale == 0) return no("the scale is 0");
    int exponent = std::ilogb(p_.scale);  // leaves a scale in [1, 2)
    if (exponent == 0) exponent = -3;
    Variant v = derived();
    v.the_case.problem.scale = std::ldexp(p_.scale, -exponent);
    v.q_factor = std::ldexp(1.0F, exponent);
    return one(fmt::format("2^{} of the scale in Q", exponent), std::move(v));
  }

  Experiments sink_none() const {
    Variant v = derived();
    if (p_.sinks.kind == SinkKind::none) {
      v.the_case.problem.sinks = {SinkKind::value, -std::numeric_limits<double>::infinity()};
      return one("with sinks of -inf", std::move(v));
    }
    for (std::int64_t h = 0; h < p_.n_head; ++h) {
      if (!(std::isinf(sink(h)) && sink(h) < 0)) return no("the sinks count");
    }
    v.the_case.problem.sinks = {};
    return one("without the sinks of -inf", std::move(v));
  }

  Experiments sink_key() const {
    if (p_.sinks.kind == SinkKind::none) return no("there are no sinks");
    if (p_.max_bias > 0) return no("ALiBi multiplies the mask that would carry the sink");
    Variant v = derived();
    AttentionProblem& p = v.the_case.problem;
    const double most = p_.mask.present() && p_.mask.type == DType::f32 ? std::numeric_limits<float>::max() : 65504.0;
    for (std::int64_t h = 0; h < p_.n_head; ++h) {
      if (!(std::fabs(sink(h)) <= most)) return no("a mask cannot hold the sinks");
      if (sink(h) != sink(0)) p.mask.per_head = true;
    }
    p.mask.terms = {MaskTerm{}};
    p.sinks = {};
    ++p.n_kv;
    if (p.layout.cache > 0) p.layout.cache = std::max(p.layout.cache, p.n_kv);
    v.keys = key_range(0, p_.n_kv);
    v.keys.push_back(Variant::kNewKey);
    return one("one more key instead of the sinks", std::move(v));
  }

  Experiments kv_split() const {
    if (p_.n_kv < 2) return no("there are fewer than two keys");
    const auto at = 1 + static_cast<std::int64_t>(random_.bits(1) % static_cast<std::uint64_t>(p_.n_kv - 1));
    Variant first = derived(), second = derived();
    first.the_case.problem.n_kv = at;
    first.keys = key_range(0, at);
    second.the_case.problem.n_kv = p_.n_kv - at;
    second.keys = key_range(at, p_.n_kv);
    second.the_case.problem.sinks = {};  // a sink counts once
    Experiment e{fmt::format("keys below {} and from there on, merged", at), {std::move(first), std::move(second)}};
    e.merged = true;
    return checked({std::move(e)});
  }

  Experiments v_scaled() const {
    Variant v = with_own_v();
    v.v_factor = -0.5F;
    v.factor = -2;
    return one("V times -1/2", std::move(v));
  }

  Experiments v_sum() const {
    if (p_.n_kv < 2) return no("there are fewer than two keys");
    Variant even = with_own_v(), odd = with_own_v();
    even.values = Variant::ValuesOf::even_keys;
    odd.values = Variant::ValuesOf::odd_keys;
    return checked({Experiment{"V of the even keys plus V of the odd keys", {std::move(even), std::move(odd)}}});
  }

  float sink(std::int64_t h) const { return element(base_.sinks, h, 0, 0, 0); }

  const Case& c_;
  const AttentionProblem& p_;
  const AttentionInputs& base_;
  Rng random_;
};

}  // namespace

const RelationInfo& info(Relation relation) {
  static const RelationInfo table[] = {
#define ATTEST_RELATION(identifier, name, bitwise, meaning) {name, bitwise, meaning},
#include "cases/relations.def"
#undef ATTEST_RELATION
  };
  return table[static_cast<std::size_t>(relation)];
}

const std::vector<Relation>& all_relations() {
  static const std::vector<Relation> all = {
#define ATTEST_RELATION(identifier, name, bitwise, meaning) Relation::identifier,
#include "cases/relations.def"
#undef ATTEST_RELATION
  };
  return all;
}

std::vector<std::string> relation_names() {
  std::vector<std::string> names;
  for (const Relation r : all_relations()) names.emplace_back(info(r).name);
  return names;
}

Expected<std::vector<Relation>> parse_relations(std::string_view text) {
  if (text == "all") return all_relations();
  if (text == "none") return std::vector<Relation>{};
  std::vector<Relation> found;
  for (;;) {
    const auto comma = std::min(text.find(','), text.size());
    const std::string_view word = text.substr(0, comma);
    const auto& all = all_relations();
    const auto at = std::find_if(all.begin(), all.end(), [&](Relation r) { return info(r).name == word; });
    if (at == all.end()) {
      std::vector<std::string> words = relation_names();
      words.insert(words.end(), {"all", "none"});
      std::string hint = did_you_mean(word, words);
      if (hint.empty()) hint = "attest list relations has them";
      return input_error(fmt::format("'{}' is no relation", word), std::move(hint));
    }
    if (std::find(found.begin(), found.end(), *at) == found.end()) found.push_back(*at);
    if (comma == text.size()) return found;
    text.remove_prefix(comma + 1);
  }
}

Experiments relate(Relation relation, const Case& c, const AttentionInputs& base) {
  return Relater(c, base).relate(relation);
}

}  // namespace attest
