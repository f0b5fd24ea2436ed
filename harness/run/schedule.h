// What a case costs before it has run, and what follows from it: the order of a run, deadlines, and balanced shards.
#pragma once

#include <cstddef>
#include <string_view>
#include <vector>

#include "cases/case.h"
#include "harness/run/shard.h"

namespace attest {

// Seconds of one core that a case may cost on one backend, judge and subject together: a constant, the bytes of its
// tensors, the reference (bounded: large cases are judged on a choice of rows) and the backend.
double predicted_cost(const AttentionProblem& problem);

// Slots of a run that a case holds while it runs: as many as its backends have threads, where those are what takes the
// time. With small cases most of it goes to the key and the comparison, which have one thread.
int slots_held(const AttentionProblem& problem);

// Seconds a backend may take for a case before it counts as hung, when no --timeout is given.
// `backend`: simulators have twenty times as long, and a minute for the first run, which compiles.
double default_deadline(const AttentionProblem& problem, std::string_view backend = {});

// Indices of the cases that belong to a shard, longest first; equal costs in the order of their case ids. The shards
// of a selection are disjoint, together they are the selection, and none depends on the order of `cases`. Each case
// goes to the shard with the least cost so far (longest processing time first).
std::vector<std::size_t> scheduled(const std::vector<Case>& cases, const Shard& shard = {});

}  // namespace attest
