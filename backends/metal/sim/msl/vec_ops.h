// Operators of MSL vectors, component by component; a scalar operand stands for a vector of it.
#pragma once

#include "backends/metal/sim/msl/vec.h"

namespace metal {

// The other operand of a vector: deduced from the vector alone, so that scalars convert.
template <class T>
struct as_is {
  typedef T type;
};
template <class T>
using as_is_t = typename as_is<T>::type;

#define MSL_BINARY(op, result)                                                  \
  template <class T, int N>                                                     \
  MSL_INLINE constexpr vec<result, N> operator op(vec<T, N> a, vec<T, N> b) {   \
    vec<result, N> r;                                                           \
    for (int i = 0; i < N; ++i) r.s[i] = static_cast<result>(a.s[i] op b.s[i]); \
    return r;                                                                   \
  }                                                                             \
  template <class T, int N>                                                     \
  MSL_INLINE constexpr vec<result, N> operator op(vec<T, N> a, as_is_t<T> b) {  \
    return a op vec<T, N>(b);                                                   \
  }                                                                             \
  template <class T, int N>                                                     \
  MSL_INLINE constexpr vec<result, N> operator op(as_is_t<T> a, vec<T, N> b) {  \
    return vec<T, N>(a) op b;                                                   \
  }

#define MSL_ASSIGNING(op)                                                      \
  MSL_BINARY(op, T)                                                            \
  template <class T, int N>                                                    \
  MSL_INLINE constexpr vec<T, N>& operator op##=(vec<T, N>& a, vec<T, N> b) {  \
    return a = a op b;                                                         \
  }                                                                            \
  template <class T, int N>                                                    \
  MSL_INLINE constexpr vec<T, N>& operator op##=(vec<T, N>& a, as_is_t<T> b) { \
    return a = a op vec<T, N>(b);                                              \
  }

MSL_ASSIGNING(+)
MSL_ASSIGNING(-)
MSL_ASSIGNING(*)
MSL_ASSIGNING(/)
MSL_ASSIGNING(%)
MSL_ASSIGNING(&)
MSL_ASSIGNING(|)
MSL_ASSIGNING(^)
MSL_ASSIGNING(<<)
MSL_ASSIGNING(>>)
MSL_BINARY(==, bool)
MSL_BINARY(!=, bool)
MSL_BINARY(<, bool)
MSL_BINARY(>, bool)
MSL_BINARY(<=, bool)
MSL_BINARY(>=, bool)
MSL_BINARY(&&, bool)
MSL_BINARY(||, bool)

#define MSL_UNARY(op, result)                                            \
  template <class T, int N>                                              \
  MSL_INLINE constexpr vec<result, N> operator op(vec<T, N> a) {         \
    vec<result, N> r;                                                    \
    for (int i = 0; i < N; ++i) r.s[i] = static_cast<result>(op a.s[i]); \
    return r;                                                            \
  }
MSL_UNARY(-, T)
MSL_UNARY(+, T)
MSL_UNARY(~, T)
MSL_UNARY(!, bool)

#define MSL_STEP(op, by)                                          \
  template <class T, int N>                                       \
  MSL_INLINE constexpr vec<T, N>& operator op(vec<T, N>& a) {     \
    return a = a by vec<T, N>(T(1));                              \
  }                                                               \
  template <class T, int N>                                       \
  MSL_INLINE constexpr vec<T, N> operator op(vec<T, N>& a, int) { \
    const vec<T, N> before = a;                                   \
    a = a by vec<T, N>(T(1));                                     \
    return before;                                                \
  }
MSL_STEP(++, +)
MSL_STEP(--, -)

#define MSL_VECTOR_NAMES(T, name)            \
  typedef vec<T, 2> name##2;                 \
  typedef vec<T, 3> name##3;                 \
  typedef vec<T, 4> name##4;                 \
  typedef packed_vec<T, 2> packed_##name##2; \
  typedef packed_vec<T, 3> packed_##name##3; \
  typedef packed_vec<T, 4> packed_##name##4;
MSL_VECTOR_NAMES(bool, bool)
MSL_VECTOR_NAMES(char, char)
MSL_VECTOR_NAMES(uchar, uchar)
MSL_VECTOR_NAMES(short, short)
MSL_VECTOR_NAMES(ushort, ushort)
MSL_VECTOR_NAMES(int, int)
MSL_VECTOR_NAMES(uint, uint)
MSL_VECTOR_NAMES(long, long)
MSL_VECTOR_NAMES(ulong, ulong)
MSL_VECTOR_NAMES(half, half)
MSL_VECTOR_NAMES(float, float)
MSL_IF_BFLOAT(MSL_VECTOR_NAMES(bfloat, bfloat))

// as_type<T>(v): the same bits as another type of the same size.
template <class T, class S>
MSL_INLINE constexpr T as_type(S v) {
  static_assert(sizeof(T) == sizeof(S), "as_type keeps the size");
  return __builtin_bit_cast(T, v);
}

}  // namespace metal
