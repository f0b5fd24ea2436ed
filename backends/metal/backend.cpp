#include "backends/metal/backend.h"

#include <fmt/format.h>

#include <algorithm>
#include <numeric>

#include "backends/decode_loop.h"
#include "backends/metal/attention.h"
#include "backends/metal/device_apple.h"
#include "backends/metal/mutants.h"
#include "backends/metal/outcome.h"
#include "backends/metal/rows.h"
#include "backends/metal/sim/sim_device.h"
#include "backends/metal/sim_options.h"
#include "cases/grammar/lexer.h"

namespace attest {
namespace {

constexpr std::string_view kSimDescription = "our Metal kernels on a simulator: sees races, not Apple's rounding";
constexpr std::string_view kAppleDescription = "our own Metal kernels on this machine's GPU";
struct MetalOptions {
  metal::SimOptions sim;
  metal::AttentionOptions attention;
};

class MetalBackend final : public Backend {
 public:
  MetalBackend(std::string name, std::string_view description, std::unique_ptr<metal::Device> device,
               metal::AttentionOptions options)
      : name_(std::move(name)), description_(description), device_(std::move(device)), options_(options) {}

  std::string name() const override { return name_; }
  std::string description() const override { return std::string(description_); }
  std::string build_id() const override { return "attest " ATTEST_VERSION " " + device_->build_id(); }
  bool has_op(Op) const override { return true; }
  Support supports(const AttentionProblem& problem) const override {
    if (problem.op == Op::flash_attn_ext) return metal::attention_support(problem);
    return metal::rows_support(problem);
  }
  ArithmeticContract contract(const AttentionProblem& problem) const override {
    if (problem.op == Op::kv_decode) {
      return decode_contract(problem, [this](const AttentionProblem& step) { return contract(step); });
    }
    if (problem.op != Op::flash_attn_ext) return metal::rows_contract(problem);
    return metal::attention_contract(problem, options_);
  }

  Outcome run(const AttentionInputs& inputs, const MutableTensorView& out) override {
    if (inputs.problem->op == Op::kv_decode) return decode(inputs, out);
    return timed([&] {
      switch (inputs.problem->op) {
        case Op::set_rows:
          return metal::plan_set_rows(inputs, out, work_);
        case Op::soft_max_ext:
          return metal::plan_soft_max(inputs, out, work_);
        default:
          return metal::plan_attention(inputs, out, options_, work_);
      }
    });
  }

 private:
  Outcome decode(const AttentionInputs& inputs, const MutableTensorView& out) {
    return decode_loop(inputs, out, [this](const DecodeCall& call) {
      return timed([&] {
        rows_.resize(static_cast<std::size_t>(call.new_k.ne[1]));
        std::iota(rows_.begin(), rows_.end(), static_cast<std::int32_t>(call.position));
        const auto bytes = static_cast<std::int64_t>(4 * rows_.size());
        const metal::RowIndices indices{rows_.data(), true, bytes, bytes};
        metal::plan_attention(call.inputs, call.out, options_, work_);
        work_.dispatches.insert(work_.dispatches.begin(), {metal::plan_store(call.new_k, indices, call.k_cache),
                                                           metal::plan_store(call.new_v, indices, call.v_cache)});
      });
    });
  }

  // Runs what `plan` puts into work_.
  template <class Plan>
  Outcome timed(Plan&& plan) {
    return metal::outcome_of("metal", [&] {
      plan();
      return run_work();
    });
  }

  // The library of the other ops is made when the first of them is asked for.
  Expected<metal::DispatchResult> run_work() {
    const bool needs_rows = std::any_of(work_.dispatches.begin(), work_.dispatches.end(), [](const auto& d) {
      return d.function == "set_rows" || d.function == "soft_max";
    });
    if (needs_rows && !has_rows_) {
      if (auto loaded = device_->load(metal::kRowsLibrary, metal::rows_library()); !loaded) {
        return Unexpected(loaded.error());
      }
      has_rows_ = true;
    }
    return device_->run(work_.dispatches);
  }

