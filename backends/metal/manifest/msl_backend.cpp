#include "backends/metal/manifest/msl_backend.h"

#include <fmt/format.h>
#include <xxhash.h>

#include <algorithm>
#include <cstring>
#include <limits>

#include "backends/metal/device_apple.h"
#include "backends/metal/manifest/manifest.h"
#include "backends/metal/manifest/names.h"
#include "backends/metal/outcome.h"
#include "backends/metal/sim_options.h"

namespace attest {
namespace metal {
namespace {

constexpr std::int64_t kMost = std::int64_t{1} << 40;  // bytes, threadgroups
constexpr std::size_t kScratchAlignment = 64;

// A scalar of an integer type, or of bool. Error (input): no whole number, or none that the type can hold.
Expected<std::int64_t> whole_value(const Scalar& s, const Numbers& numbers) {
  constexpr std::int64_t kLow = std::numeric_limits<std::int64_t>::min();
  constexpr std::int64_t kHigh = std::numeric_limits<std::int64_t>::max();
  struct Range {
    std::int64_t low, high;
  };
  constexpr std::array<Range, 8> kRanges{{{0, 1},
                                          {0, 255},
                                          {-32768, 32767},
                                          {0, 65535},
                                          {-2147483648LL, 2147483647},
                                          {0, 4294967295LL},
                                          {kLow, kHigh},
                                          {0, kHigh}}};
  if (s.type == ScalarType::bool_) {
    const auto value = s.value.evaluate(numbers);
    if (!value) return Unexpected(value.error());
    return value->truth() ? 1 : 0;
  }
  const Range range = kRanges[static_cast<std::size_t>(s.type)];
  return s.value.count(numbers, range.low, range.high);
}

bool is_real(const Scalar& s) { return s.type == ScalarType::f32 || s.type == ScalarType::f16; }

Expected<void> append(const Scalar& s, const Numbers& numbers, std::vector<std::byte>& out) {
  const std::size_t bytes = bytes_of(s.type);
  out.resize((out.size() + bytes - 1) / bytes * bytes);
  const auto put = [&](const auto& value) {
    const auto* p = reinterpret_cast<const std::byte*>(&value);
    out.insert(out.end(), p, p + sizeof value);
  };
  if (is_real(s)) {
    const auto value = s.value.evaluate(numbers);
    if (!value) return Unexpected(value.error());
    const auto narrow = static_cast<float>(value->value);
    if (s.type == ScalarType::f32) {
      put(narrow);
    } else {
      put(f32_to_f16(narrow));
    }
    return {};
  }
  const auto count = whole_value(s, numbers);
  if (!count) return Unexpected(count.error());
  // Little endian, as every machine Metal and the simulator run on: the low bytes come first.
  const auto* p = reinterpret_cast<const std::byte*>(&*count);
  out.insert(out.end(), p, p + bytes);
  return {};
}

Expected<std::vector<std::byte>> packed_struct(const std::vector<Scalar>& fields, const Numbers& numbers) {
  std::vector<std::byte> out;
  std::size_t widest = 1;
  for (const Scalar& field : fields) {
    widest = std::max(widest, bytes_of(field.type));
    if (auto fine = append(field, numbers, out); !fine) return Unexpected(fine.error());
  }
  out.resize((out.size() + widest - 1) / widest * widest);
  return out;
}

std::string kernel_name(const std::string& pattern, const Numbers& numbers) {
  std::string out;
  for (std::size_t at = 0; at < pattern.size();) {
    if (pattern[at] != '{') {
      out += pattern[at++];
      continue;
    }
    const auto close = pattern.find('}', at);
    const std::string name = pattern.substr(at + 1, close - at - 1);
    const std::int64_t value = numbers.at(name).integer;
    out += name.ends_with("_type") ? std::string(info(static_cast<DType>(value)).name) : std::to_string(value);
    at = close + 1;
  }
  return out;
}

class MslBackend final : public Backend {
 public:
  MslBackend(std::string name, Manifest manifest, std::unique_ptr<Device> device)
      : name_(std::move(name)),
        manifest_(std::move(manifest)),
        device_(std::move(device)),
        ready_(manifest_.buffers.size()),
        scratch_(manifest_.buffers.size()) {
    for (std::size_t i = 0; i < scratch_.size(); ++i) scratch_[i].rename("buffers." + manifest_.buffers[i].name);
  }

