// Rows of the additive mask and what they hide, from the mask terms of a problem.
#pragma once

#include <cstdint>
#include <vector>

#include "cases/problem.h"

namespace attest {

// Keys [first, end); empty when end <= first.
struct KeyRange {
  std::int64_t first = 0, end = 0;
  std::int64_t size() const { return end > first ? end - first : 0; }
};

// The mask of one problem and seed. Plane (h, s) is h < 1 | n_head, s < 1 | n_seq; p = h + heads * s and
// shift = p mod 8 make every plane differ where a term allows it:
//   causal, causal_top_left, window   the diagonal limit = i + n_kv - n_q (i) moves back by shift, not below key 0
//   used                              shift keys fewer, but not less than 1
//   left                              shift keys more hidden, but not all
//   document                          document borders move back by shift keys
//   dead                              the dead rows move by p, cyclically
//   finite-rows                       the rows move by p, cyclically
//   blocks, random, finite-blocks,    seeded per plane
//   ggml
//   zeros, finite, finite-left        the same in every plane
class MaskRows {
 public:
  MaskRows(const AttentionProblem& problem, std::uint64_t seed);

  std::int64_t head_planes() const { return head_planes_; }
  std::int64_t seq_planes() const { return seq_planes_; }

  // Mask of query i as n_kv values: -inf where any term hides the key, else the sum of the terms. Finite sums are
  // kept within the type's largest values and, for an f16 mask, rounded to f16: a bias never turns into hiding.
  void row(std::int64_t i, std::int64_t h, std::int64_t s, float* values) const;

  // Per key: is it visible to any query of plane (h, s)? n_kv bytes, 0 or 1.
  std::vector<std::uint8_t> visible_keys(std::int64_t h, std::int64_t s) const;

 private:
  // A rectangle of the ggml term; a later one overwrites an earlier one.
  struct Block {
    std::int64_t key, query, plane;
    bool hidden;
  };
  void draw_ggml_blocks();
  // What a term adds to every key; true when it needs rounding to f16.
  bool bias_row(const MaskTerm& term, std::int64_t i, std::int64_t plane, float* values) const;
  bool in_finite_block(std::int64_t i, std::int64_t j, std::int64_t plane) const;
  void hide_seeded_blocks(const MaskTerm& term, std::int64_t i, std::int64_t plane, float* values) const;
  void ggml_row(std::int64_t i, std::int64_t plane, float* values) const;

  const AttentionProblem* problem_;
  std::uint64_t seed_;
  std::int64_t head_planes_, seq_planes_;
  bool has_values_ = false;  // some term adds something finite
  std::vector<Block> ggml_blocks_;
};

// Keys that the terms with an edge (causal, window, used, left, document) leave to query i in plane p; all keys
// without such a term. Other terms may hide some of them.
KeyRange visible_range(const AttentionProblem& problem, std::int64_t i, std::int64_t plane);

// Keys that used, left and n_kv leave to plane 0, whatever the query.
KeyRange used_range(const AttentionProblem& problem);

}  // namespace attest
