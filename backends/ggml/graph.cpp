#include "backends/ggml/graph.h"

#include <algorithm>
#include <cstring>
#include <numeric>

namespace attest::ggml {
namespace {

constexpr std::size_t kTensors = 32, kNodes = 32;  // more than either graph needs

bool contiguous(const TensorShape& t) {
  return t.contiguous_rows() && t.nb[1] == row_bytes(t.dtype, t.ne[0]) && t.nb[2] == t.nb[1] * t.ne[1] &&
         t.nb[3] == t.nb[2] * t.ne[2];
}

// Bytes from the first element to the end of the last.
std::int64_t extent(const TensorShape& t) {
  if (t.elements() == 0) return 0;
  return t.offset(t.ne[1] - 1, t.ne[2] - 1, t.ne[3] - 1) + row_bytes(t.dtype, t.ne[0]);
}

void* writable(const std::byte* data) {
  return const_cast<std::byte*>(data);  // NOLINT: ggml's interface knows no const, its kernels do not write inputs
}

}  // namespace

void AttentionGraph::clear() {
  if (owned_ != nullptr) api_.ggml_backend_buffer_free(owned_);
  if (context_ != nullptr) api_.ggml_free(context_);
  owned_ = nullptr;
  context_ = nullptr;
  graph_ = nullptr;
  result_ = nullptr;
  result_in_place_ = false;
  uploads_.clear();
  downloads_.clear();
  nodes_.clear();
}

void AttentionGraph::put(Tensor* tensor, const std::byte* data, std::size_t bytes) {
  if (any_ != nullptr) {
    api_.ggml_backend_tensor_alloc(any_, tensor, writable(data));
  } else {
    uploads_.push_back({tensor, data, bytes});
  }
}

// Any byte strides: a flat parent over the bytes the tensor spans, and a view into it.
Tensor* AttentionGraph::place(const TensorView& t) {
  const DTypeInfo& type = info(t.dtype);
  const std::int64_t bytes = extent(t);
  if (contiguous(t)) {
    Tensor* tensor = api_.ggml_new_tensor_4d(context_, type.ggml_type, t.ne[0], t.ne[1], t.ne[2], t.ne[3]);
    put(tensor, t.data, static_cast<std::size_t>(bytes));
    return tensor;
  }
  // Rounded up to whole blocks; the bytes past the extent are claimed, never touched.
  const std::int64_t blocks = (bytes + type.block_bytes - 1) / type.block_bytes;
  Tensor* parent = api_.ggml_new_tensor_1d(context_, type.ggml_type, blocks * type.block);
  put(parent, t.data, static_cast<std::size_t>(bytes));
  Tensor* view =
      api_.ggml_view_4d(context_, parent, t.ne[0], t.ne[1], t.ne[2], t.ne[3], static_cast<std::size_t>(t.nb[1]),
                        static_cast<std::size_t>(t.nb[2]), static_cast<std::size_t>(t.nb[3]), 0);
  if (any_ != nullptr) api_.ggml_backend_view_init(view);
  return view;
}

// ggml wants the mask contiguous, and once wanted its rows padded.
Tensor* AttentionGraph::place_mask(const TensorView& mask, std::int64_t rows_multiple) {
  // Rows of padding belong to ggml's mask: it wants at least n_q of them.
  TensorView whole = mask;
  if (mask.nb[1] > 0) whole.ne[1] = mask.nb[2] / mask.nb[1];
  if (whole.ne[1] % rows_multiple == 0 && contiguous(whole)) return place(whole);
  const std::int64_t rows = (mask.ne[1] + rows_multiple - 1) / rows_multiple * rows_multiple;
  const auto width = static_cast<std::size_t>(row_bytes(mask.dtype, mask.ne[0]));
  mask_.assign(width * static_cast<std::size_t>(rows * mask.ne[2] * mask.ne[3]), std::byte{0});
  for (std::int64_t s = 0; s < mask.ne[3]; ++s) {
    for (std::int64_t h = 0; h < mask.ne[2]; ++h) {
      for (std::int64_t i = 0; i < mask.ne[1]; ++i) {
        const auto row = static_cast<std::size_t>((s * mask.ne[2] + h) * rows + i);
        std::memcpy(mask_.data() + row * width, mask.row(i, h, s), width);
      }
    }
  }
  Tensor* tensor =
      api_.ggml_new_tensor_4d(context_, info(mask.dtype).ggml_type, mask.ne[0], rows, mask.ne[2], mask.ne[3]);
  put(tensor, mask_.data(), mask_.size());
  return tensor;
}

Tensor* AttentionGraph::fused(const AttentionProblem& p, Tensor* q, Tensor* k, Tensor* v, Tensor* mask, Tensor* sinks,
                              const GraphOptions& options) {
  Tensor* o = node(api_.ggml_flash_attn_ext(context_, q, k, v, mask, p.scale, p.max_bias, p.softcap));
  if (sinks != nullptr) api_.ggml_flash_attn_ext_add_sinks(o, sinks);
  if (p.prec == Precision::f32) api_.ggml_flash_attn_ext_set_prec(o, options.prec_f32);
  return o;
}

Tensor* AttentionGraph::unfused(const AttentionProblem& p, Tensor* q, Tensor* k, Tensor* v, Tensor* mask, Tensor* sinks,
                                const GraphOptions& options) {
  Tensor* s = node(api_.ggml_mul_mat(context_, k, q));  // [n_kv, n_q, n_head, n_seq]
  if (p.prec == Precision::f32) api_.ggml_mul_mat_set_prec(s, options.prec_f32);
  float scale = p.scale;
  if (p.softcap != 0) {
    s = node(api_.ggml_scale(context_, s, p.scale / p.softcap));
    s = node(api_.ggml_tanh(context_, s));
    s = node(api_.ggml_scale(context_, s, p.softcap));
    scale = 1;
  }
  s = node(api_.ggml_soft_max_ext(context_, s, mask, scale, p.max_bias));
  if (sinks != nullptr) api_.ggml_soft_max_add_sinks(s, sinks);
  if (is_quantised(p.v_type)) v = node(api_.ggml_cast(context_, v, info(DType::f32).ggml_type));
  v = node(api_.ggml_cont(context_, api_.ggml_transpose(context_, v)));  // [n_kv, d_v, n_head_v, n_seq_kv]
  Tensor* o = node(api_.ggml_mul_mat(context_, v, s));                   // [d_v, n_q, n_head, n_seq]
  if (p.prec == Precision::f32) api_.ggml_mul_mat_set_prec(o, options.prec_f32);
  return node(api_.ggml_cont(context_, api_.ggml_permute(context_, o, 0, 2, 1, 3)));
}

Expected<void> AttentionGraph::open() {
  clear();
  if (memory_.empty()) {
    memory_.resize(kTensors * api_.ggml_tensor_overhead() + api_.ggml_graph_overhead_custom(kNodes, false) + 4096);
  }
  context_ = api_.ggml_init({memory_.size(), memory_.data(), true});
  if (context_ == nullptr) return harness_error("ggml_init failed");
  return {};
}

Expected<void> AttentionGraph::finish(const MutableTensorView& out, bool intermediates,
                                      const std::vector<Tensor*>& before) {
  result_in_place_ = any_ != nullptr && contiguous(out);
  if (result_in_place_) api_.ggml_backend_tensor_alloc(any_, result_, out.data);
  if (!result_in_place_ || intermediates) {
    owned_ = api_.ggml_backend_alloc_ctx_tensors(context_, engine_);
    if (owned_ == nullptr) return harness_error("ggml: no memory for the tensors on the device");
  }
  graph_ = api_.ggml_new_graph_custom(context_, kNodes, false);
  for (Tensor* tensor : before) api_.ggml_build_forward_expand(graph_, tensor);
  api_.ggml_build_forward_expand(graph_, result_);
  return {};
}

Tensor* AttentionGraph::attention(const AttentionInputs& inputs, Tensor* k, Tensor* v, const GraphOptions& options) {
  const AttentionProblem& p = *inputs.problem;
  Tensor* q = place(inputs.q);
  Tensor* mask = inputs.mask.present() ? place_mask(inputs.mask, options.mask_rows) : nullptr;
  Tensor* sinks = inputs.sinks.present() ? place(inputs.sinks) : nullptr;
  return options.unfused ? unfused(p, q, k, v, mask, sinks, options) : fused(p, q, k, v, mask, sinks, options);
}

Expected<void> AttentionGraph::build(const AttentionInputs& inputs, const MutableTensorView& out,
                                     const GraphOptions& options) {
  if (auto opened = open(); !opened) return opened;
  Tensor* k = place(inputs.k);
  Tensor* v = place(inputs.v);
  result_ = attention(inputs, k, v, options);
  return finish(out, options.unfused);
}

Expected<void> AttentionGraph::build_soft_max(const AttentionInputs& inputs, const MutableTensorView& out,
                                              const GraphOptions& options) {
  if (auto opened = open(); !opened) return opened;
  const AttentionProblem& p = *inputs.problem;
  Tensor* scores = place(inputs.q);
  Tensor* mask = inputs.mask.present() ? place_mask(inputs.mask, options.mask_rows) : nullptr;
  result_ = node(api_.ggml_soft_max_ext(context_, scores, mask, p.scale, p.max_bias));
  if (inputs.sinks.present()) api_.ggml_soft_max_add_sinks(result_, place(inputs.sinks));
  return finish(out, false);
}

Tensor* AttentionGraph::place_index(const std::byte* data, bool i32, std::int64_t n, std::int64_t seqs) {
  constexpr int kI32 = 26, kI64 = 27;  // of enum ggml_type
  Tensor* index = api_.ggml_new_tensor_4d(context_, i32 ? kI32 : kI64, n, 1, seqs, 1);
  put(index, data, static_cast<std::size_t>(n * seqs * (i32 ? 4 : 8)));
  return index;
}

Tensor* AttentionGraph::place_written(const MutableTensorView& view) {
  Tensor* tensor = place(view.view());
  if (any_ == nullptr) {
    const Copy& sent = uploads_.back();
    downloads_.push_back({sent.tensor, view.data, sent.bytes});
  }
  return tensor;
}

Tensor* AttentionGraph::scatter(Tensor* cache, const TensorView& rows, Tensor* index) {
  Tensor* stored = node(api_.ggml_set_rows(context_, cache, place(rows), index));
  if (any_ != nullptr) api_.ggml_backend_view_init(stored);
  return stored;
}

Expected<void> AttentionGraph::build_set_rows(const AttentionInputs& inputs, const MutableTensorView& out) {
  if (auto opened = open(); !opened) return opened;
  const AttentionProblem& p = *inputs.problem;
  Tensor* cache = place_written(out);
  Tensor* index = place_index(inputs.mask.data, p.scatter.index_i32, p.n_q, p.n_seq);
  result_ = scatter(cache, inputs.q, index);
  if (any_ == nullptr) owned_ = api_.ggml_backend_alloc_ctx_tensors(context_, engine_);
  if (any_ == nullptr && owned_ == nullptr) return harness_error("ggml: no memory for the tensors on the device");
  result_in_place_ = true;  // a view of the cache, which downloads_ brings back
  graph_ = api_.ggml_new_graph_custom(context_, kNodes, false);
  api_.ggml_build_forward_expand(graph_, result_);
  return {};
}

Expected<void> AttentionGraph::build_decode_step(const DecodeCall& call, const GraphOptions& options) {
  if (auto opened = open(); !opened) return opened;
  Tensor* k = place_written(call.k_cache);
  Tensor* v = place_written(call.v_cache);
  index_.resize(static_cast<std::size_t>(call.new_k.ne[1]));
  std::iota(index_.begin(), index_.end(), call.position);
  Tensor* index = place_index(reinterpret_cast<const std::byte*>(index_.data()), false, call.new_k.ne[1], 1);
  Tensor* stored_k = scatter(k, call.new_k, index);
  Tensor* stored_v = scatter(v, call.new_v, index);
  result_ = attention(call.inputs, k, v, options);
  // The cache is read through its own tensor, as engines do: only the order of the nodes says that it is written first.
  return finish(call.out, options.unfused, {stored_k, stored_v});
}

bool AttentionGraph::supported(Device* device) const {
  return std::all_of(nodes_.begin(), nodes_.end(),
                     [&](const Tensor* t) { return api_.ggml_backend_dev_supports_op(device, t); });
}

void AttentionGraph::upload() {
  for (const Copy& copy : uploads_) {
    if (copy.bytes > 0) api_.ggml_backend_tensor_set(copy.tensor, copy.from, 0, copy.bytes);
  }
}

void AttentionGraph::download(const MutableTensorView& out) {
  if (!result_in_place_) api_.ggml_backend_tensor_get(result_, out.data, 0, static_cast<std::size_t>(extent(out)));
  for (const Back& back : downloads_) api_.ggml_backend_tensor_get(back.tensor, back.to, 0, back.bytes);
}

}  // namespace attest::ggml