  std::string name() const override { return name_; }
  std::string description() const override {
    return manifest_.name + (manifest_.description.empty() ? "" : ": " + manifest_.description);
  }
  std::string build_id() const override {
    const std::string all = manifest_.text + '\0' + manifest_.source;
    return fmt::format("{} {:08x} {}", manifest_.name, XXH3_64bits(all.data(), all.size()) >> 32, device_->build_id());
  }

  Support supports(const AttentionProblem& p) const override {
    const auto no = [&](const std::string& why) { return Support::no(fmt::format("{}: {}", manifest_.name, why)); };
    if (const auto valid = validate(p); !valid) return no(valid.error().message);
    for (const auto& [types, type, what] :
         {std::tuple{&manifest_.k_types, p.k_type, "K"}, {&manifest_.v_types, p.v_type, "V"}}) {
      if (std::find(types->begin(), types->end(), type) == types->end())
        return no(fmt::format("its manifest has no {} of {}", what, info(type).name));
    }
    for (const ManifestFeature& f : manifest_features()) {
      const auto& has = manifest_.features;
      if (f.has(p) && std::find(has.begin(), has.end(), f.name) == has.end())
        return no(fmt::format("the problem has {}, and its manifest no feature '{}'", f.says, f.name));
    }
    const Numbers numbers = problem_numbers(p);
    for (const Expression& condition : manifest_.where) {
      const auto holds = condition.evaluate(numbers);
      if (holds && !holds->truth()) return no(fmt::format("its manifest asks for {}", condition.text()));
    }
    const InputPlan plan = plan_inputs(p);
    for (const ManifestBuffer& b : manifest_.buffers) {
      if (b.kind != ManifestBuffer::Kind::tensor) continue;
      if (const Support fit = fits(b.tensor, plan); !fit.yes) return no(fit.reason);
    }
    if (first_dispatch(numbers) == nullptr) return no("no dispatch of its manifest is for this problem");
    return {};
  }

  ArithmeticContract contract(const AttentionProblem& p) const override {
    ArithmeticContract c = manifest_.contract;
    const Numbers numbers = problem_numbers(p);
    if (const ManifestDispatch* d = first_dispatch(numbers)) c.set_path(kernel_name(d->kernel, numbers));
    c.tile = manifest_.tile.count(numbers, 1, kMost).value_or(1);  // what has no value is said by run()
    c.chunks = manifest_.chunks.count(numbers, 1, kMost).value_or(1);
    return c;
  }

  Outcome run(const AttentionInputs& inputs, const MutableTensorView& out) override {
    return outcome_of(manifest_.name, [&]() -> Expected<DispatchResult> {
      const auto dispatches = plan(inputs, out);
      if (!dispatches) return Unexpected(dispatches.error());
      auto result = device_->run(*dispatches);
      if (result && result->findings.empty()) result->findings = damage();
      for (std::size_t i = 0; i < ready_.size(); ++i) {
        const ManifestBuffer& b = manifest_.buffers[i];
        if (b.kind == ManifestBuffer::Kind::tensor && b.tensor.role == TensorRole::out) give_back(ready_[i], out);
      }
      return result;
    });
  }

 private:
  // What was written beside the memory that the kernel may write.
  std::vector<Finding> damage() const {
    std::vector<Finding> findings;
    for (std::size_t i = 0; i < ready_.size(); ++i) {
      const GuardedMemory& memory =
          manifest_.buffers[i].kind == ManifestBuffer::Kind::scratch ? scratch_[i] : ready_[i].memory;
      const std::string where = memory.damage();
      if (!where.empty()) findings.push_back({"OOB", fmt::format("write {} of buffers.{}", where, manifest_.buffers[i].name)});
    }
    return findings;
  }
  bool is_for(const ManifestDispatch& d, const Numbers& numbers) const {
    if (!d.when) return true;
    const auto holds = d.when->evaluate(numbers);
    return !holds || holds->truth();  // what has no value is said by run()
  }
  const ManifestDispatch* first_dispatch(const Numbers& numbers) const {
    for (const ManifestDispatch& d : manifest_.dispatches) {
      if (is_for(d, numbers)) return &d;
    }
    return nullptr;
  }

