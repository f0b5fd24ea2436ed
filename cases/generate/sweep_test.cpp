#include "cases/generate/sweep.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace attest {
namespace {

using ::testing::ElementsAre;

std::vector<std::string> values(std::string_view text) {
  const auto axis = parse_sweep_axis(text, [](std::string_view name) { return name == "n_kv"; });
  EXPECT_TRUE(axis.has_value()) << axis.error().text();
  return axis ? axis->values : std::vector<std::string>{};
}

TEST(SweepAxis, RangesHoldTheirEndsAndWholeValuesOnce) {
  EXPECT_THAT(values("n_kv=1..4096:log"),
              ElementsAre("1", "2", "4", "8", "16", "32", "64", "128", "256", "512", "1024", "2048", "4096"));
  EXPECT_THAT(values("n_kv=1..4:lin:13"), ElementsAre("1", "2", "3", "4"));
  EXPECT_THAT(values("softcap=1..2:lin:3"), ElementsAre("1", "1.5", "2"));
  EXPECT_THAT(values("vskip=1e-8..1e-2:7"), ElementsAre("1e-08", "1e-07", "1e-06", "1e-05", "0.0001", "0.001", "0.01"));
  EXPECT_THAT(values("scale=-1..1:3"), ElementsAre("-1", "0", "1"));
}

TEST(SweepAxis, AListIsTakenAsItStands) { EXPECT_THAT(values("kv=f16,q8_0"), ElementsAre("f16", "q8_0")); }

TEST(SweepAxis, WhatIsNoRangeIsAnInputError) {
  for (const auto* text :
       {"n_kv", "=1..2", "n_kv=1..", "n_kv=5..2", "n_kv=0..8:log", "n_kv=1..9:lgo", "n_kv=1..9:1", "kv=f16,,q8_0"}) {
    const auto axis = parse_sweep_axis(text, [](std::string_view) { return true; });
    ASSERT_FALSE(axis.has_value()) << text;
    EXPECT_EQ(axis.error().kind, ErrorKind::input);
  }
}

TEST(SweepAxis, CombinationsComeInOrder) {
  std::vector<std::vector<std::size_t>> seen;
  for_each_combination({2, 3}, [&](const auto& at) { seen.push_back(at); });
  EXPECT_EQ(seen, (std::vector<std::vector<std::size_t>>{{0, 0}, {0, 1}, {0, 2}, {1, 0}, {1, 1}, {1, 2}}));
  int calls = 0;
  for_each_combination({2, 0}, [&](const auto&) { ++calls; });
  EXPECT_EQ(calls, 0);
  for_each_combination({}, [&](const auto&) { ++calls; });
  EXPECT_EQ(calls, 1);
}

}  // namespace
}  // namespace attest
