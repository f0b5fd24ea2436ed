#include "cases/features.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "cases/families.h"
#include "cases/grammar/descriptor.h"

namespace attest {

namespace {

bool has_term(const AttentionProblem& p, std::initializer_list<MaskKind> kinds) {
  return std::any_of(p.mask.terms.begin(), p.mask.terms.end(), [&](const MaskTerm& term) {
    return std::find(kinds.begin(), kinds.end(), term.kind) != kinds.end();
  });
}

}  // namespace

const std::vector<FeatureInfo>& features() {
  static const std::vector<FeatureInfo> table = {
#define ATTEST_FEATURE(identifier, name, altered) {Feature::identifier, name, altered},
#include "cases/features.def"
#undef ATTEST_FEATURE
  };
  return table;
}

const FeatureInfo& info(Feature feature) { return features().at(static_cast<std::size_t>(feature)); }

Expected<Feature> feature_from_name(std::string_view name) {
  std::vector<std::string> names;
  for (const FeatureInfo& f : features()) {
    if (f.name == name) return f.feature;
    names.emplace_back(f.name);
  }
  std::string hint = did_you_mean(name, names);
  if (hint.empty()) hint = fmt::format("one of: {}", fmt::join(names, ", "));
  return input_error(fmt::format("unknown feature '{}'", name), hint);
}

std::vector<Feature> features_of(const Case& c) {
  if (c.problem.op != Op::flash_attn_ext) return {};
  const AttentionProblem& p = c.problem;
  std::vector<Feature> out;
  const auto add = [&](bool claimed, Feature feature) {
    if (claimed) out.push_back(feature);
  };
  using enum MaskKind;
  add(has_term(p, {causal, causal_top_left, window, used, left, blocks, random, document, dead, finite_blocks,
                   finite_left, ggml}),
      Feature::mask);
  add(p.mask.per_head || p.mask.per_seq, Feature::planes);
  add(has_term(p, {causal, causal_top_left, window, used, document}), Feature::upper_edge);
  add(has_term(p, {window, left, document}), Feature::lower_edge);
  add(has_term(p, {dead}), Feature::dead_row);
  // Other values beside them outweigh them by themselves.
  add(std::any_of(p.mask.terms.begin(), p.mask.terms.end(),
                  [](const MaskTerm& t) { return (t.kind == finite || t.kind == finite_rows) && t.arg <= -1e4; }) &&
          !has_term(p, {random, ggml}),
      Feature::finite_mask);
  const Family scores = resolve(c.data).scores;
  add(scores == Family::needle_first || scores == Family::spike_first, Feature::first_key);
  add(scores == Family::needle_last || scores == Family::spike_last, Feature::last_key);
  add(scores == Family::rising, Feature::rescale);
  add(p.softcap > 0, Feature::softcap);
  add(p.max_bias > 0, Feature::alibi);
  add(p.sinks.kind != SinkKind::none && !(p.sinks.kind == SinkKind::value && std::isinf(p.sinks.arg)), Feature::sinks);
  add(p.scale != grammar::default_scale(p.d_k), Feature::scale);
  add(p.n_head_kv < p.n_head, Feature::gqa);
  add(p.n_head_v != p.n_head_kv, Feature::v_heads);
  add(p.n_seq_kv > 1, Feature::sequences);
  return out;
}

std::vector<Feature> claimed_features(const Case& c) {
  return c.claims && c.problem.op == Op::flash_attn_ext ? *c.claims : features_of(c);
}

std::string_view key_of(Feature feature) {
  switch (feature) {
    case Feature::mask:
    case Feature::planes:
    case Feature::upper_edge:
    case Feature::lower_edge:
    case Feature::dead_row:
    case Feature::finite_mask:
      return "mask";
    case Feature::first_key:
    case Feature::last_key:
    case Feature::rescale:
      return "data";
    case Feature::tail:
      return "n_kv";
    case Feature::softcap:
      return "softcap";
    case Feature::alibi:
      return "max_bias";
    case Feature::sinks:
      return "sinks";
    case Feature::scale:
      return "scale";
    case Feature::gqa:
      return "n_head_kv";
    case Feature::v_heads:
      return "n_head_v";
    case Feature::sequences:
      return "n_seq_kv";
  }
  return "";
}

}  // namespace attest