  // Tensors in their layouts, and their strides among the numbers.
  Expected<void> make_tensors_ready(const AttentionInputs& in, const MutableTensorView& out, Numbers& numbers) {
    const std::int64_t heads = in.problem->n_head;
    if (auto room = slopes_.prepare(static_cast<std::uint64_t>(heads) * sizeof(float), sizeof(float)); !room) return room;
    for (std::int64_t h = 0; h < heads; ++h) {
      const auto slope = static_cast<float>(alibi_slope(*in.problem, h));
      std::memcpy(slopes_.data() + h * static_cast<std::int64_t>(sizeof slope), &slope, sizeof slope);
    }
    slopes_.forbid_writing();
    TensorView slopes;
    slopes.ne = {heads, 1, 1, 1};
    slopes.nb = {4, 4 * heads, 4 * heads, 4 * heads};
    slopes.data = slopes_.data();
    const TensorView* views[] = {&in.q, &in.k, &in.v, &in.mask, &in.sinks, &slopes};
    for (std::size_t i = 0; i < manifest_.buffers.size(); ++i) {
      const ManifestBuffer& b = manifest_.buffers[i];
      if (b.kind != ManifestBuffer::Kind::tensor) continue;
      const auto room = b.tensor.role == TensorRole::out
                            ? make_ready(b.tensor, out, ready_[i])
                            : make_ready(b.tensor, *views[static_cast<std::size_t>(b.tensor.role)], ready_[i]);
      if (!room) return room;
      add_strides(b.tensor, ready_[i].strides, numbers);
    }
    return {};
  }

  Expected<std::vector<Dispatch>> plan(const AttentionInputs& in, const MutableTensorView& out) {
    Numbers numbers = problem_numbers(*in.problem);
    for (const Expression& condition : manifest_.where) {
      if (const auto holds = condition.evaluate(numbers); !holds) return Unexpected(holds.error());
    }
    for (const auto& [key, e] : {std::pair{"tile", &manifest_.tile}, {"chunks", &manifest_.chunks}}) {
      if (const auto count = e->count(numbers, 1, kMost); !count)
        return input_error(fmt::format("contract.{}: {}", key, count.error().message));
    }
    std::vector<FunctionConstantValue> constants;
    for (const auto& [index, scalar] : manifest_.function_constants) {
      auto value = constant_of(index, scalar, numbers);
      if (!value) {
        value.error().message = fmt::format("function_constants.{}: {}", index, value.error().message);
        return Unexpected(value.error());
      }
      constants.push_back(*value);
    }
    if (auto room = make_tensors_ready(in, out, numbers); !room) return Unexpected(room.error());
    std::vector<Argument> arguments;
    for (std::size_t i = 0; i < manifest_.buffers.size(); ++i) {
      auto argument = argument_of(i, numbers);
      if (!argument) return Unexpected(argument.error());
      arguments.push_back(std::move(*argument));
    }
    std::vector<Dispatch> dispatches;
    for (const ManifestDispatch& m : manifest_.dispatches) {
      if (m.when) {
        if (const auto holds = m.when->evaluate(numbers); !holds) return Unexpected(holds.error());
      }
      if (!is_for(m, numbers)) continue;
      Dispatch d;
      d.function = kernel_name(m.kernel, numbers);
      d.constants = constants;
      for (std::size_t i = 0; i < m.buffers.size(); ++i) {
        if (m.buffers[i] < 0) continue;
        d.arguments.push_back(arguments[static_cast<std::size_t>(m.buffers[i])]);
        d.arguments.back().index = static_cast<int>(i);
      }
      for (const Expression& e : m.threadgroup_memory) {
        const auto bytes = e.count(numbers, 0, kMost);
        if (!bytes) return Unexpected(bytes.error());
        d.threadgroup_memory.push_back(static_cast<std::size_t>(*bytes));
      }
      for (const auto& [expressions, size] : {std::pair{&m.threadgroups, &d.threadgroups}, {&m.threads, &d.threads}}) {
        std::uint32_t* const slots[] = {&size->x, &size->y, &size->z};
        for (std::size_t i = 0; i < 3; ++i) {
          const auto n = (*expressions)[i].count(numbers, 0, std::numeric_limits<std::uint32_t>::max());
          if (!n) return Unexpected(n.error());
          *slots[i] = static_cast<std::uint32_t>(*n);
        }
      }
      dispatches.push_back(std::move(d));
    }
    return dispatches;
  }

