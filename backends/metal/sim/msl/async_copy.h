// simdgroup_event: copies between device and threadgroup memory that a simdgroup starts and waits for. Here they
// happen when they are waited for, so that what is read without a wait is not there yet.
#pragma once

#include "backends/metal/sim/msl/sync.h"

namespace metal {

enum class simdgroup_async_copy_clamp_mode { clamp_to_zero = 0, clamp_to_edge = 1 };

struct simdgroup_event {
  MSL_INLINE simdgroup_event() {}

  template <class T>
  MSL_INLINE void async_copy(T* to, const as_is_t<T>* from, ulong n) {
    pending_ = {to, from, n, n, 1, n, 1, n, false, &copy<T>};
  }
  // Rows of `to_size` elements of a tile; what lies outside `from_size` becomes 0, or the nearest element.
  template <class T>
  MSL_INLINE void async_copy(
      T* to, ushort to_elements_per_row, ushort2 to_size, const as_is_t<T>* from, uint from_elements_per_row,
      ushort2 from_size, bool transpose_matrix = false,
      simdgroup_async_copy_clamp_mode clamp_mode = simdgroup_async_copy_clamp_mode::clamp_to_zero) {
    if (transpose_matrix) {
      to_size = to_size.yx;
      from_size = from_size.yx;
    }
    pending_ = {to,          from,        to_elements_per_row,
                to_size.x,   to_size.y,   from_elements_per_row,
                from_size.y, from_size.x, clamp_mode == simdgroup_async_copy_clamp_mode::clamp_to_edge,
                &copy<T>};
  }

  static MSL_INLINE void wait(int count, simdgroup_event* events, MSL_LINE) {
    constexpr auto memory = mem_flags::mem_device_and_threadgroup;
    simdgroup_barrier(memory, line);
    for (int i = 0; i < count; ++i) {
      Copy& c = events[i].pending_;
      if (c.run != nullptr) c.run(c);
      c.run = nullptr;
    }
    simdgroup_barrier(memory, line);
  }

 private:
  struct Copy {
    void* to;
    const void* from;
    ulong to_per_row, columns, rows, from_per_row, from_rows, from_columns;
    bool to_edge;
    void (*run)(const Copy&);
  };
  template <class T>
  static void copy(const Copy& c) {
    for (ulong i = msl::self().lane; i < c.rows * c.columns; i += attest::msl::kSimdWidth) {
      ulong row = i / c.columns, column = i % c.columns;
      T& to = static_cast<T*>(c.to)[row * c.to_per_row + column];
      const bool inside = row < c.from_rows && column < c.from_columns;
      row = row < c.from_rows ? row : c.from_rows - 1;
      column = column < c.from_columns ? column : c.from_columns - 1;
      to = inside || c.to_edge ? static_cast<const T*>(c.from)[row * c.from_per_row + column] : T(0);
    }
  }
  Copy pending_ = {};
};

}  // namespace metal
