// Flash-attention rows worked out key by key in a stated arithmetic: the clean (and the buggy) kernels of the tests.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "cases/contract.h"
#include "oracles/oracle.h"

namespace attest {

using RoundTo = float (*)(float);
float to_f32(float value);
float to_f16(float value);
float to_bf16(float value);

// Deliberate bugs, one at a time.
enum class PlantedBug { none, scale, one_element, exp_error, sink_omitted, last_key_dropped };

struct SimulatedKernel {
  std::string name;
  ArithmeticContract contract;  // what it promises, and how it goes: tile, chunks, order, lazy rescale
  RoundTo round_q = to_f32, round_s = to_f32, round_z = to_f32, round_p = to_f32, round_acc = to_f32,
          round_out = to_f32;
  int lanes = 1;              // partial sums of the dot product
  bool tile_product = false;  // P V of a tile in accumulators of its own, then added
  bool descending = false;    // tiles from the last to the first
  bool sink_first = false;
  bool truncate = false;  // PV sums are cut off instead of rounded
  float exp_error = 0;    // on top of libm: seeded relative error up to this
  PlantedBug bug = PlantedBug::none;

  std::vector<float> row(const AttentionInputs& inputs, const Row& row) const;
};

}  // namespace attest
