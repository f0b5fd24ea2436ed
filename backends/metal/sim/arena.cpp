#include "backends/metal/sim/arena.h"

#include <fmt/format.h>
#include <sys/mman.h>

#include <algorithm>
#include <cstring>
#include <new>

namespace attest::metal {
namespace {

constexpr std::size_t kRedZone = 512;  // before the first object and after each
constexpr std::size_t kRoom = 128 << 10;
constexpr std::size_t kGuard = 64 << 10;
constexpr int kPoison = 0xff;  // NaN in f32, f16 and bf16
constexpr std::size_t kMaxFindings = 8;

std::size_t up(std::size_t n, std::size_t to) { return (n + to - 1) / to * to; }

bool unordered(const Moment& a, const Moment& b) {
  if (a.thread == b.thread || a.threadgroup_epoch != b.threadgroup_epoch) return false;
  return a.simdgroup != b.simdgroup || a.simdgroup_epoch == b.simdgroup_epoch;
}

}  // namespace

Arena::Arena() {
  void* map = mmap(nullptr, kRoom + 2 * kGuard, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (map == MAP_FAILED) throw std::bad_alloc();
  base_ = static_cast<std::byte*>(map) + kGuard;
  mprotect(base_, kRoom, PROT_READ | PROT_WRITE);
}

Arena::~Arena() { munmap(base_ - kGuard, kRoom + 2 * kGuard); }

const std::byte* Arena::end() const { return base_ + kRoom; }

void Arena::clear(bool watch) {
  objects_.clear();
  used_ = 0;
  top_ = 0;
  watch_ = watch;
  said_.clear();
  if (watch && cells_.empty()) cells_.resize(kRoom);
}

std::byte* Arena::add(std::string name, std::size_t bytes, std::size_t alignment) {
  used_ = up(used_, std::max<std::size_t>(alignment, 1)) + bytes;
  if (used_ > kMaxThreadgroupMemory) return nullptr;
  const std::size_t offset = up(top_ + kRedZone, std::max<std::size_t>(alignment, 16));
  if (offset + bytes + kRedZone > kRoom) return nullptr;
  objects_.push_back({std::move(name), offset, bytes});
  // Seen for the first time within a threadgroup: poison from the old end on.
  std::memset(base_ + top_, kPoison, offset + bytes + kRedZone - top_);
  top_ = offset + bytes;
  return base_ + offset;
}

void Arena::begin_threadgroup() {
  ++serial_;
  std::memset(base_, kPoison, top_ + kRedZone);
}

const Arena::Object* Arena::object_at(std::size_t offset) const {
  for (const Object& o : objects_) {
    if (offset >= o.offset && offset < o.offset + o.bytes) return &o;
  }
  return nullptr;
}

// "byte 40 of 'scores'", or where outside the nearest object.
std::string Arena::place(std::size_t offset) const {
  if (const Object* o = object_at(offset)) return fmt::format("byte {} of {}", offset - o->offset, o->name);
  const Object* before = nullptr;
  for (const Object& o : objects_) {
    if (o.offset + o.bytes <= offset) before = &o;
  }
  if (before == nullptr) return "memory before the first threadgroup object";
  return fmt::format("{} bytes past the end of {} ({} bytes)", offset - before->offset - before->bytes, before->name,
                     before->bytes);
}

std::vector<Finding> Arena::end_threadgroup() {
  std::vector<Finding> findings;
  std::size_t from = 0;
  for (std::size_t i = 0; i <= objects_.size(); ++i) {
    const std::size_t to = i < objects_.size() ? objects_[i].offset : top_ + kRedZone;
    const auto touched =
        std::find_if(base_ + from, base_ + to, [](std::byte b) { return b != static_cast<std::byte>(kPoison); });
    if (touched != base_ + to) {
      findings.push_back(
          {"THREADGROUP-OOB", fmt::format("written: {}", place(static_cast<std::size_t>(touched - base_)))});
    }
    if (i < objects_.size()) from = objects_[i].offset + objects_[i].bytes;
  }
  return findings;
}

void Arena::access(const std::byte* at, std::size_t bytes, bool write, const void* pc, const Moment& now,
                   std::vector<Finding>& findings, const std::function<std::string(const void*)>& line_of) {
  const char* what = write ? "writes" : "reads";
  // Said once per pair of places in the code.
  const auto report = [&](const char* verdict, const void* other, const std::function<std::string()>& text) {
    if (findings.size() < kMaxFindings && said_.emplace(verdict, pc, other).second)
      findings.push_back({verdict, text()});
  };
  if (at < base_ || at + bytes > end()) return;
  for (std::size_t i = 0; i < bytes; ++i) {
    const auto offset = static_cast<std::size_t>(at - base_) + i;
    if (object_at(offset) == nullptr) {
      return report("THREADGROUP-OOB", nullptr,
                    [&] { return fmt::format("{} {} {}", line_of(pc), what, place(offset)); });
    }
    Cell& cell = cells_[offset];
    const auto check = [&](const Touch& other, const char* did) {
      if (other.serial != serial_ || !unordered(other.when, now)) return;
      report("RACE", other.pc, [&] {
        return fmt::format("{} {} what {} {} with no barrier in between: {}, threads {} and {}", line_of(pc), what,
                           line_of(other.pc), did, place(offset), now.thread, other.when.thread);
      });
    };
    check(cell.write, "writes");
    if (write) {
      for (const Touch& read : cell.reads) check(read, "reads");
      cell.write = {now, pc, serial_};
      continue;
    }
    if (cell.write.serial != serial_) {
      report("UNINITIALISED", nullptr,
             [&] { return fmt::format("{} reads {}, which nothing has written", line_of(pc), place(offset)); });
    }
    Touch& last = cell.reads[0];
    if (last.serial == serial_ && last.when.thread != now.thread) {
      cell.reads[last.when.simdgroup == now.simdgroup ? 1 : 2] = last;
    }
    last = {now, pc, serial_};
  }
}

}  // namespace attest::metal
