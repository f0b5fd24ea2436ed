#include "backends/ggml/contract.h"

#include <cmath>

#if defined(__x86_64__)
#include <cpuid.h>
#endif

namespace attest::ggml {
namespace {

constexpr std::int64_t kTile = 64;          // rows of a query tile and keys of a KV tile
constexpr std::int64_t kSplitFromKv = 512;  // keys from which a single query is split over the threads
constexpr double kFloorF16 = 0x1p-25;

bool host_has_avx512_fp16() {
#if defined(__x86_64__)
  unsigned a = 0, b = 0, c = 0, d = 0;
  return __get_cpuid_count(7, 0, &a, &b, &c, &d) != 0 && (d >> 23 & 1U) != 0;
#else
  return false;
#endif
}

// Q is rounded to the type that K's dot product takes as its other operand.
QRounding rounding_for(DType k) {
  switch (k) {
    case DType::f32:
      return QRounding::none;
    case DType::f16:
      return QRounding::f16;
    case DType::bf16:
      return QRounding::bf16;
    case DType::q4_1:
    case DType::q5_1:
      return QRounding::q8_1;
    default:
      return QRounding::q8_0;
  }
}

// Accumulation of q.k. Integer dots are exact in a block and summed over blocks in f32. What q8_1 does beside rounding
// Q (its block sum is a half of its own) is part of QRounding::q8_1.
double dot_unit(const AttentionProblem& p, const CpuArithmetic& cpu) {
  return p.k_type == DType::f16 && cpu.f16_math ? kUnitF16 : kUnitF32;
}

void vec(ArithmeticContract& c, const AttentionProblem& p, const CpuArithmetic& cpu) {
  c.q_rounding = rounding_for(p.k_type);
  c.u_qk = dot_unit(p, cpu);
  c.products_rounded = !cpu.fma;
  if (p.v_type != DType::f16) return;
  // The output is kept in halves: one rounding per key, one more at every new maximum.
  c.u_acc = kUnitF16;
  c.omega_acc = kFloorF16;
  c.honours_prec_f32 = false;
  if (cpu.f16_math) {
    // The weight, and the factor of a rescale, are rounded to a half first.
    c.u_p = kUnitF16;
    c.omega = kFloorF16;
    c.u_acc = 2 * kUnitF16;
  } else {
    c.products_rounded = false;  // p*v is formed in f32, then the sum is rounded to a half
  }
}

void unfused(ArithmeticContract& c, const AttentionProblem& p, const CpuArithmetic& cpu) {
  c.set_path("unfused");
  c.q_rounding = rounding_for(p.k_type);
  c.u_qk = dot_unit(p, cpu);
  c.u_s = kUnitF32;
  c.u_z = kUnitF32;
  c.order = SumOrder::unknown;
  c.products_rounded = !cpu.fma;
  c.tile = p.n_kv < 1 ? 1 : p.n_kv;  // the whole row is there before its maximum is taken
  // P goes into the second product as V's operand type; quantised V is made f32 first.
  c.p_normalised = true;
  c.u_p = kUnitF32;
  if (p.v_type == DType::f16) {
    c.u_p = kUnitF16;
    c.omega = kFloorF16;
    if (cpu.f16_math) {
      c.u_acc = kUnitF16;
      c.omega_acc = kFloorF16;
    }
    c.honours_prec_f32 = false;
  } else if (p.v_type == DType::bf16) {
    c.u_p = kUnitBf16;
    c.honours_prec_f32 = false;
  }
}

}  // namespace

CpuArithmetic cpu_arithmetic(const Library& library, const FoundDevice& device) {
  CpuArithmetic cpu;
  if (device.has_feature("AVX512")) {
    cpu.f32_lanes = 16;
  } else if (device.has_feature("AVX") || device.has_feature("SVE")) {
    cpu.f32_lanes = 8;
  } else if (device.has_feature("SSE3") || device.has_feature("NEON")) {
    cpu.f32_lanes = 4;
  }
  for (const auto& [name, value] : device.features) {
    if (name == "SVE_CNT" && std::atoi(value.c_str()) > 0) cpu.f32_lanes = std::atoi(value.c_str()) / 4;
  }
  cpu.fma = device.has_feature("FMA") || device.has_feature("ARM_FMA");
  // AVX512-FP16 is not in the feature list: by the variant's name, else as the compiler saw this machine.
  const bool native = device.variant.empty() && host_has_avx512_fp16();
  cpu.f16_math =
      device.has_feature("FP16_VA") || device.variant == "sapphirerapids" || (native && device.has_feature("AVX512"));
  // Split-KV and the switch to the reference came in one commit, nine days after the tiled path (ggml 0.9.6).
  cpu.split = cpu.tiled = device.set_use_ref != nullptr;
  cpu.tiled_rounds_q = cpu.tiled && !library.at_least(0, 9, 7);
  return cpu;
}

ArithmeticContract cpu_contract(const AttentionProblem& p, const CpuArithmetic& cpu, Form form, int threads) {
  ArithmeticContract c;
  if (form == Form::unfused) {
    unfused(c, p, cpu);
    return c;
  }
  const bool plain = p.k_type == p.v_type && (p.k_type == DType::f16 || p.k_type == DType::f32);
  if (form == Form::fused && cpu.split && plain && p.n_q == 1 && p.n_seq == 1 && p.n_kv >= kSplitFromKv) {
    vec(c, p, cpu);
    c.set_path("split");
    c.chunks = threads;
    return c;
  }
  if (form == Form::fused && cpu.tiled && plain && p.n_q >= kTile && p.d_v % cpu.f32_lanes == 0) {
    c.set_path("tiled");
    c.tile = kTile;
    c.products_rounded = !cpu.fma;
    if (cpu.tiled_rounds_q) {
      c.q_rounding = rounding_for(p.k_type);
      c.u_qk = dot_unit(p, cpu);
    }
    return c;
  }
  vec(c, p, cpu);
  c.set_path(form == Form::ref ? "ref" : "vec");
  return c;
}

ArithmeticContract device_contract(const AttentionProblem& p, Form form) {
  ArithmeticContract c;
  const bool f32_asked = p.prec == Precision::f32;
  c.set_path(form == Form::unfused ? "device unfused" : "device");
  c.order = SumOrder::unknown;
  c.products_rounded = true;
  c.tile = 32;
  c.u_q = c.u_p = kUnitF16;
  c.omega = kFloorF16;
  if (f32_asked) return c;
  c.u_qk = c.u_s = c.u_acc = kUnitF16;
  c.omega_acc = kFloorF16;
  return c;
}

ArithmeticContract row_op_contract(const AttentionProblem& p, bool cpu) {
  ArithmeticContract c;
  c.set_path(info(p.op).name);
  c.order = SumOrder::unknown;
  c.tile = p.n_kv < 1 ? 1 : p.n_kv;  // the maximum first, then the weights
  if (!cpu) c.eps_exp = 0x1p-20;
  return c;
}

}  // namespace attest::ggml
