// One attention problem: shapes, types, layout, mask, scale, softcap, ALiBi, sinks. See semantics.md.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "cases/dtype.h"
#include "cases/error.h"
#include "cases/op.h"
#include "cases/tensor.h"

namespace attest {

enum class Precision : std::uint8_t { default_, f32 };

// A mask is a sum of terms; any term that hides a key (-inf) wins. Names as in masks.def.
enum class MaskKind : std::uint8_t {
  zeros,            // all 0: visible, no bias
  causal,           // key j visible to query i if j <= i + n_kv - n_q (bottom-right)
  causal_top_left,  // key j visible to query i if j <= i
  window,           // causal, and j > i + n_kv - n_q - arg (sliding window of arg keys)
  used,             // keys j >= arg hidden: a static cache of which arg keys are in use
  left,             // keys j < arg hidden: left padding
  blocks,           // seeded blocks of arg x arg (default 64) entries are -inf, about half of them
  random,           // finite additive values, exact in f16, uniform in (-arg, arg), default 1
  document,         // block-diagonal: query and key see each other only inside the same document of arg keys
  dead,             // rows hidden whole: see MaskTerm::where
  finite,           // every entry gets the finite value arg (e.g. -65504): a bias, not hidden
  finite_rows,      // every third row gets the finite value arg, whole
  finite_blocks,    // seeded blocks of 32 x 32 entries get the finite value arg, about half of them
  finite_left,      // the first 128 keys get the finite value arg
  ggml,             // test-backend-ops: uniform(-1, 1) with seeded -inf blocks
};

enum class DeadRows : std::uint8_t { none, first, middle, last, all, every_third };

struct MaskTerm {
  MaskKind kind = MaskKind::zeros;
  double arg = 0;  // meaning per kind; 0 = the kind's default
  DeadRows where = DeadRows::none;
  bool operator==(const MaskTerm&) const = default;
};

// Storage: [n_kv, n_q, planes over heads, planes over sequences]; empty terms: no mask tensor at all.
struct MaskSpec {
  std::vector<MaskTerm> terms;
  DType type = DType::f16;  // f16 or f32
  bool per_head = false;    // ne[2] = n_head instead of 1, every plane different where a term is seeded
  bool per_seq = false;     // ne[3] = n_seq instead of 1
  bool present() const { return !terms.empty(); }
  bool operator==(const MaskSpec&) const = default;
};

enum class SinkKind : std::uint8_t { none, value, uniform, normal };
struct SinkSpec {
  SinkKind kind = SinkKind::none;
  double arg = 0;  // value: the logit of every head (-inf allowed); uniform: +-arg; normal: standard deviation
  bool operator==(const SinkSpec&) const = default;
};

// Where the tensors lie. All zero / false: each tensor contiguous in [d, n, heads, sequences] order.
struct LayoutSpec {
  bool permuted = false;          // "0213": memory order is [d, heads, n, sequences] for Q, K and V
  std::int64_t cache = 0;         // K and V are prefix views of a cache with this many key rows (0: n_kv)
  std::int64_t parent_heads = 0;  // K and V are views of a parent with this many heads (0: n_head_kv)
  std::int64_t pad = 0;           // extra elements at the end of every K and V row (row stride > d)
  std::int64_t offset = 0;        // bytes before the first element of Q, K, V and the mask
  bool v_view_of_k = false;       // V is the first d_v columns of K (MLA)
  bool left_aligned = false;      // allocations begin, instead of end, against a guard page: shows reads before them
  std::int64_t tail = 0;          // bytes after the last element of Q, K, V and the mask, in their allocations
  std::int64_t mask_rows = 0;     // rows of the mask's memory beyond n_q, in every plane
  std::int64_t mask_cols = 0;     // columns of the mask's memory beyond n_kv, in every row
  bool k_transposed = false;      // "kt": the keys of K lie side by side, its columns (blocks) n_kv apart
  bool sparse = false;            // nothing is written outside the views: huge strides cost address space only
  bool operator==(const LayoutSpec&) const = default;
};

// set_rows: where the rows go, how the indices are stored, and what odd values the source holds.
enum class RowOrder : std::uint8_t { shuffled, ascending, descending, strided };
enum class SourceKind : std::uint8_t { plain, nan, inf, large, tiny };
struct ScatterSpec {
  RowOrder order = RowOrder::shuffled;
  bool index_i32 = false;  // else i64
  SourceKind source = SourceKind::plain;
  bool operator==(const ScatterSpec&) const = default;
};

// kv_decode: a prompt by chunks, then one token per step, then perhaps the same again on the bytes that lie there.
enum class CacheKind : std::uint8_t {
  static_,   // n_ctx rows from the start; what is not yet stored is hidden by the mask
  grown,     // as many rows as tokens: a new cache for every step, old rows copied
  doubling,  // 16 rows at first, twice as many whenever they do not suffice; the spare part is hidden by the mask
};
struct DecodeSpec {
  std::int64_t prompt = 1;
  std::int64_t chunk = 64;   // tokens per prefill step
  std::int64_t steps = 1;    // tokens decoded one by one after a prompt
  std::int64_t restart = 0;  // tokens of a second prompt, stored from row 0 on; 0: none
  CacheKind cache = CacheKind::static_;
  bool operator==(const DecodeSpec&) const = default;
};

// Of an op other than flash_attn_ext only the fields that its keys name count (semantics.md); the others keep the
// values that canonical() gives them.
struct AttentionProblem {
  std::int64_t d_k = 64, d_v = 64;
  std::int64_t n_head = 1, n_head_kv = 1, n_head_v = 1;
  std::int64_t n_q = 1, n_kv = 1;
  std::int64_t n_seq = 1, n_seq_kv = 1;
  DType k_type = DType::f16, v_type = DType::f16;  // Q and O are f32
  float scale = 0.125F;                            // factor on q.k; default 1/sqrt(d_k)
  float softcap = 0;                               // 0: none
  float max_bias = 0;                              // ALiBi, 0: none
  MaskSpec mask;
  SinkSpec sinks;
  LayoutSpec layout;
  Precision prec = Precision::default_;
  int threads = 0;  // 0: the backend's own option decides

