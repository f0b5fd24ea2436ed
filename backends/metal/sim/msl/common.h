// MSL's integer, relational, geometric and common functions: min, max, clamp, select, popcount, dot, isnan, limits.
#pragma once

#include "backends/metal/sim/msl/math.h"

namespace metal {

template <class T, if_arithmetic<T> = 0>
MSL_INLINE T max(T a, as_is_t<T> b) {
  if constexpr (is_floating_point_v<T>) return fmax(a, b);
  return a < b ? b : a;
}
MSL_LIFT2(max)
template <class T, if_arithmetic<T> = 0>
MSL_INLINE T min(T a, as_is_t<T> b) {
  if constexpr (is_floating_point_v<T>) return fmin(a, b);
  return b < a ? b : a;
}
MSL_LIFT2(min)
namespace precise {
using metal::max;
using metal::min;
}  // namespace precise
template <class T, if_arithmetic<T> = 0>
MSL_INLINE T max3(T a, as_is_t<T> b, as_is_t<T> c) {
  return max(a, max(b, c));
}
MSL_LIFT3(max3)
template <class T, if_arithmetic<T> = 0>
MSL_INLINE T min3(T a, as_is_t<T> b, as_is_t<T> c) {
  return min(a, min(b, c));
}
MSL_LIFT3(min3)
template <class T, if_arithmetic<T> = 0>
MSL_INLINE T clamp(T v, as_is_t<T> low, as_is_t<T> high) {
  return min(max(v, low), high);
}
MSL_LIFT3(clamp)
template <class T, if_arithmetic<T> = 0>
MSL_INLINE auto abs(T v) {
  if constexpr (is_floating_point_v<T>) {
    return fabs(v);
  } else {
    return static_cast<T>(v < 0 ? -v : v);
  }
}
MSL_LIFT1(abs)

// ---- integers: the bits as many as the type has; narrow results come back narrow
template <class T>
inline constexpr int bits_of = 8 * static_cast<int>(sizeof(T));
template <class T>
MSL_INLINE constexpr ulong bits(T v) {
  return static_cast<ulong>(v) & (~0UL >> (64 - bits_of<T>));
}
#define MSL_INTEGER1(name, ...)          \
  template <class T, if_integral<T> = 0> \
  MSL_INLINE T name(T v) {               \
    return static_cast<T>(__VA_ARGS__);  \
  }                                      \
  MSL_LIFT1(name)
#define MSL_INTEGER2(name, ...)          \
  template <class T, if_integral<T> = 0> \
  MSL_INLINE T name(T a, as_is_t<T> b) { \
    return static_cast<T>(__VA_ARGS__);  \
  }                                      \
  MSL_LIFT2(name)
MSL_INTEGER1(popcount, __builtin_popcountl(bits(v)))
MSL_INTEGER1(clz, bits(v) == 0 ? bits_of<T> : __builtin_clzl(bits(v)) - (64 - bits_of<T>))
MSL_INTEGER1(ctz, bits(v) == 0 ? bits_of<T> : __builtin_ctzl(bits(v)))
MSL_INTEGER1(reverse_bits, __builtin_bitreverse64(bits(v)) >> (64 - bits_of<T>))
MSL_INTEGER2(rotate, bits(a) << (bits(b) % bits_of<T>) | bits(a) >> ((bits_of<T> - bits(b) % bits_of<T>) % bits_of<T>))
MSL_INTEGER2(mulhi, (static_cast<__int128>(a) * static_cast<__int128>(b)) >> bits_of<T>)
MSL_INTEGER2(absdiff, a < b ? b - a : a - b)
MSL_INTEGER2(hadd, (static_cast<__int128>(a) + static_cast<__int128>(b)) >> 1)
MSL_INTEGER2(rhadd, (static_cast<__int128>(a) + static_cast<__int128>(b) + 1) >> 1)
MSL_INTEGER2(mul24, static_cast<T>(a) * static_cast<T>(b))
template <class T, if_integral<T> = 0>
MSL_INLINE T saturated(__int128 v) {
  constexpr bool is_signed = T(-1) < T(0);
  const __int128 high = (static_cast<__int128>(1) << (bits_of<T> - is_signed)) - 1, low = is_signed ? -high - 1 : 0;
  return static_cast<T>(v < low ? low : v > high ? high : v);
}
MSL_INTEGER2(addsat, saturated<T>(static_cast<__int128>(a) + static_cast<__int128>(b)))
MSL_INTEGER2(subsat, saturated<T>(static_cast<__int128>(a) - static_cast<__int128>(b)))
template <class T, if_integral<T> = 0>
MSL_INLINE T extract_bits(T v, uint offset, uint count) {
  if (count == 0) return T(0);
  const T high = static_cast<T>(bits(v) << (bits_of<T> - offset - count));
  return static_cast<T>(high >> (bits_of<T> - count));
}

template <class T, if_integral<T> = 0>
MSL_INLINE T insert_bits(T base, as_is_t<T> insert, uint offset, uint count) {
  if (count == 0) return base;
  const ulong mask = (~0UL >> (64 - count)) << offset;
  return static_cast<T>((bits(base) & ~mask) | (bits(insert) << offset & mask));
}
#define MSL_INTEGER3(name, ...)                        \
  template <class T, if_integral<T> = 0>               \
  MSL_INLINE T name(T a, as_is_t<T> b, as_is_t<T> c) { \
    return static_cast<T>(__VA_ARGS__);                \
  }                                                    \
  MSL_LIFT3(name)
MSL_INTEGER3(mad24, a* b + c)
MSL_INTEGER3(madhi, mulhi(a, b) + c)
MSL_INTEGER3(madsat, saturated<T>(static_cast<__int128>(a) * static_cast<__int128>(b) + static_cast<__int128>(c)))
template <class T, if_arithmetic<T> = 0>
MSL_INLINE T median3(T a, as_is_t<T> b, as_is_t<T> c) {
  return max(min(a, b), min(max(a, b), static_cast<T>(c)));
}
MSL_LIFT3(median3)

// ---- relations
#define MSL_RELATION(name, ...)            \
  template <class T, if_floating<T> = 0>   \
  MSL_INLINE bool name(T v) {              \
    const float x = static_cast<float>(v); \
    return __VA_ARGS__;                    \
  }                                        \
  MSL_LIFT1(name)
MSL_RELATION(isnan, x != x)
MSL_RELATION(isinf, __builtin_fabsf(x) == __builtin_inff())
MSL_RELATION(isfinite, __builtin_fabsf(x) < __builtin_inff())
MSL_RELATION(signbit, __builtin_signbit(x) != 0)
MSL_RELATION(isnormal,
             __builtin_fabsf(x) < __builtin_inff() && __builtin_fabsf(x) >= (is_same_v<T, half> ? 0x1p-14f : 0x1p-126f))
template <class T, if_floating<T> = 0>
MSL_INLINE bool isunordered(T a, as_is_t<T> b) {
  return isnan(a) || isnan(b);
}
template <class T, if_floating<T> = 0>
MSL_INLINE bool isordered(T a, as_is_t<T> b) {
  return !isunordered(a, b);
}
template <int N>
MSL_INLINE bool all(vec<bool, N> v) {
  for (int i = 0; i < N; ++i) {
    if (!v.s[i]) return false;
  }
  return true;
}
template <int N>
MSL_INLINE bool any(vec<bool, N> v) {
  return !all(!v);
}
MSL_INLINE bool all(bool v) { return v; }
MSL_INLINE bool any(bool v) { return v; }
template <class T, if_arithmetic<T> = 0>
MSL_INLINE T select(T a, as_is_t<T> b, bool c) {
  return c ? b : a;
}
template <class T, int N>
MSL_INLINE vec<T, N> select(vec<T, N> a, vec<T, N> b, vec<bool, N> c) {
  for (int i = 0; i < N; ++i) a.s[i] = c.s[i] ? b.s[i] : a.s[i];
  return a;
}

// ---- geometry
template <class T, int N>
MSL_INLINE T dot(vec<T, N> a, vec<T, N> b) {
  T sum = a.s[0] * b.s[0];
  for (int i = 1; i < N; ++i) sum += a.s[i] * b.s[i];
  return sum;
}
template <class T, int N>
MSL_INLINE T length_squared(vec<T, N> a) {
  return dot(a, a);
}
template <class T, int N>
MSL_INLINE T length(vec<T, N> a) {
  return sqrt(dot(a, a));
}
template <class T, int N>
MSL_INLINE T distance(vec<T, N> a, vec<T, N> b) {
  return length(a - b);
}
template <class T, int N>
MSL_INLINE vec<T, N> normalize(vec<T, N> a) {
  return a * rsqrt(dot(a, a));
}
template <class T>
MSL_INLINE vec<T, 3> cross(vec<T, 3> a, vec<T, 3> b) {
  return a.yzx * b.zxy - a.zxy * b.yzx;
}

}  // namespace metal
