// What a subject can touch and what the judge can find out about it: guards, gaps, red zones, growth.
#include "harness/run/place.h"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <vector>

namespace attest {
namespace {

// Asks the kernel whether a byte may be touched: a system call answers EFAULT where an access would be a signal.
class Probe {
 public:
  Probe() { EXPECT_EQ(pipe(ends_), 0); }
  ~Probe() {
    close(ends_[0]);
    close(ends_[1]);
  }
  bool readable(const std::byte* at) const {
    char drain = 0;
    return write(ends_[1], at, 1) == 1 && read(ends_[0], &drain, 1) == 1;
  }
  bool writable(std::byte* at) const {
    char drain = 0;
    if (write(ends_[1], "x", 1) != 1) return false;
    if (read(ends_[0], at, 1) == 1) return true;
    return read(ends_[0], &drain, 1) != 1;
  }

 private:
  int ends_[2] = {-1, -1};
};

InputPlan plan_of(const std::string& line) { return plan_inputs(parse_case("flash_attn_ext " + line)->problem); }

struct Mapped {
  Mapped(const InputPlan& plan, bool left) : bytes(region_bytes(plan)) {
    const auto ready = place.prepare(plan, left);
    EXPECT_TRUE(ready);
    guarded.emplace_back(place.fd());
    const auto mapped = guarded[0].map(place.capacities(), plan, left);
    EXPECT_TRUE(mapped);
    const InputBuffers& b = guarded[0].buffers();
    at = {b.q, b.k, b.v, b.mask, b.sinks, b.out};
  }
  Place place;
  std::vector<GuardedPlace> guarded;
  std::array<std::uint64_t, kRegionCount> bytes;
  std::array<std::byte*, kRegionCount> at;  // the subject's pointers
};

// Every tensor ends on an odd number of bytes.
constexpr const char* kOdd = "d=20 n_head=3 n_kv=33 kv=f16 mask=causal sinks=uniform layout=offset:6";

TEST(GuardedPlace, AReadPastATensorIsCaughtAtTheFirstByteBehindTheGap) {
  const Probe probe;
  const Mapped m(plan_of(kOdd), false);
  for (std::size_t i = 0; i < kRegionCount; ++i) {
    ASSERT_NE(m.at[i], nullptr);
    const std::byte* end = m.at[i] + m.bytes[i];
    const std::size_t gap = (kRegionAlignment - m.bytes[i] % kRegionAlignment) % kRegionAlignment;
    EXPECT_TRUE(probe.readable(end - 1));
    EXPECT_TRUE(probe.readable(gap > 0 ? end + gap - 1 : end - 1));
    EXPECT_FALSE(probe.readable(end + gap));
    EXPECT_FALSE(probe.readable(end + gap + kGuardBytes - 1));
    const auto hit = m.guarded[0].locate(end + gap);
    EXPECT_TRUE(hit.inside && !hit.within);
    EXPECT_EQ(hit.region, static_cast<Region>(i));
    EXPECT_EQ(hit.after, static_cast<std::int64_t>(gap));
    EXPECT_EQ(hit.before, 0);
  }
}

TEST(GuardedPlace, AReadBeforeALeftAlignedTensorIsCaughtAtTheFirstByte) {
  const Probe probe;
  const Mapped m(plan_of(kOdd), true);
  for (std::size_t i = 0; i < kRegionCount; ++i) {
    ASSERT_NE(m.at[i], nullptr);
    EXPECT_TRUE(probe.readable(m.at[i]));
    EXPECT_FALSE(probe.readable(m.at[i] - 1));
    EXPECT_FALSE(probe.readable(m.at[i] - kGuardBytes));
    const auto hit = m.guarded[0].locate(m.at[i] - 1);
    EXPECT_TRUE(hit.inside && !hit.within);
    EXPECT_EQ(hit.region, static_cast<Region>(i));
    EXPECT_EQ(hit.before, 1);
  }
}

TEST(GuardedPlace, InputsAreReadOnlyAndTheOutputIsNot) {
  const Probe probe;
  const Mapped m(plan_of(kOdd), false);
  for (std::size_t i = 0; i < kRegionCount; ++i) {
    const bool output = static_cast<Region>(i) == Region::out;
    EXPECT_EQ(probe.writable(m.at[i]), output) << i;
    EXPECT_EQ(probe.writable(m.at[i] + m.bytes[i] - 1), output) << i;
    EXPECT_TRUE(m.guarded[0].locate(m.at[i]).within);
    EXPECT_TRUE(m.guarded[0].locate(m.at[i] + m.bytes[i] - 1).within);
  }
  int elsewhere = 0;
  EXPECT_FALSE(m.guarded[0].locate(&elsewhere).inside);
}

TEST(Place, TheSubjectSeesWhatTheJudgeWroteAndTheJudgeWhatItAnswers) {
  for (const bool left : {false, true}) {
    const Mapped m(plan_of(kOdd), left);
    std::memset(m.place.buffers().k, 0x5a, m.bytes[1]);
    EXPECT_EQ(m.at[1][m.bytes[1] - 1], std::byte{0x5a});
    std::memset(m.at[5], 0x11, m.bytes[5]);
    EXPECT_EQ(m.place.buffers().out[m.bytes[5] - 1], std::byte{0x11});
  }
}

TEST(Place, AByteWrittenNextToTheOutputBreaksTheRedZone) {
  for (const bool left : {false, true}) {
    Mapped m(plan_of(kOdd), left);
    std::byte* start = m.at[5];
    std::byte* end = start + m.bytes[5];
    m.place.fill_red_zones(0xa5);
    std::memset(start, 0, m.bytes[5]);
    EXPECT_TRUE(m.place.red_zones_hold(0xa5)) << "writing the output itself is no offence";
    const std::size_t gap = kRegionAlignment - m.bytes[5] % kRegionAlignment;
    std::vector<std::byte*> neighbours{end, end + gap - 1};
    if (!left) neighbours.insert(neighbours.end(), {start - 1, start - 64});
    for (std::byte* at : neighbours) {
      *at = std::byte{0};
      EXPECT_FALSE(m.place.red_zones_hold(0xa5)) << "left " << left << ", byte " << at - start;
      m.place.fill_red_zones(0xa5);
      EXPECT_TRUE(m.place.red_zones_hold(0xa5));
    }
  }
}

TEST(Place, AnInputIsSurroundedByNaN) {
  for (const bool left : {false, true}) {
    Mapped m(plan_of(kOdd), left);
    std::memset(m.place.buffers().q, 0, m.bytes[0]);
    m.place.fill_input_gaps();
    for (std::size_t i = 0; i < 5; ++i) {
      const std::size_t gap = (kRegionAlignment - m.bytes[i] % kRegionAlignment) % kRegionAlignment;
      for (std::size_t b = 0; b < gap; ++b) EXPECT_EQ(m.at[i][m.bytes[i] + b], std::byte{0xff}) << i << " " << b;
      if (!left) {
        EXPECT_EQ(*(m.at[i] - 1), std::byte{0xff}) << i;
      }
    }
    EXPECT_EQ(m.at[0][m.bytes[0] - 1], std::byte{0}) << "the tensor itself stays as it is";
    EXPECT_EQ(m.at[0][0], std::byte{0});
  }
}

TEST(Place, AbsentTensorsHaveNoMemory) {
  Mapped m(plan_of("n_kv=0"), false);
  EXPECT_EQ(m.at[3], nullptr);
  EXPECT_EQ(m.at[4], nullptr);
  EXPECT_NE(m.at[1], nullptr) << "a tensor without elements still has an address";
  m.place.fill_input_gaps();
  m.place.fill_red_zones(0xa5);
  EXPECT_TRUE(m.place.red_zones_hold(0xa5));
}

TEST(Place, GrowsWithTheCasesAndShutsWhatASmallerOneDoesNotUse) {
  const Probe probe;
  const InputPlan small = plan_of("n_kv=1"), large = plan_of("d=128 n_kv=4096");
  Place place;
  ASSERT_TRUE(place.prepare(small, false));
  GuardedPlace guarded(place.fd());
  ASSERT_TRUE(guarded.map(place.capacities(), small, false));
  const auto before = place.capacities();

  ASSERT_TRUE(place.prepare(large, false));
  ASSERT_TRUE(guarded.map(place.capacities(), large, false));
  EXPECT_GT(place.capacities()[1], before[1]);
  EXPECT_GE(place.capacities()[1], region_bytes(large)[1]);
  std::memset(place.buffers().k, 7, region_bytes(large)[1]);
  const std::byte* first = guarded.buffers().k;
  EXPECT_EQ(first[0], std::byte{7});

  ASSERT_TRUE(place.prepare(small, false));
  EXPECT_GE(place.capacities()[1], region_bytes(large)[1]) << "memory is kept for the next large case";
  ASSERT_TRUE(guarded.map(place.capacities(), small, false));
  EXPECT_FALSE(probe.readable(first)) << "the larger case's keys are out of reach";
  EXPECT_TRUE(probe.readable(guarded.buffers().k));
}

TEST(Place, ASparsePlanFindsZerosAndTakesMemoryForWhatIsWritten) {
  const InputPlan dense = plan_of("d=128 n_kv=4096"), sparse = plan_of("n_kv=3 n_head=2 layout=cache:40000000+sparse");
  Place place;
  ASSERT_TRUE(place.prepare(dense, false));
  std::memset(place.buffers().k, 7, region_bytes(dense)[1]);
  ASSERT_TRUE(place.prepare(sparse, false));
  EXPECT_GT(region_bytes(sparse)[1], std::uint64_t{1} << 32);
  std::byte* const last_head = place.buffers().k + sparse.k.offset + sparse.k.shape.nb[2];
  EXPECT_EQ(place.buffers().k[0], std::byte{0});
  last_head[0] = std::byte{42};
  GuardedPlace guarded(place.fd());
  ASSERT_TRUE(guarded.map(place.capacities(), sparse, false));
  EXPECT_EQ(guarded.buffers().k[sparse.k.offset + sparse.k.shape.nb[2]], std::byte{42});
  struct stat file {};
  fstat(place.fd(), &file);
  EXPECT_GT(file.st_size, std::int64_t{1} << 33);
  EXPECT_LT(file.st_blocks * 512, std::int64_t{1} << 20);

  ASSERT_TRUE(place.prepare(sparse, false));
  EXPECT_EQ(last_head[0], std::byte{0}) << "what an earlier case wrote";
}

TEST(Place, TrimGivesMemoryBackAndTheNextCaseFindsItsOwn) {
  const InputPlan large = plan_of("d=128 n_kv=4096"), small = plan_of("n_kv=3");
  Place place;
  ASSERT_TRUE(place.prepare(large, false));
  GuardedPlace guarded(place.fd());
  ASSERT_TRUE(guarded.map(place.capacities(), large, false));
  const auto held = [&] {
    struct stat file {};
    fstat(place.fd(), &file);
    return static_cast<std::uint64_t>(file.st_size);
  };
  const auto all = held();
  EXPECT_GE(all, region_bytes(large)[1]);
  place.trim(all);
  EXPECT_EQ(held(), all);
  place.trim(all - 1);
  EXPECT_EQ(held(), 0U);

  ASSERT_TRUE(place.prepare(small, false));
  ASSERT_TRUE(guarded.map(place.capacities(), small, false));
  place.buffers().q[0] = std::byte{42};
  EXPECT_EQ(guarded.buffers().q[0], std::byte{42});
}

TEST(RegionStart, KeepsTheAlignmentOnBothSides) {
  for (std::uint64_t bytes = 0; bytes <= 3 * kRegionAlignment; ++bytes) {
    const std::size_t right = region_start(16384, bytes, false);
    EXPECT_EQ(right % kRegionAlignment, 0U);
    EXPECT_LE(right + bytes, 16384U);
    EXPECT_LT(16384 - right - bytes, kRegionAlignment);
    EXPECT_EQ(region_start(16384, bytes, true), 0U);
  }
}

TEST(Place, RefusesMoreThanTheMachinesMemoryButNotWhatASparseLayoutLeavesOut) {
  Place place;
  const auto refused = place.prepare(plan_of("d=64 n_head=32 n_q=2147483647 n_kv=96"), false);
  ASSERT_FALSE(refused);
  EXPECT_NE(refused.error().message.find("need 32768.0 GiB, and this "), std::string::npos)
      << refused.error().message;
  EXPECT_TRUE(place.prepare(plan_of("d=64 n_kv=9"), false));
  const InputPlan sparse = plan_of("d=64 n_kv=70 n_head=2 layout=cache:2147483647+sparse");
  EXPECT_GT(sparse.k.bytes, std::int64_t{1} << 38);
  EXPECT_EQ(beyond_memory(sparse), "");
}

}  // namespace
}  // namespace attest
