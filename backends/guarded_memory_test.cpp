#include "backends/guarded_memory.h"

#include <gtest/gtest.h>

namespace attest {
namespace {

TEST(GuardedMemory, IsAllOnesAndEndsAtAGuard) {
  GuardedMemory memory;
  ASSERT_TRUE(memory.prepare(640, 64));
  EXPECT_EQ(memory.data()[639], std::byte{0xff});
  EXPECT_DEATH(
      {
        volatile auto b = memory.data()[640];
        (void)b;
      },
      "");
}

TEST(GuardedMemory, AWriteBesideItIsTold) {
  GuardedMemory memory;
  ASSERT_TRUE(memory.prepare(100, 64));
  EXPECT_EQ(memory.damage(), "");
  memory.data()[103] = std::byte{1};
  EXPECT_EQ(memory.damage(), "3 bytes past the end");
  ASSERT_TRUE(memory.prepare(100, 64));
  EXPECT_EQ(memory.damage(), "");
  memory.data()[-5] = std::byte{1};
  EXPECT_EQ(memory.damage(), "5 bytes before the start");
}

TEST(GuardedMemory, AnAddressIsKnownByNameWhileItLives) {
  const std::byte* inside = nullptr;
  {
    GuardedMemory memory("the packed q");
    ASSERT_TRUE(memory.prepare(96, 32));
    inside = memory.data();
    const auto hit = guarded_memory_at(inside + 95);
    ASSERT_TRUE(hit);
    EXPECT_STREQ(hit->name.data(), "the packed q");
    EXPECT_TRUE(hit->within);
    const auto past = guarded_memory_at(inside + 100);
    ASSERT_TRUE(past);
    EXPECT_FALSE(past->within);
    EXPECT_EQ(past->after, 4);
    const auto before = guarded_memory_at(inside - 7);
    ASSERT_TRUE(before);
    EXPECT_EQ(before->before, 7);
  }
  EXPECT_FALSE(guarded_memory_at(inside));
}

TEST(GuardedMemory, WritesCanBeForbiddenUntilTheNextUse) {
  GuardedMemory memory;
  ASSERT_TRUE(memory.prepare(16, 16));
  memory.forbid_writing();
  EXPECT_DEATH(memory.data()[0] = std::byte{1}, "");
  ASSERT_TRUE(memory.prepare(16, 16));
  memory.data()[0] = std::byte{1};
  EXPECT_EQ(memory.data()[0], std::byte{1});
}

}  // namespace
}  // namespace attest
