#include "backends/cpu/cpu_backend.h"

#include <algorithm>
#include <array>
#include <chrono>
#include <new>

#include "backends/cpu/kernel.h"
#include "backends/cpu/ops.h"
#include "cases/decode.h"
#include "cases/grammar/lexer.h"

namespace attest {
namespace {

using cpu::KernelCall;

struct Kernel {
  std::string_view name, description;
  double (*run)(const KernelCall&);
};
constexpr std::array<Kernel, 3> kKernels{{
    {"vec", "one key at a time, online softmax", cpu::run_vec},
    {"tiled", "tiles of queries by tiles of keys, online softmax per tile", cpu::run_tiled},
    {"split", "keys in chunks with a maximum, sum and output each, then a merge", cpu::run_split},
}};
constexpr const Kernel &kVec = kKernels[0], &kTiled = kKernels[1], &kSplit = kKernels[2];
constexpr std::string_view kPickDescription = "split for long decode, tiled from 8 queries on, vec otherwise";

const Kernel& pick(const AttentionProblem& problem) {
  if (problem.n_q >= 8) return kTiled;
  return problem.n_q <= 2 && problem.n_kv >= 1024 ? kSplit : kVec;
}

class CpuBackend final : public Backend {
 public:
  CpuBackend(std::string name, const Kernel* kernel, int threads, float vskip)
      : name_(std::move(name)), kernel_(kernel), threads_(threads), vskip_(vskip), simd_(&cpu::primitives()) {}

  std::string name() const override { return name_; }
  std::string description() const override {
    return std::string(kernel_ != nullptr ? kernel_->description : kPickDescription);
  }
  std::string build_id() const override { return cpu_build_id(); }

  bool has_op(Op) const override { return true; }
  Support supports(const AttentionProblem& problem) const override {
    if (const auto valid = validate(problem); !valid) return Support::no("cpu: " + valid.error().message);
    return {};
  }

  ArithmeticContract contract(const AttentionProblem& problem) const override {
    if (problem.op == Op::kv_decode) {
      return decode_contract(problem, [this](const AttentionProblem& step) { return contract(step); });
    }
    ArithmeticContract contract = cpu_contract(kernel_for(problem).name, threads_for(problem));
    contract.drop = static_cast<double>(vskip_);
    return contract;
  }

  Outcome run(const AttentionInputs& inputs, const MutableTensorView& out) override {
    if (inputs.problem->op == Op::kv_decode) {
      return cpu::decode<cpu::OpProduction>(
          inputs, out, [this](const AttentionInputs& step, const MutableTensorView& o) { return run(step, o); });
    }
    if (inputs.problem->op != Op::flash_attn_ext) return run_rows(inputs, out);
    Outcome outcome;
    const auto start = std::chrono::steady_clock::now();
    const int threads = threads_for(*inputs.problem);
    try {
      if (scratch_.size() < static_cast<std::size_t>(threads) + 1)
        scratch_.resize(static_cast<std::size_t>(threads) + 1);
      KernelCall call(inputs, out, *simd_, threads, scratch_);
      call.vskip = vskip_;
      if (call.rows() > 0) outcome.cpu_seconds = kernel_for(*inputs.problem).run(call);
    } catch (const std::bad_alloc&) {
      outcome.ok = false;
      outcome.error = "cpu: out of memory for scratch";
    }
    outcome.wall_seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    return outcome;
  }

 private:
  // The kernels' shapes again: whole rows, tiles of keys, or a chunk per thread.
  std::int64_t soft_max_chunk(const AttentionProblem& problem) const {
    const Kernel& kernel = kernel_for(problem);
    const std::int64_t chunks = cpu::split_chunks(threads_for(problem));
    const std::int64_t keys = &kernel == &kTiled   ? cpu::kTileKeys
                              : &kernel == &kSplit ? (problem.n_kv + chunks - 1) / chunks
                                                   : problem.n_kv;
    return std::max<std::int64_t>(keys, 1);
  }

