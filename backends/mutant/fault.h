// How a deliberate fault gets into the production kernels: as their policy, as other primitives, or around the call.
#pragma once

#include <map>
#include <vector>

#include "backends/cpu/split.h"
#include "backends/cpu/tiled.h"
#include "backends/cpu/vec.h"

namespace attest::mutant {

// What one backend keeps from call to call: production kernels keep nothing that later calls can notice.
struct Memory {
  std::int64_t calls = 0;
  std::map<std::int64_t, AttentionProblem> first;  // the first problem seen, by whatever a faulty cache is keyed with
  std::vector<float> floats, more_floats;
};

// A call as the kernel will get it; before() may change anything but the memory behind the views.
struct Call {
  AttentionProblem problem;
  AttentionInputs in;
  MutableTensorView out;   // where the kernel writes
  MutableTensorView held;  // where it should have: set by hold_output()
  cpu::Primitives simd;
  int threads;
  Memory& memory;

  // The same Q, V or sinks in memory that may be changed: packed, f32, good until the next call.
  float* own_q();
  float* own_sinks();
  // Sends the output to memory.floats, [d_v, n_head, n_q, n_seq] packed.
  void hold_output();
};

// A fault is a policy of the kernels that may also change the call before, and its traces after.
struct Fault : cpu::Production {
  static void before(Call&) {}
  static void after(Call&) {}
};
// Faults that need no policy of their own run on the production kernels as they are.
struct OutsideFault : Fault {};

enum class Path : std::uint8_t { vec, split, tiled, plain };

template <class F, Path path>
double kernel_with(const cpu::KernelCall& call) {
  if constexpr (std::is_base_of_v<OutsideFault, F>) {
    if constexpr (path == Path::vec) return cpu::run_vec(call);
    if constexpr (path == Path::split) return cpu::run_split(call);
    if constexpr (path == Path::tiled) return cpu::run_tiled(call);
  } else {
    if constexpr (path == Path::vec) return cpu::vec_kernel<F>(call);
    if constexpr (path == Path::split) return cpu::split_kernel<F>(call);
    if constexpr (path == Path::tiled) return cpu::tiled_kernel<F>(call);
  }
}

// Returns the CPU seconds of all threads.
double run_call(Call& call, cpu::Scratches& scratch, double (*kernel)(const cpu::KernelCall&));

template <class F, Path path>
double run_fault(Call& call, cpu::Scratches& scratch) {
  F::before(call);
  const double seconds = run_call(call, scratch, kernel_with<F, path>);
  F::after(call);
  ++call.memory.calls;
  return seconds;
}

// Defines what the tables in mutants.def and variants.def name. A fault on another path than its row says does not
// link.
#define ATTEST_RUN(path, Name) \
  double path##_##Name(Call& call, cpu::Scratches& scratch) { return run_fault<Name, Path::path>(call, scratch); }

// x rounded to that type, to nearest even.
inline float as_f16(float x) { return f16_to_f32(f32_to_f16(x)); }
inline float as_bf16(float x) { return bf16_to_f32(f32_to_bf16(x)); }

}  // namespace attest::mutant
