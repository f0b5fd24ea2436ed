#include "harness/run/schedule.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <map>
#include <numeric>
#include <set>

#include "cases/suites/suite.h"

namespace attest {
namespace {

using testing::HasSubstr;

class ShardsOfSuite : public testing::TestWithParam<const char*> {
 protected:
  std::vector<Case> cases_ = load_suite(GetParam())->cases;
};

TEST_P(ShardsOfSuite, AreDisjointCompleteAndBalancedWithinTenPercent) {
  double all = 0;
  for (const Case& c : cases_) all += predicted_cost(c.problem);
  for (int n = 2; n <= 8; ++n) {
    std::vector<std::size_t> seen;
    for (int i = 0; i < n; ++i) {
      double cost = 0;
      for (const std::size_t k : scheduled(cases_, {i, n})) {
        cost += predicted_cost(cases_[k].problem);
        seen.push_back(k);
      }
      EXPECT_NEAR(cost * n / all, 1.0, 0.1) << "shard " << i << "/" << n;
    }
    std::sort(seen.begin(), seen.end());
    std::vector<std::size_t> every(cases_.size());
    std::iota(every.begin(), every.end(), std::size_t{0});
    EXPECT_EQ(seen, every) << n << " shards";
  }
}

TEST_P(ShardsOfSuite, DoNotDependOnTheOrderOfTheCases) {
  std::vector<std::string> forward, backward;
  for (const std::size_t k : scheduled(cases_, {1, 3})) forward.push_back(text(cases_[k]));
  std::reverse(cases_.begin(), cases_.end());
  for (const std::size_t k : scheduled(cases_, {1, 3})) backward.push_back(text(cases_[k]));
  EXPECT_EQ(forward, backward);
}

TEST_P(ShardsOfSuite, LongestFirst) {
  const auto order = scheduled(cases_);
  ASSERT_EQ(order.size(), cases_.size());
  for (std::size_t i = 1; i < order.size(); ++i) {
    ASSERT_GE(predicted_cost(cases_[order[i - 1]].problem), predicted_cost(cases_[order[i]].problem));
  }
}

INSTANTIATE_TEST_SUITE_P(Suites, ShardsOfSuite, testing::Values("quick", "ggml"),
                         [](const auto& param) { return std::string(param.param); });

TEST(Schedule, MoreShardsThanCasesLeaveTheRestEmpty) {
  const std::vector<Case> cases{*parse_case("flash_attn_ext n_kv=8"), *parse_case("flash_attn_ext n_kv=9")};
  EXPECT_EQ(scheduled(cases, {0, 3}).size(), 1U);
  EXPECT_EQ(scheduled(cases, {1, 3}).size(), 1U);
  EXPECT_TRUE(scheduled(cases, {2, 3}).empty());
}

TEST(Schedule, CostAndDeadlineGrowWithTheProblem) {
  const AttentionProblem small = parse_case("flash_attn_ext n_kv=512")->problem;
  const AttentionProblem large = parse_case("flash_attn_ext n_kv=131072")->problem;
  EXPECT_GT(predicted_cost(large), 50 * predicted_cost(small));
  EXPECT_GE(default_deadline(small), 10);
  EXPECT_GT(default_deadline(large), default_deadline(small));
  EXPECT_GE(default_deadline(small, "metal:sim,model=lockstep"), 20 * default_deadline(small, "cpu:vec"));
}

std::string refusal(std::string_view shard) {
  const auto parsed = parse_shard(shard);
  return parsed ? "" : parsed.error().text();
}

TEST(Schedule, OnlyLargeCasesHoldASlotForEveryThread) {
  AttentionProblem p;
  p.threads = 4;
  p.n_kv = 64;
  EXPECT_EQ(slots_held(p), 1);
  p.n_q = 256;
  p.n_kv = 32768;
  EXPECT_EQ(slots_held(p), 4);
  p.threads = 0;
  EXPECT_EQ(slots_held(p), 1);
}

TEST(Shard, CountsFromZero) {
  EXPECT_EQ(*parse_shard("0/1"), (Shard{0, 1}));
  EXPECT_EQ(*parse_shard("7/8"), (Shard{7, 8}));
  EXPECT_EQ(text(Shard{7, 8}), "7/8");
}

TEST(Shard, BadOnesAreRefusedWithTheReason) {
  EXPECT_THAT(refusal("8/8"), HasSubstr("--shard '8/8': the index of one of 8 shards runs from 0 to 7"));
  EXPECT_THAT(refusal("-1/8"), HasSubstr("runs from 0 to 7"));
  EXPECT_THAT(refusal("0/0"), HasSubstr("between 1 and"));
  EXPECT_THAT(refusal("0/100001"), HasSubstr("between 1 and"));
  EXPECT_THAT(refusal("3"), HasSubstr("not of the form i/n"));
  for (const char* words : {"a/3", "0/3x", "/3", "0/", " 0/3", "1.0/3", "0/99999999999999999999"}) {
    EXPECT_THAT(refusal(words), HasSubstr("whole numbers")) << words;
  }
}

using Variables = std::map<std::string, std::string>;
Expected<Shard> under(const Variables& variables) {
  return shard_from_environment([&](const char* name) -> const char* {
    const auto found = variables.find(name);
    return found == variables.end() ? nullptr : found->second.c_str();
  });
}

TEST(Shard, EitherPairOfVariablesNamesIt) {
  EXPECT_EQ(*under({}), (Shard{0, 1}));
  EXPECT_EQ(*under({{"GTEST_TOTAL_SHARDS", "4"}, {"GTEST_SHARD_INDEX", "3"}}), (Shard{3, 4}));
  EXPECT_EQ(*under({{"TEST_TOTAL_SHARDS", "4"}, {"TEST_SHARD_INDEX", "0"}}), (Shard{0, 4}));
  const Variables both{
      {"GTEST_TOTAL_SHARDS", "4"}, {"GTEST_SHARD_INDEX", "3"}, {"TEST_TOTAL_SHARDS", "4"}, {"TEST_SHARD_INDEX", "3"}};
  EXPECT_EQ(*under(both), (Shard{3, 4}));
}

TEST(Shard, VariablesThatMakeNoSenseAreRefused) {
  const auto refused = [](const Variables& variables) {
    const auto shard = under(variables);
    return shard ? "" : shard.error().text();
  };
  EXPECT_THAT(refused({{"GTEST_TOTAL_SHARDS", "4"}}),
              HasSubstr("GTEST_TOTAL_SHARDS is set and GTEST_SHARD_INDEX is not"));
  EXPECT_THAT(refused({{"TEST_SHARD_INDEX", "0"}}), HasSubstr("TEST_SHARD_INDEX is set and TEST_TOTAL_SHARDS is not"));
  EXPECT_THAT(refused({{"TEST_TOTAL_SHARDS", "4"}, {"TEST_SHARD_INDEX", "4"}}),
              HasSubstr("TEST_SHARD_INDEX=4 TEST_TOTAL_SHARDS=4: the index"));
  EXPECT_THAT(refused({{"GTEST_TOTAL_SHARDS", "4"},
                       {"GTEST_SHARD_INDEX", "3"},
                       {"TEST_TOTAL_SHARDS", "4"},
                       {"TEST_SHARD_INDEX", "2"}}),
              HasSubstr("ask for shard 3/4, TEST_SHARD_INDEX and TEST_TOTAL_SHARDS for shard 2/4"));
}

TEST(Shard, TheStatusFileIsTouchedWhereShardsAreAskedFor) {
  const auto path = std::filesystem::temp_directory_path() / ("attest-shard-status-" + std::to_string(getpid()));
  ASSERT_TRUE(under({{"TEST_SHARD_STATUS_FILE", path.string()}}));
  EXPECT_FALSE(std::filesystem::exists(path));
  Variables variables{{"TEST_TOTAL_SHARDS", "2"}, {"TEST_SHARD_INDEX", "1"}, {"TEST_SHARD_STATUS_FILE", path.string()}};
  ASSERT_TRUE(under(variables));
  EXPECT_TRUE(std::filesystem::exists(path));
  std::filesystem::remove(path);
  variables["TEST_SHARD_STATUS_FILE"] = "/nowhere/status";
  const auto refused = under(variables);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().kind, ErrorKind::harness);
}

TEST(Fingerprint, SeesCasesBackendsAndSeedButNoOrder) {
  const std::string one = selection_fingerprint({"a", "b"}, {"x", "y"}, 1);
  EXPECT_EQ(selection_fingerprint({"b", "a"}, {"y", "x"}, 1), one);
  const std::set<std::string> all{
      one, selection_fingerprint({"a", "b"}, {"x", "y"}, 2), selection_fingerprint({"a"}, {"x", "y"}, 1),
      selection_fingerprint({"a", "b", "x"}, {"y"}, 1), selection_fingerprint({"a", "c"}, {"x", "y"}, 1)};
  EXPECT_EQ(all.size(), 5U);
}

}  // namespace
}  // namespace attest
