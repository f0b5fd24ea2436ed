#include "backends/metal/manifest/names.h"

#include <fmt/format.h>

namespace attest::metal {
namespace {

std::vector<std::string> names_of(const Numbers& numbers) {
  std::vector<std::string> names;
  for (const auto& [name, number] : numbers) names.push_back(name);
  return names;
}

}  // namespace

const std::vector<ManifestFeature>& manifest_features() {
  using P = AttentionProblem;
  static const std::vector<ManifestFeature> all{
      {"mask", "a mask", [](const P& p) { return p.mask.present(); }},
      {"mask-planes", "a mask per head or sequence", [](const P& p) { return p.mask.per_head || p.mask.per_seq; }},
      {"softcap", "a softcap", [](const P& p) { return p.softcap > 0; }},
      {"alibi", "ALiBi", [](const P& p) { return p.max_bias > 0; }},
      {"sinks", "sinks", [](const P& p) { return p.sinks.kind != SinkKind::none; }},
      {"gqa", "heads that share K and V", [](const P& p) { return p.n_head != p.n_head_kv || p.n_head != p.n_head_v; }},
      {"v-heads", "V with a number of heads of its own", [](const P& p) { return p.n_head_v != p.n_head_kv; }},
      {"sequences", "several sequences", [](const P& p) { return p.n_seq > 1; }},
      {"kv-sequences", "sequences that share K and V", [](const P& p) { return p.n_seq != p.n_seq_kv; }},
      {"d_v", "d_v other than d_k", [](const P& p) { return p.d_v != p.d_k; }}};
  return all;
}

Numbers problem_numbers(const AttentionProblem& p) {
  Numbers n;
  for (const auto& [name, value] : {std::pair{"d_k", p.d_k},
                                    {"d_v", p.d_v},
                                    {"n_q", p.n_q},
                                    {"n_kv", p.n_kv},
                                    {"n_head", p.n_head},
                                    {"n_head_kv", p.n_head_kv},
                                    {"n_head_v", p.n_head_v},
                                    {"n_seq", p.n_seq},
                                    {"n_seq_kv", p.n_seq_kv},
                                    {"mask_heads", p.mask.per_head ? p.n_head : 1},
                                    {"mask_seqs", p.mask.per_seq ? p.n_seq : 1},
                                    {"has_mask", std::int64_t{p.mask.present()}},
                                    {"has_sinks", std::int64_t{p.sinks.kind != SinkKind::none}},
                                    {"k_type", static_cast<std::int64_t>(p.k_type)},
                                    {"v_type", static_cast<std::int64_t>(p.v_type)},
                                    {"mask_type", static_cast<std::int64_t>(p.mask.type)}}) {
    n.emplace(name, Number::of(value));
  }
  for (const auto& [name, value] : {std::pair{"scale", p.scale}, {"softcap", p.softcap}, {"max_bias", p.max_bias}}) {
    n.emplace(name, Number::of_real(static_cast<double>(value)));
  }
  for (int i = 0; i < kDTypeCount; ++i) n.emplace(info(static_cast<DType>(i)).name, Number::of(i));
  return n;
}

std::vector<std::string> problem_names() { return names_of(problem_numbers(AttentionProblem{})); }

std::vector<std::string> all_names() {
  Numbers n = problem_numbers(AttentionProblem{});
  for (std::size_t role = 0; role < kTensorNames.size(); ++role)
    add_strides({static_cast<TensorRole>(role), {}, {}}, {}, n);
  return names_of(n);
}

void add_strides(const TensorWish& wish, const std::array<std::int64_t, 4>& strides, Numbers& numbers) {
  for (std::size_t i = 0; i < 4; ++i) {
    const std::string_view axis = axes_of(wish.role)[i];
    if (axis.empty()) continue;
    numbers[fmt::format("{}_stride_{}", kTensorNames[static_cast<std::size_t>(wish.role)], axis)] =
        Number::of(strides[i]);
  }
}

}  // namespace attest::metal
