#include "backends/metal/attention.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdint>
#include <limits>

#include "backends/metal/kernels/attention_args.h"
#include "backends/metal/packing.h"

namespace attest::metal {
namespace {

constexpr std::int64_t kMaxHeadSize = 576;
constexpr std::int64_t kTileQueries = 8;  // of attention_tiled
constexpr std::int64_t kTileKeys = 32;    // of both kernels
constexpr std::int64_t kTiledSimdgroups = 4;
constexpr std::int64_t kStageColumns = 64;
constexpr std::int64_t kVecSimdgroups = 4;
constexpr std::int64_t kKeysPerSplit = 512;
constexpr std::int64_t kMaxSplits = 32;

bool is_vec(const AttentionProblem& p, const AttentionOptions& o) {
  return o.kernel == AttentionKernel::pick ? p.n_q < kTileQueries : o.kernel == AttentionKernel::vec;
}

std::int64_t splits(const AttentionProblem& p) {
  return std::clamp<std::int64_t>((p.n_kv + kKeysPerSplit - 1) / kKeysPerSplit, 1, kMaxSplits);
}

AttentionArgs arguments(const AttentionInputs& in, const AttentionOptions& options, std::int64_t n_splits) {
  const AttentionProblem& p = *in.problem;
  const auto narrow = [](std::int64_t n) { return static_cast<std::int32_t>(n); };
  AttentionArgs a{};
  a.q_nb1 = in.q.nb[1], a.q_nb2 = in.q.nb[2], a.q_nb3 = in.q.nb[3];
  a.k_nb0 = in.k.nb[0], a.k_nb1 = in.k.nb[1], a.k_nb2 = in.k.nb[2], a.k_nb3 = in.k.nb[3];
  a.v_nb1 = in.v.nb[1], a.v_nb2 = in.v.nb[2], a.v_nb3 = in.v.nb[3];
  a.mask_nb1 = in.mask.nb[1], a.mask_nb2 = in.mask.nb[2], a.mask_nb3 = in.mask.nb[3];
  a.n_q = narrow(p.n_q), a.n_kv = narrow(p.n_kv), a.n_head = narrow(p.n_head), a.n_seq = narrow(p.n_seq);
  a.heads_per_k = narrow(p.n_head / p.n_head_kv);
  a.heads_per_v = narrow(p.n_head / p.n_head_v);
  a.seqs_per_kv = narrow(p.n_seq / p.n_seq_kv);
  a.mask_heads = in.mask.present() ? narrow(in.mask.ne[2]) : 1;
  a.mask_seqs = in.mask.present() ? narrow(in.mask.ne[3]) : 1;
  a.k_block = narrow(info(p.k_type).block), a.k_block_bytes = narrow(info(p.k_type).block_bytes);
  a.splits = narrow(n_splits);
  a.keys_per_split = narrow((p.n_kv + n_splits - 1) / n_splits);
  a.scale = p.scale, a.softcap = p.softcap, a.vskip = options.vskip;
  return a;
}

std::vector<FunctionConstantValue> constants(const AttentionInputs& in, const AttentionOptions& options) {
  const AttentionProblem& p = *in.problem;
  const bool bytewise = !aligned(in.q) || !aligned(in.k) || !aligned(in.v) || !aligned(in.mask);
  const auto flag = [](bool b) { return b ? 1.0 : 0.0; };
  std::vector<FunctionConstantValue> values{{0, 'i', static_cast<double>(p.d_k)},
                                            {1, 'i', static_cast<double>(p.d_v)},
                                            {2, 'i', static_cast<double>(*type_number(p.k_type))},
                                            {3, 'i', static_cast<double>(*type_number(p.v_type))},
                                            {4, 'i', static_cast<double>(mask_number(in.mask))},
                                            {5, 'b', flag(in.sinks.present())},
                                            {6, 'b', flag(p.softcap > 0)},
                                            {7, 'b', flag(p.max_bias > 0)},
                                            {8, 'b', flag(bytewise)},
                                            {9, 'b', flag(options.vskip > 0)},
                                            {10, 'b', flag(!in.k.contiguous_rows())}};
  values.push_back({kMutantConstant, 'i', static_cast<double>(options.mutant)});
  return values;
}

}  // namespace

std::string attention_library(AttentionKernel kernel) {
  if (kernel == AttentionKernel::vec) return kernel_library({"attention_args.h", "load.metal", "vec.metal"});
  if (kernel == AttentionKernel::tiled) return kernel_library({"attention_args.h", "load.metal", "tiled.metal"});
  return kernel_library({"attention_args.h", "load.metal", "vec.metal", "tiled.metal"});
}

Support attention_support(const AttentionProblem& p) {
  const auto no = [](std::string why) { return Support::no("metal: " + std::move(why)); };
  if (const auto valid = validate(p); !valid) return no(valid.error().message);
  for (const DType type : {p.k_type, p.v_type}) {
    if (!type_number(type)) return no(fmt::format("the kernels do not read {}", info(type).name));
  }
  for (const auto& [name, d] : {std::pair{"d_k", p.d_k}, std::pair{"d_v", p.d_v}}) {
    if (d % 4 != 0 || d > kMaxHeadSize) return no(fmt::format("{} is no multiple of 4 up to {}", name, kMaxHeadSize));
  }
  const InputPlan plan = plan_inputs(p);
  for (const TensorPlan* t : {&plan.q, &plan.v}) {
    if (!t->shape.contiguous_rows()) return no("rows of Q and V must be contiguous");
  }
  const std::int64_t most = std::numeric_limits<std::int32_t>::max();
  if (p.n_kv > most / 4 || p.n_q > most / 4 || p.n_head * p.n_seq > 65535) return no("sizes are counted in 32 bits");
  return {};
}

ArithmeticContract attention_contract(const AttentionProblem& p, const AttentionOptions& options) {
  ArithmeticContract c;  // f32 throughout, nothing rounded in between
  const bool vec = is_vec(p, options);
  c.set_path(vec ? (splits(p) > 1 ? "vec-split" : "vec") : "tiled");
  c.eps_exp = kEpsExp;
  c.eps_tanh = kEpsTanh;
  c.tile = kTileKeys;
  c.chunks = vec ? splits(p) * kVecSimdgroups : 1;  // every simdgroup keeps a maximum, a sum and an output of its own
  c.order = SumOrder::unknown;
  c.drop = static_cast<double>(options.vskip);
  return c;
}

void plan_attention(const AttentionInputs& in, const MutableTensorView& out, const AttentionOptions& options,
                    AttentionWork& work) {
  const AttentionProblem& p = *in.problem;
  const std::int64_t rows = p.n_seq * p.n_q * p.n_head;
  const std::int64_t n_splits = is_vec(p, options) ? splits(p) : 1;
  work.slopes.clear();
  for (std::int64_t h = 0; h < p.n_head; ++h) work.slopes.push_back(static_cast<float>(alibi_slope(p, h)));
  const std::int64_t partial_floats = n_splits > 1 ? rows * n_splits * (p.d_v + 2) : 0;
  work.partial.assign(static_cast<std::size_t>(partial_floats) * sizeof(float), std::byte{0xff});

  Dispatch d;
  d.constants = constants(in, options);
  d.arguments = {Argument::value(0, arguments(in, options, n_splits)),
                 tensor_argument(1, in.q),
                 tensor_argument(2, in.k),
                 tensor_argument(3, in.v),
                 tensor_argument(4, in.mask),
                 tensor_argument(5, in.sinks),
                 Argument::of(6, work.slopes.data(), 4 * work.slopes.size()),
                 Argument::output(7, out.data, span_bytes(out))};
  if (!is_vec(p, options)) {
    const std::int64_t d_k8 = (p.d_k + 7) / 8 * 8;
    d.function = "attention_tiled";
    d.threadgroups = size3((p.n_q + kTileQueries - 1) / kTileQueries, p.n_head, p.n_seq);
    d.threads = size3(32 * kTiledSimdgroups, 1, 1);
    d.threadgroup_memory = {floats(kTileQueries * d_k8 + kTileQueries * kTileKeys + 64 + kTileQueries +
                                   kTiledSimdgroups * 8 * kStageColumns)};
    work.dispatches = {std::move(d)};
    return;
  }
  d.function = "attention_vec";
  d.threadgroups = size3(n_splits, p.n_q, p.n_head * p.n_seq);
  d.threads = size3(32 * kVecSimdgroups, 1, 1);
  d.threadgroup_memory = {
      floats(p.d_k + 32 * kVecSimdgroups + (2 * kVecSimdgroups + 3) / 4 * 4 + kVecSimdgroups * p.d_v)};
  d.arguments.push_back(Argument::output(8, work.partial.data(), work.partial.size()));
  work.dispatches = {d};
  if (n_splits == 1) return;
  d.function = "attention_reduce";
  d.threadgroups = size3(1, p.n_q, p.n_head * p.n_seq);
  d.threads = size3(32, 1, 1);
  d.threadgroup_memory.clear();
  work.dispatches.push_back(std::move(d));
}

}  // namespace attest::metal
