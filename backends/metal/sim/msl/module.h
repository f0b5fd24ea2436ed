// What every compiled kernel file has once: the list of its kernels and constants, and where accesses are watched.
#pragma once

#include "backends/metal/sim/msl/kernel.h"

namespace msl {

const Runtime* g_runtime = nullptr;
Position* g_self = nullptr;
Kernel* g_kernels = nullptr;
FunctionConstant* g_constants = nullptr;
FunctionConstant** g_last_constant = &g_constants;
const char* g_watched_from = nullptr;
const char* g_watched_to = nullptr;
const char* g_device_from = nullptr;
const char* g_device_to = nullptr;
unsigned* g_guards = nullptr;
unsigned g_guard_count = 0;
const unsigned long* g_places = nullptr;
const unsigned long* g_flow = nullptr;
const unsigned long* g_flow_end = nullptr;
const Block* g_blocks = nullptr;

}  // namespace msl

extern "C" __attribute__((visibility("default"))) attest::msl::Module attest_msl_module() {
  attest::msl::Module m{};
  m.abi = attest::msl::kAbi;
  m.kernels = msl::g_kernels;
  m.constants = msl::g_constants;
  m.runtime = &msl::g_runtime;
  m.self = &msl::g_self;
  m.watched_from = &msl::g_watched_from;
  m.watched_to = &msl::g_watched_to;
  m.device_from = &msl::g_device_from;
  m.device_to = &msl::g_device_to;
  m.guards = msl::g_guards;
  m.guard_count = msl::g_guard_count;
  m.places = msl::g_places;
  m.flow = msl::g_flow;
  m.flow_end = msl::g_flow_end;
  m.blocks = &msl::g_blocks;
  return m;
}

// In step: lanes stop before they touch watched memory, and at the end of every round of a loop.
#ifdef ATTEST_MSL_STEPS
#define MSL_UNSTEPPED extern "C" __attribute__((no_sanitize("coverage")))
MSL_UNSTEPPED void __sanitizer_cov_trace_pc_guard(uint* guard) {
  if (msl::g_runtime == nullptr) return;
  const attest::msl::Block& block = msl::g_blocks[*guard];
  const unsigned long rank = msl::g_self->step >> 32;
  if (block.last != 0 && (rank >= block.rank || rank < block.first)) {
    msl::g_runtime->stop(static_cast<unsigned long>(block.last) << 32 | 0xffffffffUL);
  }
  msl::g_self->step = static_cast<unsigned long>(block.rank) << 32;
}
MSL_UNSTEPPED void msl_touch(const char* p, ulong bytes) {
  if (p < msl::g_watched_to && p + bytes > msl::g_watched_from) msl::g_runtime->stop(msl::g_self->step + 1);
}
MSL_UNSTEPPED void __sanitizer_cov_trace_pc_guard_init(uint* from, uint* to) {
  msl::g_guards = from;
  msl::g_guard_count = static_cast<unsigned>(to - from);
}
MSL_UNSTEPPED void __sanitizer_cov_pcs_init(const unsigned long* from, const unsigned long*) { msl::g_places = from; }
MSL_UNSTEPPED void __sanitizer_cov_cfs_init(const unsigned long* from, const unsigned long* to) {
  msl::g_flow = from;
  msl::g_flow_end = to;
}
#define MSL_STEP_CALLBACKS(bytes)                                                        \
  MSL_UNSTEPPED void __sanitizer_cov_load##bytes(const char* p) { msl_touch(p, bytes); } \
  MSL_UNSTEPPED void __sanitizer_cov_store##bytes(const char* p) { msl_touch(p, bytes); }
MSL_STEP_CALLBACKS(1)
MSL_STEP_CALLBACKS(2)
MSL_STEP_CALLBACKS(4)
MSL_STEP_CALLBACKS(8)
MSL_STEP_CALLBACKS(16)
#endif

// The compiler tells every access it cannot prove to be the thread's own; only watched memory is of interest.
#ifdef ATTEST_MSL_CHECKS
#define MSL_UNCHECKED extern "C" __attribute__((no_sanitize("thread"), disable_sanitizer_instrumentation))
#define MSL_WATCH(address, bytes, write)                                                            \
  do {                                                                                              \
    const char* at = static_cast<const char*>(address);                                             \
    if ((at < msl::g_watched_to && at + (bytes) > msl::g_watched_from) ||                           \
        (at < msl::g_device_to && at + (bytes) > msl::g_device_from))                               \
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