  Outcome run_rows(const AttentionInputs& inputs, const MutableTensorView& out) const {
    Outcome outcome;
    const AttentionProblem& p = *inputs.problem;
    const auto start = std::chrono::steady_clock::now();
    outcome.cpu_seconds =
        p.op == Op::set_rows ? cpu::set_rows<cpu::OpProduction>(inputs, out, threads_for(p))
                             : cpu::soft_max<cpu::OpProduction>(inputs, out, *simd_, soft_max_chunk(p), threads_for(p));
    outcome.wall_seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    return outcome;
  }

  const Kernel& kernel_for(const AttentionProblem& problem) const {
    return kernel_ != nullptr ? *kernel_ : pick(problem);
  }
  int threads_for(const AttentionProblem& problem) const { return problem.threads > 0 ? problem.threads : threads_; }

  std::string name_;
  const Kernel* kernel_;  // nullptr: pick per problem
  int threads_;
  float vskip_;  // 0: every row of V counts
  const cpu::Primitives* simd_;
  cpu::Scratches scratch_;  // kept from call to call; says nothing about earlier calls to later ones
};

Expected<float> read_vskip(const BackendSpec& spec, const Kernel* kernel) {
  const std::string* given = spec.option("vskip");
  if (given == nullptr) return 0.0F;
  if (kernel != &kVec) return input_error("vskip is an option of cpu:vec", "cpu:vec,vskip=" + *given);
  const auto value = grammar::read_double({*given, 1}, "vskip");
  if (!value || !(*value >= 0 && *value < 1)) {
    return input_error("vskip=" + *given + " is no part of the largest weight: 0 to below 1", "e.g. vskip=1e-6");
  }
  return static_cast<float>(*value);
}

}  // namespace

Expected<std::unique_ptr<Backend>> make_cpu_backend(const BackendSpec& spec, const BackendEnvironment&) {
  if (!spec.build.empty()) return input_error("cpu has no builds to choose from: '@" + spec.build + "'");
  const Kernel* kernel = nullptr;
  if (!spec.variant.empty()) {
    const auto* found =
        std::find_if(kKernels.begin(), kKernels.end(), [&](const Kernel& k) { return k.name == spec.variant; });
    if (found == kKernels.end()) {
      std::vector<std::string> names;
      for (const Kernel& k : kKernels) names.emplace_back(k.name);
      return input_error("cpu has no kernel '" + spec.variant + "'", did_you_mean(spec.variant, names));
    }
    kernel = found;
  }
  for (const auto& [key, value] : spec.options) {
    if (key == "threads" || key == "vskip") continue;
    return input_error("cpu has no option '" + key + "'", did_you_mean(key, {"threads", "vskip"}));
  }
  const auto vskip = read_vskip(spec, kernel);
  if (!vskip) return Unexpected(vskip.error());
  const auto threads = spec.threads();
  if (!threads) return Unexpected(threads.error());
  BackendSpec canonical = spec;
  if (*threads == 1) std::erase_if(canonical.options, [](const auto& option) { return option.first == "threads"; });
  return std::make_unique<CpuBackend>(canonical.text(), kernel, *threads, *vskip);
}

std::string cpu_build_id() { return std::string("attest " ATTEST_VERSION " ") + cpu::primitives().target; }

ArithmeticContract cpu_contract(std::string_view kernel, int threads) {
  ArithmeticContract contract;  // f32 throughout, nothing rounded in between
  contract.set_path(kernel);
  contract.eps_exp = cpu::kEpsExp;
  contract.eps_tanh = cpu::kEpsTanh;
  contract.products_rounded = !cpu::primitives().fma;
  // A tile's weights and values are added one key after the other, straight onto the sums of the tiles before.
  contract.tile = kernel == kTiled.name ? cpu::kTileKeys : 1;
  contract.chunks = kernel == kSplit.name ? cpu::split_chunks(threads) : 1;
  return contract;
}

std::vector<BackendListing> cpu_listings() {
  std::vector<BackendListing> listings{{"cpu", std::string(kPickDescription), true, {}}};
  for (const Kernel& kernel : kKernels) {
    listings.push_back({"cpu:" + std::string(kernel.name), std::string(kernel.description), true, {}});
  }
  return listings;
}

}  // namespace attest