  Op op = Op::flash_attn_ext;
  ScatterSpec scatter;  // set_rows: n_q rows into n_kv
  DecodeSpec decode;    // kv_decode: n_q tokens in all, over a cache of n_kv rows

  bool operator==(const AttentionProblem&) const = default;
};

// Why the problem is not one (n_head % n_head_kv, d % block, max_bias without mask ...), as an input error; see
// semantics.md for the rules.
Expected<void> validate(const AttentionProblem& problem);

// Slope of head h (0-based): ALiBi, in double; 1 when max_bias is 0. Formula in semantics.md.
double alibi_slope(const AttentionProblem& problem, std::int64_t head);

// 2 n_seq n_head n_q n_kv (d_k + d_v): floating-point operations of the plain computation, masks not counted off.
double flop(const AttentionProblem& problem);

// One allocation and the tensor in it. The tensor's element (0,0,0,0) lies `offset` bytes into the allocation.
struct TensorPlan {
  TensorShape shape;
  std::int64_t offset = 0;
  std::int64_t bytes = 0;  // size of the allocation; 0: tensor absent (or V viewed in K's allocation)
};

// Where every tensor of a problem lies: Q [d_k, n_q, n_head, n_seq], K [d_k, n_kv, n_head_kv, n_seq_kv],
// V [d_v, n_kv, n_head_v, n_seq_kv], mask [n_kv, n_q, 1|n_head, 1|n_seq], sinks [n_head] f32,
// O [d_v, n_head, n_q, n_seq] f32 contiguous.
struct InputPlan {
  TensorPlan q, k, v, mask, sinks, out;
  bool v_view_of_k = false;  // v.bytes == 0 and v.offset counts inside K's allocation
  bool sparse = false;       // allocations must be zero and need memory only where fill_inputs() writes
};
InputPlan plan_inputs(const AttentionProblem& problem);

// What a kernel gets. `problem` tells shapes and parameters; the values are in the tensors alone.
struct AttentionInputs {
  const AttentionProblem* problem = nullptr;
  TensorView q, k, v, mask, sinks;
};

}  // namespace attest
