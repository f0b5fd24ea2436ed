#include "cases/op.h"

#include <algorithm>
#include <cctype>

namespace attest {

const std::vector<OpInfo>& all_ops() {
  static const std::vector<OpInfo> ops{
      {Op::flash_attn_ext, "flash_attn_ext", "FLASH_ATTN_EXT",
       "softmax(phi(scale Q K^T) + slope mask) V, with optional sinks",
       "flash_attn_ext d=128 n_head=16 n_head_kv=8 n_kv=2060 mask=used:300"},
      {Op::soft_max_ext, "soft_max_ext", "SOFT_MAX_EXT",
       "softmax(scale S + slope mask) of given scores, optional sinks",
       "soft_max_ext n_head=8 n_q=33 n_kv=300 mask=causal max_bias=8 sinks=uniform"},
      {Op::set_rows, "set_rows", "SET_ROWS", "f32 rows stored at given rows of a cache of any type, in place",
       "set_rows d=128 n_head=8 n_rows=17 n_ctx=64 kv=q8_0 order=shuffled"},
      {Op::kv_decode, "kv_decode", "KV_DECODE",
       "prefill by chunks, then token by token: store K and V, attend over the cache; again after a restart",
       "kv_decode d=128 n_head=16 n_head_kv=8 n_ctx=512 prompt=100 chunk=64 steps=8 restart=40"},
  };
  return ops;
}

const OpInfo& info(Op op) { return all_ops().at(static_cast<std::size_t>(op)); }

std::optional<Op> op_from_name(std::string_view name) {
  std::string lower(name);
  std::transform(lower.begin(), lower.end(), lower.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  for (const OpInfo& op : all_ops()) {
    if (op.name == lower) return op.op;
  }
  return std::nullopt;
}

std::vector<std::string> op_names() {
  std::vector<std::string> names;
  for (const OpInfo& op : all_ops()) names.emplace_back(op.name);
  return names;
}

}  // namespace attest
