// What ggml's code paths promise: which path a problem takes on a device, and its arithmetic.
#pragma once

#include <string>

#include "backends/ggml/loader.h"
#include "cases/contract.h"
#include "cases/problem.h"

namespace attest::ggml {

enum class Form : std::uint8_t { fused, ref, unfused };

// How one CPU backend file computes; follows from its release, its name and its feature list.
struct CpuArithmetic {
  int f32_lanes = 1;      // floats per SIMD register; 1: built without SIMD
  bool f16_math = false;  // halves are multiplied and added as halves (Arm FP16, AVX512-FP16)
  bool fma = false;
  bool split = false;           // has the split-KV path
  bool tiled = false;           // has the tiled path
  bool tiled_rounds_q = false;  // its first releases rounded Q there too
};
CpuArithmetic cpu_arithmetic(const Library& library, const FoundDevice& device);

// `threads`: what the graph will be computed with.
ArithmeticContract cpu_contract(const AttentionProblem& problem, const CpuArithmetic& cpu, Form form, int threads);
// Any other device: kernels we cannot see, so the loosest arithmetic in use on GPUs.
ArithmeticContract device_contract(const AttentionProblem& problem, Form form);

// soft_max_ext and set_rows: f32 throughout; a device's exp may be a fast one.
ArithmeticContract row_op_contract(const AttentionProblem& problem, bool cpu);

}  // namespace attest::ggml
