// What a dispatch needs of a GPU: a library from source, a pipeline per set of function constants, buffers, a grid.
// Two implementations: the simulator (everywhere) and Metal.framework (Apple); all that chooses and packs is shared.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "cases/error.h"

namespace attest::metal {

inline constexpr std::size_t kMaxThreadgroupMemory = 32768;  // bytes; what every Apple GPU has
inline constexpr std::uint32_t kMaxThreads = 1024;           // per threadgroup

struct Size3 {
  std::uint32_t x = 1, y = 1, z = 1;
  std::uint64_t count() const { return std::uint64_t{x} * y * z; }
};

// Value of [[function_constant(index)]]. kind: 'i' (int, uint, short ...), 'f' (float, half), 'b' (bool).
struct FunctionConstantValue {
  int index = 0;
  char kind = 'i';
  double value = 0;
};

// One argument: memory of the host that the device is to see, or a copy of some bytes.
struct Argument {
  int index = 0;  // [[buffer(index)]]
  const std::byte* data = nullptr;
  std::size_t bytes = 0;
  bool written = false;           // the kernel writes here
  std::vector<std::byte> copied;  // setBytes; data is nullptr

  static Argument of(int index, const void* data, std::size_t bytes) {
    return {index, static_cast<const std::byte*>(data), bytes, false, {}};
  }
  static Argument output(int index, void* data, std::size_t bytes) {
    return {index, static_cast<const std::byte*>(data), bytes, true, {}};
  }
  template <class T>
  static Argument value(int index, const T& v) {
    const auto* p = reinterpret_cast<const std::byte*>(&v);
    return {index, nullptr, sizeof v, false, std::vector<std::byte>(p, p + sizeof v)};
  }
};

struct Dispatch {
  std::string function;
  std::vector<FunctionConstantValue> constants;
  std::vector<Argument> arguments;
  std::vector<std::size_t> threadgroup_memory;  // bytes of [[threadgroup(i)]], multiples of 16
  Size3 threadgroups, threads;                  // grid, and threads of a threadgroup
};

// What Apple's API refuses whatever the kernel is: an empty grid, more than 1024 threads, more than 32 KiB of
// threadgroup memory or a length that is no multiple of 16. Error: input.
Expected<void> check_dispatch(const Dispatch& dispatch);

// Memory of the host that the arguments of some dispatches lie in: ranges that overlap are one, and every region begins
// at a multiple of 64 bytes, so that a copy of it keeps all alignments.
struct MemoryRegion {
  const std::byte* begin = nullptr;
  std::size_t bytes = 0;
};
std::vector<MemoryRegion> regions_of(const std::vector<Dispatch>& dispatches);

// What a simulator saw that no comparison can: the name of a verdict (RACE, THREADGROUP-OOB ...) and a sentence
// with the lines of the .metal file.
struct Finding {
  std::string verdict, text;
};

struct DispatchResult {
  double cpu_seconds = 0;
  std::vector<Finding> findings;
  std::vector<std::string> notes;  // what is no finding: undefined values, operations of divergent lanes
};

// Not thread-safe.
class Device {
 public:
  virtual ~Device() = default;
  virtual std::string build_id() const = 0;  // e.g. "metal:sim clang 19 (bf16)"
  // Source text of a library, under the name its messages give. Errors: input, with the .metal line, where it is no
  // MSL; harness where this machine cannot compile.
  virtual Expected<void> load(std::string_view name, std::string_view source) = 0;
  // Runs the dispatches one after the other and waits. Errors: what Apple's API would refuse (no such function, too
  // many threads, too much threadgroup memory, an empty grid).
  virtual Expected<DispatchResult> run(const std::vector<Dispatch>& dispatches) = 0;
};

}  // namespace attest::metal
