#include "backends/metal/sim/device_watch.h"

#include <fmt/format.h>

#include <algorithm>

namespace attest::metal {
namespace {

constexpr std::size_t kMaxFindings = 8;
constexpr std::size_t kMaxBytes = 8 << 20;  // of one buffer; a byte costs a cell
constexpr std::uint32_t kLanes = 32;

bool unordered(const DeviceMoment& a, const DeviceMoment& b) {
  if (a.threadgroup != b.threadgroup) return true;
  if (a.thread == b.thread || a.threadgroup_epoch != b.threadgroup_epoch) return false;
  return a.thread / kLanes != b.thread / kLanes || a.simdgroup_epoch == b.simdgroup_epoch;
}

}  // namespace

void DeviceWatch::clear() {
  regions_.clear();
  begin_ = end_ = nullptr;
  said_.clear();
}

bool DeviceWatch::add(std::string name, const std::byte* data, std::size_t bytes) {
  if (bytes == 0) return true;
  if (bytes > kMaxBytes) return false;
  begin_ = regions_.empty() ? data : std::min(begin_, data);
  end_ = regions_.empty() ? data + bytes : std::max(end_, data + bytes);
  regions_.push_back({std::move(name), data, std::vector<Touch>(bytes), {}});
  return true;
}

void DeviceWatch::access(const std::byte* at, std::size_t bytes, bool write, const void* pc, const DeviceMoment& now,
                         std::vector<Finding>& findings, const std::function<std::string(const void*)>& line_of) {
  const auto in = [&](const Region& r) { return at >= r.data && at < r.data + r.writes.size(); };
  const auto region = std::find_if(regions_.begin(), regions_.end(), in);
  if (region == regions_.end()) return;
  const auto offset = static_cast<std::size_t>(at - region->data);
  const auto check = [&](const Touch& other, const char* did, std::size_t byte) {
    if (other.pc == nullptr || !unordered(other.when, now) || findings.size() >= kMaxFindings) return;
    if (!said_.emplace(pc, other.pc).second) return;
    findings.push_back(
        {"RACE", fmt::format("{} {} what {} {} with no order between them: byte {} of {}, thread {} of threadgroup {} "
                             "and thread {} of threadgroup {}",
                             line_of(pc), write ? "writes" : "reads", line_of(other.pc), did, byte, region->name,
                             now.thread, now.threadgroup, other.when.thread, other.when.threadgroup)});
  };
  const std::size_t end = std::min(offset + bytes, region->writes.size());
  if (!write && region->reads.empty()) region->reads.resize(region->writes.size());
  for (std::size_t i = offset; i < end; ++i) {
    check(region->writes[i], "writes", i);
    if (write) {
      if (!region->reads.empty()) {
        for (const Touch& read : region->reads[i]) check(read, "reads", i);
      }
      region->writes[i] = {now, pc};
      continue;
    }
    Reads& reads = region->reads[i];
    const DeviceMoment& last = reads[0].when;
    if (reads[0].pc != nullptr && (last.threadgroup != now.threadgroup || last.thread != now.thread)) {
      const bool same_simdgroup = last.thread / kLanes == now.thread / kLanes;
      reads[last.threadgroup != now.threadgroup ? 3 : same_simdgroup ? 1 : 2] = reads[0];
    }
    reads[0] = {now, pc};
  }
}

}  // namespace attest::metal
