#include "backends/ggml/support.h"

#include <limits>
#include <string>

#include "cases/decode.h"

namespace attest::ggml {
namespace {

Support no(const std::string& why) { return Support::no("ggml: " + why); }

Support check_types(const AttentionProblem& p, const Api& api, Form form) {
  for (const DType type : {p.k_type, p.v_type}) {
    if (!has_type(api, type)) return no("this build has no type " + std::string(info(type).name));
  }
  // Neither operand could be f32 at first: V until April 2025, K until June; the kernel asserted on both. The functions
  // asked for are of those months.
  if (form != Form::unfused) {
    if (p.k_type == DType::f32 && api.ggml_set_rows == nullptr) return no("this build aborts on K of type f32");
    if (p.v_type == DType::f32 && api.ggml_conv_2d_dw_direct == nullptr)
      return no("this build aborts on V of type f32");
  }
  if (p.d_k % info(p.k_type).block != 0) return no("d_k is not a multiple of the block of K's type");
  if (p.d_v % info(p.v_type).block != 0) return no("d_v is not a multiple of the block of V's type");
  return {};
}

Support check_mask(const AttentionProblem& p, const Library& library, Form form) {
  if (!p.mask.present()) {
    return p.max_bias > 0 ? no("ALiBi needs a mask") : Support{};
  }
  if (p.mask.type != DType::f16 && form != Form::unfused) {
    return no("the mask of flash_attn_ext must be f16 (unfused takes f32)");
  }
  const bool planes = (p.mask.per_head && p.n_head > 1) || (p.mask.per_seq && p.n_seq > 1);
  if (planes && library.api().ggml_version == nullptr)
    return no("this build takes one mask for all heads and sequences");
  if (p.layout.mask_cols > 0) return no("rows of the mask must lie side by side");
  return {};
}

Support check_heads(const AttentionProblem& p, Form form) {
  if (p.n_head_kv < 1 || p.n_head % p.n_head_kv != 0) return no("n_head is not a multiple of n_head_kv");
  if (p.n_head_v < 1 || p.n_head % p.n_head_v != 0) return no("n_head is not a multiple of n_head_v");
  if (p.n_seq_kv < 1 || p.n_seq % p.n_seq_kv != 0) return no("n_seq is not a multiple of n_seq_kv");
  if (form == Form::unfused) return {};
  if (p.n_head_v != p.n_head_kv) return no("flash_attn_ext wants as many heads in V as in K");
  if (p.n_seq != p.n_seq_kv) return no("flash_attn_ext does not broadcast sequences");
  return {};
}

Support check_soft_max(const AttentionProblem& p, const Library& library) {
  if (p.n_kv < 1) return no("an empty dimension");
  if (p.sinks.kind != SinkKind::none && library.api().ggml_soft_max_add_sinks == nullptr)
    return no("this build has no sinks");
  return check_mask(p, library, Form::unfused);
}

Support check_set_rows(const AttentionProblem& p, const Library& library) {
  if (library.api().ggml_set_rows == nullptr) return no("this build has no ggml_set_rows");
  // Releases of the op's first months assert on other indices than i64.
  if (p.scatter.index_i32 && !library.at_least(0, 9, 5)) return no("indices of this build are i64");
  for (const DType type : {p.k_type, p.v_type}) {
    if (!has_type(library.api(), type)) return no("this build has no type " + std::string(info(type).name));
  }
  return {};
}

Support check_decode(const AttentionProblem& p, const Library& library, Form form) {
  if (auto rows = check_set_rows(p, library); !rows.yes) return rows;
  for (const DecodeStep& step : decode_steps(p)) {
    if (auto attention = check_problem(step_problem(p, step), library, form); !attention.yes) return attention;
  }
  return {};
}

}  // namespace

bool has_type(const Api& api, DType type) {
  if (type == DType::q1_0 && !at_least(api, 0, 10, 0)) return false;
  if (type == DType::q2_0 && !at_least(api, 0, 16, 0)) return false;
  const char* name = api.ggml_type_name(info(type).ggml_type);
  return name != nullptr && info(type).name == name;
}

int prec_f32_value(const Api& api) {
  if (api.ggml_set_rows != nullptr) return 10;          // June 2025 and later
  if (api.ggml_conv_2d_dw_direct == nullptr) return 1;  // April 2025 and earlier
  return 0;
}

std::int64_t mask_rows_multiple(const Library& library) { return library.at_least(0, 9, 5) ? 1 : 64; }

Support check_problem(const AttentionProblem& p, const Library& library, Form form) {
  const Api& api = library.api();
  if (p.op == Op::soft_max_ext) return check_soft_max(p, library);
  if (p.op == Op::set_rows) return check_set_rows(p, library);
  if (p.op == Op::kv_decode) return check_decode(p, library, form);
  if (p.d_k < 1 || p.d_v < 1 || p.n_q < 1 || p.n_kv < 0) return no("an empty dimension");
  if (form == Form::unfused) {
    if (p.n_kv == 0) return no("mul_mat over no keys");
    // Older releases abort on several of its copies and casts.
    if (api.ggml_set_rows == nullptr) return no("the unfused form is for builds since June 2025");
  }
  if (p.n_q * p.n_head * p.n_seq > std::numeric_limits<int>::max()) return no("rows are counted in 32 bits");
  if (auto types = check_types(p, api, form); !types.yes) return types;
  if (auto heads = check_heads(p, form); !heads.yes) return heads;
  if (auto mask = check_mask(p, library, form); !mask.yes) return mask;
  if (p.sinks.kind != SinkKind::none) {
    const bool has =
        form == Form::unfused ? api.ggml_soft_max_add_sinks != nullptr : api.ggml_flash_attn_ext_add_sinks != nullptr;
    if (!has) return no("this build has no sinks");
  }
  if (p.prec == Precision::f32 && prec_f32_value(api) == 0)
    return no("which value this build has for prec=f32 is unknown");
  const InputPlan plan = plan_inputs(p);
  for (const TensorPlan* t : {&plan.q, &plan.k, &plan.v}) {
    if (!t->shape.contiguous_rows()) return no("rows of Q, K and V must be contiguous");
  }
  return {};
}

}  // namespace attest::ggml
