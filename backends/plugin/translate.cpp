#include "backends/plugin/translate.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <string>

namespace attest::plugin {
namespace {

std::int32_t dtype_for_plugin(DType type) {
  switch (type) {
    case DType::f32:
      return ATTEST_F32;
    case DType::f16:
      return ATTEST_F16;
    case DType::bf16:
      return ATTEST_BF16;
    case DType::q8_0:
      return ATTEST_Q8_0;
    case DType::q4_0:
      return ATTEST_Q4_0;
    case DType::q4_1:
      return ATTEST_Q4_1;
    case DType::q5_0:
      return ATTEST_Q5_0;
    case DType::q5_1:
      return ATTEST_Q5_1;
    case DType::iq4_nl:
      return ATTEST_IQ4_NL;
    case DType::q1_0:
      return ATTEST_Q1_0;
    case DType::q2_0:
      return ATTEST_Q2_0;
  }
  return ATTEST_ABSENT;
}

// Allocations begin on 64 bytes; an element lies `offset` bytes into its own.
std::int32_t alignment_at(std::int64_t offset) {
  const std::int64_t low = offset & -offset;
  return static_cast<std::int32_t>(low == 0 || low > 64 ? 64 : low);
}

attest_tensor tensor_for_plugin(const TensorPlan& plan, bool present) {
  attest_tensor t{};
  if (!present) return t;
  t.dtype = dtype_for_plugin(plan.shape.dtype);
  t.alignment = alignment_at(plan.offset);
  std::copy(plan.shape.ne.begin(), plan.shape.ne.end(), t.ne);
  std::copy(plan.shape.nb.begin(), plan.shape.nb.end(), t.nb);
  return t;
}

struct Field {
  const char* name;
  double attest_contract::*theirs;
  double ArithmeticContract::*ours;
};
constexpr std::array<Field, 14> kRelative{{
    {"u_q", &attest_contract::u_q, &ArithmeticContract::u_q},
    {"u_qk", &attest_contract::u_qk, &ArithmeticContract::u_qk},
    {"u_s", &attest_contract::u_s, &ArithmeticContract::u_s},
    {"u_z", &attest_contract::u_z, &ArithmeticContract::u_z},
    {"u_m", &attest_contract::u_m, &ArithmeticContract::u_m},
    {"eps_tanh", &attest_contract::eps_tanh, &ArithmeticContract::eps_tanh},
    {"eps_exp", &attest_contract::eps_exp, &ArithmeticContract::eps_exp},
    {"u_p", &attest_contract::u_p, &ArithmeticContract::u_p},
    {"drop", &attest_contract::drop, &ArithmeticContract::drop},
    {"omega", &attest_contract::omega, &ArithmeticContract::omega},
    {"u_acc", &attest_contract::u_acc, &ArithmeticContract::u_acc},
    {"omega_acc", &attest_contract::omega_acc, &ArithmeticContract::omega_acc},
    {"u_l", &attest_contract::u_l, &ArithmeticContract::u_l},
    {"u_out", &attest_contract::u_out, &ArithmeticContract::u_out},
}};
struct Count {
  const char* name;
  std::int64_t attest_contract::*theirs;
  std::int64_t ArithmeticContract::*ours;
};
constexpr std::array<Count, 2> kCounts{{
    {"tile", &attest_contract::tile, &ArithmeticContract::tile},
    {"chunks", &attest_contract::chunks, &ArithmeticContract::chunks},
}};
constexpr Field kOmegaOut{"omega_out", &attest_contract::omega_out, &ArithmeticContract::omega_out};

struct Flag {
  const char* name;
  std::int32_t attest_contract::*theirs;
  bool ArithmeticContract::*ours;
};
constexpr std::array<Flag, 7> kFlags{{
    {"any_order", &attest_contract::any_order, nullptr},
    {"narrow_under_prec", &attest_contract::narrow_under_prec, nullptr},
    {"products_rounded", &attest_contract::products_rounded, &ArithmeticContract::products_rounded},
    {"p_normalised", &attest_contract::p_normalised, &ArithmeticContract::p_normalised},
    {"truncating", &attest_contract::truncating, &ArithmeticContract::truncating},
    {"lazy_rescale", &attest_contract::lazy_rescale, &ArithmeticContract::lazy_rescale},
    {"needs_finite_hidden", &attest_contract::needs_finite_hidden, &ArithmeticContract::needs_finite_hidden},
}};

std::string number(double x) {
  char text[40];
  std::snprintf(text, sizeof text, "%g", x);
  return text;
}

Unexpected bad(const std::string& name, const std::string& value, const std::string& expected) {
  return harness_error(name + " = " + value + " is no " + expected);
}

}  // namespace

attest_problem problem_for_plugin(const AttentionProblem& p, int threads) {
  const InputPlan plan = plan_inputs(p);
  attest_problem out{};
  out.struct_size = sizeof out;
  out.op = ATTEST_OP_FLASH_ATTN_EXT;
  out.d_k = p.d_k;
  out.d_v = p.d_v;
  out.n_head = p.n_head;
  out.n_head_kv = p.n_head_kv;
  out.n_head_v = p.n_head_v;
  out.n_q = p.n_q;
  out.n_kv = p.n_kv;
  out.n_seq = p.n_seq;
  out.n_seq_kv = p.n_seq_kv;
  out.scale = p.scale;
  out.softcap = p.softcap;
  out.max_bias = p.max_bias;
  out.prec_f32 = p.prec == Precision::f32 ? 1 : 0;
  out.n_threads = threads;
  out.v_in_k = plan.v_view_of_k ? 1 : 0;
  out.q = tensor_for_plugin(plan.q, true);
  out.k = tensor_for_plugin(plan.k, true);
  out.v = tensor_for_plugin(plan.v, true);
  out.mask = tensor_for_plugin(plan.mask, p.mask.present());
  out.sinks = tensor_for_plugin(plan.sinks, p.sinks.kind != SinkKind::none);
  out.out = tensor_for_plugin(plan.out, true);
  return out;
}

attest_problem problem_for_plugin(const AttentionInputs& inputs, const MutableTensorView& out, int threads) {
  attest_problem p = problem_for_plugin(*inputs.problem, threads);
  p.q.data = inputs.q.data;
  p.k.data = inputs.k.data;
  p.v.data = inputs.v.data;
  p.mask.data = inputs.mask.data;
  p.sinks.data = inputs.sinks.data;
  p.out.data = out.data;
  return p;
}

attest_contract standard_contract() {
  const ArithmeticContract ours;
  attest_contract c{};
  c.struct_size = sizeof c;
  for (const Field& f : kRelative) c.*f.theirs = ours.*f.ours;
  c.*kOmegaOut.theirs = ours.*kOmegaOut.ours;
  for (const Count& f : kCounts) c.*f.theirs = ours.*f.ours;
  return c;
}

bool set_contract_field(attest_contract& c, std::string_view name, double value) {
  for (const Field& f : kRelative) {
    if (name == f.name) return c.*f.theirs = value, true;
  }
  if (name == kOmegaOut.name) return c.*kOmegaOut.theirs = value, true;
  // What is no whole number of that size is none the contract may have.
  const bool whole = value >= 0 && value <= 0x1p31 && value == std::floor(value);
  for (const Count& f : kCounts) {
    if (name == f.name) return c.*f.theirs = whole ? static_cast<std::int64_t>(value) : -1, true;
  }
  for (const Flag& f : kFlags) {
    if (name == f.name) return c.*f.theirs = whole && value <= 1 ? static_cast<std::int32_t>(value) : -1, true;
  }
  return false;
}

std::vector<std::string> contract_field_names() {
  std::vector<std::string> names{kOmegaOut.name};
  for (const Field& f : kRelative) names.emplace_back(f.name);
  for (const Count& f : kCounts) names.emplace_back(f.name);
  for (const Flag& f : kFlags) names.emplace_back(f.name);
  return names;
}

Expected<ArithmeticContract> read_contract(const attest_contract& c) {
  ArithmeticContract ours;
  if (std::memchr(c.path, 0, sizeof c.path) == nullptr) return harness_error("path does not end within 32 bytes");
  for (const char* at = c.path; *at != '\0'; ++at) {
    if (*at <= 0x20 || *at >= 0x7f) return harness_error("path holds more than printable characters without blanks");
  }
  ours.set_path(c.path);
  if (c.q_rounding < ATTEST_Q_AS_IT_IS || c.q_rounding > ATTEST_Q_TO_Q8_1) {
    return bad("q_rounding", std::to_string(c.q_rounding), "rounding of Q that attest knows");
  }
  constexpr std::array<QRounding, 5> kRoundings{QRounding::none, QRounding::f16, QRounding::bf16, QRounding::q8_0,
                                                QRounding::q8_1};
  ours.q_rounding = kRoundings[static_cast<std::size_t>(c.q_rounding)];
  const auto take = [&](const Field& f) {
    ours.*f.ours = c.*f.theirs;
    return c.*f.theirs >= 0 && c.*f.theirs < 1;
  };
  for (const Field& f : kRelative) {
    if (!take(f)) return bad(f.name, number(c.*f.theirs), "relative error: 0 to below 1");
  }
  if (!take(kOmegaOut)) return bad(kOmegaOut.name, number(c.*kOmegaOut.theirs), "smallest value: 0 to below 1");
  for (const Count& f : kCounts) {
    if (c.*f.theirs < 1) return bad(f.name, std::to_string(c.*f.theirs), "number of keys or chunks: 1 or more");
    ours.*f.ours = c.*f.theirs;
  }
  for (const Flag& f : kFlags) {
    const std::int32_t value = c.*f.theirs;
    if (value != 0 && value != 1) return bad(f.name, std::to_string(value), "yes or no: 0 or 1");
    if (f.ours != nullptr) ours.*f.ours = value == 1;
  }
  ours.order = c.any_order == 1 ? SumOrder::unknown : SumOrder::ascending;
  ours.honours_prec_f32 = c.narrow_under_prec == 0;
  return ours;
}

}  // namespace attest::plugin
