#include "cases/problem.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "cases/rules.h"

namespace attest {
namespace {

using Broken = std::optional<Violation>;

Broken in_range(std::string_view key, std::int64_t value, std::int64_t low, std::int64_t high) {
  if (value >= low && value <= high) return {};
  return Violation{key, fmt::format("= {} is out of range", value), fmt::format("{} to {}", low, high)};
}

Broken whole_blocks(std::string_view key, std::int64_t d, DType type) {
  const auto& storage = info(type);
  if (d % storage.block == 0) return {};
  const std::int64_t below = d / storage.block * storage.block, above = below + storage.block;
  return Violation{key,
                   fmt::format("= {} is not a multiple of {}, the block of {}", d, storage.block, storage.name),
                   below > 0 ? fmt::format("nearest are {} and {}", below, above) : fmt::format("nearest is {}", above),
                   {key == "d_k" ? "k" : "v"}};
}

Broken divides(std::string_view key, std::int64_t part, std::string_view whole_key, std::int64_t whole) {
  if (whole % part == 0) return {};
  std::int64_t below = std::min(part, whole);
  while (whole % below != 0) --below;
  std::int64_t above = std::min(part, whole);
  while (whole % above != 0) ++above;
  return Violation{
      key,
      fmt::format("= {} does not divide {} = {}", part, whole_key, whole),
      below == above ? fmt::format("nearest is {}", below) : fmt::format("nearest are {} and {}", below, above),
      {whole_key}};
}

Broken first_of(std::initializer_list<Broken> checks) {
  for (const auto& broken : checks) {
    if (broken) return broken;
  }
  return {};
}

Broken check_sizes(const AttentionProblem& p) {
  return first_of({in_range("d_k", p.d_k, 1, kMaxHeadSize), in_range("d_v", p.d_v, 1, kMaxHeadSize),
                   in_range("n_head", p.n_head, 1, kMaxHeads), in_range("n_head_kv", p.n_head_kv, 1, kMaxHeads),
                   in_range("n_head_v", p.n_head_v, 1, kMaxHeads), in_range("n_q", p.n_q, 1, kMaxTokens),
                   in_range("n_kv", p.n_kv, 0, kMaxTokens), in_range("n_seq", p.n_seq, 1, kMaxHeads),
                   in_range("n_seq_kv", p.n_seq_kv, 1, kMaxHeads), in_range("threads", p.threads, 0, kMaxThreads)});
}

// Bytes of every tensor stay below 2^46, so that no sum of offsets leaves 64 bits.
Broken check_memory(const AttentionProblem& p) {
  constexpr double kMaxElements = 0x1p44;
  const auto real = [](std::int64_t n) { return static_cast<double>(n); };
  const double rows = real(std::max(p.n_kv, p.layout.cache)) *
                      real(std::max({p.n_head_kv, p.n_head_v, p.layout.parent_heads})) * real(p.n_seq_kv);
  if (rows * real(std::max(p.d_k, p.d_v) + p.layout.pad) > kMaxElements) {
    const bool cache = p.op == Op::set_rows || p.op == Op::kv_decode;
    return Violation{cache ? "n_ctx" : "n_kv",
                     fmt::format("makes {} larger than 2^44 elements", cache ? "the cache" : "K or V"),
                     "",
                     {"layout", "d_k", "d_v", "n_head_v", "n_seq_kv"}};
  }
  if (p.op == Op::soft_max_ext && real(p.n_kv) * real(p.n_q) * real(p.n_head) * real(p.n_seq) > kMaxElements) {
    return Violation{"n_kv", "makes the scores more than 2^44", "", {"n_q", "n_head", "n_seq"}};
  }
  if (real(p.n_q) * real(p.n_head) * real(p.n_seq) * real(std::max(p.d_k, p.d_v)) > kMaxElements) {
    return Violation{"n_q", "makes Q or the output larger than 2^44 elements", "", {"d_k", "d_v", "n_head", "n_seq"}};
  }
  const double planes = real(p.mask.per_head ? p.n_head : 1) * real(p.mask.per_seq ? p.n_seq : 1);
  if (p.mask.present() &&
      real(p.n_q + p.layout.mask_rows) * real(p.n_kv + p.layout.mask_cols) * planes > kMaxElements) {
    return Violation{"mask", "is larger than 2^44 elements", "", {"n_q", "n_kv", "n_head", "n_seq", "layout"}};
  }
  return {};
}

Broken check_mask_term(const AttentionProblem& p, const MaskTerm& term) {
  const auto needs_whole = [&](std::string_view name, double low, double high) -> Broken {
    if (term.arg >= low && term.arg <= high && term.arg == std::floor(term.arg)) return {};
    return Violation{
        "mask", fmt::format("{}:{} is out of range", name, term.arg), fmt::format("{} to {}", low, high), {"n_kv"}};
  };
  const auto max_tokens = static_cast<double>(kMaxTokens);
  switch (term.kind) {
    case MaskKind::window:
      return needs_whole("window", 1, max_tokens);
    case MaskKind::document:
      return needs_whole("document", 1, max_tokens);
    case MaskKind::blocks:
      return needs_whole("blocks", 0, max_tokens);
    case MaskKind::used:
      return needs_whole("used", 0, static_cast<double>(p.n_kv));
    case MaskKind::left:
      return needs_whole("left", 0, static_cast<double>(p.n_kv));
    case MaskKind::dead:
      if (term.where == DeadRows::none) return Violation{"mask", "dead names no rows", "dead:first, dead:all ..."};
      return {};
    case MaskKind::random:
    case MaskKind::finite:
    case MaskKind::finite_rows:
    case MaskKind::finite_blocks:
    case MaskKind::finite_left: {
      const std::string_view name = term.kind == MaskKind::random ? "random" : "finite";
      const double limit = p.mask.type == DType::f16 ? 65504.0 : std::numeric_limits<float>::max();
      if (!(std::fabs(term.arg) <= limit)) {
        return Violation{"mask", fmt::format("{}:{} is not finite in {}", name, term.arg, info(p.mask.type).name),
                         fmt::format("at most {}", limit)};
      }
      if (term.kind == MaskKind::random && term.arg < 0) return Violation{"mask", "random needs a positive size", ""};
      return {};
    }
    case MaskKind::zeros:
    case MaskKind::causal:
    case MaskKind::causal_top_left:
    case MaskKind::ggml:
      return {};
  }
  return {};
}

Broken check_mask(const AttentionProblem& p) {
  if (!p.mask.present()) {
    if (p.mask.per_head || p.mask.per_seq) return Violation{"mask", "has planes but no term", "e.g. causal+per-head"};
    if (p.max_bias > 0)
      return Violation{"max_bias", "needs a mask: ALiBi slopes multiply it", "add e.g. mask=causal", {"mask"}};
    return {};
  }
  if (p.mask.type != DType::f16 && p.mask.type != DType::f32) {
    return Violation{"mask", fmt::format("is stored as {}", info(p.mask.type).name), "f16 or f32"};
  }
  for (const auto& term : p.mask.terms) {
    if (auto broken = check_mask_term(p, term)) return broken;
  }
  return {};
}

Broken check_parameters(const AttentionProblem& p) {
  if (!std::isfinite(p.scale)) return Violation{"scale", "must be finite", ""};
  if (!std::isfinite(p.softcap) || p.softcap < 0) return Violation{"softcap", "must be finite and not negative", ""};
  if (!std::isfinite(p.max_bias) || p.max_bias < 0) return Violation{"max_bias", "must be finite and not negative", ""};
  const double arg = p.sinks.arg;
  const bool minus_inf = p.sinks.kind == SinkKind::value && std::isinf(arg) && arg < 0;
  if (!minus_inf && !(std::fabs(arg) <= std::numeric_limits<float>::max())) {
    return Violation{"sinks", fmt::format("= {} is neither finite in f32 nor -inf", arg), ""};
  }
  if ((p.sinks.kind == SinkKind::uniform || p.sinks.kind == SinkKind::normal) && arg < 0) {
    return Violation{"sinks", fmt::format("need a positive spread, not {}", arg), ""};
  }
  return {};
}

Broken check_layout(const AttentionProblem& p) {
  const auto& at = p.layout;
  using Keys = std::vector<std::string_view>;
  const auto wrong = [](Keys others, std::string what, std::string hint = {}) {
    return Violation{"layout", std::move(what), std::move(hint), std::move(others)};
  };
  if (at.cache != 0 && (at.cache < p.n_kv || at.cache > kMaxTokens)) {
    return wrong({"n_kv"}, fmt::format("cache:{} does not hold n_kv = {} keys", at.cache, p.n_kv));
  }
  const std::int64_t heads = std::max(p.n_head_kv, p.n_head_v);
  if (at.parent_heads != 0 && (at.parent_heads < heads || at.parent_heads > 2 * kMaxHeads)) {
    return wrong({"n_head_v"}, fmt::format("heads:{} does not hold {} heads", at.parent_heads, heads));
  }
  const std::int64_t block = std::max(info(p.k_type).block, info(p.v_type).block);
  if (at.pad < 0 || at.pad > kMaxTokens || at.pad % block != 0) {
    return wrong({"k", "v"}, fmt::format("pad:{} is not a number of whole blocks", at.pad),
                 fmt::format("a multiple of {}", block));
  }
  if (at.offset < 0 || at.offset > kMaxTokens || at.offset % 2 != 0) {
    return wrong({}, fmt::format("offset:{} is odd: halves would lie across their alignment", at.offset));
  }
  if (at.tail < 0 || at.tail > kMaxTokens || at.tail % 2 != 0) {
    return wrong({}, fmt::format("tail:{} is odd: what lies there is written in halves", at.tail));
  }
  for (const auto& [name, count] : {std::pair{"mask-rows", at.mask_rows}, std::pair{"mask-cols", at.mask_cols}}) {
    if (count < 0 || count > kMaxTokens) return wrong({}, fmt::format("{}:{} is out of range", name, count));
    if (count > 0 && !p.mask.present()) {
      return wrong({"mask"}, fmt::format("{}:{} pads a mask that is not there", name, count));
    }
  }
  if (at.k_transposed && at.v_view_of_k)
    return wrong({}, "kt and v-in-k exclude each other: V would be transposed too");
  if (!at.v_view_of_k) return {};
  if (p.k_type != p.v_type) {
    return wrong({"k", "v"},
                 fmt::format("v-in-k needs one type, not k={} and v={}", info(p.k_type).name, info(p.v_type).name));
  }
  if (p.d_v > p.d_k) return wrong({"d_k", "d_v"}, fmt::format("v-in-k needs d_v <= d_k, not {} > {}", p.d_v, p.d_k));
  if (p.n_head_v != p.n_head_kv) return wrong({"n_head_v"}, "v-in-k needs n_head_v = n_head_kv");
  return {};
}

// Types for which half a step of the block bounds what a correct quantiser may do.
bool has_uniform_steps(DType type) { return type != DType::iq4_nl && type != DType::q1_0 && type != DType::q2_0; }

Broken check_uniform(std::string_view key, DType type) {
  if (has_uniform_steps(type)) return {};
  return Violation{key, fmt::format("= {} has no rule for what a correct quantiser may do", info(type).name),
                   "f32, f16, bf16, q8_0, q4_0, q4_1, q5_0 or q5_1"};
}

Broken check_scatter(const AttentionProblem& p) {
  if (auto broken = check_uniform("kv", p.k_type)) return broken;
  if (p.n_q <= p.n_kv) return {};
  return Violation{"n_rows",
                   fmt::format("= {} is more than n_ctx = {}: no two rows go to one place", p.n_q, p.n_kv),
                   fmt::format("1 to {}", p.n_kv),
                   {"n_ctx"}};
}

Broken check_decode(const AttentionProblem& p) {
  constexpr std::int64_t kMaxTokensOfAll = 4096;
  const DecodeSpec& at = p.decode;
  for (const DType type : {p.k_type, p.v_type}) {
    if (auto broken = check_uniform(type == p.k_type ? "k" : "v", type)) return broken;
  }
  for (const auto& [key, prompt] : {std::pair{"prompt", at.prompt}, std::pair{"restart", at.restart}}) {
    if (prompt + at.steps > p.n_kv) {
      return Violation{key,
                       fmt::format("= {} and {} steps do not fit into n_ctx = {}", prompt, at.steps, p.n_kv),
                       fmt::format("at most {}", std::max<std::int64_t>(p.n_kv - at.steps, 0)),
                       {"steps", "n_ctx"}};
    }
  }
  if (p.n_q > kMaxTokensOfAll) {
    return Violation{"steps", fmt::format("makes {} tokens in all", p.n_q), fmt::format("at most {}", kMaxTokensOfAll)};
  }
  if (at.prompt + at.steps < 1) return Violation{"prompt", "and steps are both 0: no token", ""};
  LayoutSpec plain;
  plain.permuted = p.layout.permuted;
  if (p.layout == plain) return {};
  return Violation{"layout", "of a cache is 0123 (heads outermost) or 0213 (tokens outermost)", ""};
}

}  // namespace

std::optional<Violation> find_violation(const AttentionProblem& p) {
  if (auto broken = check_sizes(p)) return broken;
  if (p.op == Op::set_rows) return first_of({whole_blocks("d", p.d_k, p.k_type), check_scatter(p), check_memory(p)});
  if (p.op == Op::kv_decode) {
    return first_of({divides("n_head_kv", p.n_head_kv, "n_head", p.n_head), whole_blocks("d_k", p.d_k, p.k_type),
                     whole_blocks("d_v", p.d_v, p.v_type), check_parameters(p), check_decode(p), check_memory(p)});
  }
  return first_of(
      {divides("n_head_kv", p.n_head_kv, "n_head", p.n_head), divides("n_head_v", p.n_head_v, "n_head", p.n_head),
       divides("n_seq_kv", p.n_seq_kv, "n_seq", p.n_seq), whole_blocks("d_k", p.d_k, p.k_type),
       whole_blocks("d_v", p.d_v, p.v_type), check_mask(p), check_parameters(p), check_layout(p), check_memory(p)});
}

Expected<void> validate(const AttentionProblem& problem) {
  if (const auto broken = find_violation(problem)) {
    return input_error(fmt::format("{} {}", broken->key, broken->what), broken->hint);
  }
  return {};
}

double alibi_slope(const AttentionProblem& problem, std::int64_t head) {
  if (!(problem.max_bias > 0)) return 1;
  std::int64_t n2 = 1;
  while (n2 * 2 <= problem.n_head) n2 *= 2;
  const auto max_bias = static_cast<double>(problem.max_bias);
  const auto power = static_cast<double>(n2);
  const double exponent = head < n2 ? -max_bias * static_cast<double>(head + 1) / power
                                    : -max_bias / 2 * static_cast<double>(2 * (head - n2) + 1) / power;
  return std::exp2(exponent);
}

double flop(const AttentionProblem& p) {
  const auto real = [](std::int64_t n) { return static_cast<double>(n); };
  if (p.op == Op::set_rows) return 8 * real(p.n_seq) * real(p.n_head) * real(p.n_q) * real(p.d_k);
  if (p.op == Op::soft_max_ext) return 16 * real(p.n_seq) * real(p.n_head) * real(p.n_q) * real(p.n_kv);
  return 2 * real(p.n_seq) * real(p.n_head) * real(p.n_q) * real(p.n_kv) * (real(p.d_k) + real(p.d_v));
}

}  // namespace attest
