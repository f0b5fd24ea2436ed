#include "backends/mutant/fault.h"

#include <cstring>

namespace attest::mutant {

double run_call(Call& call, cpu::Scratches& scratch, double (*kernel)(const cpu::KernelCall&)) {
  call.in.problem = &call.problem;
  const cpu::KernelCall kernel_call(call.in, call.out, call.simd, call.threads, scratch);
  return kernel_call.rows() > 0 ? kernel(kernel_call) : 0;
}

float* Call::own_q() {
  const TensorView from = in.q;
  memory.floats.resize(static_cast<std::size_t>(from.elements()));
  in.q.data = reinterpret_cast<const std::byte*>(memory.floats.data());
  in.q.nb[0] = sizeof(float);
  for (std::size_t i = 1; i < 4; ++i) in.q.nb[i] = in.q.nb[i - 1] * in.q.ne[i - 1];
  float* to = memory.floats.data();
  for (std::int64_t i3 = 0; i3 < from.ne[3]; ++i3) {
    for (std::int64_t i2 = 0; i2 < from.ne[2]; ++i2) {
      for (std::int64_t i1 = 0; i1 < from.ne[1]; ++i1) {
        for (std::int64_t i0 = 0; i0 < from.ne[0]; ++i0) *to++ = element(from, i0, i1, i2, i3);
      }
    }
  }
  return memory.floats.data();
}

float* Call::own_sinks() {
  memory.floats.resize(static_cast<std::size_t>(problem.n_head));
  for (std::int64_t h = 0; h < problem.n_head; ++h)
    memory.floats[static_cast<std::size_t>(h)] = element(in.sinks, h, 0, 0, 0);
  in.sinks.data = reinterpret_cast<const std::byte*>(memory.floats.data());
  in.sinks.nb[0] = sizeof(float);
  return memory.floats.data();
}

void Call::hold_output() {
  memory.floats.assign(static_cast<std::size_t>(out.elements()), 0.0F);
  held = out;
  out.data = reinterpret_cast<std::byte*>(memory.floats.data());
}

}  // namespace attest::mutant
