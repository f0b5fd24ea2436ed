#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>

#include "cases/case.h"
#include "cases/families.h"
#include "cases/grammar/descriptor.h"

namespace attest {
namespace {

template <class T>
T pick(std::initializer_list<T> values) {
  return *rc::gen::elementOf(std::vector<T>(values));
}
std::int64_t range(std::int64_t low, std::int64_t high) { return *rc::gen::inRange(low, high + 1); }
bool coin() { return *rc::gen::arbitrary<bool>(); }

// Any finite float with any exponent, not only round numbers.
float any_float(float limit) {
  const float value =
      *rc::gen::map(rc::gen::arbitrary<std::uint32_t>(), [](std::uint32_t bits) { return std::bit_cast<float>(bits); });
  return std::isfinite(value) ? std::clamp(value, -limit, limit) : 0.5F;
}

MaskSpec any_mask(const AttentionProblem& p) {
  MaskSpec mask;
  if (coin()) mask.type = DType::f32;
  for (int kind = 0; kind <= static_cast<int>(MaskKind::ggml); ++kind) {
    if (range(0, 4) != 0) continue;
    MaskTerm term{static_cast<MaskKind>(kind), 0, DeadRows::none};
    switch (term.kind) {
      case MaskKind::window:
      case MaskKind::document:
        term.arg = static_cast<double>(range(1, 5000));
        break;
      case MaskKind::blocks:
        term.arg = static_cast<double>(range(0, 100));
        break;
      case MaskKind::used:
      case MaskKind::left:
        term.arg = static_cast<double>(range(0, p.n_kv));
        break;
      case MaskKind::random:
        term.arg = static_cast<double>(std::abs(any_float(60000)));
        break;
      case MaskKind::finite:
      case MaskKind::finite_rows:
      case MaskKind::finite_blocks:
      case MaskKind::finite_left:
        term.arg = static_cast<double>(any_float(60000));
        break;
      case MaskKind::dead:
        term.where = static_cast<DeadRows>(range(1, 5));
        break;
      default:
        break;
    }
    mask.terms.push_back(term);
  }
  if (!mask.present()) return {};
  mask.per_head = coin();
  mask.per_seq = coin();
  std::reverse(mask.terms.begin(), mask.terms.end());
  return mask;
}

DataSpec any_data() {
  DataSpec data;
  for (const bool shapes_qk : {true, false}) {
    if (coin()) continue;
    std::vector<FamilyInfo> choices;
    for (const auto& family : families()) {
      if (family.shapes_qk == shapes_qk) choices.push_back(family);
    }
    const FamilyInfo& family =
        choices[static_cast<std::size_t>(range(0, static_cast<std::int64_t>(choices.size()) - 1))];
    const bool has_arg = family.has_arg && coin();
    data.terms.push_back({std::string(family.name), has_arg ? static_cast<double>(any_float(1e6F)) : 0, has_arg});
  }
  if (coin()) std::reverse(data.terms.begin(), data.terms.end());
  return data;
}

Case any_case() {
  Case c;
  AttentionProblem& p = c.problem;
  p.k_type = static_cast<DType>(range(0, kDTypeCount - 1));
  p.v_type = coin() ? p.k_type : static_cast<DType>(range(0, kDTypeCount - 1));
  p.d_k = range(1, 10) * (is_quantised(p.k_type) ? info(p.k_type).block : 1);
  p.d_v = coin() && info(p.v_type).block <= info(p.k_type).block ? p.d_k : range(1, 10) * info(p.v_type).block;
  p.n_head_kv = range(1, 6);
  p.n_head = p.n_head_kv * range(1, 6);
  p.n_head_v = coin() ? p.n_head_kv : p.n_head;
  p.n_q = range(1, 3000);
  p.n_kv = range(0, 3000);
  p.n_seq_kv = range(1, 3);
  p.n_seq = p.n_seq_kv * range(1, 3);
  p.mask = any_mask(p);
  p.scale = coin() ? grammar::default_scale(p.d_k) : any_float(1e30F);
  p.softcap = coin() ? 0 : std::abs(any_float(1e30F));
  p.max_bias = p.mask.present() && coin() ? std::abs(any_float(100)) : 0;
  p.sinks.kind = static_cast<SinkKind>(range(0, 3));
  p.sinks.arg = static_cast<double>(p.sinks.kind == SinkKind::value ? any_float(1e30F) : std::abs(any_float(1e3F)));
  if (p.sinks.kind == SinkKind::value && coin()) p.sinks.arg = -std::numeric_limits<double>::infinity();
  p.layout.permuted = coin();
  if (coin()) p.layout.cache = p.n_kv + range(0, 100);
  if (coin()) p.layout.parent_heads = std::max(p.n_head_kv, p.n_head_v) + range(0, 3);
  if (coin()) p.layout.pad = 128 * range(0, 3);
  if (coin()) p.layout.offset = 2 * range(0, 100);
  p.layout.v_view_of_k = p.k_type == p.v_type && p.d_v <= p.d_k && p.n_head_v == p.n_head_kv && coin();
  if (coin()) p.layout.tail = 2 * range(0, 100);
  if (p.mask.present() && coin()) p.layout.mask_rows = range(0, 70);
  if (p.mask.present() && coin()) p.layout.mask_cols = range(0, 70);
  p.layout.k_transposed = !p.layout.v_view_of_k && coin();
  p.layout.sparse = coin();
  p.prec = coin() ? Precision::f32 : Precision::default_;
  p.threads = static_cast<int>(range(0, 16));
  c.data = any_data();
  c.poison = {static_cast<PoisonWhere>(range(0, 9)), static_cast<PoisonWhat>(range(0, 7)),
              *rc::gen::arbitrary<std::uint64_t>()};
  c.seed = *rc::gen::arbitrary<std::uint64_t>();
  return c;
}

RC_GTEST_PROP(Grammar, TheTextOfACaseParsesToThatCase, ()) {
  const Case c = any_case();
  RC_ASSERT(validate(c.problem).has_value());
  const std::string line = text(c);
  const auto again = parse_case(line);
  RC_ASSERT(again.has_value());
  RC_ASSERT(*again == grammar::canonical(c));
  RC_ASSERT(text(*again) == line);
}

RC_GTEST_PROP(Grammar, TheOrderOfKeysIsFree, ()) {
  const Case c = any_case();
  const std::string line = text(c);
  std::vector<std::string> words;
  for (std::size_t begin = line.find(' ') + 1, end = 0; end != std::string::npos; begin = end + 1) {
    end = line.find(' ', begin);
    words.push_back(line.substr(begin, end == std::string::npos ? end : end - begin));
  }
  std::string shuffled = "FLASH_ATTN_EXT";
  while (!words.empty()) {
    const auto next = words.begin() + range(0, static_cast<std::int64_t>(words.size()) - 1);
    shuffled += "  " + *next;
    words.erase(next);
  }
  const auto again = parse_case(shuffled);
  RC_ASSERT(again.has_value());
  RC_ASSERT(text(*again) == line);
}

RC_GTEST_PROP(Grammar, ADamagedLineIsACaseOrAnErrorInsideTheLine, ()) {
  std::string line = text(any_case());
  const auto at = static_cast<std::size_t>(range(0, static_cast<std::int64_t>(line.size()) - 1));
  if (coin()) {
    line.erase(at, 1);
  } else {
    line[at] = *rc::gen::elementOf(std::string("=:+-./()[]0e _xq"));
  }
  const auto again = parse_case(line);
  if (again) {
    RC_ASSERT(validate(again->problem).has_value());
  } else {
    RC_ASSERT(again.error().column >= 1);
    RC_ASSERT(again.error().column <= static_cast<int>(line.size()) + 1);
    RC_ASSERT(!again.error().message.empty());
  }
}

}  // namespace
}  // namespace attest
