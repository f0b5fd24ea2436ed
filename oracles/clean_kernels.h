// The clean kernels of the budget's tests: every arithmetic a contract can state, with the contract that states it.
#pragma once

#include <vector>

#include "oracles/simulated_kernel.h"

namespace attest {

inline std::vector<SimulatedKernel> clean_kernels() {
  std::vector<SimulatedKernel> all;
  const auto add = [&](std::string name, auto&& describe) {
    SimulatedKernel k;
    k.name = std::move(name);
    describe(k);
    all.push_back(std::move(k));
  };
  const auto f16_acc = [](SimulatedKernel& k) {
    k.round_acc = to_f16;
    k.contract.u_acc = kUnitF16;
    k.contract.omega_acc = 0x1p-25;
  };
  add("f32 online", [](SimulatedKernel&) {});
  add("f32 online, 16 lanes, sink first", [](SimulatedKernel& k) {
    k.lanes = 16;
    k.sink_first = true;
  });
  add("f32 tiles of 64", [](SimulatedKernel& k) {
    k.contract.tile = 64;
    k.lanes = 8;
    k.tile_product = true;
  });
  add("f32 split in 8", [](SimulatedKernel& k) { k.contract.chunks = 8; });
  add("f32 split in 3, tiles of 32", [](SimulatedKernel& k) {
    k.contract.chunks = 3;
    k.contract.tile = 32;
    k.tile_product = true;
  });
  add("f32 lazy rescale", [](SimulatedKernel& k) { k.contract.lazy_rescale = true; });
  add("f32 approximate exp", [](SimulatedKernel& k) { k.exp_error = 0x1p-23F; });
  add("f32 products rounded", [](SimulatedKernel& k) { k.contract.products_rounded = true; });
  add("f32 truncating", [](SimulatedKernel& k) {
    k.truncate = true;
    k.contract.truncating = true;
    k.contract.tile = 64;
  });
  add("f32 order unknown", [](SimulatedKernel& k) {
    k.descending = true;
    k.contract.tile = 16;
    k.contract.order = SumOrder::unknown;
  });
  add("f16 accumulator", f16_acc);
  add("f16 accumulator, order unknown", [&](SimulatedKernel& k) {
    f16_acc(k);
    k.descending = true;
    k.contract.order = SumOrder::unknown;
  });
  add("f16 accumulator, products rounded, split in 4", [&](SimulatedKernel& k) {
    f16_acc(k);
    k.contract.products_rounded = true;
    k.contract.chunks = 4;
  });
  add("Q as f16, emulated, f16 accumulator", [&](SimulatedKernel& k) {
    f16_acc(k);
    k.contract.q_rounding = QRounding::f16;
  });
  add("Q as q8_0, emulated", [](SimulatedKernel& k) { k.contract.q_rounding = QRounding::q8_0; });
  add("Q as f16, not emulated", [](SimulatedKernel& k) {
    k.round_q = to_f16;
    k.contract.u_q = kUnitF16;
  });
  add("P as f16", [](SimulatedKernel& k) {
    k.round_p = to_f16;
    k.contract.u_p = kUnitF16;
    k.contract.omega = 0x1p-25;
    k.contract.tile = 64;
  });
  add("P as bf16", [](SimulatedKernel& k) {
    k.round_p = to_bf16;
    k.contract.u_p = kUnitBf16;
    k.contract.tile = 64;
  });
  add("S stored as f16", [](SimulatedKernel& k) {
    k.round_s = to_f16;
    k.contract.u_s = kUnitF16;
  });
  add("masked score stored as f16", [](SimulatedKernel& k) {
    k.round_z = to_f16;
    k.contract.u_z = kUnitF16;
  });
  add("output stored as f16", [](SimulatedKernel& k) {
    k.round_out = to_f16;
    k.contract.u_out = kUnitF16;
    k.contract.omega_out = 0x1p-25;
  });
  for (SimulatedKernel& k : all) k.contract.set_path("simulated");
  return all;
}

}  // namespace attest
