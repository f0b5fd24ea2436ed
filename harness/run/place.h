// Shared memory for the tensors of one case: written by the judge, mapped by the subject between guard pages.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "cases/error.h"
#include "cases/inputs.h"

namespace attest {

// The regions of a place, in file order.
enum class Region : std::uint8_t { q, k, v, mask, sinks, out };
inline constexpr int kRegionCount = 6;
std::string_view region_name(Region region);

// An anonymous shared memory object, close-on-exec, with a descriptor above every one a subject inherits; -1 with
// errno set.
int create_shared_memory();

// Moves a descriptor above every one a subject inherits, so that dup2 in the child never clobbers a source.
inline constexpr int kFirstHighFd = 200;
int to_high_fd(int fd);

inline constexpr std::size_t kRegionAlignment = 64;  // of every allocation's first byte
inline constexpr std::size_t kRedZoneBytes = 64;     // of NaN around every input, where its pages have room
inline constexpr std::size_t kGuardBytes = std::size_t{64} << 10;  // PROT_NONE on both sides in the subject

// Capacity in bytes per region, multiples of the page size; 0: the tensor is absent.
using RegionCapacities = std::array<std::uint64_t, kRegionCount>;

// Bytes of the six allocations of a plan. An absent tensor has 0.
std::array<std::uint64_t, kRegionCount> region_bytes(const InputPlan& plan);

// "", or why this machine cannot hold the tensors of a plan: reserving memory succeeds for any size, and filling it then
// ends in the death of some process.
std::string beyond_memory(const InputPlan& plan);

// Where an allocation of `bytes` begins inside a region: right-aligned (the default) leaves a gap of less than
// kRegionAlignment bytes between its end and the guard.
std::size_t region_start(std::uint64_t capacity, std::uint64_t bytes, bool left_aligned);

// Pointers into one mapping of a place (the judge's or the subject's).
InputBuffers buffers_at(const std::array<std::byte*, kRegionCount>& regions, const RegionCapacities& capacities,
                        const std::array<std::uint64_t, kRegionCount>& bytes, bool left_aligned);

// The judge's side: owns the shared memory object and a read-write mapping of it.
class Place {
 public:
  Place() = default;
  ~Place();
  Place(Place&& other) noexcept;
  Place& operator=(Place&&) = delete;

  // Creates the shared memory object, so that fd() can be handed to a subject.
  Expected<void> open();
  // Makes room for a plan; contents are lost where a region grows. Errors: beyond_memory(), no shared memory.
  Expected<void> prepare(const InputPlan& plan, bool left_aligned);
  // Gives memory back to the system when more than `keep` bytes are held.
  void trim(std::size_t keep);

  int fd() const { return fd_; }
  const RegionCapacities& capacities() const { return capacities_; }
  const InputBuffers& buffers() const { return buffers_; }
  bool left_aligned() const { return left_aligned_; }

  // The bytes around the inputs that no guard covers: all ones, NaN in f32, f16 and bf16, so that a value read there is
  // seen in the answer.
  void fill_input_gaps();
  // The bytes between the end of the output and the guard, and before its start in its first page: a red zone.
  void fill_red_zones(std::uint8_t pattern);
  bool red_zones_hold(std::uint8_t pattern) const;

 private:
  void unmap();

  int fd_ = -1;
  std::byte* base_ = nullptr;
  std::size_t mapped_ = 0;
  RegionCapacities capacities_{};
  std::array<std::uint64_t, kRegionCount> bytes_{};
  std::array<std::byte*, kRegionCount> regions_{};
  InputBuffers buffers_;
  bool left_aligned_ = false;
};

// The subject's side: maps inputs read-only and the output read-write, every region between guard pages.
class GuardedPlace {
 public:
  explicit GuardedPlace(int fd) : fd_(fd) {}
  ~GuardedPlace();
  GuardedPlace(GuardedPlace&& other) noexcept;
  GuardedPlace& operator=(GuardedPlace&&) = delete;

  Expected<void> map(const RegionCapacities& capacities, const InputPlan& plan, bool left_aligned);
  const InputBuffers& buffers() const { return buffers_; }

  struct Hit {
    bool inside = false;     // the address lies in this place or its guards
    Region region = Region::q;
    std::int64_t before = 0;  // bytes before the allocation's start (> 0), or
    std::int64_t after = 0;   // bytes past its end (>= 0 with before == 0 and not within)
    bool within = false;      // inside the allocation: a write to a read-only input
  };
  Hit locate(const void* address) const;  // async-signal-safe

 private:
  void unmap();

  int fd_ = -1;
  RegionCapacities capacities_{};
  std::array<std::uint64_t, kRegionCount> bytes_{};
  std::array<std::uint64_t, kRegionCount> open_from_{}, open_to_{};  // accessible part of each region
  std::array<std::byte*, kRegionCount> regions_{};
  InputBuffers buffers_;
};

}  // namespace attest
