#include "backends/metal/rows.h"

#include <limits>

#include "backends/metal/kernels/attention_args.h"
#include "backends/metal/kernels/rows_args.h"
#include "backends/metal/packing.h"

namespace attest::metal {
namespace {

constexpr std::int64_t kSoftMaxThreads = 128;
constexpr std::int64_t kSoftMaxFloats = 8;  // a maximum and a sum of each simdgroup

double flag(bool b) { return b ? 1 : 0; }

}  // namespace

std::string rows_library() { return kernel_library({"attention_args.h", "rows_args.h", "load.metal", "rows.metal"}); }

Support rows_support(const AttentionProblem& p) {
  if (const auto valid = validate(p); !valid) return Support::no("metal: " + valid.error().message);
  const std::int64_t most = std::numeric_limits<std::int32_t>::max();
  if (p.n_kv > most / 8 || p.n_q > most / 8 || p.n_head > 65535 || p.n_seq > 65535 || p.d_k > most / 8) {
    return Support::no("metal: sizes are counted in 32 bits");
  }
  return {};
}

ArithmeticContract rows_contract(const AttentionProblem& p) {
  ArithmeticContract c;
  c.set_path(info(p.op).name);
  c.eps_exp = kEpsExp;
  c.order = SumOrder::unknown;
  return c;
}

Dispatch plan_store(const TensorView& rows, const RowIndices& indices, const MutableTensorView& cache) {
  RowsArgs a{};
  a.source_nb1 = rows.nb[1], a.source_nb2 = rows.nb[2], a.source_nb3 = rows.nb[3];
  a.cache_nb1 = cache.nb[1], a.cache_nb2 = cache.nb[2], a.cache_nb3 = cache.nb[3];
  a.index_nb1 = indices.bytes_per_seq;
  a.n = static_cast<std::int32_t>(rows.ne[0]);
  a.n_ctx = static_cast<std::int32_t>(cache.ne[1]);
  const bool index_aligned = reinterpret_cast<std::uintptr_t>(indices.data) % 4 == 0;
  Dispatch d;
  d.function = "set_rows";
  d.constants = {{8, 'b', flag(!aligned(rows) || !aligned(cache.view()) || !index_aligned)},
                 {20, 'i', static_cast<double>(type_number(cache.dtype).value_or(0))},
                 {21, 'b', flag(indices.i32)}};
  d.arguments = {Argument::value(0, a), tensor_argument(1, rows),
                 Argument::of(2, indices.data, static_cast<std::size_t>(indices.bytes)),
                 Argument::output(3, cache.data, span_bytes(cache))};
  d.threadgroups = size3(rows.ne[1], rows.ne[2], rows.ne[3]);
  d.threads = size3(32, 1, 1);
  return d;
}

void plan_set_rows(const AttentionInputs& in, const MutableTensorView& out, AttentionWork& work) {
  const AttentionProblem& p = *in.problem;
  const RowIndices indices{in.mask.data, p.scatter.index_i32, in.mask.nb[1],
                           static_cast<std::int64_t>(span_bytes(in.mask))};
  work.dispatches = {plan_store(in.q, indices, out)};
}

void plan_soft_max(const AttentionInputs& in, const MutableTensorView& out, AttentionWork& work) {
  const AttentionProblem& p = *in.problem;
  work.slopes.clear();
  for (std::int64_t h = 0; h < p.n_head; ++h) work.slopes.push_back(static_cast<float>(alibi_slope(p, h)));
  const auto narrow = [](std::int64_t n) { return static_cast<std::int32_t>(n); };
  AttentionArgs a{};
  a.q_nb1 = in.q.nb[1], a.q_nb2 = in.q.nb[2], a.q_nb3 = in.q.nb[3];
  a.mask_nb1 = in.mask.nb[1], a.mask_nb2 = in.mask.nb[2], a.mask_nb3 = in.mask.nb[3];
  a.n_q = narrow(p.n_q), a.n_kv = narrow(p.n_kv), a.n_head = narrow(p.n_head), a.n_seq = narrow(p.n_seq);
  a.mask_heads = in.mask.present() ? narrow(in.mask.ne[2]) : 1;
  a.mask_seqs = in.mask.present() ? narrow(in.mask.ne[3]) : 1;
  a.scale = p.scale;
  Dispatch d;
  d.function = "soft_max";
  d.constants = {{4, 'i', static_cast<double>(mask_number(in.mask))},
                 {5, 'b', flag(in.sinks.present())},
                 {6, 'b', 0},
                 {7, 'b', flag(p.max_bias > 0)},
                 {8, 'b', flag(!aligned(in.q) || !aligned(in.mask))}};
  d.arguments = {Argument::value(0, a),
                 tensor_argument(1, in.q),
                 tensor_argument(4, in.mask),
                 tensor_argument(5, in.sinks),
                 Argument::of(6, work.slopes.data(), 4 * work.slopes.size()),
                 Argument::output(7, out.data, span_bytes(out))};
  d.threadgroups = size3(p.n_q, p.n_head, p.n_seq);
  d.threads = size3(kSoftMaxThreads, 1, 1);
  d.threadgroup_memory = {floats(kSoftMaxFloats)};
  work.dispatches = {std::move(d)};
}

}  // namespace attest::metal
