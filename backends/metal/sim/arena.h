// Threadgroup memory as a kernel must not take it for granted: exactly as large as asked for, NaN before the first
// write, red zones around every object, and, where accesses are watched, who touched what between which barriers.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <set>
#include <string>
#include <string_view>
#include <tuple>
#include <vector>

#include "backends/metal/device.h"
#include "cases/error.h"

namespace attest::metal {

// A thread between two barriers: accesses of equal epochs by different threads are not ordered.
struct Moment {
  std::uint32_t thread = 0, simdgroup = 0;
  std::uint32_t threadgroup_epoch = 0, simdgroup_epoch = 0;
};

class Arena {
 public:
  Arena();
  ~Arena();
  Arena(const Arena&) = delete;
  Arena& operator=(const Arena&) = delete;

  // A new dispatch: forgets all objects. `watch`: access() will be called.
  void clear(bool watch);
  // Room for an object; its address holds for the whole dispatch. nullptr: more than kMaxThreadgroupMemory in all.
  std::byte* add(std::string name, std::size_t bytes, std::size_t alignment);
  // A new threadgroup: all memory is poison again.
  void begin_threadgroup();
  // What the red zones say; empty: untouched.
  std::vector<Finding> end_threadgroup();
  // One access of the running thread. `line_of` turns a code address into a source line, when something is to be said.
  void access(const std::byte* at, std::size_t bytes, bool write, const void* pc, const Moment& now,
              std::vector<Finding>& findings, const std::function<std::string(const void*)>& line_of);

  const std::byte* begin() const { return base_; }
  const std::byte* end() const;
  std::size_t used() const { return used_; }

 private:
  struct Object {
    std::string name;
    std::size_t offset, bytes;
  };
  struct Touch {
    Moment when;
    const void* pc = nullptr;
    std::uint32_t serial = 0;  // of the threadgroup; another one's do not count
  };
  struct Cell {
    Touch write, reads[3];  // last reader, last other reader of its simdgroup, last reader of another simdgroup
  };
  const Object* object_at(std::size_t offset) const;
  std::string place(std::size_t offset) const;

  std::byte* base_ = nullptr;
  std::vector<Object> objects_;
  std::size_t used_ = 0, top_ = 0;  // bytes asked for; end of the last object
  bool watch_ = false;
  std::uint32_t serial_ = 0;
  std::vector<Cell> cells_;
  std::set<std::tuple<std::string_view, const void*, const void*>> said_;  // verdict, both places in the code
};

}  // namespace attest::metal
