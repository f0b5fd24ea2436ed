#include "backends/metal/device.h"

#include <algorithm>

namespace attest::metal {
namespace {

constexpr std::uintptr_t kAlignment = 64;

}  // namespace

Expected<void> check_dispatch(const Dispatch& d) {
  const auto wrong = [&](const std::string& what) { return input_error(d.function + ": " + what); };
  if (d.threadgroups.count() == 0 || d.threads.count() == 0) return wrong("an empty grid is dispatched");
  if (d.threads.count() > kMaxThreads) {
    return wrong(std::to_string(d.threads.count()) + " threads in a threadgroup, Metal has " +
                 std::to_string(kMaxThreads));
  }
  std::size_t total = 0;
  for (const std::size_t bytes : d.threadgroup_memory) {
    if (bytes % 16 != 0) return wrong("threadgroup memory of " + std::to_string(bytes) + " bytes is no multiple of 16");
    total += bytes;
  }
  if (total > kMaxThreadgroupMemory) {
    return wrong(std::to_string(total) + " bytes of threadgroup memory, Metal has " +
                 std::to_string(kMaxThreadgroupMemory));
  }
  return {};
}

std::vector<MemoryRegion> regions_of(const std::vector<Dispatch>& dispatches) {
  std::vector<std::pair<std::uintptr_t, std::uintptr_t>> ranges;  // begin, end
  for (const Dispatch& d : dispatches) {
    for (const Argument& a : d.arguments) {
      if (a.data == nullptr || a.bytes == 0) continue;
      const auto begin = reinterpret_cast<std::uintptr_t>(a.data);
      ranges.emplace_back(begin / kAlignment * kAlignment, begin + a.bytes);
    }
  }
  std::sort(ranges.begin(), ranges.end());
  std::vector<MemoryRegion> regions;
  std::uintptr_t end = 0;
  for (const auto& [begin, stop] : ranges) {
    if (regions.empty() || begin >= end) {
      regions.push_back({reinterpret_cast<const std::byte*>(begin), 0});
      end = stop;
    }
    end = std::max(end, stop);
    regions.back().bytes = end - reinterpret_cast<std::uintptr_t>(regions.back().begin);
  }
  return regions;
}

}  // namespace attest::metal
