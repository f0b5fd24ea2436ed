// Legal variants: other arithmetic than the production kernels', all of it within what the contract states.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <numeric>

#include "backends/mutant/fault.h"
#include "backends/mutant/variant.h"
#include "cases/rng.h"

namespace attest::mutant {

using cpu::KeyPlace, cpu::KeyRange, cpu::Primitives, cpu::RowPlace, cpu::kInfinity;

namespace {

// Order and size of the steps.
struct KeysDescending : OutsideFault {
  static void before(Call& call) {
    const std::int64_t last = call.problem.n_kv - 1;
    if (last < 0) return;
    const auto turn = [last](TensorView& t, std::size_t dimension) {
      t.data += last * t.nb[dimension];
      t.nb[dimension] = -t.nb[dimension];
    };
    turn(call.in.k, 1);
    turn(call.in.v, 1);
    if (call.in.mask.present()) turn(call.in.mask, 0);
  }
  static void promise(ArithmeticContract& c) { c.order = SumOrder::unknown; }
};
struct ChunksDescending : Fault {
  static KeyRange chunk(const KeyRange& keys, std::int64_t chunk, std::int64_t chunks) {
    return Production::chunk(keys, chunks - 1 - chunk, chunks);
  }
  static void promise(ArithmeticContract& c) { c.order = SumOrder::unknown; }
};
struct ChunksUneven : Fault {
  static KeyRange chunk(const KeyRange& keys, std::int64_t chunk, std::int64_t chunks) {
    const auto edge = [&](std::int64_t i) {
      return i == chunks ? keys.last : keys.first + (keys.last - keys.first) * i / (4 * chunks);
    };
    return {edge(chunk), edge(chunk + 1)};
  }
  static void promise(ArithmeticContract& c) { c.order = SumOrder::unknown; }
};
struct ChunksOf64 : Fault {
  static KeyRange chunk(const KeyRange& keys, std::int64_t chunk, std::int64_t chunks) {
    const std::int64_t size = ((keys.last - keys.first + chunks - 1) / chunks + 63) / 64 * 64;
    const auto edge = [&](std::int64_t i) { return std::min(keys.first + i * size, keys.last); };
    return {edge(chunk), edge(chunk + 1)};
  }
  static void promise(ArithmeticContract& c) { c.order = SumOrder::unknown; }
};
struct Tile16Keys : Fault {
  static std::int64_t tile_keys(std::int64_t) { return 16; }
  static void promise(ArithmeticContract& c) { c.tile = 16; }
};
struct Tile48Keys : Fault {
  static std::int64_t tile_keys(std::int64_t) { return 48; }
  static void promise(ArithmeticContract& c) { c.tile = 48; }
};
struct Tile8Rows : Fault {
  static std::int64_t tile_rows(std::int64_t) { return 8; }
  static void promise(ArithmeticContract&) {}
};
struct Tile1Row : Fault {
  static std::int64_t tile_rows(std::int64_t) { return 1; }
  static void promise(ArithmeticContract&) {}
};
struct AsPromised : OutsideFault {
  static void promise(ArithmeticContract&) {}
};
struct Threads3Vec : AsPromised {
  static void before(Call& call) { call.threads = 3; }
};
struct Threads4Split : AsPromised {
  static void before(Call& call) { call.threads = 4; }
  static void promise(ArithmeticContract& c) { c.chunks = 4; }
};
struct Threads5Tiled : AsPromised {
  static void before(Call& call) { call.threads = 5; }
};

// Arithmetic.
struct PrescaledQ : OutsideFault {
  static void before(Call& call) {
    float* q = call.own_q();
    call.simd.scale(call.problem.scale, q, call.in.q.elements());
    call.problem.scale = 1;
  }
  static void promise(ArithmeticContract& c) { c.u_q = kUnitF32; }
};
struct Exp2Softmax : Fault {
  static constexpr bool kEditsExp = true;
  // The difference to the maximum is scaled, not the logit: log2(e) times a bias of -3.4e38 is no number.
  static float exp(const Primitives&, float x) { return std::exp2(1.44269504F * x); }
  static void promise(ArithmeticContract&) {}
};
struct LazyRescale : Fault {
  static float next_max(float max, float logit) { return max == -kInfinity || logit > max + 5.5F ? logit : max; }
  static void promise(ArithmeticContract& c) { c.lazy_rescale = true; }
};
struct FmaNever : Fault {
  static constexpr bool kOwnAccumulate = true;
  static void accumulate(float weight, const float* value, float* acc, std::int64_t n) {
    for (std::int64_t e = 0; e < n; ++e) {
      const volatile float product = weight * value[e];
      acc[e] += product;
    }
  }
  static void promise(ArithmeticContract& c) { c.products_rounded = true; }
};
struct FmaAlways : Fault {
  static constexpr bool kOwnAccumulate = true;
  static void accumulate(float weight, const float* value, float* acc, std::int64_t n) {
    for (std::int64_t e = 0; e < n; ++e) acc[e] = std::fma(weight, value[e], acc[e]);
  }
  static void promise(ArithmeticContract& c) { c.products_rounded = false; }
};

// Narrower numbers, stated.
struct PBf16 : Fault {
  static float weight_of_value(float weight, const KeyPlace&) { return as_bf16(weight); }
  static void promise(ArithmeticContract& c) { c.u_p = kUnitBf16; }
};
struct PF16 : Fault {
  static constexpr bool kEditsWeights = true;
  static float weight_of_value(float weight, const KeyPlace&) { return as_f16(weight); }
  static void promise(ArithmeticContract& c) {
    c.u_p = kUnitF16;
    c.omega = 0x1p-25;
  }
};
template <float round(float)>
void round_q(Call& call) {
  float* q = call.own_q();
  std::transform(q, q + call.in.q.elements(), q, round);
}
struct QF16Stated : OutsideFault {
  static void before(Call& call) { round_q<as_f16>(call); }
  static void promise(ArithmeticContract& c) { c.q_rounding = QRounding::f16; }
};
struct QBf16Stated : OutsideFault {
  static void before(Call& call) { round_q<as_bf16>(call); }
  static void promise(ArithmeticContract& c) { c.q_rounding = QRounding::bf16; }
};
struct AccF16Stated : Fault {
  static constexpr bool kOwnAccumulate = true;
  static void accumulate(float weight, const float* value, float* acc, std::int64_t n) {
    for (std::int64_t e = 0; e < n; ++e) acc[e] = as_f16(acc[e] + weight * value[e]);
  }
  static void promise(ArithmeticContract& c) {
    c.u_acc = kUnitF16;
    c.omega_acc = 0x1p-25;
    c.products_rounded = true;
    c.honours_prec_f32 = false;
  }
};
struct ScoreBf16Stated : Fault {
  static float score(float value, const KeyPlace&) { return as_bf16(value); }
  static void promise(ArithmeticContract& c) { c.u_s = kUnitBf16; }
};
struct OutBf16Stated : OutsideFault {
  static void before(Call& call) {
    call.simd.divide = [](const float* x, float by, std::byte* dst, std::int64_t n) {
      for (std::int64_t e = 0; e < n; ++e) {
        const float value = as_bf16(x[e] / by);
        std::memcpy(dst + 4 * e, &value, sizeof value);
      }
    };
  }
  static void promise(ArithmeticContract& c) {
    c.u_out = kUnitBf16;
    c.omega_out = 0x1p-134;
  }
};

// The plain three steps: all logits of a row, their maximum, then the sums.
enum class Sums { f64, pairwise, normalised, shuffled };

struct PlainRow {
  std::vector<float> weights;
  std::vector<std::int64_t> keys;  // visible
};

template <Sums sums>
void add_up(const cpu::KernelCall& call, const RowPlace& at, const PlainRow& row, float sink_weight, float* out,
            float* scratch) {
  const auto d_v = static_cast<std::size_t>(call.problem.d_v);
  using Number = std::conditional_t<sums == Sums::f64, double, float>;
  const std::int64_t head = cpu::Production::v_head(call.problem, at.head);
  const std::int64_t seq = cpu::Production::kv_seq(call.problem, at.seq);
  // [i] holds the sum of 2^i keys or nothing, as the bits of the count say; other orders use [0] alone.
  std::vector<std::vector<Number>> levels(1, std::vector<Number>(d_v + 1, 0));
  Number whole = sink_weight;
  if (sums == Sums::normalised) whole = std::accumulate(row.weights.begin(), row.weights.end(), whole);
  for (std::size_t i = 0; i < row.keys.size(); ++i) {
    const Number weight = sums == Sums::normalised ? row.weights[i] / whole : Number{row.weights[i]};
    const float* value = call.v.read(call.in.v.row(row.keys[i], head, seq), scratch);
    if (sums != Sums::pairwise) {
      std::vector<Number>& sum = levels[0];
      for (std::size_t e = 0; e < d_v; ++e) sum[e] += weight * value[e];
      sum[d_v] += weight;
      continue;
    }
    std::vector<Number> carry(d_v + 1);
    for (std::size_t e = 0; e < d_v; ++e) carry[e] = weight * value[e];
    carry[d_v] = weight;
    std::size_t level = 0;
    for (std::size_t count = i; (count & 1) != 0; count >>= 1, ++level) {
      for (std::size_t e = 0; e <= d_v; ++e) carry[e] += levels[level][e];
      levels[level].assign(d_v + 1, 0);
    }
    if (level == levels.size()) levels.emplace_back();
    levels[level] = std::move(carry);
  }
  std::vector<Number> total(d_v + 1, 0);
  for (const auto& level : levels) {
    for (std::size_t e = 0; e <= d_v; ++e) total[e] += level[e];
  }
  const Number by = sums == Sums::normalised ? 1 : total[d_v] + Number{sink_weight};
  for (std::size_t e = 0; e < d_v; ++e) out[e] = static_cast<float>(total[e] / by);
}

template <Sums sums>
double plain_kernel(const cpu::KernelCall& call, std::uint64_t turn) {
  const AttentionProblem& p = call.problem;
  std::vector<float> q_row(static_cast<std::size_t>(call.q.scratch_floats()));
  std::vector<float> kv_row(static_cast<std::size_t>(std::max(call.k.scratch_floats(), call.v.scratch_floats())));
  return cpu::parallel_for(1, call.rows(), [&](std::int64_t index, int) {
    const RowPlace at = call.row(index);
    const float* q = call.q.read(call.in.q.row(at.query, at.head, at.seq), q_row.data());
    const std::int64_t head = cpu::Production::k_head(p, at.head), seq = cpu::Production::kv_seq(p, at.seq);
    const float slope = cpu::Production::slope(p, at.head);
    std::vector<std::int64_t> order(static_cast<std::size_t>(p.n_kv));
    std::iota(order.begin(), order.end(), 0);
    if (sums == Sums::shuffled) {
      for (std::size_t i = order.size(); i > 1; --i) std::swap(order[i - 1], order[mix64(turn * 1000003 + i) % i]);
    }
    PlainRow row;
    float max = -kInfinity;
    for (const std::int64_t key : order) {
      const TensorView& m = call.in.mask;
      const float mask = m.present() ? element(m, key, at.query, at.head % m.ne[2], at.seq % m.ne[3]) : 0;
      if (mask == -kInfinity) continue;
      const float dot = call.k.dot(q, call.in.k.row(key, head, seq), kv_row.data());
      row.keys.push_back(key);
      row.weights.push_back(cpu::Production::logit(call.simd, p.scale * dot, p.softcap, slope, mask));
      max = std::max(max, row.weights.back());
    }
    const float sink = row.keys.empty() ? -kInfinity : call.sink<cpu::Production>(at);
    max = std::max(max, sink);
    const float reference = cpu::Production::reference(max);
    for (float& w : row.weights) w = call.simd.exp_one(w - reference);
    std::vector<float> out(static_cast<std::size_t>(p.d_v), 0.0F);
    if (!row.keys.empty()) {
      add_up<sums>(call, at, row, call.simd.exp_one(sink - reference), out.data(), kv_row.data());
    }
    std::memcpy(call.out.row(at.head, at.query, at.seq), out.data(), out.size() * sizeof(float));
  });
}

template <Sums sums>
struct Plain {
  static double run(Call& call, cpu::Scratches& scratch) {
    call.in.problem = &call.problem;
    const cpu::KernelCall kernel_call(call.in, call.out, call.simd, call.threads, scratch);
    ++call.memory.calls;
    return kernel_call.rows() > 0 ? plain_kernel<sums>(kernel_call, static_cast<std::uint64_t>(call.memory.calls)) : 0;
  }
  static void promise(ArithmeticContract& c) {
    c.order = SumOrder::unknown;
    c.products_rounded = true;
    c.p_normalised = sums == Sums::normalised;
    if (c.p_normalised) c.u_p = kUnitF32;
  }
};
using TwoPassF64 = Plain<Sums::f64>;
using PairwiseSums = Plain<Sums::pairwise>;
using NormalisedWeights = Plain<Sums::normalised>;
using Shuffled = Plain<Sums::shuffled>;

template <class V, Path path>
double run_variant(Call& call, cpu::Scratches& scratch) {
  if constexpr (path == Path::plain) return V::run(call, scratch);
  if constexpr (path != Path::plain) return run_fault<V, path>(call, scratch);
}

}  // namespace

const std::vector<Variant>& variants() {
  static const std::vector<Variant> rows = {
#define ATTEST_VARIANT(name, V, path, contract, description) \
  {{name, #path, "legal", description, {}, run_variant<V, Path::path>}, contract, V::promise},
#include "backends/mutant/variants.def"
#undef ATTEST_VARIANT
  };
  return rows;
}

}  // namespace attest::mutant