  std::string name_;
  std::string_view description_;
  std::unique_ptr<metal::Device> device_;
  metal::AttentionOptions options_;
  metal::AttentionWork work_;
  std::vector<std::int32_t> rows_;  // indices of a step of kv_decode
  bool has_rows_ = false;
};

Expected<MetalOptions> read_options(const BackendSpec& spec) {
  MetalOptions options;
  const bool sim = spec.variant == "sim";
  for (const auto& [key, value] : spec.options) {
    const auto taken = sim ? metal::read_sim_option(key, value, options.sim) : false;
    if (!taken) return Unexpected(taken.error());
    if (*taken) continue;
    if (key == "kernel") {
      const auto kernel = metal::read_word<metal::AttentionKernel>(
          key, value, {{"vec", metal::AttentionKernel::vec}, {"tiled", metal::AttentionKernel::tiled}});
      if (!kernel) return Unexpected(kernel.error());
      options.attention.kernel = *kernel;
    } else if (key == "mutant") {
      const auto mutant = metal::find_mutant(value);
      if (!mutant) return Unexpected(mutant.error());
      if (spec.option("kernel") != nullptr) return input_error("a mutant is of one kernel: kernel= chooses no other");
      options.attention.kernel = (*mutant)->kernel;
      options.attention.mutant = (*mutant)->number;
      if (spec.option("model") == nullptr) options.sim.model = (*mutant)->model;
    } else if (key == "vskip") {
      const auto vskip = grammar::read_double({value, 1}, "vskip");
      if (!vskip || !(*vskip >= 0 && *vskip < 1)) {
        return input_error("vskip=" + value + " is no part of the largest weight: 0 to below 1", "e.g. vskip=1e-6");
      }
      options.attention.vskip = static_cast<float>(*vskip);
    } else {
      std::vector<std::string> known{"kernel", "vskip", "mutant"};
      if (sim) known.insert(known.end(), {"model", "order"});
      return input_error((sim ? "metal:sim has no option '" : "metal has no option '") + key + "'",
                         did_you_mean(key, known));
    }
  }
  return options;
}

}  // namespace

Expected<std::unique_ptr<Backend>> make_metal_backend(const BackendSpec& spec, const BackendEnvironment&) {
  if (!spec.build.empty()) return input_error("metal has no builds to choose from: '@" + spec.build + "'");
  const bool sim = spec.variant == "sim";
  if (!sim && !spec.variant.empty()) {
    return input_error("metal has no variant '" + spec.variant + "'", did_you_mean(spec.variant, {"sim"}));
  }
  const auto options = read_options(spec);
  if (!options) return Unexpected(options.error());
  auto device = sim ? metal::make_sim_device(options->sim) : metal::make_apple_device();
  if (!device) return Unexpected(device.error());
  const Expected<std::string> library =
      options->attention.mutant > 0 ? metal::mutable_library(options->attention.kernel) : metal::attention_library();
  if (!library) return Unexpected(library.error());
  if (auto loaded = (*device)->load(metal::kAttentionLibrary, *library); !loaded) {
    Error error = loaded.error();
    error.kind = ErrorKind::harness;  // our own kernels
    return Unexpected(std::move(error));
  }
  return std::make_unique<MetalBackend>(spec.text(), sim ? kSimDescription : kAppleDescription, std::move(*device),
                                        options->attention);
}

std::vector<BackendListing> metal_listings() {
  const std::string why_not = metal::sim_unavailable(), no_apple = metal::apple_unavailable();
  return {{"metal", std::string(kAppleDescription), no_apple.empty(), no_apple},
          {"metal:sim", std::string(kSimDescription), why_not.empty(), why_not},
          {"msl:FILE.toml", "a Metal kernel of yours, as a manifest says: README", why_not.empty(), why_not}};
}

}  // namespace attest
