// cpu:split: every row's keys cut into chunks, each with its own maximum, sum and output; a merge joins them
// (flash-decoding). Chunks run on different threads, the merge on the caller's.
#pragma once

#include "backends/cpu/vec.h"

namespace attest::cpu {

// Rows are taken in batches whose partial outputs fit here.
inline constexpr std::int64_t kPartialFloats = std::int64_t{1} << 20;

// partial[0..chunks) -> row: everything rescaled to the common maximum. Chunks without a visible key have no part.
template <class Policy>
void merge_chunks(const KernelCall& call, const RowPlace& at, const OnlineRow* partial, std::int64_t chunks,
                  OnlineRow& row) {
  begin_row<Policy>(call, row);
  for (std::int64_t c = 0; c < chunks; ++c) {
    if (!Policy::skips_chunk(partial[c].visible)) row.max = Policy::next_max(row.max, partial[c].max);
  }
  for (std::int64_t c = 0; c < chunks; ++c) {
    row.visible += partial[c].visible;
    if (Policy::skips_chunk(partial[c].visible)) continue;
    const float factor = Policy::exp(call.simd, partial[c].max - Policy::reference(row.max));
    row.sum += partial[c].sum * Policy::merge_sum(factor, at, c);
    call.simd.axpy_f32(Policy::merge_acc(factor, at, c), reinterpret_cast<const std::byte*>(partial[c].acc), row.acc,
                       call.problem.d_v);
  }
}

template <class Policy>
double split_kernel(const KernelCall& call) {
  const std::int64_t d_v = call.problem.d_v, chunks = split_chunks(call.threads), rows = call.rows();
  const std::int64_t pitch = Scratch::padded(d_v);
  const std::int64_t batch = std::clamp<std::int64_t>(kPartialFloats / (chunks * pitch), 1, rows);
  for (int worker = 0; worker < call.threads; ++worker) call.worker_scratch(worker).reserve(vec_scratch_floats(call));
  call.shared_scratch().reserve(batch * chunks * pitch + pitch);
  float* merged = call.shared_scratch().floats(d_v);
  float* outputs = call.shared_scratch().floats(batch * chunks * pitch);
  std::vector<OnlineRow> partial(static_cast<std::size_t>(batch * chunks));

  double cpu_seconds = 0;
  for (std::int64_t first = 0; first < rows; first += batch) {
    const std::int64_t count = std::min(batch, rows - first);
    cpu_seconds += parallel_for(call.threads, count * chunks, [&](std::int64_t task, int worker) {
      const VecScratch scratch(call, call.worker_scratch(worker));
      const RowPlace at = call.row(first + task / chunks);
      const float* q = call.q.read(call.in.q.row(at.query, at.head, at.seq), scratch.q);
      OnlineRow& row = partial[static_cast<std::size_t>(task)];
      row.acc = outputs + task * pitch;
      begin_row<Policy>(call, row);
      absorb_keys<Policy>(call, at, Policy::chunk(Policy::keys(call.problem, at), task % chunks, chunks), q, scratch,
                          row);
      Policy::end_chunk(call, at, row);
    });
    cpu_seconds += parallel_for(1, count, [&](std::int64_t index, int) {
      const RowPlace at = call.row(first + index);
      OnlineRow row;
      row.acc = merged;
      merge_chunks<Policy>(call, at, &partial[static_cast<std::size_t>(index * chunks)], chunks, row);
      finish_row<Policy>(call, at, row);
    });
  }
  return cpu_seconds;
}

}  // namespace attest::cpu
