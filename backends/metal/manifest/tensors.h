// The tensors of a problem in the layouts and types a foreign kernel wants: as they lie where that fits, else packed.
#pragma once

#include <array>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "backends/backend.h"
#include "backends/guarded_memory.h"
#include "cases/error.h"
#include "cases/problem.h"

namespace attest::metal {

enum class TensorRole : std::uint8_t { q, k, v, mask, sinks, slopes, out };
inline constexpr std::array<std::string_view, 7> kTensorNames{"q", "k", "v", "mask", "sinks", "slopes", "out"};

// Names of dimensions 0 to 3 (TensorShape's order); sinks and slopes are f32 [n_head].
const std::array<std::string_view, 4>& axes_of(TensorRole role);

// What a kernel wants of one tensor.
struct TensorWish {
  TensorRole role = TensorRole::q;
  std::optional<DType> type;  // none: as stored; out: f32
  std::vector<int> order;     // dimensions, slowest first, dense; empty: as it lies, the kernel is told the strides
};
// Why it is none: a type that the tensor cannot be turned into without loss that nobody states.
std::optional<std::string> flaw_of(const TensorWish& wish);
// UNSUPPORTED where the layout has no place for a dimension of the problem, or the mask's type would be narrowed.
Support fits(const TensorWish& wish, const InputPlan& plan);

// One tensor ready for a kernel. Keep it until the kernel has run.
struct ReadyTensor {
  TensorView view;                        // as the kernel gets it; absent: no data
  std::size_t bytes = 0;                  // from the first to the last
  std::array<std::int64_t, 4> strides{};  // in elements, blocks of quantised types; 0 where absent
  bool packed = false;                    // not the caller's memory
  GuardedMemory memory;                   // of a packed one; inputs may not be written
};
// `bare` may be absent. Error (harness): no memory.
Expected<void> make_ready(const TensorWish& wish, const TensorView& bare, ReadyTensor& ready);
// The output likewise: the bytes that `out` holds before the call are those the kernel finds, where types agree.
Expected<void> make_ready(const TensorWish& wish, const MutableTensorView& out, ReadyTensor& ready);
// After the run: what was written into packed memory goes where it belongs.
void give_back(const ReadyTensor& ready, const MutableTensorView& out);

}  // namespace attest::metal
