#include "backends/ggml/backend.h"

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <utility>

#include "backends/decode_loop.h"
#include "backends/ggml/contract.h"
#include "backends/ggml/graph.h"
#include "backends/ggml/loader.h"
#include "backends/ggml/support.h"
#include "backends/process_clock.h"

namespace attest {
namespace ggml {
namespace {

class GgmlBackend final : public Backend {
 public:
  GgmlBackend(BackendSpec spec, std::shared_ptr<Library> library, FoundDevice device, Engine* engine, Form form,
              int threads)
      : spec_(std::move(spec)),
        library_(std::move(library)),
        device_(std::move(device)),
        engine_(engine),
        form_(form),
        threads_(threads) {
    const Api& api = library_->api();
    if (device_.cpu) {
      // Host memory is host memory: one buffer over the whole address space, so that a tensor may lie anywhere.
      any_memory_ = api.ggml_backend_cpu_buffer_from_ptr(reinterpret_cast<void*>(kLowest), kWholeSpace);
      arithmetic_ = cpu_arithmetic(*library_, device_);
      if (device_.set_use_ref != nullptr) device_.set_use_ref(engine_, form_ == Form::ref);
    }
    graph_ = std::make_unique<AttentionGraph>(api, engine_, any_memory_);
    options_ = {form_ == Form::unfused, prec_f32_value(api), mask_rows_multiple(*library_)};
  }
  GgmlBackend(const GgmlBackend&) = delete;
  GgmlBackend& operator=(const GgmlBackend&) = delete;
  ~GgmlBackend() override {
    graph_.reset();
    if (any_memory_ != nullptr) library_->api().ggml_backend_buffer_free(any_memory_);
    library_->api().ggml_backend_free(engine_);
  }

  std::string name() const override { return spec_.text(); }
  std::string description() const override {
    std::string text = device_.description;
    if (form_ == Form::ref) text += ", reference path";
    if (form_ == Form::unfused) text += ", mul_mat + soft_max_ext + mul_mat";
    return text;
  }
  std::string build_id() const override {
    std::string id = "ggml";
    if (const std::string version = library_->version(); !version.empty()) id += " " + version;
    if (!device_.variant.empty()) id += " " + device_.variant;
    return id;
  }

  bool has_op(Op op) const override { return op == Op::flash_attn_ext || form_ != Form::unfused || op == Op::kv_decode; }
  Support supports(const AttentionProblem& problem) const override {
    if (auto known = check_problem(problem, *library_, form_); !known.yes) return known;
    if (device_.cpu) return {};  // the CPU says yes to everything: check_problem is what knows better
    return device_supports(problem);
  }

  ArithmeticContract contract(const AttentionProblem& problem) const override {
    if (problem.op == Op::kv_decode) {
      return decode_contract(problem, [this](const AttentionProblem& step) { return contract(step); });
    }
    if (problem.op != Op::flash_attn_ext) return row_op_contract(problem, device_.cpu);
    return device_.cpu ? cpu_contract(problem, arithmetic_, form_, threads_for(problem))
                       : device_contract(problem, form_);
  }

  Outcome run(const AttentionInputs& inputs, const MutableTensorView& out) override {
    switch (inputs.problem->op) {
      case Op::soft_max_ext:
        return compute(inputs, out, [&] { return graph_->build_soft_max(inputs, out, options_); });
      case Op::set_rows:
        return compute(inputs, out, [&] { return graph_->build_set_rows(inputs, out); });
      case Op::kv_decode:
        return decode_loop(inputs, out, [&](const DecodeCall& call) {
          return compute(call.inputs, call.out, [&] { return graph_->build_decode_step(call, options_); });
        });
      case Op::flash_attn_ext:
        break;
    }
    return compute(inputs, out, [&] { return graph_->build(inputs, out, options_); });
  }

 private:
  static constexpr std::uintptr_t kLowest = 64;
  static constexpr std::size_t kWholeSpace = std::size_t{1} << 62;

  int threads_for(const AttentionProblem& problem) const { return problem.threads > 0 ? problem.threads : threads_; }

