// MSL's vector types: vec<T, N> with its alignment, constructors, swizzles and operators, and packed_vec<T, N>.
// clang's own vector extensions do not do: they lack conversions between element types and the constructors.
#pragma once

#include "backends/metal/sim/msl/scalar.h"
#include "backends/metal/sim/msl/swizzle.h"

namespace metal {

template <class T, int N>
struct vec;
template <class T, int N>
struct packed_vec;

template <class T>
inline constexpr int extent_of = 1;
template <class T, int N>
inline constexpr int extent_of<vec<T, N>> = N;
template <class T, int N>
inline constexpr int extent_of<packed_vec<T, N>> = N;

template <class T>
struct scalar_of {
  typedef T type;
};
template <class T, int N>
struct scalar_of<vec<T, N>> {
  typedef T type;
};
template <class T>
using scalar_of_t = typename scalar_of<T>::type;

template <class T, class S>
MSL_INLINE constexpr void put_components(T* to, S v) {
  if constexpr (is_arithmetic_v<S>) {
    *to = convert<T>(v);
  } else {
    for (int i = 0; i < extent_of<S>; ++i) to[i] = convert<T>(v.s[i]);
  }
}

#define MSL_VEC_BODY(N)                                                           \
  vec() = default;                                                                \
  MSL_INLINE constexpr vec(T v) : s{} {                                           \
    for (int i = 0; i < N; ++i) s[i] = v;                                         \
  }                                                                               \
  template <class U>                                                              \
  MSL_INLINE constexpr explicit vec(vec<U, N> v) : s{} {                          \
    for (int i = 0; i < N; ++i) s[i] = convert<T>(v.s[i]);                        \
  }                                                                               \
  template <class A, class B, class... More>                                      \
  MSL_INLINE constexpr vec(A a, B b, More... more) : s{} {                        \
    static_assert(extent_of<A> + extent_of<B> + (0 + ... + extent_of<More>) == N, \
                  "as many components as the vector has");                        \
    int at = 0;                                                                   \
    put_components(s, a), at += extent_of<A>;                                     \
    put_components(s + at, b), at += extent_of<B>;                                \
    ((put_components(s + at, more), at += extent_of<More>), ...);                 \
  }                                                                               \
  MSL_INLINE constexpr T& operator[](int i) { return s[i]; }                      \
  MSL_INLINE constexpr const T& operator[](int i) const { return s[i]; }          \
  MSL_SWIZZLES##N

template <class T>
struct alignas(2 * sizeof(T)) vec<T, 2> {
  union {
    T s[2];
    struct {
      T x, y;
    };
    struct {
      T r, g;
    };
  };
  MSL_VEC_BODY(2)
};

template <class T>
struct alignas(4 * sizeof(T)) vec<T, 3> {  // as large as four components
  union {
    T s[3];
    struct {
      T x, y, z;
    };
    struct {
      T r, g, b;
    };
  };
  MSL_VEC_BODY(3)
};

template <class T>
struct alignas(4 * sizeof(T)) vec<T, 4> {
  union {
    T s[4];
    struct {
      T x, y, z, w;
    };
    struct {
      T r, g, b, a;
    };
  };
  MSL_VEC_BODY(4)
};

// No padding, the alignment of one component; computes by becoming a vec.
template <class T, int N>
struct packed_vec {
  T s[N];
  packed_vec() = default;
  template <class... A>
  MSL_INLINE constexpr packed_vec(A... a) {
    *this = vec<T, N>(a...);
  }
  MSL_INLINE constexpr packed_vec(vec<T, N> v) : s{} { *this = v; }
  MSL_INLINE constexpr packed_vec& operator=(vec<T, N> v) {
    for (int i = 0; i < N; ++i) s[i] = v.s[i];
    return *this;
  }
  MSL_INLINE constexpr operator vec<T, N>() const {
    vec<T, N> v;
    for (int i = 0; i < N; ++i) v.s[i] = s[i];
    return v;
  }
  MSL_INLINE constexpr T& operator[](int i) { return s[i]; }
  MSL_INLINE constexpr const T& operator[](int i) const { return s[i]; }
};

}  // namespace metal
