// How a kernel's parameters are bound to a dispatch, how kernels and function constants make themselves known, and
// MSL's address space words, which mean nothing to a host compiler.
#pragma once

#include "backends/metal/sim/msl/scalar.h"
#include "backends/metal/sim/msl/vec_ops.h"

namespace msl {

using namespace attest::msl;

extern Kernel* g_kernels;
extern FunctionConstant** g_last_constant;

template <class T>
MSL_INLINE T of_three(const unsigned (&v)[3]) {
  if constexpr (metal::extent_of<T> == 1) {
    return static_cast<T>(v[0]);
  } else {
    T t;
    for (int i = 0; i < metal::extent_of<T>; ++i) t.s[i] = static_cast<metal::scalar_of_t<T>>(v[i]);
    return t;
  }
}

template <class T>
inline T position_value(Binding binding, const Position& p) {
  unsigned three[3] = {0, 0, 0};
  switch (binding) {
    case Binding::thread_position_in_grid:
      for (int i = 0; i < 3; ++i) three[i] = p.threadgroup[i] * p.threads[i] + p.thread[i];
      break;
    case Binding::threads_per_grid:
      for (int i = 0; i < 3; ++i) three[i] = p.threadgroups[i] * p.threads[i];
      break;
    case Binding::thread_position_in_threadgroup:
      return of_three<T>(p.thread);
    case Binding::threadgroup_position_in_grid:
      return of_three<T>(p.threadgroup);
    case Binding::threadgroups_per_grid:
      return of_three<T>(p.threadgroups);
    case Binding::threads_per_threadgroup:
      return of_three<T>(p.threads);
    case Binding::thread_index_in_threadgroup:
      three[0] = p.index;
      break;
    case Binding::thread_index_in_simdgroup:
      three[0] = p.lane;
      break;
    case Binding::thread_index_in_quadgroup:
      three[0] = p.lane % 4;
      break;
    case Binding::simdgroup_index_in_threadgroup:
      three[0] = p.simdgroup;
      break;
    case Binding::quadgroup_index_in_threadgroup:
      three[0] = p.index / 4;
      break;
    case Binding::simdgroups_per_threadgroup:
      three[0] = (p.threads[0] * p.threads[1] * p.threads[2] + kSimdWidth - 1) / kSimdWidth;
      break;
    case Binding::threads_per_simdgroup:
      three[0] = kSimdWidth;
      break;
    case Binding::pointer:
      break;
  }
  return of_three<T>(three);
}

template <class P>
struct Argument {  // by value: a position
  static MSL_INLINE P get(const Call& call, const Position& p, int i) { return position_value<P>(call.bindings[i], p); }
};
template <class P>
struct Argument<P*> {
  static MSL_INLINE P* get(const Call& call, const Position&, int i) { return static_cast<P*>(call.pointers[i]); }
};
template <class P>
struct Argument<P&> {
  static MSL_INLINE P& get(const Call& call, const Position&, int i) { return *static_cast<P*>(call.pointers[i]); }
};

template <int... I>
struct Indices {};
template <int N, int... I>
struct IndicesTo : IndicesTo<N - 1, N - 1, I...> {};
template <int... I>
struct IndicesTo<0, I...> {
  typedef Indices<I...> type;
};

inline void forget_products(unsigned thread_index);

template <class P>
constexpr unsigned reference_bytes = 0;
template <class P>
constexpr unsigned reference_bytes<P&> = sizeof(P);

template <auto F>
struct Entry;
template <class... P, void (*F)(P...)>
struct Entry<F> {
  template <int... I>
  static MSL_INLINE void call(const Call& c, const Position& p, Indices<I...>) {
    F(Argument<P>::get(c, p, I)...);
  }
  static void run(const Call& c, const Position& p) {
    forget_products(p.index);
    call(c, p, typename IndicesTo<sizeof...(P)>::type());
  }
  static constexpr int kParameters = sizeof...(P);
  static constexpr unsigned kBytes[sizeof...(P) + 1] = {reference_bytes<P>..., 0};
};

struct RegisterKernel {
  Kernel kernel;
  RegisterKernel(const char* name, int line, const char* signature, int parameters, const unsigned* bytes,
                 const char* constants, void (*entry)(const Call&, const Position&))
      : kernel{name, line, signature, parameters, bytes, constants, entry, g_kernels} {
    g_kernels = &kernel;
  }
};

template <class T>
constexpr char kind_of = metal::is_same_v<T, bool>       ? 'b'
                         : metal::is_floating_point_v<T> ? 'f'
                                                         : 'i';

struct RegisterConstant {
  FunctionConstant constant;
  RegisterConstant(const char* name, int index, unsigned bytes, char kind, void* value, bool* defined,
                   void (*evaluate)())
      : constant{name, index, bytes, kind, value, defined, evaluate, nullptr} {
    *g_last_constant = &constant;
    g_last_constant = &constant.next;
  }
};

}  // namespace msl

#define MSL_KERNEL(id, name, line, signature, constants, ...)                                              \
  static msl::RegisterKernel msl_kernel_##id(name, line, signature, msl::Entry<&__VA_ARGS__>::kParameters, \
                                             msl::Entry<&__VA_ARGS__>::kBytes, constants,                  \
                                             &msl::Entry<&__VA_ARGS__>::run);
#define MSL_FUNCTION_CONSTANT(T, name, index)                                                       \
  static T name;                                                                                    \
  static bool msl_defined_##name;                                                                   \
  static msl::RegisterConstant msl_constant_##name(#name, index, sizeof(T), msl::kind_of<T>, &name, \
                                                   &msl_defined_##name, nullptr);
#define MSL_COMPUTED_CONSTANT(T, name, ...)                                                               \
  static T name;                                                                                          \
  static msl::RegisterConstant msl_constant_##name(#name, -1, sizeof(T), msl::kind_of<T>, &name, nullptr, \
                                                   [] { name = __VA_ARGS__; });
#define MSL_THREADGROUP_OBJECT(id, T, name, dims, line)   \
  typedef T msl_type_##name dims;                         \
  msl_type_##name& name = *static_cast<msl_type_##name*>( \
      msl::g_runtime->threadgroup_object(id, #name, sizeof(msl_type_##name), alignof(msl_type_##name), line));
#define is_function_constant_defined(name) (msl_defined_##name)
