#include "cases/op_inputs.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <limits>
#include <numeric>

#include "cases/families.h"
#include "cases/masks.h"
#include "cases/poison.h"
#include "cases/random_rows.h"
#include "cases/value_rows.h"

namespace attest {
namespace {

TensorPlan contiguous(DType type, std::array<std::int64_t, 4> ne) {
  TensorPlan plan;
  plan.shape.dtype = type;
  plan.shape.ne = ne;
  auto& nb = plan.shape.nb;
  nb[0] = info(type).block_bytes;
  nb[1] = row_bytes(type, ne[0]);
  nb[2] = nb[1] * ne[1];
  nb[3] = nb[2] * ne[2];
  plan.bytes = std::max<std::int64_t>(nb[3] * ne[3], info(type).block_bytes);
  return plan;
}

constexpr std::int64_t kCacheAlignment = 64;
std::int64_t aligned(std::int64_t bytes) { return (bytes + kCacheAlignment - 1) / kCacheAlignment * kCacheAlignment; }

float* floats(const TensorPlan& plan, std::byte* memory, std::int64_t i, std::int64_t h, std::int64_t s) {
  return reinterpret_cast<float*>(memory + plan.offset + plan.shape.offset(i, h, s));
}

// Rows of a cache before they are overwritten: values of an earlier user, or the poison.
void fill_stale(const Case& c, const TensorShape& shape, std::byte* memory, std::uint64_t salt) {
  const std::uint64_t seed = c.poison.what == PoisonWhat::previous ? c.poison.seed : c.seed ^ 0x5eedULL;
  std::vector<float> row(static_cast<std::size_t>(shape.ne[0]));
  for (std::int64_t s = 0; s < shape.ne[3]; ++s) {
    for (std::int64_t h = 0; h < shape.ne[2]; ++h) {
      for (std::int64_t j = 0; j < shape.ne[1]; ++j) {
        const std::uint64_t key = rng_of(seed, Stream::output).bits(row_id(j, h, s) * 2 + salt);
        std::byte* at = memory + shape.offset(j, h, s);
        if (c.poison.what != PoisonWhat::none && c.poison.what != PoisonWhat::previous) {
          fill_poison(c.poison.what, shape.dtype, at, row_bytes(shape.dtype, shape.ne[0]), key);
          continue;
        }
        const RandomRow random(key);
        for (std::size_t e = 0; e < row.size(); ++e) row[e] = random.normal(static_cast<std::uint32_t>(e));
        encode_row(shape.dtype, row.data(), at, shape.ne[0]);
      }
    }
  }
}

// Scores of one row of soft_max_ext, before scale. `seen`: the keys that the mask leaves to it, in order.
void score_row(const ResolvedData& data, const RandomRow& random, std::int64_t row,
               const std::vector<std::int64_t>& seen, float* x, std::int64_t n) {
  const auto arg = static_cast<float>(data.scores_arg);
  const auto noise = [&](std::int64_t j) { return random.normal(static_cast<std::uint32_t>(j)); };
  const auto ramp = [&](std::int64_t j) {
    return n > 1 ? arg * static_cast<float>(j) / static_cast<float>(n - 1) : 0.0F;
  };
  const auto set_all = [&](auto value) {
    for (std::int64_t j = 0; j < n; ++j) x[j] = value(j);
  };
  std::int64_t needle = -1;
  const auto choose = [&](std::size_t place) {
    if (!seen.empty()) needle = seen[place % seen.size()];
  };
  switch (data.scores) {
    case Family::uniform:
      return set_all([&](std::int64_t j) { return random.uniform(static_cast<std::uint32_t>(j)); });
    case Family::rising:
      return set_all([&](std::int64_t j) { return ramp(j) + noise(j); });
    case Family::falling:
      return set_all([&](std::int64_t j) { return ramp(n - 1 - j) + noise(j); });
    case Family::flat:
      return set_all([&](std::int64_t) { return 0.5F; });
    case Family::low:
      return set_all([&](std::int64_t j) { return noise(j) - arg; });
    case Family::integer:
      return set_all([&](std::int64_t j) { return std::floor(4 * noise(j)); });
    case Family::onehot:
      choose(static_cast<std::size_t>(row) * 7);
      set_all([&](std::int64_t j) { return noise(j); });
      break;
    case Family::needle_first:
    case Family::spike_first:
      choose(0);
      set_all([&](std::int64_t j) { return noise(j) * (data.scores == Family::spike_first ? 0x1p-6F : 1.0F); });
      break;
    case Family::needle_last:
    case Family::spike_last:
      choose(seen.size() - 1);
      set_all([&](std::int64_t j) { return noise(j) * (data.scores == Family::spike_last ? 0x1p-6F : 1.0F); });
      break;
    default:  // normal, huge: standard deviation <arg>
      return set_all([&](std::int64_t j) { return arg * noise(j); });
  }
  if (needle >= 0) x[needle] += data.scores == Family::onehot ? 500.0F : arg;
}

// The scores of soft_max_ext under one seed.
class Scores {
 public:
  Scores(const Case& c, std::uint64_t seed)
      : problem_(c.problem),
        data_(resolve(c.data)),
        mask_(c.problem, seed),
        seed_(seed),
        bias_(static_cast<std::size_t>(c.problem.n_kv), 0.0F) {}

