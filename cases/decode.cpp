#include "cases/decode.h"

#include <algorithm>
#include <limits>

namespace attest {
namespace {

constexpr std::int64_t kFirstCapacity = 16;
constexpr std::uint16_t kHalfMinusInfinity = 0xfc00;

double rounding_unit(QRounding rounding) {
  return rounding == QRounding::f16 ? kUnitF16 : rounding == QRounding::bf16 ? kUnitBf16 : 0;
}

bool rounds_blocks(QRounding rounding) { return rounding == QRounding::q8_0 || rounding == QRounding::q8_1; }

// Both promises weakened to what either keeps.
ArithmeticContract loosest(const ArithmeticContract& a, const ArithmeticContract& b) {
  ArithmeticContract c = a;
  if (a.q_rounding != b.q_rounding && !rounds_blocks(a.q_rounding)) {
    // Q is rounded in some steps alone: no emulation, but room for it.
    c.q_rounding = rounds_blocks(b.q_rounding) ? b.q_rounding : QRounding::none;
    c.u_q = std::max({a.u_q, b.u_q, rounding_unit(a.q_rounding), rounding_unit(b.q_rounding)});
  }
  c.u_q = std::max(c.u_q, b.u_q);
  const auto widen = [&](double ArithmeticContract::*field) { c.*field = std::max(a.*field, b.*field); };
  for (const auto field : {&ArithmeticContract::u_qk, &ArithmeticContract::u_s, &ArithmeticContract::u_z,
                           &ArithmeticContract::u_m, &ArithmeticContract::eps_tanh, &ArithmeticContract::eps_exp,
                           &ArithmeticContract::u_p, &ArithmeticContract::drop, &ArithmeticContract::omega,
                           &ArithmeticContract::u_acc, &ArithmeticContract::omega_acc, &ArithmeticContract::u_l,
                           &ArithmeticContract::u_out, &ArithmeticContract::omega_out}) {
    widen(field);
  }
  c.tile = std::min(a.tile, b.tile);
  c.chunks = std::max(a.chunks, b.chunks);
  // Chunks are parts of a cache whose end nobody sees, so their borders say nothing about the plain answer's keys.
  const bool alike = a.tile == b.tile && a.order == b.order && c.chunks == 1;
  c.order = alike ? a.order : SumOrder::unknown;
  c.products_rounded = a.products_rounded || b.products_rounded;
  c.p_normalised = a.p_normalised && b.p_normalised;
  c.truncating = a.truncating || b.truncating;
  c.lazy_rescale = a.lazy_rescale || b.lazy_rescale;
  c.needs_finite_hidden = a.needs_finite_hidden || b.needs_finite_hidden;
  c.honours_prec_f32 = a.honours_prec_f32 && b.honours_prec_f32;
  return c;
}

TensorShape token_rows(DType type, std::int64_t d, std::int64_t tokens, std::int64_t heads) {
  TensorShape t;
  t.dtype = type;
  t.ne = {d, tokens, heads, 1};
  t.nb[0] = info(type).block_bytes;
  t.nb[1] = row_bytes(type, d);
  t.nb[2] = t.nb[1] * tokens;
  t.nb[3] = t.nb[2] * heads;
  return t;
}

// New rows as a cache of `type` holds them.
TensorView stored(const TensorView& rows, DType type, std::vector<std::byte>& memory) {
  TensorView out;
  static_cast<TensorShape&>(out) = token_rows(type, rows.ne[0], rows.ne[1], rows.ne[2]);
  memory.resize(static_cast<std::size_t>(out.nb[3]));
  out.data = memory.data();
  for (std::int64_t h = 0; h < rows.ne[2]; ++h) {
    for (std::int64_t t = 0; t < rows.ne[1]; ++t) {
      encode_row(type, reinterpret_cast<const float*>(rows.row(t, h, 0)), memory.data() + out.offset(t, h, 0),
                 rows.ne[0]);
    }
  }
  return out;
}

}  // namespace

std::int64_t decode_tokens(const DecodeSpec& spec) {
  return spec.prompt + spec.steps + (spec.restart > 0 ? spec.restart + spec.steps : 0);
}

std::vector<DecodeStep> decode_steps(const AttentionProblem& p) {
  std::vector<DecodeStep> steps;
  std::int64_t token = 0, capacity = std::min(kFirstCapacity, p.n_kv);
  for (int pass = 0; pass < (p.decode.restart > 0 ? 2 : 1); ++pass) {
    const std::int64_t prompt = pass == 0 ? p.decode.prompt : p.decode.restart;
    for (std::int64_t at = 0; at < prompt + p.decode.steps;) {
      DecodeStep step;
      step.first = token;
      step.n = at < prompt ? std::min(p.decode.chunk, prompt - at) : 1;
      step.position = at;
      step.pass = pass;
      step.restarts = pass > 0 && at == 0;
      at += step.n;
      token += step.n;
      while (capacity < at) capacity = std::min(2 * capacity, p.n_kv);
      step.rows = p.decode.cache == CacheKind::static_ ? p.n_kv : p.decode.cache == CacheKind::grown ? at : capacity;
      steps.push_back(step);
    }
  }
  return steps;
}

AttentionProblem step_problem(const AttentionProblem& problem, const DecodeStep& step) {
  AttentionProblem p = problem;
  p.op = Op::flash_attn_ext;
  p.decode = {};
  p.n_q = step.n;
  p.n_kv = step.rows;
  p.mask = {};
  if (step.n > 1 || step.visible(0) < step.rows) p.mask.terms = {{MaskKind::zeros, 0, DeadRows::none}};
  return p;
}

std::vector<std::uint16_t> step_mask(const DecodeStep& step) {
  std::vector<std::uint16_t> mask(static_cast<std::size_t>(step.rows * step.n), 0);
  for (std::int64_t i = 0; i < step.n; ++i) {
    const auto row = mask.begin() + i * step.rows;
    std::fill(row + step.visible(i), row + step.rows, kHalfMinusInfinity);
  }
  return mask;
}

ArithmeticContract decode_contract(const AttentionProblem& problem,
                                   const std::function<ArithmeticContract(const AttentionProblem&)>& of_step) {
  ArithmeticContract all;
  bool first = true;
  for (const DecodeStep& step : decode_steps(problem)) {
    const ArithmeticContract c = of_step(step_problem(problem, step));
    all = first ? loosest(c, c) : loosest(all, c);
    first = false;
  }
  all.set_path("decode");
  return all;
}

PlainDecode::PlainDecode(const Case& c, const AttentionInputs& inputs) : case_(c) {
  AttentionProblem& p = case_.problem;
  const std::int64_t tokens = p.n_q, first_pass = p.decode.prompt + p.decode.steps;
  p.op = Op::flash_attn_ext;
  p.n_kv = tokens;
  p.mask.terms = {{MaskKind::causal, 0, DeadRows::none}};
  p.mask.type = DType::f32;
  p.layout = {};
  p.decode = {};
  inputs_ = inputs;
  inputs_.problem = &p;
  inputs_.k = stored(inputs.k, p.k_type, k_);
  inputs_.v = stored(inputs.v, p.v_type, v_);
  mask_.assign(static_cast<std::size_t>(tokens * tokens), -std::numeric_limits<float>::infinity());
  for (std::int64_t i = 0; i < tokens; ++i) {
    const std::int64_t from = i < first_pass ? 0 : first_pass;
    std::fill(mask_.begin() + i * tokens + from, mask_.begin() + i * tokens + i + 1, 0.0F);
  }
  static_cast<TensorShape&>(inputs_.mask) = token_rows(DType::f32, tokens, tokens, 1);
  inputs_.mask.data = reinterpret_cast<const std::byte*>(mask_.data());
}

}  // namespace attest
