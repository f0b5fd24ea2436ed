// numeric_limits and the constants of <metal_limits> and <metal_math>: INFINITY, FLT_MAX, HALF_MAX, M_PI_F.
#pragma once

#include "backends/metal/sim/msl/vec_ops.h"

namespace metal {

template <class T>
struct numeric_limits {
  static constexpr bool is_signed = T(-1) < T(0), is_integer = true;
  static constexpr int digits = 8 * static_cast<int>(sizeof(T)) - is_signed;
  static constexpr T max() { return static_cast<T>(~0UL >> (64 - digits)); }
  static constexpr T min() { return is_signed ? static_cast<T>(-max() - 1) : T(0); }
  static constexpr T lowest() { return min(); }
};

#define MSL_FLOAT_LIMITS(T, bits, largest, smallest, step, denormal)              \
  template <>                                                                     \
  struct numeric_limits<T> {                                                      \
    static constexpr bool is_signed = true, is_integer = false;                   \
    static constexpr int digits = bits;                                           \
    static constexpr T max() { return static_cast<T>(largest); }                  \
    static constexpr T lowest() { return static_cast<T>(-(largest)); }            \
    static constexpr T min() { return static_cast<T>(smallest); }                 \
    static constexpr T epsilon() { return static_cast<T>(step); }                 \
    static constexpr T denorm_min() { return static_cast<T>(denormal); }          \
    static constexpr T infinity() { return static_cast<T>(__builtin_inff()); }    \
    static constexpr T quiet_NaN() { return static_cast<T>(__builtin_nanf("")); } \
  };
MSL_FLOAT_LIMITS(float, 24, 0x1.fffffep127f, 0x1p-126f, 0x1p-23f, 0x1p-149f)
MSL_FLOAT_LIMITS(half, 11, 65504.0f, 0x1p-14f, 0x1p-10f, 0x1p-24f)
MSL_IF_BFLOAT(MSL_FLOAT_LIMITS(bfloat, 8, 0x1.fep127f, 0x1p-126f, 0x1p-7f, 0x1p-133f))

}  // namespace metal

#define INFINITY __builtin_inff()
#define NAN __builtin_nanf("")
#define HUGE_VALF __builtin_inff()
#define MAXFLOAT 0x1.fffffep127f
#define FLT_MAX 0x1.fffffep127f
#define FLT_MIN 0x1p-126f
#define FLT_EPSILON 0x1p-23f
#define MAXHALF static_cast<half>(65504.0f)
#define HALF_MAX static_cast<half>(65504.0f)
#define HALF_MIN static_cast<half>(0x1p-14f)
#define CHAR_MAX 127
#define UCHAR_MAX 255
#define SHRT_MAX 32767
#define USHRT_MAX 65535
#define INT_MAX 2147483647
#define INT_MIN (-INT_MAX - 1)
#define UINT_MAX 4294967295u
#define LONG_MAX 9223372036854775807L
#define ULONG_MAX 18446744073709551615UL
#define M_PI_F 3.14159265358979323846f
#define M_PI_2_F 1.57079632679489661923f
#define M_1_PI_F 0.318309886183790671538f
#define M_2_PI_F 0.636619772367581343076f
#define M_E_F 2.71828182845904523536f
#define M_LN2_F 0.693147180559945309417f
#define M_LOG2E_F 1.44269504088896340736f
#define M_SQRT2_F 1.41421356237309504880f
#define M_SQRT1_2_F 0.70710678118654752440f
#define M_PI_H static_cast<half>(M_PI_F)
