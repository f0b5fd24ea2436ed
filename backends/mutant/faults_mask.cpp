// Faults of what becomes of a score: softcap, mask, rows without any visible key.
#include <algorithm>
#include <cmath>
#include <cstring>

#include "backends/mutant/fault.h"

namespace attest::mutant {

using cpu::KeyPlace, cpu::KeyRange, cpu::RowPlace, cpu::Primitives, cpu::kInfinity;

namespace {

// Softcap.
struct SoftcapDropped : OutsideFault {
  static void before(Call& call) { call.problem.softcap = 0; }
};
struct SoftcapAfterMask : Fault {
  static constexpr bool kEditsLogits = true;
  static float logit(const Primitives& simd, float score, float cap, float slope, float mask) {
    const float biased = score + slope * mask;
    return cap > 0 ? cap * simd.tanh_one(biased / cap) : biased;
  }
};
template <class F>
struct OwnTanh : Fault {
  static constexpr bool kEditsLogits = true;
  static float logit(const Primitives& simd, float score, float cap, float slope, float mask) {
    return (cap > 0 ? cap * F::tanh(simd, score / cap) : score) + slope * mask;
  }
};
struct SoftcapPade : OwnTanh<SoftcapPade> {
  static float tanh(const Primitives&, float x) { return std::clamp(x * (27 + x * x) / (27 + 9 * x * x), -1.0F, 1.0F); }
};
struct SoftcapTanh11Bits : OwnTanh<SoftcapTanh11Bits> {
  static float tanh(const Primitives& simd, float x) { return as_f16(simd.tanh_one(x)); }
};
struct SoftcapTanhOverflow : OwnTanh<SoftcapTanhOverflow> {
  static float tanh(const Primitives& simd, float x) {
    const float e = simd.exp_one(2 * x);
    return (e - 1) / (e + 1);
  }
};
struct SoftcapClamped : OwnTanh<SoftcapClamped> {
  static float tanh(const Primitives&, float x) { return std::clamp(x, -1.0F, 1.0F); }
};
struct SoftcapTwice : OwnTanh<SoftcapTwice> {
  static float tanh(const Primitives& simd, float x) { return simd.tanh_one(simd.tanh_one(x)); }
};

// The mask's values.
struct MaskEdgeColumnVisible : Fault {
  static float mask(float value, const KeyPlace& at) {
    return value == -kInfinity && at.key % 64 == 0 && at.key > 0 ? 0 : value;
  }
};
struct MaskInfClamped : Fault {
  static float mask(float value, const KeyPlace&) { return std::max(value, -65504.0F); }
};
struct MaskBiasClamped : Fault {
  static constexpr bool kEditsMask = true;
  static float mask(float value, const KeyPlace&) { return value > -kInfinity ? std::max(value, -100.0F) : value; }
};
struct MaskFiniteHides : Fault {
  static constexpr bool kEditsMask = true;
  static float mask(float value, const KeyPlace&) { return value <= -65504 ? -kInfinity : value; }
};
struct MaskBiasDropped : Fault {
  static float mask(float value, const KeyPlace&) { return value == -kInfinity ? value : 0; }
};
struct MaskBiasScaled : Fault {
  static float slope(const AttentionProblem& p, std::int64_t head) { return Production::slope(p, head) * p.scale; }
};
struct MaskProductF16 : Fault {
  static float logit(const Primitives& simd, float score, float cap, float slope, float mask) {
    return (cap > 0 ? cap * simd.tanh_one(score / cap) : score) + as_f16(slope * mask);
  }
};
struct HiddenTimesZeroVec : Fault {
  static constexpr bool kReadsHidden = true;
};
struct HiddenTimesZeroTiled : Fault {
  static constexpr bool kReadsHidden = true;
};

// Which of its rows and planes.
struct MaskRowAtTileEdge : Fault {
  static const std::byte* mask_row(const TensorView& mask, const RowPlace& at) {
    const bool edge = at.query > 0 && at.query % 64 == 0;
    return mask.row(at.query - (edge ? 1 : 0), at.head % mask.ne[2], at.seq % mask.ne[3]);
  }
};
struct MaskTileReused : Fault {
  static const std::byte* mask_row(const TensorView& mask, const RowPlace& at) {
    return mask.row(at.query % 64, at.head % mask.ne[2], at.seq % mask.ne[3]);
  }
};
struct MaskHeadPlaneIgnored : OutsideFault {
  static void before(Call& call) { call.in.mask.nb[2] = 0; }
};
struct MaskSeqPlaneIgnored : OutsideFault {
  static void before(Call& call) { call.in.mask.nb[3] = 0; }
};
struct MaskPlaneByKvHead : OutsideFault {
  static void before(Call& call) { call.in.mask.ne[2] = std::min(call.in.mask.ne[2], call.problem.n_head_kv); }
};
struct MaskPlanesMixed : Fault {
  static const std::byte* mask_row(const TensorView& mask, const RowPlace& at) {
    return mask.row(at.query, at.seq % mask.ne[2], 0);
  }
};
struct MaskRowsPacked : OutsideFault {
  static void before(Call& call) { call.in.mask.nb[1] = row_bytes(call.in.mask.dtype, call.in.mask.ne[0]); }
};
struct MaskSkipByFirstRow : Fault {
  static bool skips_tile(const std::int64_t* seen, std::int64_t) { return seen[0] == 0; }
};
struct MaskSkipByCorners : Fault {
  static bool skips_tile(const std::int64_t* seen, std::int64_t rows) { return seen[0] == 0 && seen[rows - 1] == 0; }
};
struct CausalWhenSquare : Fault {
  static KeyRange keys(const AttentionProblem& p, const RowPlace& at) {
    return {0, !p.mask.present() && p.n_q == p.n_kv ? at.query + 1 : p.n_kv};
  }
};

// Rows without any visible key.
struct DeadRowNan : Fault {
  static bool is_dead(std::int64_t) { return false; }
};
struct DeadRowInf : Fault {
  static float dead_value() { return kInfinity; }
};
struct DeadRowUnwritten : OutsideFault {
  static void before(Call& call) { call.hold_output(); }
  static void after(Call& call) {
    const AttentionProblem& p = call.problem;
    const float* row = call.memory.floats.data();
    for (std::int64_t i = 0; i < p.n_seq * p.n_q * p.n_head; ++i, row += p.d_v) {
      const RowPlace at{i / (p.n_head * p.n_q), i % p.n_head, i / p.n_head % p.n_q};
      if (dead(call, at)) continue;
      std::memcpy(call.held.row(at.head, at.query, at.seq), row, static_cast<std::size_t>(p.d_v) * sizeof(float));
    }
  }
  static bool dead(const Call& call, const RowPlace& at) {
    const TensorView& mask = call.in.mask;
    if (!mask.present()) return call.problem.n_kv == 0;
    for (std::int64_t key = 0; key < call.problem.n_kv; ++key) {
      if (element(mask, key, at.query, at.head % mask.ne[2], at.seq % mask.ne[3]) != -kInfinity) return false;
    }
    return true;
  }
};
struct AllInf : OutsideFault {
  static void before(Call& call) {
    call.simd.divide = [](const float* x, float, std::byte* dst, std::int64_t n) {
      cpu::primitives().divide(x, 0, dst, n);
    };
  }
};

}  // namespace

ATTEST_RUN(tiled, SoftcapDropped)
ATTEST_RUN(vec, SoftcapAfterMask)
ATTEST_RUN(tiled, SoftcapPade)
ATTEST_RUN(vec, SoftcapTanh11Bits)
ATTEST_RUN(vec, SoftcapTanhOverflow)
ATTEST_RUN(vec, SoftcapClamped)
ATTEST_RUN(tiled, SoftcapTwice)
ATTEST_RUN(vec, MaskEdgeColumnVisible)
ATTEST_RUN(vec, MaskInfClamped)
ATTEST_RUN(tiled, MaskBiasClamped)
ATTEST_RUN(tiled, MaskFiniteHides)
ATTEST_RUN(vec, MaskBiasDropped)
ATTEST_RUN(tiled, MaskBiasScaled)
ATTEST_RUN(vec, MaskProductF16)
ATTEST_RUN(vec, HiddenTimesZeroVec)
ATTEST_RUN(tiled, HiddenTimesZeroTiled)
ATTEST_RUN(tiled, MaskRowAtTileEdge)
ATTEST_RUN(tiled, MaskTileReused)
ATTEST_RUN(tiled, MaskHeadPlaneIgnored)
ATTEST_RUN(vec, MaskSeqPlaneIgnored)
ATTEST_RUN(vec, MaskPlaneByKvHead)
ATTEST_RUN(vec, MaskPlanesMixed)
ATTEST_RUN(tiled, MaskRowsPacked)
ATTEST_RUN(tiled, MaskSkipByFirstRow)
ATTEST_RUN(tiled, MaskSkipByCorners)
ATTEST_RUN(vec, CausalWhenSquare)
ATTEST_RUN(vec, DeadRowNan)
ATTEST_RUN(tiled, DeadRowInf)
ATTEST_RUN(vec, DeadRowUnwritten)
ATTEST_RUN(tiled, AllInf)

}  // namespace attest::mutant
