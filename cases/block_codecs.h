// Row loops behind decode_row and encode_row, compiled per instruction set; every set gives the same bits.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "cases/dtype.h"

namespace attest {

// Loops of one instruction set over n elements, n a multiple of the block.
struct RowCodec {
  const char* instruction_set;
  void (*decode)(DType type, const std::byte* src, float* dst, std::int64_t n);
  void (*encode)(DType type, const float* src, std::byte* dst, std::int64_t n);
};

// The best one for this machine.
const RowCodec& row_codec();
// All that this machine can run, best first: for tests and benchmarks.
std::vector<RowCodec> all_row_codecs();

}  // namespace attest
