// Faults at the ends of ranges: last rows, keys, lanes and vectors, and the chunks of split-KV.
#include <algorithm>
#include <cstring>

#include "backends/mutant/fault.h"

namespace attest::mutant {

using cpu::KeyRange, cpu::RowPlace;

namespace {

// Copies output row `from` to row `to` of every head and sequence.
void copy_rows(Call& call, std::int64_t from, std::int64_t to) {
  const AttentionProblem& p = call.problem;
  for (std::int64_t i = 0; i < p.n_seq * p.n_head; ++i) {
    const std::int64_t seq = i / p.n_head, head = i % p.n_head;
    std::memcpy(call.out.row(head, to, seq), call.out.row(head, from, seq),
                static_cast<std::size_t>(p.d_v) * sizeof(float));
  }
}

// Last keys and rows.
struct LastKeyOfPartialTile : Fault {
  static KeyRange keys(const AttentionProblem& p, const RowPlace&) { return {0, p.n_kv - (p.n_kv % 64 != 0 ? 1 : 0)}; }
};
struct LastKeyAlways : Fault {
  static KeyRange keys(const AttentionProblem& p, const RowPlace&) {
    return {0, std::max<std::int64_t>(p.n_kv - 1, 1)};
  }
};
struct KeysByFour : Fault {
  static KeyRange keys(const AttentionProblem& p, const RowPlace&) { return {0, p.n_kv < 4 ? p.n_kv : p.n_kv & ~3}; }
};
struct KeyTileOfOne : Fault {
  static KeyRange keys(const AttentionProblem& p, const RowPlace&) {
    return {0, p.n_kv > 1 && p.n_kv % 64 == 1 ? p.n_kv - 1 : p.n_kv};
  }
};
struct QueryTileOfOne : OutsideFault {
  static void after(Call& call) {
    const std::int64_t n_q = call.problem.n_q;
    if (n_q > 1 && n_q % 64 == 1) copy_rows(call, n_q - 2, n_q - 1);
  }
};
struct LastRowOfThree : OutsideFault {
  static void after(Call& call) {
    const std::int64_t n_q = call.problem.n_q;
    if (n_q % 4 == 3) copy_rows(call, n_q - 2, n_q - 1);
  }
};
struct LastRowUnwritten : OutsideFault {
  static void before(Call& call) { call.hold_output(); }
  static void after(Call& call) {
    const AttentionProblem& p = call.problem;
    const std::int64_t rows = p.n_q > 1 && p.n_q % 2 == 1 ? p.n_q - 1 : p.n_q;
    for (std::int64_t seq = 0; seq < p.n_seq; ++seq) {
      const auto bytes = static_cast<std::size_t>(rows * p.n_head * p.d_v) * sizeof(float);
      std::memcpy(call.held.row(0, 0, seq), call.memory.floats.data() + seq * p.n_q * p.n_head * p.d_v, bytes);
    }
  }
};

// Lanes and partial vectors.
struct DotTail : OutsideFault {
  static void before(Call& call) {
    call.simd.dot_f32 = [](const float* q, const std::byte* row, std::int64_t n) {
      return cpu::primitives().dot_f32(q, row, n & ~7);
    };
    call.simd.dot_f16 = [](const float* q, const std::byte* row, std::int64_t n) {
      return cpu::primitives().dot_f16(q, row, n & ~7);
    };
    call.simd.dot_bf16 = [](const float* q, const std::byte* row, std::int64_t n) {
      return cpu::primitives().dot_bf16(q, row, n & ~7);
    };
  }
};
struct DotOneLane : OutsideFault {
  static void before(Call& call) {
    call.simd.dot_f16 = [](const float* q, const std::byte* row, std::int64_t n) {
      const float whole = cpu::primitives().dot_f16(q, row, n);
      if (n % 32 == 0) return whole;
      std::uint16_t last = 0;
      std::memcpy(&last, row + 2 * (n - 1), sizeof last);
      return whole - q[n - 1] * f16_to_f32(last);
    };
  }
};
struct ScoresTail : OutsideFault {
  static void before(Call& call) {
    call.simd.scores = [](const float* queries, std::int64_t d, const float* const* keys, std::int64_t n_keys,
                          std::int64_t columns, float* scores) {
      cpu::primitives().scores(queries, d > 16 ? d & ~15 : d, keys, n_keys, columns, scores);
    };
  }
};
struct ValuesTail : OutsideFault {
  static void before(Call& call) {
    call.simd.axpy_f16 = [](float w, const std::byte* row, float* acc, std::int64_t n) {
      cpu::primitives().axpy_f16(w, row, acc, n & ~7);
    };
    call.simd.axpy_f32 = [](float w, const std::byte* row, float* acc, std::int64_t n) {
      cpu::primitives().axpy_f32(w, row, acc, n & ~7);
    };
  }
};
struct ScaleTail : OutsideFault {
  static void before(Call& call) {
    call.simd.scale = [](float factor, float* x, std::int64_t n) { cpu::primitives().scale(factor, x, n & ~15); };
  }
};
struct ScaleLastLane : OutsideFault {
  static void before(Call& call) {
    call.simd.scale = [](float factor, float* x, std::int64_t n) { cpu::primitives().scale(factor, x, n - 1); };
  }
};
struct DivideTail : OutsideFault {
  static void before(Call& call) {
    call.simd.divide = [](const float* x, float by, std::byte* dst, std::int64_t n) {
      const std::int64_t whole = n & ~7;
      cpu::primitives().divide(x, by, dst, whole);
      std::memcpy(dst + 4 * whole, x + whole, static_cast<std::size_t>(n - whole) * sizeof(float));
    };
  }
};
struct SumLastKeyOfTile : OutsideFault {
  static void before(Call& call) {
    call.simd.column_sum = [](const float* weights, std::int64_t n_keys, std::int64_t columns, float* sum) {
      cpu::primitives().column_sum(weights, n_keys == cpu::kTileKeys ? n_keys - 1 : n_keys, columns, sum);
    };
  }
};
struct ValuesOfThree : OutsideFault {
  static void before(Call& call) {
    call.simd.values = [](const float* weights, std::int64_t pitch, const float* const* values, std::int64_t n_keys,
                          std::int64_t d, std::int64_t rows, float* acc) {
      const std::int64_t tail = n_keys % 4 == 3 && n_keys > 4 ? 1 : 0;
      cpu::primitives().values(weights, pitch, values, n_keys - tail, d, rows, acc);
    };
  }
};

// Chunks.
struct ChunkFloor : Fault {
  static KeyRange chunk(const KeyRange& keys, std::int64_t chunk, std::int64_t chunks) {
    const std::int64_t size = (keys.last - keys.first) / chunks;
    return {keys.first + chunk * size, keys.first + (chunk + 1) * size};
  }
};
struct ChunkOverlap : Fault {
  static KeyRange chunk(const KeyRange& keys, std::int64_t chunk, std::int64_t chunks) {
    KeyRange range = Production::chunk(keys, chunk, chunks);
    if (chunk > 0 && range.first < range.last) --range.first;
    return range;
  }
};
struct ChunkGap : Fault {
  static KeyRange chunk(const KeyRange& keys, std::int64_t chunk, std::int64_t chunks) {
    KeyRange range = Production::chunk(keys, chunk, chunks);
    if (chunk > 0 && range.first < range.last) ++range.first;
    return range;
  }
};
struct ChunkTail32 : Fault {
  static KeyRange chunk(const KeyRange& keys, std::int64_t chunk, std::int64_t chunks) {
    KeyRange range = Production::chunk(keys, chunk, chunks);
    if (chunk + 1 == chunks && range.last - range.first > 32) range.last -= (range.last - range.first) % 32;
    return range;
  }
};
struct MergeFirstTwo : Fault {
  static float merge_sum(float factor, const RowPlace&, std::int64_t chunk) { return chunk < 2 ? factor : 0; }
  static float merge_acc(float factor, const RowPlace&, std::int64_t chunk) { return chunk < 2 ? factor : 0; }
};
struct MergeUnweighted : Fault {
  template <class KernelCall, class Row>
  static void end_chunk(const KernelCall& call, const RowPlace&, Row& row) {
    if (row.visible == 0) return;
    call.simd.scale(1 / row.sum, row.acc, call.problem.d_v);
    row.sum = 1;
  }
};
struct MergePartialF16 : Fault {
  template <class KernelCall, class Row>
  static void end_chunk(const KernelCall& call, const RowPlace&, Row& row) {
    for (std::int64_t e = 0; e < call.problem.d_v; ++e) row.acc[e] = as_f16(row.acc[e]);
  }
};
struct EmptyChunkNan : Fault {
  template <class KernelCall, class Row>
  static void end_chunk(const KernelCall& call, const RowPlace&, Row& row) {
    if (row.visible == 0) call.simd.scale(1 / row.sum, row.acc, call.problem.d_v);
  }
  static bool skips_chunk(std::int64_t) { return false; }
};
struct StaleHeadSum : Fault {
  template <class KernelCall, class Row>
  static void end_chunk(const KernelCall&, const RowPlace& at, Row& row) {
    thread_local float sum_of_last_head = 0;
    if (at.head % 2 == 1 && row.visible > 0 && sum_of_last_head > 0) row.sum = sum_of_last_head;
    sum_of_last_head = row.sum;
  }
};
struct LostChunk : Fault {
  template <class KernelCall, class Row>
  static void end_chunk(const KernelCall& call, const RowPlace& at, Row& row) {
    thread_local std::uint32_t turn = 0;
    if (++turn % 61 != 0 || at.head == 0) return;
    std::fill_n(row.acc, call.problem.d_v, 0.0F);  // the merge read it before it was there
  }
};

}  // namespace

ATTEST_RUN(tiled, LastKeyOfPartialTile)
ATTEST_RUN(vec, LastKeyAlways)
ATTEST_RUN(vec, KeysByFour)
ATTEST_RUN(tiled, KeyTileOfOne)
ATTEST_RUN(tiled, QueryTileOfOne)
ATTEST_RUN(tiled, LastRowOfThree)
ATTEST_RUN(vec, LastRowUnwritten)
ATTEST_RUN(vec, DotTail)
ATTEST_RUN(vec, DotOneLane)
ATTEST_RUN(tiled, ScoresTail)
ATTEST_RUN(vec, ValuesTail)
ATTEST_RUN(vec, ScaleTail)
ATTEST_RUN(split, ScaleLastLane)
ATTEST_RUN(tiled, DivideTail)
ATTEST_RUN(tiled, SumLastKeyOfTile)
ATTEST_RUN(tiled, ValuesOfThree)
ATTEST_RUN(split, ChunkFloor)
ATTEST_RUN(split, ChunkOverlap)
ATTEST_RUN(split, ChunkGap)
ATTEST_RUN(split, ChunkTail32)
ATTEST_RUN(split, MergeFirstTwo)
ATTEST_RUN(split, MergeUnweighted)
ATTEST_RUN(split, MergePartialF16)
ATTEST_RUN(split, EmptyChunkNan)
ATTEST_RUN(split, StaleHeadSum)
ATTEST_RUN(split, LostChunk)

}  // namespace attest::mutant
