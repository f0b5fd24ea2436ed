#include "backends/metal/sim/sim_device.h"

#include <fmt/format.h>
#include <sys/mman.h>

#include <algorithm>
#include <charconv>
#include <cstring>
#include <ctime>
#include <deque>
#include <mutex>
#include <new>

#include "backends/guarded_memory.h"
#include "backends/metal/sim/module.h"
#include "backends/metal/sim/toolchain.h"

namespace attest::metal {
namespace {

double thread_seconds() {
  timespec t{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
  return static_cast<double>(t.tv_sec) + 1e-9 * static_cast<double>(t.tv_nsec);
}

// Compiled kernels keep their function constants in globals: one dispatch at a time.
std::mutex& running() {
  static std::mutex mutex;
  return mutex;
}

// What an argument that is not given points at: readable, not writable, NaN.
void* absent_page() {
  static void* page = [] {
    constexpr std::size_t bytes = 64 << 10;
    void* p = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED) throw std::bad_alloc();
    std::fill_n(static_cast<unsigned char*>(p), bytes, static_cast<unsigned char>(0xff));
    mprotect(p, bytes, PROT_READ);
    return p;
  }();
  return page;
}

struct Bound {
  msl::Binding binding = msl::Binding::pointer;
  bool threadgroup = false;
  int index = 0;
};

Bound bound(std::string_view word) {
  static constexpr std::string_view kNames[] = {"",
                                                "thread_position_in_grid",
                                                "thread_position_in_threadgroup",
                                                "thread_index_in_threadgroup",
                                                "thread_index_in_simdgroup",
                                                "thread_index_in_quadgroup",
                                                "simdgroup_index_in_threadgroup",
                                                "quadgroup_index_in_threadgroup",
                                                "simdgroups_per_threadgroup",
                                                "threads_per_simdgroup",
                                                "threadgroup_position_in_grid",
                                                "threadgroups_per_grid",
                                                "threads_per_threadgroup",
                                                "threads_per_grid"};
  Bound b;
  const auto open = word.find('(');
  if (open != std::string_view::npos) {
    b.threadgroup = word.starts_with("threadgroup");
    std::from_chars(word.data() + open + 1, word.data() + word.size(), b.index);
    return b;
  }
  for (std::size_t i = 1; i < std::size(kNames); ++i) {
    if (word == kNames[i]) b.binding = static_cast<msl::Binding>(i);
  }
  return b;
}

class SimDevice final : public Device {
 public:
  SimDevice(Toolchain toolchain, const SimOptions& options) : toolchain_(std::move(toolchain)), options_(options) {}

  std::string build_id() const override {
    return fmt::format("clang {}{}", toolchain_.version, toolchain_.bfloat ? "" : " without bf16");
  }

  Expected<void> load(std::string_view name, std::string_view source) override {
    const auto telling = options_.model == ExecutionModel::tsan       ? Telling::accesses
                         : options_.model == ExecutionModel::lockstep ? Telling::steps
                                                                      : Telling::nothing;
    const auto object = compile_msl(toolchain_, name, source, telling);
    if (!object) return Unexpected(object.error());
    auto loaded = LoadedModule::open(*object);
    if (!loaded) return Unexpected(loaded.error());
    modules_.push_back(std::move(*loaded));
    return {};
  }

  Expected<DispatchResult> run(const std::vector<Dispatch>& dispatches) override {
    const std::scoped_lock lock(running());
    DispatchResult result;
    const double start = thread_seconds();
    for (const Dispatch& d : dispatches) {
      auto findings = run_one(d);
      if (!findings) return Unexpected(findings.error());
      for (std::string& note : executor_.notes()) result.notes.push_back(std::move(note));
      if (findings->empty()) continue;
      result.findings = std::move(*findings);
      break;
    }
    result.cpu_seconds = thread_seconds() - start;
    return result;
  }

 private:
  Expected<LoadedModule*> module_with(const std::string& function) {
    Unexpected missing = input_error("no library is loaded");
    for (const auto& m : modules_) {
      const auto found = m->kernel(function);
      if (found) return m.get();
      missing = Unexpected(found.error());
    }
    return missing;
  }

