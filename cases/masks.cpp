#include "cases/masks.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "cases/random_fill.h"

namespace attest {
namespace {

constexpr float kHidden = -std::numeric_limits<float>::infinity();
constexpr std::int64_t kShifts = 8;
constexpr std::int64_t kFiniteBlock = 32, kFiniteLeft = 128;

std::int64_t floor_div(std::int64_t a, std::int64_t b) { return a / b - (a % b != 0 && (a < 0) != (b < 0) ? 1 : 0); }

std::int64_t whole_arg(const MaskTerm& term, std::int64_t default_value) {
  return term.arg == 0 ? default_value : static_cast<std::int64_t>(term.arg);
}

bool has_edge(MaskKind kind) {
  return kind == MaskKind::causal || kind == MaskKind::causal_top_left || kind == MaskKind::window ||
         kind == MaskKind::used || kind == MaskKind::left || kind == MaskKind::document;
}

KeyRange term_range(const AttentionProblem& p, const MaskTerm& term, std::int64_t i, std::int64_t plane) {
  const std::int64_t shift = plane % kShifts;
  // Terms with an edge have whole arguments (rules.h); the cast is not defined for every bias of `finite`.
  const auto arg = has_edge(term.kind) ? static_cast<std::int64_t>(term.arg) : 0;
  const auto moved_back = [&](std::int64_t limit) {
    return limit > 0 ? std::max<std::int64_t>(limit - shift, 0) : limit;
  };
  switch (term.kind) {
    case MaskKind::causal:
      return {0, moved_back(i + p.n_kv - p.n_q) + 1};
    case MaskKind::causal_top_left:
      return {0, moved_back(i) + 1};
    case MaskKind::window: {
      const std::int64_t limit = moved_back(i + p.n_kv - p.n_q);
      return {limit - arg + 1, limit + 1};
    }
    case MaskKind::used:
      return {0, arg > 1 ? std::max<std::int64_t>(arg - shift, 1) : arg};
    case MaskKind::left:
      return {arg < p.n_kv ? std::min(arg + shift, p.n_kv - 1) : arg, p.n_kv};
    case MaskKind::document: {
      const std::int64_t size = std::max<std::int64_t>(arg, 1);
      const std::int64_t document = floor_div(i + p.n_kv - p.n_q + shift, size);
      return {document * size - shift, (document + 1) * size - shift};
    }
    default:
      return {0, p.n_kv};
  }
}

KeyRange clamp(KeyRange range, std::int64_t n_kv) {
  return {std::clamp<std::int64_t>(range.first, 0, n_kv), std::clamp<std::int64_t>(range.end, 0, n_kv)};
}

bool is_dead(const AttentionProblem& p, DeadRows where, std::int64_t i, std::int64_t plane) {
  const auto is_row = [&](std::int64_t row) { return i == (row + plane) % p.n_q; };
  switch (where) {
    case DeadRows::none:
      return false;
    case DeadRows::first:
      return is_row(0);
    case DeadRows::middle:
      return is_row(p.n_q / 2);
    case DeadRows::last:
      return is_row(p.n_q - 1);
    case DeadRows::all:
      return true;
    case DeadRows::every_third:
      return (i + plane) % 3 == 0;
  }
  return false;
}

std::uint64_t plane_row(std::int64_t i, std::int64_t plane) { return row_id(i, plane & 0xffff, plane >> 16); }

bool adds_values(MaskKind kind) {
  switch (kind) {
    case MaskKind::random:
    case MaskKind::finite:
    case MaskKind::finite_rows:
    case MaskKind::finite_blocks:
    case MaskKind::finite_left:
    case MaskKind::ggml:
      return true;
    default:
      return false;
  }
}

// Row buffers of one call.
struct Scratch {
  explicit Scratch(std::int64_t n) : values(static_cast<std::size_t>(n)), halves(static_cast<std::size_t>(n) * 2) {}
  std::vector<float> values;
  std::vector<std::byte> halves;
};

void round_to_f16(float* values, std::int64_t n, Scratch& scratch) {
  encode_row(DType::f16, values, scratch.halves.data(), n);
  decode_row(DType::f16, scratch.halves.data(), values, n);
}

// sum += bias where nothing hides the key; sums stay finite, so that a bias never turns into hiding.
void add_bias(float* sum, const float* bias, std::int64_t n, float limit) {
  for (std::int64_t j = 0; j < n; ++j) {
    const float total = std::clamp(sum[j] + bias[j], -limit, limit);
    sum[j] = sum[j] == kHidden || bias[j] == kHidden ? kHidden : total;
  }
}

}  // namespace

KeyRange visible_range(const AttentionProblem& problem, std::int64_t i, std::int64_t plane) {
  KeyRange all{0, problem.n_kv};
  for (const MaskTerm& term : problem.mask.terms) {
    const KeyRange range = term_range(problem, term, i, plane);
    all = {std::max(all.first, range.first), std::min(all.end, range.end)};
  }
  return clamp(all, problem.n_kv);
}

KeyRange used_range(const AttentionProblem& problem) {
  KeyRange all{0, problem.n_kv};
  for (const MaskTerm& term : problem.mask.terms) {
    if (term.kind != MaskKind::used && term.kind != MaskKind::left) continue;
    const KeyRange range = term_range(problem, term, 0, 0);
    all = {std::max(all.first, range.first), std::min(all.end, range.end)};
  }
  return clamp(all, problem.n_kv);
}

MaskRows::MaskRows(const AttentionProblem& problem, std::uint64_t seed)
    : problem_(&problem),
      seed_(seed),
      head_planes_(problem.mask.per_head ? problem.n_head : 1),
      seq_planes_(problem.mask.per_seq ? problem.n_seq : 1) {
  for (const MaskTerm& term : problem.mask.terms) {
    has_values_ = has_values_ || adds_values(term.kind);
    if (term.kind == MaskKind::ggml && ggml_blocks_.empty()) draw_ggml_blocks();
  }
}

void MaskRows::draw_ggml_blocks() {
  const AttentionProblem& p = *problem_;
  const std::int64_t planes = head_planes_ * seq_planes_;
  // A fifth of the mask in blocks of 128 keys x 64 queries, placed anywhere, half of them hidden, half zero.
  const std::int64_t count = p.n_kv * p.n_q * planes / (5 * 128 * 64);
  const Rng rng = rng_of(seed_, Stream::ggml_blocks);
  ggml_blocks_.reserve(static_cast<std::size_t>(count));
  for (std::int64_t b = 0; b < count; ++b) {
    const auto draw = [&](std::uint64_t salt, std::int64_t n) {
      return static_cast<std::int64_t>((rng.bits(static_cast<std::uint64_t>(b) * 4 + salt) >> 1) %
                                       static_cast<std::uint64_t>(n));
    };
    ggml_blocks_.push_back({draw(0, p.n_kv), draw(1, p.n_q), draw(2, planes), draw(3, 2) == 1});
  }
}

void MaskRows::ggml_row(std::int64_t i, std::int64_t plane, float* values) const {
  const RandomRow random(rng_of(seed_, Stream::ggml_mask).bits(plane_row(i, plane)));
  fill_uniform(random, values, static_cast<std::uint32_t>(problem_->n_kv));
  for (const Block& block : ggml_blocks_) {
    if (block.plane != plane || i < block.query || i >= block.query + 64) continue;
    std::fill(values + block.key, values + std::min(block.key + 128, problem_->n_kv), block.hidden ? kHidden : 0.0F);
  }
}

void MaskRows::hide_seeded_blocks(const MaskTerm& term, std::int64_t i, std::int64_t plane, float* values) const {
  const std::int64_t size = whole_arg(term, 64), columns = (problem_->n_kv + size - 1) / size;
  const std::uint64_t row = rng_of(seed_, Stream::blocks).bits(plane_row(i / size, plane));
  // One block of every row of blocks stays visible: dead rows are a term of their own.
  const auto kept = static_cast<std::int64_t>(row % static_cast<std::uint64_t>(std::max<std::int64_t>(columns, 1)));
  for (std::int64_t b = 0; b < columns; ++b) {
    const bool hidden = (mix64(row + static_cast<std::uint64_t>(b)) >> 63) != 0;
    if (hidden && b != kept) std::fill(values + b * size, values + std::min((b + 1) * size, problem_->n_kv), kHidden);
  }
}

bool MaskRows::in_finite_block(std::int64_t i, std::int64_t j, std::int64_t plane) const {
  const std::uint64_t row = rng_of(seed_, Stream::finite_blocks).bits(plane_row(i / kFiniteBlock, plane));
  return (mix64(row + static_cast<std::uint64_t>(j / kFiniteBlock)) >> 63) != 0;
}

bool MaskRows::bias_row(const MaskTerm& term, std::int64_t i, std::int64_t plane, float* values) const {
  const std::int64_t n = problem_->n_kv;
  switch (term.kind) {
    case MaskKind::random: {
      const RandomRow random(rng_of(seed_, Stream::mask).bits(plane_row(i, plane)));
      const auto size = static_cast<float>(term.arg == 0 ? 1.0 : term.arg);
      fill_uniform(random, values, static_cast<std::uint32_t>(n));
      for (std::int64_t j = 0; j < n; ++j) values[j] *= size;
      return true;
    }
    case MaskKind::finite:
      std::fill(values, values + n, static_cast<float>(term.arg));
      return false;
    case MaskKind::finite_rows:
      std::fill(values, values + n, (i + plane) % 3 == 0 ? static_cast<float>(term.arg) : 0.0F);
      return false;
    case MaskKind::finite_blocks:
      for (std::int64_t j = 0; j < n; ++j) values[j] = in_finite_block(i, j, plane) ? static_cast<float>(term.arg) : 0;
      return false;
    case MaskKind::finite_left:
      for (std::int64_t j = 0; j < n; ++j) values[j] = j < kFiniteLeft ? static_cast<float>(term.arg) : 0;
      return false;
    default:
      ggml_row(i, plane, values);
      return true;
  }
}

void MaskRows::row(std::int64_t i, std::int64_t h, std::int64_t s, float* values) const {
  const AttentionProblem& p = *problem_;
  const std::int64_t plane = h + head_planes_ * s;
  std::fill(values, values + p.n_kv, 0.0F);
  if (has_values_) {
    const float limit = p.mask.type == DType::f16 ? 65504.0F : std::numeric_limits<float>::max();
    Scratch scratch(p.n_kv);
    for (const MaskTerm& term : p.mask.terms) {
      if (!adds_values(term.kind)) continue;
      // Random biases are exact in f16, so that f16 and f32 masks of a case hold the same values.
      if (bias_row(term, i, plane, scratch.values.data())) round_to_f16(scratch.values.data(), p.n_kv, scratch);
      add_bias(values, scratch.values.data(), p.n_kv, limit);
    }
    if (p.mask.type == DType::f16) round_to_f16(values, p.n_kv, scratch);
  }
  for (const MaskTerm& term : p.mask.terms) {
    if (term.kind == MaskKind::blocks) hide_seeded_blocks(term, i, plane, values);
    if (term.kind == MaskKind::dead && is_dead(p, term.where, i, plane)) std::fill(values, values + p.n_kv, kHidden);
  }
  const KeyRange range = visible_range(p, i, plane);
  std::fill(values, values + range.first, kHidden);
  std::fill(values + std::max(range.end, range.first), values + p.n_kv, kHidden);
}

std::vector<std::uint8_t> MaskRows::visible_keys(std::int64_t h, std::int64_t s) const {
  const auto n = static_cast<std::size_t>(problem_->n_kv);
  std::vector<std::uint8_t> visible(n, 0);
  std::vector<float> values(n);
  for (std::int64_t i = 0; i < problem_->n_q; ++i) {
    row(i, h, s, values.data());
    for (std::size_t j = 0; j < n; ++j) visible[j] |= static_cast<std::uint8_t>(values[j] != kHidden);
  }
  return visible;
}

}  // namespace attest
