#include "harness/alterations.h"

#include <algorithm>

namespace attest {

std::vector<Alteration> alterations(const Case& c) {
  std::vector<Alteration> found;
  const auto add = [&](std::string_view words, std::string_view suspect, const std::function<void(Case&)>& change) {
    Alteration a{words, suspect, c, false};
    change(a.altered);
    if (!(a.altered == c) && validate(a.altered.problem)) found.push_back(std::move(a));
  };
  found.push_back({"in a fresh process", "state", c, true});
  add("without poison", "hidden", [](Case& x) { x.poison = {}; });
  const bool only_mask_padding = [&] {
    LayoutSpec l = c.problem.layout;
    l.mask_rows = l.mask_cols = 0;
    return l == LayoutSpec{};
  }();
  add("with a plain layout", only_mask_padding ? "mask" : "stride", [](Case& x) { x.problem.layout = {}; });
  add("without softcap", "softcap", [](Case& x) { x.problem.softcap = 0; });
  add("without sinks", "sink", [](Case& x) { x.problem.sinks = {}; });
  add("without ALiBi", "alibi", [](Case& x) { x.problem.max_bias = 0; });
  add("with a zero mask", "mask", [](Case& x) {
    if (x.problem.mask.present()) x.problem.mask.terms = {MaskTerm{}};
  });
  add("without a mask", "mask", [](Case& x) {
    x.problem.mask = {};
    x.problem.max_bias = 0;
  });
  add("with a KV head per head", "gqa", [](Case& x) { x.problem.n_head_kv = x.problem.n_head_v = x.problem.n_head; });
  add("with a KV sequence per sequence", "gqa", [](Case& x) { x.problem.n_seq_kv = x.problem.n_seq; });
  add("with one thread", "race", [](Case& x) { x.problem.threads = 1; });
  add("with K and V in f32", is_quantised(c.problem.k_type) || is_quantised(c.problem.v_type) ? "quant" : "",
      [](Case& x) { x.problem.k_type = x.problem.v_type = DType::f32; });
  add("with V of K's type", "stride", [](Case& x) { x.problem.v_type = x.problem.k_type; });
  add("with n_kv a multiple of 64", "tail", [](Case& x) {
    if (x.problem.n_kv % 64 != 0 && x.problem.n_kv < 8192) x.problem.n_kv += 64 - x.problem.n_kv % 64;
  });
  add("with one query", "", [](Case& x) { x.problem.n_q = 1; });
  add("with scores a hundredth", "max", [](Case& x) { x.problem.scale /= 100; });
  return found;
}

}  // namespace attest
