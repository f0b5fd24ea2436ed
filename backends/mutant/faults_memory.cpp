// Faults of memory: what is read and written where, what is left from earlier calls, blocks of quantised rows.
#include <algorithm>
#include <cstring>

#include "backends/mutant/fault.h"

namespace attest::mutant {

namespace {

// Too far.
struct PaddedKeysTimesZero : OutsideFault {
  static void after(Call& call) {
    const AttentionProblem& p = call.problem;
    if (p.n_kv == 0 || !call.in.v.contiguous_rows()) return;
    const std::int64_t padded = (p.n_kv + 31) / 32 * 32;
    for (std::int64_t key = p.n_kv; key < padded; ++key) {
      const float beyond = element(call.in.v, 0, key, p.n_head_v - 1, p.n_seq_kv - 1);
      float value = 0;
      std::byte* out = call.out.row(p.n_head - 1, p.n_q - 1, p.n_seq - 1);
      std::memcpy(&value, out, sizeof value);
      value += 0.0F * beyond;
      std::memcpy(out, &value, sizeof value);
    }
  }
};
struct KRowOverread : OutsideFault {
  static void after(Call& call) {
    const AttentionProblem& p = call.problem;
    if (p.n_kv == 0 || !call.in.k.contiguous_rows()) return;
    const std::int64_t bytes = row_bytes(call.in.k.dtype, p.d_k), vectors = (bytes + 63) / 64 * 64;
    const std::byte* row = call.in.k.row(p.n_kv - 1, p.n_head_kv - 1, p.n_seq_kv - 1);
    for (std::int64_t i = bytes; i < vectors; ++i) {
      const volatile std::byte beyond = row[i];
      static_cast<void>(beyond);
    }
  }
};
struct OutputRowTooMany : OutsideFault {
  static void after(Call& call) {
    const AttentionProblem& p = call.problem;
    const auto bytes = static_cast<std::size_t>(p.d_v) * sizeof(float);
    std::byte* last = call.out.row(p.n_head - 1, p.n_q - 1, p.n_seq - 1);
    if (p.n_q % 8 != 0) std::memcpy(last + bytes, last, bytes);
  }
};
struct StorePastRow : OutsideFault {
  static void before(Call& call) {
    call.simd.divide = [](const float* x, float by, std::byte* dst, std::int64_t n) {
      cpu::primitives().divide(x, by, dst, (n + 7) / 8 * 8);
    };
  }
};
struct InputScaledInPlace : OutsideFault {
  static void before(Call& call) {
    const AttentionProblem& p = call.problem;
    for (std::int64_t i = 0; i < p.n_seq * p.n_head * p.n_q; ++i) {
      auto* row = const_cast<std::byte*>(call.in.q.row(i % p.n_q, i / p.n_q % p.n_head, i / p.n_q / p.n_head));
      call.simd.scale(p.scale, reinterpret_cast<float*>(row), p.d_k);
    }
    call.problem.scale = 1;
  }
};
struct OneElementOff : OutsideFault {
  static void after(Call& call) {
    const AttentionProblem& p = call.problem;
    std::byte* element = call.out.row(p.n_head / 2, p.n_q / 2, p.n_seq / 2) + 4 * (p.d_v / 2);
    float value = 0;
    std::memcpy(&value, element, sizeof value);
    value *= 1.01F;
    std::memcpy(element, &value, sizeof value);
  }
};

// Offsets that do not fit.
struct KeyIndexInt16 : Fault {
  static const std::byte* k_row(const TensorView& k, std::int64_t key, std::int64_t head, std::int64_t seq) {
    return k.row(static_cast<std::int16_t>(key), head, seq);
  }
};
struct KeyIndexUint16 : Fault {
  static const std::byte* v_row(const TensorView& v, std::int64_t key, std::int64_t head, std::int64_t seq) {
    return v.row(static_cast<std::uint16_t>(key), head, seq);
  }
};
struct KOffsetInt32 : Fault {
  static const std::byte* k_row(const TensorView& k, std::int64_t key, std::int64_t head, std::int64_t seq) {
    return k.data + static_cast<std::int32_t>(k.offset(key, head, seq));
  }
};
struct MaskOffsetUint16 : Fault {
  static const std::byte* mask_row(const TensorView& mask, const cpu::RowPlace& at) {
    const auto row = static_cast<std::uint16_t>(at.query * (mask.nb[1] / 2)) * std::int64_t{2};
    return mask.data + row + mask.offset(0, at.head % mask.ne[2], at.seq % mask.ne[3]);
  }
};

// What the memory held before.
struct NotCleared : Fault {
  static void clear(float*, std::int64_t) {}
  // The first key of a row has nothing to rescale, it is thought.
  static float rescale_acc(float factor, const cpu::KeyPlace&) { return factor == 0 ? 1 : factor; }
};
struct AccNotCleared : NotCleared {};
struct TileAccNotCleared : NotCleared {};
struct PartialNotCleared : NotCleared {};

// The first problem this backend saw with the same head sizes.
const AttentionProblem& first_alike(Call& call) {
  return call.memory.first.try_emplace(call.problem.d_k * 10007 + call.problem.d_v, call.problem).first->second;
}
struct StateScale : OutsideFault {
  static void before(Call& call) { call.problem.scale = first_alike(call).scale; }
};
struct StateSoftcap : OutsideFault {
  static void before(Call& call) { call.problem.softcap = first_alike(call).softcap; }
};
struct StateMask : OutsideFault {
  static void before(Call& call) {
    if (!first_alike(call).mask.present()) call.in.mask = {};
  }
};
struct StateAlibi : OutsideFault {
  static void before(Call& call) {
    const float first = first_alike(call).max_bias;
    if (call.in.mask.present()) call.problem.max_bias = first;
  }
};
struct StateResult : OutsideFault {
  static void after(Call& call) {
    const AttentionProblem& p = call.problem;
    std::vector<float>& kept = call.memory.more_floats;
    const auto size = static_cast<std::size_t>(call.out.elements());
    const auto last = call.memory.first.find(0);
    const bool alike = last != call.memory.first.end() && last->second.n_kv == p.n_kv && last->second.d_v == p.d_v;
    if (alike && kept.size() == size) std::memcpy(call.out.data, kept.data(), size * sizeof(float));
    kept.assign(size, 0.0F);
    std::memcpy(kept.data(), call.out.data, size * sizeof(float));
    call.memory.first.insert_or_assign(0, p);
  }
};

// Quantised rows: faults copy a row and spoil the copy.
template <class F>
const std::byte* spoiled(const TensorView& t, const std::byte* row) {
  if (!is_quantised(t.dtype) || !t.contiguous_rows()) return row;
  thread_local std::vector<std::byte> copy;
  copy.assign(row, row + row_bytes(t.dtype, t.ne[0]));
  F::spoil(t.dtype, copy);
  return copy.data();
}
template <class F>
struct SpoiledK : Fault {
  static const std::byte* k_row(const TensorView& k, std::int64_t key, std::int64_t head, std::int64_t seq) {
    return spoiled<F>(k, k.row(key, head, seq));
  }
};
template <class F>
struct SpoiledV : Fault {
  static const std::byte* v_row(const TensorView& v, std::int64_t key, std::int64_t head, std::int64_t seq) {
    return spoiled<F>(v, v.row(key, head, seq));
  }
};
// Sets bytes [first, last) of every block to 0.
void clear_in_blocks(DType type, std::vector<std::byte>& row, std::size_t first, std::size_t last) {
  const auto pitch = static_cast<std::size_t>(info(type).block_bytes);
  for (std::size_t at = 0; at < row.size(); at += pitch) std::memset(row.data() + at + first, 0, last - first);
}
struct QuantBlockDropped : SpoiledK<QuantBlockDropped> {
  static void spoil(DType type, std::vector<std::byte>& row) {
    const auto pitch = static_cast<std::size_t>(info(type).block_bytes);
    if (row.size() > pitch) std::memset(row.data() + row.size() - pitch, 0, pitch);
  }
};
struct QuantBlockRepeated : SpoiledV<QuantBlockRepeated> {
  static void spoil(DType type, std::vector<std::byte>& row) {
    const auto pitch = static_cast<std::size_t>(info(type).block_bytes);
    if (row.size() > pitch) std::memcpy(row.data() + row.size() - pitch, row.data(), pitch);
  }
};
struct QuantScaleOfNeighbour : SpoiledK<QuantScaleOfNeighbour> {
  static void spoil(DType type, std::vector<std::byte>& row) {
    const auto pitch = static_cast<std::size_t>(info(type).block_bytes);
    for (std::size_t at = row.size() - pitch; at > 0; at -= pitch) {
      std::memcpy(row.data() + at, row.data() + at - pitch, 2);
    }
  }
};
struct QuantMinDropped : SpoiledK<QuantMinDropped> {
  static void spoil(DType type, std::vector<std::byte>& row) {
    if (type == DType::q4_1 || type == DType::q5_1) clear_in_blocks(type, row, 2, 4);
  }
};
struct QuantFifthBitDropped : SpoiledV<QuantFifthBitDropped> {
  static void spoil(DType type, std::vector<std::byte>& row) {
    if (type == DType::q5_0) clear_in_blocks(type, row, 2, 6);
    if (type == DType::q5_1) clear_in_blocks(type, row, 4, 8);
  }
};
struct QuantOtherTable : OutsideFault {
  static void before(Call& call) {
    if (call.in.k.dtype == DType::iq4_nl) call.in.k.dtype = DType::q4_0;
    if (call.in.v.dtype == DType::iq4_nl) call.in.v.dtype = DType::q4_0;
  }
};

}  // namespace

ATTEST_RUN(vec, PaddedKeysTimesZero)
ATTEST_RUN(vec, KRowOverread)
ATTEST_RUN(tiled, OutputRowTooMany)
ATTEST_RUN(vec, StorePastRow)
ATTEST_RUN(vec, InputScaledInPlace)
ATTEST_RUN(tiled, OneElementOff)
ATTEST_RUN(vec, KeyIndexInt16)
ATTEST_RUN(vec, KeyIndexUint16)
ATTEST_RUN(vec, KOffsetInt32)
ATTEST_RUN(vec, MaskOffsetUint16)
ATTEST_RUN(vec, AccNotCleared)
ATTEST_RUN(tiled, TileAccNotCleared)
ATTEST_RUN(split, PartialNotCleared)
ATTEST_RUN(tiled, StateScale)
ATTEST_RUN(vec, StateSoftcap)
ATTEST_RUN(tiled, StateMask)
ATTEST_RUN(vec, StateAlibi)
ATTEST_RUN(vec, StateResult)
ATTEST_RUN(tiled, QuantBlockDropped)
ATTEST_RUN(vec, QuantBlockRepeated)
ATTEST_RUN(vec, QuantScaleOfNeighbour)
ATTEST_RUN(tiled, QuantMinDropped)
ATTEST_RUN(vec, QuantFifthBitDropped)
ATTEST_RUN(vec, QuantOtherTable)

}  // namespace attest::mutant
