// Declared roundings of Q, done the way the kernel's contract says, so that they need no room in the error budget.
#pragma once

#include <cstdint>
#include <vector>

#include "cases/contract.h"
#include "oracles/oracle.h"

namespace attest {

// What q8_1 keeps beside the codes of a block b of 32 elements of Q: s = f16(d sum(codes)), with d before its own
// rounding to f16. Kernels multiply s, not f16(d) sum(codes), by the minimum m of K's block (q4_1, q5_1).
struct SumCorrection {
  double delta = 0;  // s - f16(d) sum(codes)
  double slack = 0;  // how far delta moves if the block's ties fall the other way; 0 without ties
  double sum = 0;    // s
};

// Inputs whose Q went through the rounding a contract declares. q_rounding none: the inputs as they are. The views
// other than Q are the original ones; K's and V's memory must outlive this object. Movable, not copyable.
//
// q8_0 and q8_1: per block of 32 along d_k, d = amax / 127, codes = round half to even(x * (127 / amax)), and the
// value the dot product sees is f16(d) * code. A block with a value that is not finite becomes NaN;
// where d overflows f16 the rounded values are not finite either.
//
// q8_1 cannot be told by Q alone: beside the rounded Q the kernel's q . k_j holds the term dot_correction(row, j), at
// most 2^-11 of |m_j| |s| per block. An oracle or a budget that wants the kernel's own score adds scale * value to
// the raw score (before softcap) and gives it scale * slack of room.
class EmulatedInputs {
 public:
  // std::invalid_argument: a block rounding of a d_k that is not a multiple of 32.
  EmulatedInputs(const AttentionInputs& inputs, QRounding rounding);
  EmulatedInputs(EmulatedInputs&&) = default;
  EmulatedInputs& operator=(EmulatedInputs&&) = default;
  EmulatedInputs(const EmulatedInputs&) = delete;
  EmulatedInputs& operator=(const EmulatedInputs&) = delete;

  const AttentionInputs& inputs() const { return inputs_; }
  QRounding rounding() const { return rounding_; }

  // Per element of Q (same indexing as a contiguous [d_k, n_q, n_head, n_seq] tensor): the quantisation step if the
  // scaled value lies so near a tie that instruction sets disagree on the code, else 0. They differ in the tie rule
  // and in how they work out the inverse scale: within 5 ulp. All 0 for f16 and bf16. Empty without rounding.
  const std::vector<float>& tie_steps() const { return tie_steps_; }

  // q8_1 only, else empty: one per block, as a contiguous [d_k / 32, n_q, n_head, n_seq] tensor.
  const std::vector<SumCorrection>& sum_corrections() const { return sum_corrections_; }

  struct DotCorrection {
    double value = 0;  // sum over blocks of m_jb delta_b
    double slack = 0;  // sum over blocks of |m_jb| slack_b
    // Sums over blocks of |m_jb s_b| and its square: terms of the kernel's sum that may be far larger than the products
    // they stand for, and cancel against the codes' part.
    double size = 0, size2 = 0;
  };
  // What q8_1 adds to q . k_key of a row; zeros for other roundings and for types of K without a minimum.
  DotCorrection dot_correction(const Row& row, std::int64_t key) const;

  // The values of dot_correction() as the oracles take them: deltas beside Q, minima where they lie in K's blocks.
  // Absent where dot_correction() is 0 throughout. Valid as long as this object and K's memory.
  ScoreCorrection score_correction() const;

 private:
  void round_blocks(const float* x, std::int64_t row);

  AttentionInputs inputs_;
  QRounding rounding_;
  std::vector<float> q_;
  std::vector<float> tie_steps_;
  std::vector<SumCorrection> sum_corrections_;
  std::vector<float> deltas_;  // sum_corrections_, where K has minima
};

}  // namespace attest
