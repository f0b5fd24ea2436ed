// Barriers and atomics of MSL.
#pragma once

#include "backends/metal/sim/msl/vec_ops.h"

namespace metal {

enum class mem_flags : unsigned {
  mem_none = attest::msl::kMemNone,
  mem_device = attest::msl::kMemDevice,
  mem_threadgroup = attest::msl::kMemThreadgroup,
  mem_texture = attest::msl::kMemTexture,
  mem_device_and_threadgroup = attest::msl::kMemDevice | attest::msl::kMemThreadgroup,
};
constexpr mem_flags operator|(mem_flags a, mem_flags b) {
  return static_cast<mem_flags>(static_cast<unsigned>(a) | static_cast<unsigned>(b));
}

// Opaque to the compiler: what other threads wrote meanwhile is read anew.
MSL_INLINE void threadgroup_barrier(mem_flags flags, MSL_LINE) {
  msl::g_runtime->barrier(attest::msl::kThreadgroupBarrier, static_cast<unsigned>(flags), line);
}
MSL_INLINE void simdgroup_barrier(mem_flags flags, MSL_LINE) {
  msl::g_runtime->barrier(attest::msl::kSimdgroupBarrier, static_cast<unsigned>(flags), line);
}

enum memory_order { memory_order_relaxed };

template <class T>
struct atomic {
  T value;
};
typedef atomic<int> atomic_int;
typedef atomic<uint> atomic_uint;
typedef atomic<bool> atomic_bool;
typedef atomic<float> atomic_float;

template <class T>
MSL_INLINE void atomic_store_explicit(volatile atomic<T>* a, as_is_t<T> v, memory_order) {
  __atomic_store(&a->value, &v, __ATOMIC_RELAXED);
}
template <class T>
MSL_INLINE T atomic_load_explicit(const volatile atomic<T>* a, memory_order) {
  T v;
  __atomic_load(&a->value, &v, __ATOMIC_RELAXED);
  return v;
}
template <class T>
MSL_INLINE T atomic_exchange_explicit(volatile atomic<T>* a, as_is_t<T> v, memory_order) {
  T before;
  __atomic_exchange(&a->value, &v, &before, __ATOMIC_RELAXED);
  return before;
}
template <class T>
MSL_INLINE bool atomic_compare_exchange_weak_explicit(volatile atomic<T>* a, T* expected, as_is_t<T> v, memory_order,
                                                      memory_order) {
  return __atomic_compare_exchange(&a->value, expected, &v, true, __ATOMIC_RELAXED, __ATOMIC_RELAXED);
}

#define MSL_FETCH(name, ...)                                                                              \
  template <class T>                                                                                      \
  MSL_INLINE T atomic_fetch_##name##_explicit(volatile atomic<T>* at, as_is_t<T> b, memory_order order) { \
    T a = atomic_load_explicit(at, order);                                                                \
    while (!atomic_compare_exchange_weak_explicit(at, &a, static_cast<T>(__VA_ARGS__), order, order)) {   \
    }                                                                                                     \
    return a;                                                                                             \
  }
MSL_FETCH(add, a + b)
MSL_FETCH(sub, a - b)
MSL_FETCH(min, b < a ? b : a)
MSL_FETCH(max, a < b ? b : a)
MSL_FETCH(and, a& b)
MSL_FETCH(or, a | b)
MSL_FETCH(xor, a ^ b)

}  // namespace metal
