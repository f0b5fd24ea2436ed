// What every compiled kernel file has once: the list of its kernels and constants, and where accesses are watched.
#pragma once

#include "backends/metal/sim/msl/kernel.h"

namespace msl {

const Runtime* g_runtime = nullptr;
const Position* g_self = nullptr;
Kernel* g_kernels = nullptr;
FunctionConstant* g_constants = nullptr;
FunctionConstant** g_last_constant = &g_constants;
const char* g_watched_from = nullptr;
const char* g_watched_to = nullptr;

}  // namespace msl

extern "C" __attribute__((visibility("default"))) attest::msl::Module attest_msl_module() {
  return {attest::msl::kAbi, msl::g_kernels,       msl::g_constants,  &msl::g_runtime,
          &msl::g_self,      &msl::g_watched_from, &msl::g_watched_to};
}

// The compiler tells every access it cannot prove to be the thread's own; only watched memory is of interest.
#ifdef ATTEST_MSL_CHECKS
#define MSL_UNCHECKED extern "C" __attribute__((no_sanitize("thread"), disable_sanitizer_instrumentation))
#define MSL_WATCH(address, bytes, write)                                                            \
  do {                                                                                              \
    const char* at = static_cast<const char*>(address);                                             \
    if (at < msl::g_watched_to && at + (bytes) > msl::g_watched_from)                               \
      msl::g_runtime->access(at, static_cast<unsigned>(bytes), write, __builtin_return_address(0)); \
  } while (false)
#define MSL_CALLBACKS(bytes)                                                               \
  MSL_UNCHECKED void __tsan_read##bytes(void* p) { MSL_WATCH(p, bytes, false); }           \
  MSL_UNCHECKED void __tsan_write##bytes(void* p) { MSL_WATCH(p, bytes, true); }           \
  MSL_UNCHECKED void __tsan_unaligned_read##bytes(void* p) { MSL_WATCH(p, bytes, false); } \
  MSL_UNCHECKED void __tsan_unaligned_write##bytes(void* p) { MSL_WATCH(p, bytes, true); }
MSL_CALLBACKS(1)
MSL_CALLBACKS(2)
MSL_CALLBACKS(4)
MSL_CALLBACKS(8)
MSL_CALLBACKS(16)
MSL_UNCHECKED void __tsan_read_range(void* p, ulong n) { MSL_WATCH(p, n, false); }
MSL_UNCHECKED void __tsan_write_range(void* p, ulong n) { MSL_WATCH(p, n, true); }
MSL_UNCHECKED void __tsan_init() {}
MSL_UNCHECKED void* __tsan_memcpy(void* to, const void* from, ulong n) {
  MSL_WATCH(from, n, false);
  MSL_WATCH(to, n, true);
  return __builtin_memcpy(to, from, n);
}
MSL_UNCHECKED void* __tsan_memmove(void* to, const void* from, ulong n) {
  MSL_WATCH(from, n, false);
  MSL_WATCH(to, n, true);
  return __builtin_memmove(to, from, n);
}
MSL_UNCHECKED void* __tsan_memset(void* to, int v, ulong n) {
  MSL_WATCH(to, n, true);
  return __builtin_memset(to, v, n);
}
#endif