  // bias() and x, for a row.
  void row(std::int64_t i, std::int64_t h, std::int64_t s, float* x) {
    if (problem_.mask.present()) mask_.row(i, h % mask_.head_planes(), s % mask_.seq_planes(), bias_.data());
    seen_.clear();
    for (std::size_t j = 0; j < bias_.size(); ++j) {
      if (!std::isinf(bias_[j])) seen_.push_back(static_cast<std::int64_t>(j));
    }
    score_row(data_, RandomRow(key(i, h, s)), i, seen_, x, problem_.n_kv);
  }
  const std::vector<float>& bias() const { return bias_; }
  std::uint64_t key(std::int64_t i, std::int64_t h, std::int64_t s) const {
    return rng_of(seed_, Stream::q).bits(row_id(i, h, s));
  }

 private:
  const AttentionProblem& problem_;
  ResolvedData data_;
  MaskRows mask_;
  std::uint64_t seed_;
  std::vector<float> bias_;
  std::vector<std::int64_t> seen_;
};

void fill_soft_max(const Case& c, const InputPlan& plan, const InputBuffers& buffers) {
  const AttentionProblem& p = c.problem;
  Scores scores(c, c.seed), others(c, seed_at(c, PoisonWhere::hidden));
  std::vector<float> other(static_cast<std::size_t>(p.n_kv));
  const bool poisoned = poisons(c.poison, PoisonWhere::hidden) && p.mask.present();
  for (std::int64_t s = 0; s < p.n_seq; ++s) {
    for (std::int64_t h = 0; h < p.n_head; ++h) {
      for (std::int64_t i = 0; i < p.n_q; ++i) {
        float* row = floats(plan.q, buffers.q, i, h, s);
        scores.row(i, h, s, row);
        if (!poisoned) continue;
        const bool previous = c.poison.what == PoisonWhat::previous;
        if (previous) others.row(i, h, s, other.data());
        for (std::int64_t j = 0; j < p.n_kv; ++j) {
          if (!std::isinf(scores.bias()[static_cast<std::size_t>(j)])) continue;
          if (previous) {
            row[j] = other[static_cast<std::size_t>(j)];
          } else {
            fill_poison(c.poison.what, DType::f32, reinterpret_cast<std::byte*>(row + j), 4,
                        scores.key(i, h, s) + 3 * static_cast<std::uint64_t>(j));
          }
        }
      }
    }
  }
  if (!p.mask.present()) return;
  const MaskRows mask(p, c.seed);
  std::vector<float> bias(static_cast<std::size_t>(p.n_kv));
  const TensorShape& m = plan.mask.shape;
  for (std::int64_t s = 0; s < m.ne[3]; ++s) {
    for (std::int64_t h = 0; h < m.ne[2]; ++h) {
      for (std::int64_t i = 0; i < m.ne[1]; ++i) {
        mask.row(i, h, s, bias.data());
        encode_row(m.dtype, bias.data(), buffers.mask + m.offset(i, h, s), m.ne[0]);
      }
    }
  }
}

// Every row of the cache at most once, in the order the case asks for.
std::vector<std::int64_t> destinations(const Case& c, std::int64_t s) {
  const AttentionProblem& p = c.problem;
  std::vector<std::int64_t> rows(static_cast<std::size_t>(p.n_kv));
  std::iota(rows.begin(), rows.end(), std::int64_t{0});
  const RandomRow random(rng_of(c.seed, Stream::choice).bits(static_cast<std::uint64_t>(s)));
  const std::int64_t spare = p.n_kv - p.n_q;
  switch (p.scatter.order) {
    case RowOrder::shuffled:
      for (std::size_t i = rows.size(); i > 1; --i) {
        std::swap(rows[i - 1], rows[random.word(static_cast<std::uint32_t>(i)) % i]);
      }
      break;
    case RowOrder::ascending:
    case RowOrder::descending:
      std::rotate(rows.begin(), rows.begin() + random.word(0) % (spare + 1), rows.end());
      break;
    case RowOrder::strided: {
      const std::int64_t step = std::max<std::int64_t>(p.n_kv / p.n_q, 1);
      for (std::int64_t r = 0; r < p.n_q; ++r) rows[static_cast<std::size_t>(r)] = r * step;
      break;
    }
  }
  rows.resize(static_cast<std::size_t>(p.n_q));
  if (p.scatter.order == RowOrder::descending) std::reverse(rows.begin(), rows.end());
  return rows;
}

// One value in 37, of any block, is odd.
float odd_value(SourceKind kind, float value, std::uint32_t word) {
  if (kind == SourceKind::plain || word % 37 != 0) return value;
  const float sign = (word >> 8 & 1U) != 0 ? -1.0F : 1.0F;
  switch (kind) {
    case SourceKind::nan:
      return std::numeric_limits<float>::quiet_NaN();
    case SourceKind::inf:
      return sign * std::numeric_limits<float>::infinity();
    case SourceKind::large: {  // around the end of f16's range, and far beyond
      constexpr std::array kLarge{65504.0F, 65519.99F, 65520.0F, 1e9F, 3e38F};
      return sign * kLarge[(word >> 9) % kLarge.size()];
    }
    default: {  // around f16's subnormals and their ties
      constexpr std::array kTiny{0x1p-24F, 0x1p-25F, 0x1.8p-24F, 0x1p-15F};
      return sign * kTiny[(word >> 9) % kTiny.size()];
    }
  }
}

void fill_set_rows(const Case& c, const InputPlan& plan, const InputBuffers& buffers) {
  const AttentionProblem& p = c.problem;
  const ResolvedData data = resolve(c.data);
  const auto size =
      static_cast<float>(data.scores == Family::normal || data.scores == Family::huge ? data.scores_arg : 1);
  for (std::int64_t s = 0; s < p.n_seq; ++s) {
    for (std::int64_t h = 0; h < p.n_head; ++h) {
      for (std::int64_t r = 0; r < p.n_q; ++r) {
        const RandomRow random(rng_of(c.seed, Stream::k).bits(row_id(r, h, s)));
        float* row = floats(plan.q, buffers.q, r, h, s);
        for (std::int64_t e = 0; e < p.d_k; ++e) {
          const auto column = static_cast<std::uint32_t>(e);
          float x = size * (data.scores == Family::uniform ? random.uniform(column) : random.normal(column));
          if (data.scores == Family::integer) x = std::floor(4 * x);
          if (data.scores == Family::flat) x = 0.5F;
          if (data.scores == Family::outlier && random.second_word(column) % 1000 == 0) x *= 10;
          row[e] = odd_value(p.scatter.source, x, random.second_word(column + 0x10000U));
        }
      }
    }
    const auto rows = destinations(c, s);
    std::byte* at = buffers.mask + s * p.n_q * (p.scatter.index_i32 ? 4 : 8);
    for (std::size_t r = 0; r < rows.size(); ++r) {
      if (p.scatter.index_i32) {
        const auto index = static_cast<std::int32_t>(rows[r]);
        std::memcpy(at + 4 * r, &index, sizeof index);
      } else {
        std::memcpy(at + 8 * r, &rows[r], sizeof rows[r]);
      }
    }
  }
}

// New rows hold what a cache of the type can hold exactly, so that every correct quantiser stores the same values.
void store_once(DType type, float* row, std::int64_t n, std::vector<std::byte>& blocks) {
  if (!is_quantised(type)) return;
  blocks.resize(static_cast<std::size_t>(row_bytes(type, n)));
  encode_row(type, row, blocks.data(), n);
  decode_row(type, blocks.data(), row, n);
}

// The rows of one pass, whose tokens see each other up to themselves and nothing of the other pass.
void fill_pass(const Case& c, const InputPlan& plan, const InputBuffers& buffers, std::int64_t first, std::int64_t n,
               std::uint64_t seed) {
  const AttentionProblem& p = c.problem;
  AttentionProblem shape = p;
  shape.op = Op::flash_attn_ext;
  shape.n_q = shape.n_kv = n;
  shape.layout = {};
  shape.mask.terms = {{MaskKind::causal, 0, DeadRows::none}};
  const ValueRows values(shape, c.data, seed);
  // The last key that a token sees is its own: each points elsewhere, like sequences of one key.
  AttentionProblem one_key = shape;
  one_key.n_q = one_key.n_kv = 1;
  one_key.n_seq = one_key.n_seq_kv = n;
  const ValueRows own(one_key, c.data, seed);
  const bool own_key = resolve(c.data).scores == Family::needle_last;
  std::vector<std::byte> blocks;
  for (std::int64_t t = 0; t < n; ++t) {
    for (std::int64_t h = 0; h < p.n_head; ++h) {
      float* q = floats(plan.q, buffers.q, first + t, h, 0);
      own_key ? own.q_row(0, h, t, q) : values.q_row(t, h, 0, q);
    }
    for (std::int64_t h = 0; h < p.n_head_kv; ++h) {
      float *k = floats(plan.k, buffers.k, first + t, h, 0), *v = floats(plan.v, buffers.v, first + t, h, 0);
      own_key ? own.k_row(0, h, t, k) : values.k_row(t, h, 0, k);
      values.v_row(t, h, 0, v);
      store_once(p.k_type, k, p.d_k, blocks);
      store_once(p.v_type, v, p.d_v, blocks);
    }
  }
}

void fill_decode(const Case& c, const InputPlan& plan, const InputBuffers& buffers) {
  const AttentionProblem& p = c.problem;
  const std::int64_t first_pass = p.decode.prompt + p.decode.steps;
  fill_pass(c, plan, buffers, 0, first_pass, c.seed);
  if (p.decode.restart > 0) fill_pass(c, plan, buffers, first_pass, p.n_q - first_pass, mix64(c.seed + 1));
  std::memset(buffers.mask, 0, static_cast<std::size_t>(plan.mask.bytes));
  const TensorShape k = cache_shape(p, p.k_type, p.d_k, p.n_kv), v = cache_shape(p, p.v_type, p.d_v, p.n_kv);
  fill_stale(c, k, buffers.mask, 0);
  fill_stale(c, v, buffers.mask + aligned(shape_bytes(k)), 1);
}

}  // namespace

TensorShape cache_shape(const AttentionProblem& p, DType type, std::int64_t d, std::int64_t rows) {
  TensorShape t;
  t.dtype = type;
  t.ne = {d, rows, p.n_head_kv, 1};
  const std::int64_t row = row_bytes(type, d);
  t.nb[0] = info(type).block_bytes;
  t.nb[1] = p.layout.permuted ? row * p.n_head_kv : row;
  t.nb[2] = p.layout.permuted ? row : row * rows;
  t.nb[3] = row * rows * p.n_head_kv;
  return t;
}

InputPlan plan_op_inputs(const AttentionProblem& p) {
  InputPlan plan;
  switch (p.op) {
    case Op::soft_max_ext:
      plan.q = plan.out = contiguous(DType::f32, {p.n_kv, p.n_q, p.n_head, p.n_seq});
      if (p.mask.present()) {
        plan.mask =
            contiguous(p.mask.type, {p.n_kv, p.n_q, p.mask.per_head ? p.n_head : 1, p.mask.per_seq ? p.n_seq : 1});
      }
      break;
    case Op::set_rows:
      plan.q = contiguous(DType::f32, {p.d_k, p.n_q, p.n_head, p.n_seq});
      // 32-bit words stand for the indices: two make one i64.
      plan.mask = contiguous(DType::f32, {p.n_q * (p.scatter.index_i32 ? 1 : 2), p.n_seq, 1, 1});
      plan.out = contiguous(p.k_type, {p.d_k, p.n_kv, p.n_head, p.n_seq});
      break;
    case Op::kv_decode: {
      plan.q = contiguous(DType::f32, {p.d_k, p.n_q, p.n_head, 1});
      plan.k = contiguous(DType::f32, {p.d_k, p.n_q, p.n_head_kv, 1});
      plan.v = contiguous(DType::f32, {p.d_v, p.n_q, p.n_head_kv, 1});
      const std::int64_t bytes = aligned(shape_bytes(cache_shape(p, p.k_type, p.d_k, p.n_kv))) +
                                 aligned(shape_bytes(cache_shape(p, p.v_type, p.d_v, p.n_kv)));
      plan.mask = contiguous(DType::f16, {bytes / 2, 1, 1, 1});
      plan.out = contiguous(DType::f32, {p.d_v, p.n_head, p.n_q, 1});
      break;
    }
    case Op::flash_attn_ext:
      break;
  }
  if (p.sinks.kind != SinkKind::none) plan.sinks = contiguous(DType::f32, {p.n_head, 1, 1, 1});
  return plan;
}

void fill_op_inputs(const Case& c, const InputPlan& plan, const InputBuffers& buffers) {
  if (c.problem.op == Op::soft_max_ext) fill_soft_max(c, plan, buffers);
  if (c.problem.op == Op::set_rows) fill_set_rows(c, plan, buffers);
  if (c.problem.op == Op::kv_decode) fill_decode(c, plan, buffers);
  if (c.problem.sinks.kind != SinkKind::none) fill_sinks(c, plan, buffers);
}

void fill_old_rows(const Case& c, const InputPlan& plan, const InputBuffers& buffers) {
  fill_stale(c, plan.out.shape, buffers.out, 2);
}

std::int64_t row_index(const AttentionInputs& inputs, std::int64_t r, std::int64_t s) {
  const std::byte* row = inputs.mask.row(s, 0, 0);
  if (inputs.problem->scatter.index_i32) {
    std::int32_t index = 0;
    std::memcpy(&index, row + 4 * r, sizeof index);
    return index;
  }
  std::int64_t index = 0;
  std::memcpy(&index, row + 8 * r, sizeof index);
  return index;
}

InitialCache initial_cache(const AttentionInputs& inputs) {
  const AttentionProblem& p = *inputs.problem;
  InitialCache cache;
  static_cast<TensorShape&>(cache.k) = cache_shape(p, p.k_type, p.d_k, p.n_kv);
  static_cast<TensorShape&>(cache.v) = cache_shape(p, p.v_type, p.d_v, p.n_kv);
  cache.k.data = inputs.mask.data;
  cache.v.data = inputs.mask.data + aligned(shape_bytes(cache.k));
  return cache;
}

bool family_fits_soft_max(const std::string& name) {
  static const std::vector<std::string> fitting{"uniform",     "normal",      "rising",     "falling", "needle_first",
                                                "needle_last", "spike_first", "spike_last", "onehot",  "flat",
                                                "low",         "huge",        "integer"};
  return std::find(fitting.begin(), fitting.end(), name) != fitting.end();
}

}  // namespace attest
