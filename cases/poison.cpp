#include "cases/poison.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "cases/rng.h"

namespace attest {
namespace {

float poison_value(PoisonWhat what) {
  switch (what) {
    case PoisonWhat::plus_60000:
      return 60000.0F;
    case PoisonWhat::minus_60000:
      return -60000.0F;
    case PoisonWhat::nan:
      return std::numeric_limits<float>::quiet_NaN();
    case PoisonWhat::inf:
      return std::numeric_limits<float>::infinity();
    default:
      return 0.0F;
  }
}

// Halves at the start of a block: its scale and, in q4_1 and q5_1, its minimum.
std::int64_t leading_halves(DType type) { return type == DType::q4_1 || type == DType::q5_1 ? 2 : 1; }

void fill_random(std::byte* memory, std::int64_t bytes, std::uint64_t key) {
  const Rng rng(key, 0);
  for (std::int64_t at = 0; at < bytes; at += 8) {
    const std::uint64_t word = rng.bits(static_cast<std::uint64_t>(at));
    for (std::int64_t b = at; b < std::min(at + 8, bytes); ++b) {
      memory[b] = static_cast<std::byte>(word >> (8 * (b - at)));
    }
  }
}

// Whether some row of K or V (soft_max_ext: some score) is hidden from all who read it.
bool hides_any(const AttentionProblem& p, std::uint64_t seed) {
  const MaskRows mask(p, seed);
  const auto any = [](const std::vector<std::uint8_t>& hidden) {
    return std::find(hidden.begin(), hidden.end(), 1) != hidden.end();
  };
  if (p.op != Op::soft_max_ext)
    return any(hidden_rows(p, mask, p.n_head_kv)) ||
           (p.n_head_v != p.n_head_kv && any(hidden_rows(p, mask, p.n_head_v)));
  std::vector<float> bias(static_cast<std::size_t>(p.n_kv));
  for (std::int64_t s = 0; s < mask.seq_planes(); ++s) {
    for (std::int64_t h = 0; h < mask.head_planes(); ++h) {
      for (std::int64_t i = 0; i < p.n_q; ++i) {
        mask.row(i, h, s, bias.data());
        if (std::any_of(bias.begin(), bias.end(), [](float b) { return std::isinf(b); })) return true;
      }
    }
  }
  return false;
}

// Repeats the first `unit` bytes over the rest.
void repeat(std::byte* memory, std::int64_t unit, std::int64_t bytes) {
  for (std::int64_t at = unit; at < bytes; at += unit) {
    std::memcpy(memory + at, memory, static_cast<std::size_t>(std::min(unit, bytes - at)));
  }
}

}  // namespace

bool poisons(const PoisonSpec& poison, PoisonWhere place) {
  const PoisonWhere where = poison.where;
  if (poison.what == PoisonWhat::none) return false;
  if (where == PoisonWhere::everywhere || where == place) return true;
  if (where == PoisonWhere::gaps)
    return place == PoisonWhere::rows || place == PoisonWhere::heads || place == PoisonWhere::end;
  return where == PoisonWhere::mask_padding && (place == PoisonWhere::mask_rows || place == PoisonWhere::mask_cols);
}

std::uint64_t seed_at(const Case& c, PoisonWhere place) {
  return c.poison.what == PoisonWhat::previous && poisons(c.poison, place) ? c.poison.seed : c.seed;
}

bool changes_bytes(const Case& c) {
  const AttentionProblem& p = c.problem;
  const LayoutSpec& at = p.layout;
  const PoisonWhat what = c.poison.what;
  if (what == PoisonWhat::none) return false;
  if (poisons(c.poison, PoisonWhere::output)) return true;
  const bool values = what != PoisonWhat::previous || c.poison.seed != c.seed;
  const bool pads = what != PoisonWhat::zero && what != PoisonWhat::previous;
  const bool in_memory = !at.sparse, rows = std::max(at.cache, p.n_kv) > 0, mask = p.mask.present();
  const auto holds = [&](PoisonWhere place) { return poisons(c.poison, place); };
  if (in_memory && values && rows && holds(PoisonWhere::heads) &&
      (at.cache > p.n_kv || at.parent_heads > std::min(p.n_head_kv, p.n_head_v)))
    return true;
  if (in_memory && pads && rows && at.pad > 0 && holds(PoisonWhere::rows)) return true;
  if (pads && at.tail > 0 && holds(PoisonWhere::end)) return true;
  if (pads && at.offset > 0 && (c.poison.where == PoisonWhere::gaps || (mask && holds(PoisonWhere::mask_padding))))
    return true;
  if (in_memory && pads && mask && at.mask_rows > 0 && p.n_kv + at.mask_cols > 0 && holds(PoisonWhere::mask_rows))
    return true;
  if (in_memory && pads && mask && at.mask_cols > 0 && holds(PoisonWhere::mask_cols)) return true;
  return values && mask && holds(PoisonWhere::hidden) && hides_any(p, c.seed);
}

void fill_poison(PoisonWhat what, DType type, std::byte* memory, std::int64_t bytes, std::uint64_t key) {
  if (bytes <= 0) return;
  if (what == PoisonWhat::random) return fill_random(memory, bytes, key);
  if (what == PoisonWhat::zero || what == PoisonWhat::none || what == PoisonWhat::previous) {
    std::memset(memory, 0, static_cast<std::size_t>(bytes));
    return;
  }
  const float value = poison_value(what);
  if (!is_quantised(type)) {
    const std::int64_t unit = info(type).block_bytes;
    encode_row(type, &value, memory, 1);
    return repeat(memory, unit, bytes);
  }
  std::uint16_t half = f32_to_f16(value);
  fill_random(memory, bytes, key);
  for (std::int64_t block = 0; block < bytes; block += info(type).block_bytes) {
    for (std::int64_t h = 0; h < leading_halves(type); ++h) std::memcpy(memory + block + 2 * h, &half, sizeof half);
  }
}

std::vector<std::uint8_t> hidden_rows(const AttentionProblem& p, const MaskRows& mask, std::int64_t heads) {
  if (!p.mask.present()) return {};
  std::vector<std::vector<std::uint8_t>> visible;
  for (std::int64_t s = 0; s < mask.seq_planes(); ++s) {
    for (std::int64_t h = 0; h < mask.head_planes(); ++h) visible.push_back(mask.visible_keys(h, s));
  }
  std::vector<std::uint8_t> hidden(static_cast<std::size_t>(p.n_kv * heads * p.n_seq_kv), 1);
  for (std::int64_t s = 0; s < p.n_seq; ++s) {
    for (std::int64_t h = 0; h < p.n_head; ++h) {
      const auto& seen =
          visible[static_cast<std::size_t>((s % mask.seq_planes()) * mask.head_planes() + h % mask.head_planes())];
      const std::int64_t kv_head = h / (p.n_head / heads), kv_seq = s / (p.n_seq / p.n_seq_kv);
      auto* row = hidden.data() + (kv_seq * heads + kv_head) * p.n_kv;
      for (std::size_t j = 0; j < seen.size(); ++j) row[j] = static_cast<std::uint8_t>(row[j] & (seen[j] ^ 1U));
    }
  }
  return hidden;
}

}  // namespace attest
