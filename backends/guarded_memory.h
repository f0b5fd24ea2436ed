// Memory that ends at a page nobody may touch, for what a backend lends to foreign code: a kernel's workspace, a packed
// copy of an input. A fault in or beside it is told by name.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "cases/error.h"

namespace attest {

// What a fault in or beside known memory was. Plain data: a signal handler passes it on.
struct GuardedHit {
  std::array<char, 64> name{};  // "the workspace", ends with a 0
  std::int64_t before = 0;      // bytes before its start, if > 0
  std::int64_t after = 0;       // bytes past its end, if >= 0 and not `within`
  bool within = false;          // inside, where nothing may be written
};

// Not thread-safe. At most kGuardedMemories live at a time are known to guarded_memory_at().
class GuardedMemory {
 public:
  explicit GuardedMemory(std::string_view name = "the workspace") { rename(name); }
  ~GuardedMemory();
  GuardedMemory(const GuardedMemory&) = delete;
  GuardedMemory& operator=(const GuardedMemory&) = delete;

  void rename(std::string_view name);

  // Room for `bytes` at a multiple of `alignment`, a power of two up to a page, less than `alignment` bytes before the
  // guard. All bytes, the red zones on both sides too, are set to all ones: NaN in f32, f16 and bf16. bytes 0: nothing.
  // Errors (harness): no memory.
  Expected<void> prepare(std::uint64_t bytes, std::uint64_t alignment);
  // Until the next prepare() a write is a fault.
  void forbid_writing();
  std::byte* data() const { return data_; }  // nullptr where prepare() was asked for nothing
  // "" or which byte beside it was written: "12 bytes past the end".
  std::string damage() const;

 private:
  friend std::optional<GuardedHit> guarded_memory_at(const void* address);
  void release();

  std::array<char, 64> name_{};
  std::byte* base_ = nullptr;  // of the mapping, a guard
  std::size_t open_ = 0;       // bytes between the guards
  bool read_only_ = false;
  std::byte* data_ = nullptr;
  std::uint64_t bytes_ = 0;
};

inline constexpr std::size_t kGuardedMemories = 64;

// Is this an address in or around such memory? Async-signal-safe.
std::optional<GuardedHit> guarded_memory_at(const void* address);

}  // namespace attest
