// What a correct set_rows may store for a row: exact bits for f32, f16 and bf16, a bound of the error for block types.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "cases/dtype.h"

namespace attest {

// Half of the type nearest to x, ties to even, worked out in exact arithmetic: the check on dtype.h's bit tricks. Above
// the largest value plus half a step: infinity. NaN gives NaN.
std::uint16_t nearest_half(DType type, float x);

// Per element of a block of 32 finite values, how far a stored value may lie from it:
//   q8_0        d = amax / 127: d/2
//   q4_0, q5_0  the step is amax/8 or amax/7 (amax/16, amax/15), as the sign of the largest value is used or not: half
//   of
//               the larger; a value on the other side beyond the last code (7 of -8 .. 7): its distance from that code
//   q4_1, q5_1  d = (max - min) / 15 (31): d/2
// and for the scale's, and minimum's, own rounding to f16 2^-11 of what they contribute (2^-25 each at least), and
// 2^-20 amax for the quotient in f32. Ties between two codes are free. Empty: no rule, because a value is not finite or
// the scale leaves f16: any content.
std::vector<double> stored_bounds(DType type, std::span<const float> block);

}  // namespace attest
