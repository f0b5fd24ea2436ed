// Online softmax of one row in fp64 with one step of it taken wrongly: rescales, merges, maxima, cut-offs.
#pragma once

#include <cstdint>
#include <vector>

#include "oracles/row_terms.h"

namespace attest {

struct OnlineFault {
  std::int64_t tile = 1, chunks = 1;
  int rescale_acc = 1, rescale_sum = 1;     // how often each is done: 0, 1, 2
  bool merge_acc = true, merge_sum = true;  // rescaled when chunks are merged
  bool normalised_merge = false;            // chunk outputs are divided by their sums and averaged by weight alone
  bool sink_per_chunk = false;              // every chunk adds the sink to its own sum
  std::int64_t merged_chunks = 0;           // only so many are merged; 0: all
  std::int64_t missed_every = 0;            // no rescale where a step starts at a multiple of this
  double initial_max = 0;                   // with has_initial_max
  bool has_initial_max = false;
  Narrow max = Narrow::wide;  // maximum as stored; rescale factors use the exact one
  double flush_factor = 0;    // smaller rescale factors count as 0
  double drop = 0;            // weights below this part of the largest so far are left out of PV
  bool drop_whole = false;    // and of the row sum
  double least_weight = 0;    // no weight is smaller
};

// `z` [n_kv]: logits, -infinity where hidden. [d_v].
std::vector<double> online_row(const RowTerms& terms, const std::vector<double>& z, const OnlineFault& fault);

}  // namespace attest
