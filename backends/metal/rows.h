// The ops beside attention on a Metal device: soft_max_ext, and rows stored into caches (set_rows, kv_decode).
#pragma once

#include <cstdint>
#include <string>

#include "backends/backend.h"
#include "backends/metal/attention.h"
#include "backends/metal/device.h"
#include "cases/problem.h"

namespace attest::metal {

// The .metal text of these kernels, and the name its messages give.
std::string rows_library();
inline constexpr const char* kRowsLibrary = "rows.metal";

// Of soft_max_ext, set_rows and kv_decode; what rows_contract() says is of the first two.
Support rows_support(const AttentionProblem& problem);
ArithmeticContract rows_contract(const AttentionProblem& problem);

// Where rows of f32 [d, n_rows, n_head, n_seq] go: the indices of sequence s from s * bytes_per_seq on.
struct RowIndices {
  const void* data = nullptr;
  bool i32 = false;  // else 64 bits
  std::int64_t bytes_per_seq = 0;
  std::int64_t bytes = 0;  // of all
};
// Stores rows into a cache of a type that set_rows knows; rows beyond the cache are left out.
Dispatch plan_store(const TensorView& rows, const RowIndices& indices, const MutableTensorView& cache);

// Fill `work`; its dispatches point into the tensors and into `work`.
void plan_set_rows(const AttentionInputs& inputs, const MutableTensorView& out, AttentionWork& work);
void plan_soft_max(const AttentionInputs& inputs, const MutableTensorView& out, AttentionWork& work);

}  // namespace attest::metal