  template <class Build>
  Outcome compute(const AttentionInputs& inputs, const MutableTensorView& out, Build&& build) {
    Outcome outcome;
    if (device_.set_n_threads != nullptr) device_.set_n_threads(engine_, threads_for(*inputs.problem));
    library_->take_message();
    if (auto built = build(); !built) return failed(built.error().message);
    graph_->upload();
    const double cpu_before = process_cpu_seconds();
    const auto before = std::chrono::steady_clock::now();
    const int status = graph_->compute();
    outcome.wall_seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - before).count();
    outcome.cpu_seconds = process_cpu_seconds() - cpu_before;
    if (status != 0) return failed("ggml_backend_graph_compute returned " + std::to_string(status));
    graph_->download(out);
    graph_->clear();
    return outcome;
  }

  Outcome failed(std::string what) {
    graph_->clear();
    if (const std::string said = library_->take_message(); !said.empty()) what += ": " + said;
    Outcome outcome;
    outcome.ok = false;
    outcome.error = std::move(what);
    return outcome;
  }

  // The device looks at types, strides and buffers: give it the graph, with nothing in the tensors.
  Support device_supports(const AttentionProblem& problem) const {
    if (problem.op == Op::kv_decode) return device_supports_steps(problem);
    const InputPlan plan = plan_inputs(problem);
    static const std::byte present{};
    const auto view = [](const TensorPlan& t, bool there) {
      TensorView v;
      static_cast<TensorShape&>(v) = t.shape;
      v.data = there ? &present : nullptr;
      return v;
    };
    AttentionInputs inputs{&problem,
                           view(plan.q, true),
                           view(plan.k, true),
                           view(plan.v, true),
                           view(plan.mask, problem.mask.present()),
                           view(plan.sinks, problem.sinks.kind != SinkKind::none)};
    GraphOptions options = options_;
    options.mask_rows = 1;
    MutableTensorView out;
    static_cast<TensorShape&>(out) = plan.out.shape;
    static std::byte written{};
    out.data = &written;
    const auto built = problem.op == Op::soft_max_ext ? graph_->build_soft_max(inputs, out, options)
                       : problem.op == Op::set_rows   ? graph_->build_set_rows(inputs, out)
                                                      : graph_->build(inputs, out, options);
    const bool yes = built && graph_->supported(device_.device);
    graph_->clear();
    if (!built) return Support::no(built.error().message);
    return yes ? Support{} : Support::no("ggml: " + device_.name + " does not support this operation");
  }

  // The attention of every kind of step, and the stores as set_rows of each cache's type.
  Support device_supports_steps(const AttentionProblem& problem) const {
    for (const DecodeStep& step : decode_steps(problem)) {
      if (auto attention = device_supports(step_problem(problem, step)); !attention.yes) return attention;
    }
    for (const auto& [type, d] : {std::pair{problem.k_type, problem.d_k}, std::pair{problem.v_type, problem.d_v}}) {
      AttentionProblem rows = problem;
      rows.op = Op::set_rows;
      rows.n_head = problem.n_head_kv;
      rows.n_q = 1;
      rows.k_type = type;
      rows.d_k = d;
      rows.sinks = {};
      if (auto stores = device_supports(rows); !stores.yes) return stores;
    }
    return {};
  }

  BackendSpec spec_;
  std::shared_ptr<Library> library_;
  FoundDevice device_;
  Engine* engine_;
  Form form_;
  int threads_;
  Buffer* any_memory_ = nullptr;
  CpuArithmetic arithmetic_;
  GraphOptions options_;
  std::unique_ptr<AttentionGraph> graph_;
};

Expected<Form> form_of(const BackendSpec& spec) {
  static const std::vector<std::string> known{"ref", "unfused", "variant", "threads"};
  for (const auto& [key, value] : spec.options) {
    if (std::find(known.begin(), known.end(), key) == known.end()) {
      return input_error("ggml has no option '" + key + "'", did_you_mean(key, known));
    }
    const bool wants_value = key == "variant" || key == "threads";
    if (wants_value == value.empty()) {
      return input_error("option '" + key + "' of ggml " + (wants_value ? "needs a value" : "takes no value"));
    }
  }
  const bool ref = spec.option("ref") != nullptr, unfused = spec.option("unfused") != nullptr;
  if (ref && unfused) return input_error("ref is a path of the fused operation: it does not go with unfused");
  return ref ? Form::ref : unfused ? Form::unfused : Form::fused;
}

}  // namespace
}  // namespace ggml

