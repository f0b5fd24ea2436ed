// What a kernel promises about its arithmetic for one problem; the error budget is derived from it.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>

namespace attest {

inline constexpr double kUnitF64 = 0x1p-53, kUnitF32 = 0x1p-24, kUnitF16 = 0x1p-11, kUnitBf16 = 0x1p-8;

// A documented, deterministic rounding of Q before the dot product; the oracle rounds Q the same way.
enum class QRounding : std::uint8_t { none, f16, bf16, q8_0, q8_1 };

// Order in which a kernel adds up keys.
enum class SumOrder : std::uint8_t { ascending, unknown };

// Unit roundoffs and relative errors as in error-budget.md ("Setting"). Trivially copyable: travels between processes.
struct ArithmeticContract {
  std::array<char, 32> path{};  // which code path, e.g. "vec", "tiled"; zero-terminated, for people and records
  QRounding q_rounding = QRounding::none;
  double u_q = 0;               // Q rounded before the dot, where it is not emulated
  double u_qk = kUnitF32;       // dot accumulation
  double u_s = 0;               // raw score stored
  double u_z = 0;               // score stored after softcap and mask
  double u_m = kUnitF32;        // slope, or its product with the mask
  double eps_tanh = 0x1p-22;    // relative error of tanh
  double eps_exp = 0x1p-22;     // relative error of exp
  double u_p = 0;               // P rounded before PV
  double drop = 0;              // P below this part of the largest so far is left out of PV, not of the row sum
  double omega = 0x1p-126;      // absolute floor of P (2^-25 for f16)
  double u_acc = kUnitF32;      // PV accumulator
  double omega_acc = 0;         // absolute floor of the accumulator (2^-25 for f16)
  double u_l = kUnitF32;        // row sum
  double u_out = kUnitF32;      // output store
  double omega_out = 0x1p-149;  // absolute floor of the output (2^-25 for f16)
  std::int64_t tile = 1;        // keys per online-softmax step: at most one rescale per tile
  std::int64_t chunks = 1;      // split-KV: number of KV chunks (1: not split), chunk = ceil(n_kv / chunks) keys
  SumOrder order = SumOrder::ascending;
  bool products_rounded = false;     // p*v rounded before it is added (no FMA)
  bool p_normalised = false;         // P is divided by the row sum before it is stored: its floor is not scaled by 1/l
  bool truncating = false;           // accumulators truncate: only B_det applies
  bool lazy_rescale = false;         // the accumulator may run up to 2^8 ahead of the running maximum
  bool needs_finite_hidden = false;  // hidden keys must hold finite bytes (what would be STALE is UNSUPPORTED then)
  bool honours_prec_f32 = true;      // false: prec=f32 is asked for and answered by narrower accumulators

  void set_path(std::string_view name) {
    path.fill(0);
    for (std::size_t i = 0; i < name.size() && i + 1 < path.size(); ++i) path[i] = name[i];
  }
  std::string_view path_name() const { return path.data(); }
};

}  // namespace attest