  static Expected<FunctionConstantValue> constant_of(int index, const Scalar& scalar, const Numbers& numbers) {
    if (is_real(scalar)) {
      const auto value = scalar.value.evaluate(numbers);
      if (!value) return Unexpected(value.error());
      return FunctionConstantValue{index, 'f', value->value};
    }
    const auto value = whole_value(scalar, numbers);
    if (!value) return Unexpected(value.error());
    if (static_cast<std::int64_t>(static_cast<double>(*value)) != *value)
      return input_error(fmt::format("{} is more than a function constant can be here", *value));
    return FunctionConstantValue{index, scalar.type == ScalarType::bool_ ? 'b' : 'i', static_cast<double>(*value)};
  }

  Expected<Argument> argument_of(std::size_t i, const Numbers& numbers) {
    const ManifestBuffer& b = manifest_.buffers[i];
    if (b.kind == ManifestBuffer::Kind::constants) {
      auto bytes = packed_struct(b.constants, numbers);
      if (!bytes) {
        bytes.error().message = fmt::format("buffers.{}: {}", b.name, bytes.error().message);
        return Unexpected(bytes.error());
      }
      Argument a;
      a.copied = std::move(*bytes);
      return a;
    }
    if (b.kind == ManifestBuffer::Kind::scratch) {
      const auto bytes = b.bytes.count(numbers, 0, kMost);
      if (!bytes) return Unexpected(bytes.error());
      const auto size = static_cast<std::size_t>(*bytes);
      if (auto room = scratch_[i].prepare(size, kScratchAlignment); !room) return Unexpected(room.error());
      return Argument::output(0, scratch_[i].data(), size);
    }
    const ReadyTensor& t = ready_[i];
    Argument a = Argument::of(0, t.view.data, t.bytes);
    a.written = b.tensor.role == TensorRole::out;
    return a;
  }

  std::string name_;
  Manifest manifest_;
  std::unique_ptr<Device> device_;
  std::vector<ReadyTensor> ready_;
  std::vector<GuardedMemory> scratch_;
  GuardedMemory slopes_{"the slopes"};
};

}  // namespace
}  // namespace metal

Expected<std::unique_ptr<Backend>> make_msl_backend(const BackendSpec& spec, const BackendEnvironment&) {
  if (!spec.build.empty()) return input_error("msl has no builds to choose from: '@" + spec.build + "'");
  if (spec.variant.empty())
    return input_error("msl needs a manifest", "msl:FILE.toml; backends/metal/manifest/manifest.md");
  metal::SimOptions sim;
  bool apple = metal::apple_unavailable().empty();
  for (const auto& [key, value] : spec.options) {
    if (key == "device") {
      const auto device = metal::read_word<bool>(key, value, {{"sim", false}, {"metal", true}});
      if (!device) return Unexpected(device.error());
      apple = *device;
      continue;
    }
    const auto taken = metal::read_sim_option(key, value, sim);
    if (!taken) return Unexpected(taken.error());
    if (*taken) continue;
    return input_error("msl has no option '" + key + "'", did_you_mean(key, {"device", "model", "order"}));
  }
  auto manifest = metal::load_manifest(spec.variant);
  if (!manifest) return Unexpected(manifest.error());
  if (apple && (spec.option("model") != nullptr || spec.option("order") != nullptr))
    return input_error("model= and order= are the simulator's", "device=sim");
  auto device = apple ? metal::make_apple_device() : metal::make_sim_device(sim);
  if (!device) return Unexpected(device.error());
  if (auto loaded = (*device)->load(manifest->source_name, manifest->source); !loaded)
    return Unexpected(loaded.error());
  return std::make_unique<metal::MslBackend>(spec.text(), std::move(*manifest), std::move(*device));
}

}  // namespace attest
