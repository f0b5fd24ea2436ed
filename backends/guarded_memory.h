// Memory that ends at a page nobody may touch, for what a backend lends to foreign code: a kernel's workspace.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "cases/error.h"

namespace attest {

// Not thread-safe. At most kGuardedMemories live at a time are known to guarded_memory_at().
class GuardedMemory {
 public:
  GuardedMemory() = default;
  ~GuardedMemory();
  GuardedMemory(const GuardedMemory&) = delete;
  GuardedMemory& operator=(const GuardedMemory&) = delete;

  // Room for `bytes` at a multiple of `alignment`, a power of two up to a page, less than `alignment` bytes before the
  // guard. All bytes, the red zones on both sides too, are set to all ones: NaN in f32, f16 and bf16. bytes 0: nothing.
  // Errors (harness): no memory.
  Expected<void> prepare(std::uint64_t bytes, std::uint64_t alignment);
  std::byte* data() const { return data_; }  // nullptr where prepare() was asked for nothing
  // "" or which byte beside it was written: "12 bytes past the end".
  std::string damage() const;

 private:
  friend bool guarded_memory_at(const void* address, std::int64_t* before, std::int64_t* after);
  void release();

  std::byte* base_ = nullptr;  // of the mapping, a guard
  std::size_t open_ = 0;       // bytes between the guards
  std::byte* data_ = nullptr;
  std::uint64_t bytes_ = 0;
};

inline constexpr std::size_t kGuardedMemories = 16;

// Is this an address in or around such memory? Bytes before its start (> 0), or past its end. Async-signal-safe.
bool guarded_memory_at(const void* address, std::int64_t* before, std::int64_t* after);

}  // namespace attest
