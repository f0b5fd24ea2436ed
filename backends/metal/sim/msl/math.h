// MSL's mathematical functions for float, half and bfloat and vectors of them. Those of half are computed in float and
// rounded once. metal:: stands for metal::precise:: here; metal::fast:: differs where the specification lets NaN pass.
#pragma once

#include "backends/metal/sim/msl/vec_ops.h"

namespace metal {

template <class T>
using if_floating = enable_if_t<is_floating_point_v<T>, int>;
template <class T>
using if_integral = enable_if_t<is_integral_v<T>, int>;
template <class T>
using if_arithmetic = enable_if_t<is_arithmetic_v<T>, int>;

// The vector forms of a function of scalars; scalar operands beside a vector stand for vectors.
#define MSL_LIFT1(name)                                \
  template <class T, int N>                            \
  MSL_INLINE auto name(vec<T, N> a) {                  \
    vec<decltype(name(a.s[0])), N> r;                  \
    for (int i = 0; i < N; ++i) r.s[i] = name(a.s[i]); \
    return r;                                          \
  }
#define MSL_LIFT2(name)                                        \
  template <class T, int N>                                    \
  MSL_INLINE auto name(vec<T, N> a, vec<T, N> b) {             \
    vec<decltype(name(a.s[0], b.s[0])), N> r;                  \
    for (int i = 0; i < N; ++i) r.s[i] = name(a.s[i], b.s[i]); \
    return r;                                                  \
  }                                                            \
  template <class T, int N>                                    \
  MSL_INLINE auto name(vec<T, N> a, as_is_t<T> b) {            \
    return name(a, vec<T, N>(b));                              \
  }                                                            \
  template <class T, int N>                                    \
  MSL_INLINE auto name(as_is_t<T> a, vec<T, N> b) {            \
    return name(vec<T, N>(a), b);                              \
  }
#define MSL_LIFT3(name)                                                \
  template <class T, int N>                                            \
  MSL_INLINE vec<T, N> name(vec<T, N> a, vec<T, N> b, vec<T, N> c) {   \
    vec<T, N> r;                                                       \
    for (int i = 0; i < N; ++i) r.s[i] = name(a.s[i], b.s[i], c.s[i]); \
    return r;                                                          \
  }                                                                    \
  template <class T, int N>                                            \
  MSL_INLINE vec<T, N> name(vec<T, N> a, as_is_t<T> b, as_is_t<T> c) { \
    return name(a, vec<T, N>(b), vec<T, N>(c));                        \
  }

#define MSL_MATH1(name, ...)               \
  template <class T, if_floating<T> = 0>   \
  MSL_INLINE T name(T v) {                 \
    const float x = static_cast<float>(v); \
    return static_cast<T>(__VA_ARGS__);    \
  }                                        \
  MSL_LIFT1(name)
#define MSL_MATH2(name, ...)                                          \
  template <class T, if_floating<T> = 0>                              \
  MSL_INLINE T name(T v, as_is_t<T> u) {                              \
    const float x = static_cast<float>(v), y = static_cast<float>(u); \
    return static_cast<T>(__VA_ARGS__);                               \
  }                                                                   \
  MSL_LIFT2(name)
#define MSL_MATH3(name, ...)                                                                     \
  template <class T, if_floating<T> = 0>                                                         \
  MSL_INLINE T name(T v, as_is_t<T> u, as_is_t<T> w) {                                           \
    const float x = static_cast<float>(v), y = static_cast<float>(u), z = static_cast<float>(w); \
    return static_cast<T>(__VA_ARGS__);                                                          \
  }                                                                                              \
  MSL_LIFT3(name)

MSL_MATH1(acos, __builtin_acosf(x))
MSL_MATH1(acosh, __builtin_acoshf(x))
MSL_MATH1(asin, __builtin_asinf(x))
MSL_MATH1(asinh, __builtin_asinhf(x))
MSL_MATH1(atan, __builtin_atanf(x))
MSL_MATH1(atanh, __builtin_atanhf(x))
MSL_MATH1(ceil, __builtin_ceilf(x))
MSL_MATH1(cos, __builtin_cosf(x))
MSL_MATH1(cosh, __builtin_coshf(x))
MSL_MATH1(cospi, __builtin_cos(3.14159265358979323846 * static_cast<double>(x)))
MSL_MATH1(exp, __builtin_expf(x))
MSL_MATH1(exp2, __builtin_exp2f(x))
MSL_MATH1(exp10, __builtin_pow(10.0, static_cast<double>(x)))
MSL_MATH1(fabs, __builtin_fabsf(x))
MSL_MATH1(floor, __builtin_floorf(x))
MSL_MATH1(fract, __builtin_fminf(x - __builtin_floorf(x), 0x1.fffffep-1f))
MSL_MATH1(log, __builtin_logf(x))
MSL_MATH1(log2, __builtin_log2f(x))
MSL_MATH1(log10, __builtin_log10f(x))
MSL_MATH1(rint, __builtin_rintf(x))
MSL_MATH1(round, __builtin_roundf(x))
MSL_MATH1(rsqrt, 1.0f / __builtin_sqrtf(x))
MSL_MATH1(saturate, __builtin_fminf(__builtin_fmaxf(x, 0.0f), 1.0f))
MSL_MATH1(sign, x != x || x == 0 ? (x != x ? 0.0f : x) : __builtin_copysignf(1.0f, x))
MSL_MATH1(sin, __builtin_sinf(x))
MSL_MATH1(sinh, __builtin_sinhf(x))
MSL_MATH1(sinpi, __builtin_sin(3.14159265358979323846 * static_cast<double>(x)))
MSL_MATH1(sqrt, __builtin_sqrtf(x))
MSL_MATH1(tan, __builtin_tanf(x))
MSL_MATH1(tanh, __builtin_tanhf(x))
MSL_MATH1(tanpi, __builtin_tan(3.14159265358979323846 * static_cast<double>(x)))
MSL_MATH1(trunc, __builtin_truncf(x))

MSL_MATH2(atan2, __builtin_atan2f(x, y))
MSL_MATH2(copysign, __builtin_copysignf(x, y))
MSL_MATH2(fdim, __builtin_fdimf(x, y))
MSL_MATH2(fmax, __builtin_fmaxf(x, y))
MSL_MATH2(fmin, __builtin_fminf(x, y))
MSL_MATH2(fmod, __builtin_fmodf(x, y))
MSL_MATH2(pow, __builtin_powf(x, y))
MSL_MATH2(powr, x < 0 ? __builtin_nanf("") : __builtin_powf(x, y))
MSL_MATH2(step, y < x ? 0.0f : 1.0f)

MSL_MATH3(fma, is_same_v<T, float>
                   ? __builtin_fmaf(x, y, z)
                   : __builtin_fma(static_cast<double>(x), static_cast<double>(y), static_cast<double>(z)))
MSL_MATH3(mix, x + (y - x) * z)
MSL_MATH3(fmax3, __builtin_fmaxf(x, __builtin_fmaxf(y, z)))
MSL_MATH3(fmin3, __builtin_fminf(x, __builtin_fminf(y, z)))
template <class T, if_floating<T> = 0>
MSL_INLINE T smoothstep(T a, as_is_t<T> b, as_is_t<T> v) {
  const T t = saturate(static_cast<T>((v - a) / (b - a)));
  return t * t * (T(3) - T(2) * t);
}
MSL_LIFT3(smoothstep)

MSL_INLINE float nextafter(float x, float y) { return __builtin_nextafterf(x, y); }
template <class T, if_floating<T> = 0>
MSL_INLINE int ilogb(T v) {
  return __builtin_ilogbf(static_cast<float>(v));
}
template <class T, if_floating<T> = 0>
MSL_INLINE T ldexp(T v, int e) {
  return static_cast<T>(__builtin_ldexpf(static_cast<float>(v), e));
}
template <class T, if_floating<T> = 0>
MSL_INLINE T frexp(T v, int& e) {
  return static_cast<T>(__builtin_frexpf(static_cast<float>(v), &e));
}
template <class T, if_floating<T> = 0>
MSL_INLINE T modf(T v, T& whole) {
  whole = trunc(v);
  return copysign(static_cast<T>(v - whole), v);
}
template <class T, if_floating<T> = 0>
MSL_INLINE T sincos(T v, T& c) {
  c = cos(v);
  return sin(v);
}

// In order of preference of the specification: a comparison, whatever it says of NaN.
namespace fast {
#define MSL_FAST2(name, ...)             \
  template <class T, if_floating<T> = 0> \
  MSL_INLINE T name(T x, as_is_t<T> y) { \
    return __VA_ARGS__;                  \
  }                                      \
  MSL_LIFT2(name)
MSL_FAST2(fmax, x < y ? y : x)
MSL_FAST2(fmin, y < x ? y : x)
MSL_FAST2(max, x < y ? y : x)
MSL_FAST2(min, y < x ? y : x)
}  // namespace fast

#define MSL_BOTH(name) \
  namespace precise {  \
  using metal::name;   \
  }                    \
  namespace fast {     \
  using metal::name;   \
  }
MSL_BOTH(acos)
MSL_BOTH(acosh)
MSL_BOTH(asin)
MSL_BOTH(asinh) MSL_BOTH(atan) MSL_BOTH(atan2) MSL_BOTH(atanh) MSL_BOTH(ceil) MSL_BOTH(copysign) MSL_BOTH(cos)
    MSL_BOTH(cosh) MSL_BOTH(cospi) MSL_BOTH(exp) MSL_BOTH(exp2) MSL_BOTH(exp10) MSL_BOTH(fabs) MSL_BOTH(fdim)
        MSL_BOTH(floor) MSL_BOTH(fma) MSL_BOTH(fmod) MSL_BOTH(fract) MSL_BOTH(log) MSL_BOTH(log2) MSL_BOTH(log10)
            MSL_BOTH(pow) MSL_BOTH(powr) MSL_BOTH(rint) MSL_BOTH(round) MSL_BOTH(rsqrt) MSL_BOTH(saturate) MSL_BOTH(sin)
                MSL_BOTH(sinh) MSL_BOTH(sinpi) MSL_BOTH(sqrt) MSL_BOTH(tan) MSL_BOTH(tanh)
                    MSL_BOTH(trunc) namespace precise {
  using metal::fmax;
  using metal::fmin;
}  // namespace precise

}  // namespace metal
