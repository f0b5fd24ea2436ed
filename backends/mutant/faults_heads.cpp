// Faults of which head, sequence, sink, slope or stride: the kernel computes the right thing from the wrong place.
#include <algorithm>
#include <bit>
#include <cmath>

#include "backends/mutant/fault.h"

namespace attest::mutant {

using cpu::RowPlace, cpu::kInfinity;

namespace {

std::int64_t ratio(const AttentionProblem& p) { return p.n_head / p.n_head_kv; }

// Sinks.
struct SinkDropped : OutsideFault {
  static void before(Call& call) { call.in.sinks = {}; }
};
struct SinkFirstRowOnly : Fault {
  static float sink(const TensorView& sinks, const RowPlace& at) {
    return at.query > 0 ? -kInfinity : Production::sink(sinks, at);
  }
};
struct SinkPerChunk : Fault {
  template <class KernelCall, class Row>
  static void end_chunk(const KernelCall& call, const RowPlace& at, Row& row) {
    if (!call.in.sinks.present() || row.visible == 0) return;
    row.sum += call.simd.exp_one(Production::sink(call.in.sinks, at) - row.max);
  }
};
struct SinkNotInMax : Fault {
  static constexpr bool kSinkInMax = false;
  static float exp(const cpu::Primitives& simd, float x) { return simd.exp_one(std::min(x, 0.0F)); }
};
struct SinkByKvHead : OutsideFault {
  static void before(Call& call) {
    if (!call.in.sinks.present()) return;
    float* sinks = call.own_sinks();
    for (std::int64_t h = call.problem.n_head - 1; h >= 0; --h) sinks[h] = sinks[h / ratio(call.problem)];
  }
};
struct SinkOfHeadZero : Fault {
  static float sink(const TensorView& sinks, const RowPlace& at) {
    return Production::sink(sinks, RowPlace{at.seq, 0, at.query});
  }
};
struct SinkScaled : OutsideFault {
  static void before(Call& call) {
    if (!call.in.sinks.present()) return;
    float* sinks = call.own_sinks();
    for (std::int64_t h = 0; h < call.problem.n_head; ++h) sinks[h] *= call.problem.scale;
  }
};
struct SinkF16 : Fault {
  static float sink(const TensorView& sinks, const RowPlace& at) { return as_f16(Production::sink(sinks, at)); }
};

// ALiBi.
template <class F>
struct OwnSlope : Fault {
  static float slope(const AttentionProblem& p, std::int64_t head) {
    return p.max_bias > 0 ? F::alibi(p, static_cast<float>(head), static_cast<float>(p.n_head)) : 1.0F;
  }
};
struct AlibiOddHeads : OwnSlope<AlibiOddHeads> {
  static float alibi(const AttentionProblem& p, float head, float heads) {
    return std::exp2(-p.max_bias * (head + 1) / heads);
  }
};
struct AlibiFirstBaseOnly : OwnSlope<AlibiFirstBaseOnly> {
  static float alibi(const AttentionProblem& p, float head, float) {
    return std::exp2(-p.max_bias * (head + 1) / static_cast<float>(std::bit_floor(static_cast<unsigned>(p.n_head))));
  }
};
struct AlibiCeilPowerOfTwo : OwnSlope<AlibiCeilPowerOfTwo> {
  static float alibi(const AttentionProblem& p, float head, float) {
    return std::exp2(-p.max_bias * (head + 1) / static_cast<float>(std::bit_ceil(static_cast<unsigned>(p.n_head))));
  }
};
struct AlibiSlopeF16 : Fault {
  static float slope(const AttentionProblem& p, std::int64_t head) { return as_f16(Production::slope(p, head)); }
};
struct AlibiHeadOffByOne : Fault {
  static float slope(const AttentionProblem& p, std::int64_t head) {
    return Production::slope(p, std::max<std::int64_t>(head - 1, 0));
  }
};
struct AlibiByKvHead : Fault {
  static float slope(const AttentionProblem& p, std::int64_t head) {
    return Production::slope(p, head / ratio(p) * ratio(p));
  }
};
struct AlibiIgnored : OutsideFault {
  static void before(Call& call) { call.problem.max_bias = 0; }
};

// Heads and sequences of K and V.
struct GqaModulo : Fault {
  static std::int64_t k_head(const AttentionProblem& p, std::int64_t head) { return head % p.n_head_kv; }
  static std::int64_t v_head(const AttentionProblem& p, std::int64_t head) { return head % p.n_head_v; }
};
struct GqaPowerOfTwo : Fault {
  static std::int64_t of(std::int64_t head, std::int64_t heads, std::int64_t kv) {
    return head / static_cast<std::int64_t>(std::bit_ceil(static_cast<std::uint64_t>(heads / kv)));
  }
  static std::int64_t k_head(const AttentionProblem& p, std::int64_t head) { return of(head, p.n_head, p.n_head_kv); }
  static std::int64_t v_head(const AttentionProblem& p, std::int64_t head) { return of(head, p.n_head, p.n_head_v); }
};
struct GqaOffByOne : Fault {
  static std::int64_t v_head(const AttentionProblem& p, std::int64_t head) {
    return Production::v_head(p, std::min(head + 1, p.n_head - 1));
  }
};
struct VHeadByK : Fault {
  static std::int64_t v_head(const AttentionProblem& p, std::int64_t head) { return k_head(p, head) % p.n_head_v; }
};
struct KvSeqIgnored : Fault {
  static std::int64_t kv_seq(const AttentionProblem&, std::int64_t) { return 0; }
};
struct KvSeqModulo : Fault {
  static std::int64_t kv_seq(const AttentionProblem& p, std::int64_t seq) { return seq % p.n_seq_kv; }
};

// Strides and types.
struct VByKStrides : OutsideFault {
  static void before(Call& call) {
    if (call.in.v.dtype != call.in.k.dtype) return;
    call.in.v.nb[2] = call.in.k.nb[2];
    call.in.v.nb[3] = call.in.k.nb[3];
  }
};
struct KRowsPacked : OutsideFault {
  static void before(Call& call) {
    TensorView& k = call.in.k;
    const bool only_padded = k.contiguous_rows() && k.nb[1] < k.nb[2];
    if (only_padded) k.nb[1] = row_bytes(k.dtype, k.ne[0]);
  }
};
struct KCacheIgnored : OutsideFault {
  static void before(Call& call) {
    TensorView& k = call.in.k;
    if (k.nb[1] < k.nb[2]) k.nb[2] = k.nb[1] * k.ne[1];
  }
};
struct VParentHeadsIgnored : OutsideFault {
  static void before(Call& call) {
    TensorView& v = call.in.v;
    if (v.nb[1] < v.nb[2]) v.nb[3] = v.nb[2] * v.ne[2];
  }
};
struct QHeadsFirst : OutsideFault {
  static void before(Call& call) {
    TensorView& q = call.in.q;
    q.nb[1] = 4 * q.ne[0];
    q.nb[2] = q.nb[1] * q.ne[1];
  }
};
struct VTypeOfK : OutsideFault {
  static void before(Call& call) {
    const DTypeInfo &k = info(call.in.k.dtype), &v = info(call.in.v.dtype);
    if (k.block == v.block && k.block_bytes == v.block_bytes) call.in.v.dtype = call.in.k.dtype;
  }
};

}  // namespace

ATTEST_RUN(tiled, SinkDropped)
ATTEST_RUN(vec, SinkFirstRowOnly)
ATTEST_RUN(split, SinkPerChunk)
ATTEST_RUN(vec, SinkNotInMax)
ATTEST_RUN(vec, SinkByKvHead)
ATTEST_RUN(tiled, SinkOfHeadZero)
ATTEST_RUN(vec, SinkScaled)
ATTEST_RUN(tiled, SinkF16)
ATTEST_RUN(vec, AlibiOddHeads)
ATTEST_RUN(tiled, AlibiFirstBaseOnly)
ATTEST_RUN(tiled, AlibiCeilPowerOfTwo)
ATTEST_RUN(vec, AlibiSlopeF16)
ATTEST_RUN(vec, AlibiHeadOffByOne)
ATTEST_RUN(tiled, AlibiByKvHead)
ATTEST_RUN(split, AlibiIgnored)
ATTEST_RUN(vec, GqaModulo)
ATTEST_RUN(tiled, GqaPowerOfTwo)
ATTEST_RUN(vec, GqaOffByOne)
ATTEST_RUN(vec, VHeadByK)
ATTEST_RUN(tiled, KvSeqIgnored)
ATTEST_RUN(vec, KvSeqModulo)
ATTEST_RUN(tiled, VByKStrides)
ATTEST_RUN(vec, KRowsPacked)
ATTEST_RUN(vec, KCacheIgnored)
ATTEST_RUN(tiled, VParentHeadsIgnored)
ATTEST_RUN(tiled, QHeadsFirst)
ATTEST_RUN(vec, VTypeOfK)

}  // namespace attest::mutant
