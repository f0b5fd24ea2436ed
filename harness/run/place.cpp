#include "harness/run/place.h"

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstring>
#include <string>
#include <utility>

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <fmt/format.h>

#include "cases/dense_array.h"
#include "harness/memory.h"

namespace attest {

namespace {

std::uint64_t page_size() {
  static const auto size = static_cast<std::uint64_t>(sysconf(_SC_PAGESIZE));
  return size;
}

std::uint64_t round_up(std::uint64_t n, std::uint64_t to) { return (n + to - 1) / to * to; }

// Grown in powers of two so that a run of ever larger cases remaps rarely.
std::uint64_t capacity_for(std::uint64_t bytes) {
  if (bytes == 0) return 0;
  std::uint64_t capacity = std::max(page_size(), std::uint64_t{16} << 10);
  while (capacity < bytes && capacity < (std::uint64_t{64} << 20)) capacity *= 2;
  return capacity >= bytes ? capacity : round_up(bytes, std::uint64_t{16} << 20);
}

constexpr std::size_t index(Region r) { return static_cast<std::size_t>(r); }

}  // namespace

int create_shared_memory() {
#ifdef __linux__
  const int fd = memfd_create("attest", MFD_CLOEXEC);
#else
  static std::atomic<int> serial{0};
  const std::string name = fmt::format("/attest.{}.{}", getpid(), serial++);
  const int fd = shm_open(name.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
  if (fd >= 0) shm_unlink(name.c_str());
#endif
  return fd < 0 ? fd : to_high_fd(fd);
}

int to_high_fd(int fd) {
  const int high = fcntl(fd, F_DUPFD_CLOEXEC, kFirstHighFd);
  close(fd);
  return high;
}

std::string_view region_name(Region region) {
  constexpr std::array<std::string_view, kRegionCount> names{"Q", "K", "V", "mask", "sinks", "output"};
  return names[index(region)];
}

std::array<std::uint64_t, kRegionCount> region_bytes(const InputPlan& plan) {
  const auto bytes = [](const TensorPlan& t) { return static_cast<std::uint64_t>(t.bytes); };
  return {bytes(plan.q), bytes(plan.k), bytes(plan.v), bytes(plan.mask), bytes(plan.sinks), bytes(plan.out)};
}

std::string beyond_memory(const InputPlan& plan) {
  static const MachineMemory machine = machine_memory();
  const double memory = machine.most();
  double bytes = 0;
  for (const TensorPlan* t : {&plan.q, &plan.k, &plan.v, &plan.mask, &plan.sinks, &plan.out}) {
    if (t->bytes > 0) bytes += static_cast<double>(plan.sparse ? dense_bytes(t->shape) : t->bytes);
  }
  if (memory <= 0 || bytes <= memory) return {};
  return fmt::format("the tensors need {:.1f} GiB, and this {} has {:.1f} GiB of memory", bytes / 0x1p30,
                     memory < machine.physical ? "container" : "machine", memory / 0x1p30);
}

std::size_t region_start(std::uint64_t capacity, std::uint64_t bytes, bool left_aligned) {
  return left_aligned ? 0 : capacity - round_up(bytes, kRegionAlignment);
}

InputBuffers buffers_at(const std::array<std::byte*, kRegionCount>& regions, const RegionCapacities& capacities,
                        const std::array<std::uint64_t, kRegionCount>& bytes, bool left_aligned) {
  const auto at = [&](Region r) -> std::byte* {
    const std::size_t i = index(r);
    return regions[i] == nullptr ? nullptr : regions[i] + region_start(capacities[i], bytes[i], left_aligned);
  };
  return {at(Region::q), at(Region::k), at(Region::v), at(Region::mask), at(Region::sinks), at(Region::out)};
}

Place::~Place() {
  unmap();
  if (fd_ >= 0) close(fd_);
}

Place::Place(Place&& other) noexcept
    : fd_(std::exchange(other.fd_, -1)),
      base_(std::exchange(other.base_, nullptr)),
      mapped_(std::exchange(other.mapped_, 0)),
      capacities_(other.capacities_),
      bytes_(other.bytes_),
      regions_(other.regions_),
      buffers_(other.buffers_),
      left_aligned_(other.left_aligned_) {}

void Place::unmap() {
  if (base_ != nullptr) munmap(base_, mapped_);
  base_ = nullptr;
  mapped_ = 0;
}

Expected<void> Place::open() {
  if (fd_ >= 0) return {};
  fd_ = create_shared_memory();
  if (fd_ < 0) return harness_error(fmt::format("cannot create shared memory: {}", std::strerror(errno)));
  return {};
}

Expected<void> Place::prepare(const InputPlan& plan, bool left_aligned) {
  if (auto opened = open(); !opened) return opened;
  if (const std::string why = beyond_memory(plan); !why.empty()) return harness_error(why);
  bytes_ = region_bytes(plan);
  left_aligned_ = left_aligned;
  RegionCapacities wanted = capacities_;
  bool grow = base_ == nullptr || plan.sparse;  // a sparse plan wants fresh zeros
  for (std::size_t i = 0; i < kRegionCount; ++i) {
    if (bytes_[i] > wanted[i]) {
      wanted[i] = capacity_for(bytes_[i]);
      grow = true;
    }
  }
  if (grow) {
    unmap();
    std::uint64_t total = 0;
    for (const auto c : wanted) total += c;
    // Shrinking first drops the old pages, so that no tensor of an earlier case stays behind.
    if (ftruncate(fd_, 0) != 0 || ftruncate(fd_, static_cast<off_t>(total)) != 0) {
      return harness_error(fmt::format("cannot reserve {} MiB of shared memory: {}", total >> 20, std::strerror(errno)));
    }
    void* base = mmap(nullptr, total, PROT_READ | PROT_WRITE, MAP_SHARED, fd_, 0);
    if (base == MAP_FAILED) {
      return harness_error(fmt::format("cannot map {} MiB of shared memory: {}", total >> 20, std::strerror(errno)));
    }
    base_ = static_cast<std::byte*>(base);
    mapped_ = total;
    capacities_ = wanted;
  }
  std::uint64_t offset = 0;
  for (std::size_t i = 0; i < kRegionCount; ++i) {
    regions_[i] = bytes_[i] == 0 ? nullptr : base_ + offset;
    offset += capacities_[i];
  }
  buffers_ = buffers_at(regions_, capacities_, bytes_, left_aligned_);
  return {};
}

void Place::trim(std::size_t keep) {
  if (mapped_ <= keep) return;
  unmap();
  capacities_.fill(0);
  if (ftruncate(fd_, 0) != 0) return;  // the next prepare() reports what is wrong
}

namespace {

// Red zones of an allocation inside the pages it touches: [first page, start) and [end, end of the last page).
struct RedZones {
  std::byte *before, *before_end, *after, *after_end;
};

RedZones red_zones(std::byte* region, std::uint64_t capacity, std::uint64_t bytes, bool left_aligned) {
  const std::uint64_t start = region_start(capacity, bytes, left_aligned);
  const std::uint64_t first_page = start / page_size() * page_size();
  return {region + first_page, region + start, region + start + bytes,
          region + std::min(capacity, round_up(start + bytes, page_size()))};
}

}  // namespace

void Place::fill_input_gaps() {
  for (std::size_t i = 0; i < kRegionCount; ++i) {
    if (regions_[i] == nullptr || i == index(Region::out)) continue;
    const RedZones z = red_zones(regions_[i], capacities_[i], bytes_[i], left_aligned_);
    const auto before = std::min<std::ptrdiff_t>(z.before_end - z.before, kRedZoneBytes);
    const auto after = std::min<std::ptrdiff_t>(z.after_end - z.after, kRedZoneBytes);
    std::memset(z.before_end - before, 0xff, static_cast<std::size_t>(before));
    std::memset(z.after, 0xff, static_cast<std::size_t>(after));
  }
}

void Place::fill_red_zones(std::uint8_t pattern) {
  const std::size_t i = index(Region::out);
  if (regions_[i] == nullptr) return;
  const RedZones z = red_zones(regions_[i], capacities_[i], bytes_[i], left_aligned_);
  std::memset(z.before, pattern, static_cast<std::size_t>(z.before_end - z.before));
  std::memset(z.after, pattern, static_cast<std::size_t>(z.after_end - z.after));
}

bool Place::red_zones_hold(std::uint8_t pattern) const {
  const std::size_t i = index(Region::out);
  if (regions_[i] == nullptr) return true;
  const RedZones z = red_zones(regions_[i], capacities_[i], bytes_[i], left_aligned_);
  const auto holds = [&](const std::byte* from, const std::byte* to) {
    for (; from != to; ++from) {
      if (*from != std::byte{pattern}) return false;
    }
    return true;
  };
  return holds(z.before, z.before_end) && holds(z.after, z.after_end);
}

GuardedPlace::~GuardedPlace() { unmap(); }

GuardedPlace::GuardedPlace(GuardedPlace&& other) noexcept
    : fd_(other.fd_),
      capacities_(other.capacities_),
      bytes_(other.bytes_),
      open_from_(other.open_from_),
      open_to_(other.open_to_),
      regions_(std::exchange(other.regions_, {})),
      buffers_(other.buffers_) {}

void GuardedPlace::unmap() {
  for (std::size_t i = 0; i < kRegionCount; ++i) {
    if (regions_[i] != nullptr) munmap(regions_[i] - kGuardBytes, capacities_[i] + 2 * kGuardBytes);
    regions_[i] = nullptr;
  }
}

Expected<void> GuardedPlace::map(const RegionCapacities& capacities, const InputPlan& plan, bool left_aligned) {
  const auto failed = [](const char* what) {
    return harness_error(fmt::format("subject cannot {}: {}", what, std::strerror(errno)));
  };
  if (capacities != capacities_) {
    unmap();
    capacities_ = capacities;
    std::uint64_t offset = 0;
    for (std::size_t i = 0; i < kRegionCount; ++i) {
      if (capacities[i] == 0) continue;
      void* reserved = mmap(nullptr, capacities[i] + 2 * kGuardBytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
      if (reserved == MAP_FAILED) return failed("reserve address space");
      regions_[i] = static_cast<std::byte*>(reserved) + kGuardBytes;
      if (mmap(regions_[i], capacities[i], PROT_NONE, MAP_SHARED | MAP_FIXED, fd_, static_cast<off_t>(offset)) ==
          MAP_FAILED) {
        return failed("map shared memory");
      }
      open_from_[i] = open_to_[i] = 0;
      offset += capacities[i];
    }
  }
  bytes_ = region_bytes(plan);
  std::array<std::byte*, kRegionCount> present{};
  for (std::size_t i = 0; i < kRegionCount; ++i) {
    if (regions_[i] == nullptr) continue;
    const std::uint64_t start = region_start(capacities[i], bytes_[i], left_aligned);
    const std::uint64_t from = bytes_[i] == 0 ? 0 : start / page_size() * page_size();
    const std::uint64_t to = bytes_[i] == 0 ? 0 : std::min(capacities[i], round_up(start + bytes_[i], page_size()));
    if (bytes_[i] > 0) present[i] = regions_[i];
    if (from == open_from_[i] && to == open_to_[i]) continue;
    const int access = i == index(Region::out) ? PROT_READ | PROT_WRITE : PROT_READ;
    if (mprotect(regions_[i], capacities[i], PROT_NONE) != 0 ||
        (to > from && mprotect(regions_[i] + from, to - from, access) != 0)) {
      return failed("protect shared memory");
    }
    open_from_[i] = from;
    open_to_[i] = to;
  }
  buffers_ = buffers_at(present, capacities_, bytes_, left_aligned);
  return {};
}

GuardedPlace::Hit GuardedPlace::locate(const void* address) const {
  const auto a = reinterpret_cast<std::uintptr_t>(address);
  const std::array<const std::byte*, kRegionCount> starts{buffers_.q,    buffers_.k,     buffers_.v,
                                                          buffers_.mask, buffers_.sinks, buffers_.out};
  for (std::size_t i = 0; i < kRegionCount; ++i) {
    if (regions_[i] == nullptr) continue;
    const auto low = reinterpret_cast<std::uintptr_t>(regions_[i]) - kGuardBytes;
    if (a < low || a >= low + capacities_[i] + 2 * kGuardBytes) continue;
    Hit hit;
    hit.inside = true;
    hit.region = static_cast<Region>(i);
    if (starts[i] == nullptr) return hit;
    const auto start = reinterpret_cast<std::uintptr_t>(starts[i]);
    if (a < start) {
      hit.before = static_cast<std::int64_t>(start - a);
    } else if (a >= start + bytes_[i]) {
      hit.after = static_cast<std::int64_t>(a - start - bytes_[i]);
    } else {
      hit.within = true;
    }
    return hit;
  }
  return {};
}

}  // namespace attest
