#include "backends/guarded_memory.h"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstring>

namespace attest {
namespace {

constexpr std::size_t kGuard = std::size_t{64} << 10, kRedZone = 64;
constexpr std::byte kFill{0xff};

// A signal handler reads this: entries are set and cleared whole.
std::array<std::atomic<const GuardedMemory*>, kGuardedMemories> g_known{};

}  // namespace

GuardedMemory::~GuardedMemory() { release(); }

void GuardedMemory::rename(std::string_view name) {
  name_ = {};
  std::copy_n(name.data(), std::min(name.size(), name_.size() - 1), name_.data());
}

void GuardedMemory::release() {
  for (auto& known : g_known) {
    const GuardedMemory* mine = this;
    known.compare_exchange_strong(mine, nullptr);
  }
  if (base_ != nullptr) munmap(base_, open_ + 2 * kGuard);
  base_ = data_ = nullptr;
  open_ = 0;
  bytes_ = 0;
  read_only_ = false;
}

Expected<void> GuardedMemory::prepare(std::uint64_t bytes, std::uint64_t alignment) {
  const std::string name = name_.data();
  const auto none = [&] { return harness_error("no memory for " + name + " of " + std::to_string(bytes) + " bytes"); };
  data_ = nullptr;
  bytes_ = bytes;
  if (bytes == 0) return {};
  const auto page = static_cast<std::uint64_t>(sysconf(_SC_PAGESIZE));
  if (bytes > std::uint64_t{1} << 46) {
    return harness_error(name + " of " + std::to_string(bytes >> 30) + " GiB cannot be had");
  }
  const std::uint64_t room = (bytes + alignment + kRedZone + page - 1) / page * page;
  if (room > open_) {
    release();
    bytes_ = bytes;
    void* base = mmap(nullptr, room + 2 * kGuard, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (base == MAP_FAILED) return none();
    base_ = static_cast<std::byte*>(base);
    open_ = room;
    read_only_ = true;
    for (auto& known : g_known) {
      const GuardedMemory* free = nullptr;
      if (known.compare_exchange_strong(free, this)) break;
    }
  }
  if (read_only_ && mprotect(base_ + kGuard, open_, PROT_READ | PROT_WRITE) != 0) {
    release();
    return none();
  }
  read_only_ = false;
  std::byte* const end = base_ + kGuard + open_;
  data_ = end - (bytes + alignment - 1) / alignment * alignment;
  std::memset(data_ - kRedZone, static_cast<int>(kFill), static_cast<std::size_t>(end - data_) + kRedZone);
  return {};
}

void GuardedMemory::forbid_writing() {
  if (data_ != nullptr) read_only_ = mprotect(base_ + kGuard, open_, PROT_READ) == 0;
}

std::string GuardedMemory::damage() const {
  if (data_ == nullptr) return {};
  const auto whole = [](std::byte b) { return b == kFill; };
  const std::byte *after = data_ + bytes_, *end = base_ + kGuard + open_;
  if (const auto* at = std::find_if_not(after, end, whole); at != end) {
    return std::to_string(at - after) + " bytes past the end";
  }
  const std::byte* before = data_ - kRedZone;
  for (const std::byte* at = data_; at != before; --at) {
    if (!whole(at[-1])) return std::to_string(data_ - at + 1) + " bytes before the start";
  }
  return {};
}

std::optional<GuardedHit> guarded_memory_at(const void* address) {
  const auto a = reinterpret_cast<std::uintptr_t>(address);
  for (const auto& known : g_known) {
    const GuardedMemory* memory = known.load();
    if (memory == nullptr || memory->data_ == nullptr) continue;
    const auto low = reinterpret_cast<std::uintptr_t>(memory->base_);
    if (a < low || a >= low + memory->open_ + 2 * kGuard) continue;
    const auto start = reinterpret_cast<std::uintptr_t>(memory->data_);
    GuardedHit hit;
    hit.name = memory->name_;
    hit.before = a < start ? static_cast<std::int64_t>(start - a) : 0;
    hit.after = a >= start ? static_cast<std::int64_t>(a - start) - static_cast<std::int64_t>(memory->bytes_) : 0;
    hit.within = a >= start && hit.after < 0;
    return hit;
  }
  return std::nullopt;
}

}  // namespace attest