Expected<GgmlBuild> choose_ggml_build(const BackendSpec& spec, const std::vector<GgmlBuild>& builds) {
  if (builds.empty()) {
    return harness_error("no ggml build given", "name one with --ggml DIR or ATTEST_GGML_DIR, or run ci/fetch-ggml");
  }
  std::vector<std::string> names;
  for (const GgmlBuild& build : builds) names.push_back(build.name);
  if (spec.build.empty()) {
    if (builds.size() == 1) return builds.front();
    return input_error("there are several ggml builds: say which, as in ggml@" + names.front() + ":CPU");
  }
  const auto it = std::find(names.begin(), names.end(), spec.build);
  if (it != names.end()) return builds[static_cast<std::size_t>(it - names.begin())];
  return input_error("no ggml build is called '" + spec.build + "'", did_you_mean(spec.build, names));
}

Expected<std::unique_ptr<Backend>> make_ggml_backend(const BackendSpec& spec, const BackendEnvironment& environment) {
  using namespace ggml;
  const auto form = form_of(spec);
  if (!form) return Unexpected(form.error());
  const auto threads = spec.threads();
  if (!threads) return Unexpected(threads.error());
  if (spec.variant.empty()) return input_error("ggml needs a device, as in ggml:CPU");
  const auto build = choose_ggml_build(spec, environment.ggml);
  if (!build) return Unexpected(build.error());
  auto library = Library::open(build->dir);
  if (!library) return Unexpected(library.error());
  const std::string* variant = spec.option("variant");
  auto device = (*library)->device(spec.variant, variant == nullptr ? "" : *variant);
  if (!device) return Unexpected(device.error());
  if (*form == Form::ref && device->set_use_ref == nullptr) {
    return input_error("the device " + device->name + " of this ggml build has no reference path");
  }
  Engine* engine = (*library)->api().ggml_backend_dev_init(device->device, nullptr);
  if (engine == nullptr) {
    return harness_error("ggml cannot start the device " + device->name, (*library)->take_message());
  }
  BackendSpec canonical = spec;
  canonical.variant = device->name;
  return std::make_unique<GgmlBackend>(std::move(canonical), *library, std::move(*device), engine, *form, *threads);
}

std::vector<BackendListing> ggml_listings(const GgmlBuild& build) {
  using namespace ggml;
  const std::string prefix = build.name.empty() ? "ggml:" : "ggml@" + build.name + ":";
  std::vector<BackendListing> listings;
  const auto library = Library::open(build.dir);
  if (!library) return {{prefix + "CPU", "ggml build in " + build.dir.string(), false, library.error().text()}};
  const auto devices = (*library)->devices();
  if (!devices) return {{prefix + "CPU", "ggml build in " + build.dir.string(), false, devices.error().text()}};
  const std::string version = "ggml " + (*library)->version();
  const auto add = [&](const std::string& name, const std::string& what, bool available = true,
                       const std::string& reason = {}) {
    listings.push_back({prefix + name, version + ", " + what, available, reason});
  };
  for (const FoundDevice& device : *devices) {
    const std::string name = device.cpu ? "CPU" : device.name;
    add(name, device.description);
    if (device.set_use_ref != nullptr) add(name + ",ref", device.description + ", reference path");
    add(name + ",unfused", device.description + ", mul_mat + soft_max_ext + mul_mat");
  }
  for (const CpuVariant& variant : (*library)->cpu_variants()) {
    if (variant.name.empty()) continue;
    const bool runs = variant.score > 0;
    add("CPU,variant=" + variant.name, "CPU variant " + variant.name, runs,
        runs ? "" : "needs instructions this machine does not have");
  }
  return listings;
}

}  // namespace attest
