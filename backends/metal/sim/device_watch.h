// Who touched which byte of the device memory that a dispatch may write: threads of a grid that do so without order.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "backends/metal/device.h"

namespace attest::metal {

// A thread of the grid between two barriers that order device memory. Nothing orders threads of different threadgroups.
struct DeviceMoment {
  std::uint32_t threadgroup = 0;
  std::uint32_t thread = 0, threadgroup_epoch = 0, simdgroup_epoch = 0;
};

class DeviceWatch {
 public:
  // A new dispatch: nothing is watched.
  void clear();
  // False: too large, not watched.
  bool add(std::string name, const std::byte* data, std::size_t bytes);
  // All that is watched lies in [begin, end).
  const std::byte* begin() const { return begin_; }
  const std::byte* end() const { return end_; }
  // One access of the running thread; memory that is not watched does not count.
  void access(const std::byte* at, std::size_t bytes, bool write, const void* pc, const DeviceMoment& now,
              std::vector<Finding>& findings, const std::function<std::string(const void*)>& line_of);

 private:
  struct Touch {
    DeviceMoment when;
    const void* pc = nullptr;
  };
  // Last reader, and the last other one of its simdgroup, of another simdgroup, of another threadgroup.
  using Reads = std::array<Touch, 4>;
  struct Region {
    std::string name;
    const std::byte* data;
    std::vector<Touch> writes;  // one per byte
    std::vector<Reads> reads;   // likewise, from the first read on: few outputs are read
  };
  std::vector<Region> regions_;
  const std::byte *begin_ = nullptr, *end_ = nullptr;
  std::set<std::pair<const void*, const void*>> said_;
};

}  // namespace attest::metal
