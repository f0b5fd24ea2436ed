// MSL's scalar types, the type traits its headers have, and what every other header here builds on.
#pragma once

#include "backends/metal/sim/abi.h"

typedef unsigned char uchar;
typedef unsigned short ushort;
typedef unsigned int uint;
typedef unsigned long ulong;
typedef signed char int8_t;
typedef uchar uint8_t;
typedef short int16_t;
typedef ushort uint16_t;
typedef int int32_t;
typedef uint uint32_t;
typedef long int64_t;
typedef ulong uint64_t;
typedef ulong size_t;
typedef long ptrdiff_t;
typedef ulong uintptr_t;
typedef long intptr_t;
typedef _Float16 half;
#ifndef ATTEST_MSL_NO_BFLOAT
typedef __bf16 bfloat;
#define MSL_IF_BFLOAT(...) __VA_ARGS__
#else
#define MSL_IF_BFLOAT(...)
#endif

#define MSL_INLINE inline __attribute__((always_inline))
// Operations between lanes, once they are together, are no accesses of a thread.
#define MSL_UNWATCHED __attribute__((no_sanitize("thread", "coverage")))
// Call sites of operations between threads carry their line: __builtin_LINE() as a default argument is the caller's.
#define MSL_LINE int line = __builtin_LINE()

constexpr half operator""h(long double v) { return static_cast<half>(v); }  // 1.0h
constexpr half operator"" H(long double v) { return static_cast<half>(v); }

namespace metal {

template <class T, T V>
struct integral_constant {
  static constexpr T value = V;
};
using true_type = integral_constant<bool, true>;
using false_type = integral_constant<bool, false>;
template <class A, class B>
struct is_same : false_type {};
template <class A>
struct is_same<A, A> : true_type {};
template <class A, class B>
inline constexpr bool is_same_v = is_same<A, B>::value;
template <bool B, class T = void>
struct enable_if {};
template <class T>
struct enable_if<true, T> {
  typedef T type;
};
template <bool B, class T = void>
using enable_if_t = typename enable_if<B, T>::type;
template <bool B, class T, class F>
struct conditional {
  typedef T type;
};
template <class T, class F>
struct conditional<false, T, F> {
  typedef F type;
};
template <bool B, class T, class F>
using conditional_t = typename conditional<B, T, F>::type;
template <class T>
struct remove_cv {
  typedef T type;
};
template <class T>
struct remove_cv<const T> {
  typedef T type;
};
template <class T>
struct remove_cv<volatile T> {
  typedef T type;
};
template <class T>
using remove_cv_t = typename remove_cv<T>::type;

template <class T>
inline constexpr bool is_floating_point_v = is_same_v<T, float> ||
                                            is_same_v<T, half> MSL_IF_BFLOAT(|| is_same_v<T, bfloat>);
template <class T>
inline constexpr bool is_integral_v =
    is_same_v<T, bool> || is_same_v<T, char> || is_same_v<T, int8_t> || is_same_v<T, uchar> || is_same_v<T, short> ||
    is_same_v<T, ushort> || is_same_v<T, int> || is_same_v<T, uint> || is_same_v<T, long> || is_same_v<T, ulong>;
template <class T>
inline constexpr bool is_arithmetic_v = is_floating_point_v<T> || is_integral_v<T>;
template <class T>
struct is_floating_point : integral_constant<bool, is_floating_point_v<T>> {};
template <class T>
struct is_integral : integral_constant<bool, is_integral_v<T>> {};

// bfloat and half convert into each other through float.
template <class T, class S>
MSL_INLINE constexpr T convert(S v) {
  if constexpr (is_floating_point_v<S> && is_floating_point_v<T> && !is_same_v<S, T>) {
    return static_cast<T>(static_cast<float>(v));
  } else {
    return static_cast<T>(v);
  }
}

}  // namespace metal

namespace msl {

extern const attest::msl::Runtime* g_runtime;
extern attest::msl::Position* g_self;

MSL_INLINE const attest::msl::Position& self() { return *g_self; }

}  // namespace msl