  // Memory of an argument as the kernel sees it: bytes that are set lie against a guard page, and are not written.
  Expected<const std::byte*> lend(const Argument& a) {
    if (a.data != nullptr || a.copied.empty()) return a.data;
    const auto index = static_cast<std::size_t>(a.index);
    while (copies_.size() <= index) copies_.emplace_back(fmt::format("buffer({})", copies_.size()));
    const std::size_t bytes = a.copied.size(), largest = bytes & (~bytes + 1);  // power of two that divides it
    if (auto room = copies_[index].prepare(bytes, std::min<std::size_t>(largest, 16)); !room)
      return Unexpected(room.error());
    std::memcpy(copies_[index].data(), a.copied.data(), bytes);
    copies_[index].forbid_writing();
    return copies_[index].data();
  }

  Expected<std::vector<Finding>> run_one(const Dispatch& d) {
    if (auto fine = check_dispatch(d); !fine) return Unexpected(fine.error());
    const auto module = module_with(d.function);
    if (!module) return Unexpected(module.error());
    const msl::Kernel* kernel = *(*module)->kernel(d.function);
    if (auto set = (*module)->set_constants(*kernel, d.constants); !set) return Unexpected(set.error());
    Launch launch;
    launch.module = &(*module)->module();
    launch.kernel = kernel;
    launch.threadgroups = d.threadgroups;
    launch.threads = d.threads;
    launch.order = options_.order;
    launch.watch = options_.model == ExecutionModel::tsan;
    launch.in_step = options_.model == ExecutionModel::lockstep;
    launch.line_of = [m = *module](const void* pc) { return m->line_of(pc); };

    Arena& arena = executor_.arena();
    arena.clear(launch.watch);
    std::vector<std::byte*> memory;
    for (std::size_t i = 0; i < d.threadgroup_memory.size(); ++i) {
      memory.push_back(arena.add(fmt::format("threadgroup({})", i), d.threadgroup_memory[i], 16));
      if (memory.back() == nullptr) {
        return input_error(fmt::format("{}: {} bytes of threadgroup memory, Metal has {}", d.function, arena.used(),
                                       kMaxThreadgroupMemory));
      }
    }
    std::vector<msl::Binding> bindings;
    std::vector<void*> pointers;
    for (std::string_view rest = kernel->signature; !rest.empty();) {
      const std::size_t end = std::min(rest.find(';'), rest.size());
      const Bound b = bound(rest.substr(0, end));
      rest.remove_prefix(std::min(end + 1, rest.size()));
      void* at = absent_page();
      const auto index = static_cast<std::size_t>(b.index);
      if (b.threadgroup && index < memory.size()) at = memory[index];
      const unsigned needs = kernel->bytes[bindings.size()];
      for (const Argument& a : d.arguments) {
        if (b.threadgroup || a.index != b.index) continue;
        const std::size_t has = a.data != nullptr ? a.bytes : a.copied.size();
        if (has > 0 && has < needs) {
          return input_error(fmt::format("kernel '{}' takes {} bytes at buffer({}), it is given {}", d.function, needs,
                                         a.index, has));
        }
        auto data = lend(a);
        if (!data) return Unexpected(data.error());
        if (*data != nullptr) at = const_cast<std::byte*>(*data);
        if (a.data != nullptr && a.written) launch.written.push_back({fmt::format("buffer({})", a.index), a.data, a.bytes});
      }
      bindings.push_back(b.binding);
      pointers.push_back(b.binding == msl::Binding::pointer ? at : nullptr);
    }
    launch.call = {pointers.data(), bindings.data()};
    return executor_.run(launch);
  }

  Toolchain toolchain_;
  SimOptions options_;
  std::vector<std::shared_ptr<LoadedModule>> modules_;
  std::deque<GuardedMemory> copies_;  // by index of the argument
  Executor executor_;
};

}  // namespace

Expected<std::unique_ptr<Device>> make_sim_device(const SimOptions& options) {
  auto toolchain = find_toolchain();
  if (!toolchain) return Unexpected(toolchain.error());
  return std::make_unique<SimDevice>(std::move(*toolchain), options);
}

std::string sim_unavailable() {
  const auto toolchain = find_toolchain();
  if (toolchain) return {};
  return toolchain.error().message + " (" + toolchain.error().hint + ")";
}

}  // namespace attest::metal
