// Which output rows are judged when not all can be: a seeded choice that covers the edges where kernels go wrong.
#pragma once

#include <cstdint>
#include <vector>

#include "cases/problem.h"
#include "oracles/oracle.h"

namespace attest {

// At most `count` distinct rows, sorted by (seq, head, query); all of them if count >= n_seq n_head n_q. A third are
// edges (first and last query, queries around multiples of 32 and 64, first and last head of a KV group, first and
// last sequence), the rest uniform. A pure function of its arguments.
std::vector<Row> choose_rows(const AttentionProblem& problem, std::int64_t count, std::uint64_t seed);

// A seeded choice of `count` out of `rows` (all if there are no more), in the order of `rows`.
std::vector<Row> sample_rows(const std::vector<Row>& rows, std::int64_t count, std::uint64_t seed);

// 2 n_kv (d_k + d_v): what one row costs.
double row_flop(const AttentionProblem& problem);

}  // namespace attest
