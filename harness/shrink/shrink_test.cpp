#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "cases/file_io.h"
#include "harness/shrink/run_examiner.h"
#include "harness/shrink/shrinker.h"

namespace attest {
namespace {

using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

const Observation kFail{Verdict::FAIL, "tail"};

const std::string kLong =
    "flash_attn_ext d=128 n_head=8 n_head_kv=2 n_q=70 n_kv=2060 n_seq=2 n_seq_kv=1 kv=q8_0 "
    "mask=causal+used:2000+per-head "
    "softcap=20 sinks=uniform layout=0213+cache:2100 data=rising:3 poison=nan threads=3 seed=7";

// A backend that is wrong where `wrong` says so.
Examine backend(const std::function<bool(const AttentionProblem&)>& wrong, int* runs = nullptr) {
  return [=](const Case& c) -> Expected<Observation> {
    if (runs != nullptr) ++*runs;
    return wrong(c.problem) ? kFail : Observation{};
  };
}

ShrinkResult shrunk(const std::string& line, const Examine& examine, const ShrinkOptions& options = {}) {
  auto result = shrink(*parse_case(line), kFail, options, examine);
  EXPECT_TRUE(result) << result.error().text();
  return std::move(*result);
}

TEST(LineEdits, CountKeysThatSaySomething) {
  EXPECT_THAT(non_default_keys(*parse_case("flash_attn_ext d=64 n_head=1 n_q=1 n_kv=64 kv=f16")), ElementsAre());
  EXPECT_THAT(non_default_keys(*parse_case("flash_attn_ext d=128 n_kv=65 softcap=0 mask=causal")),
              ElementsAre("d", "n_kv", "mask"));
  EXPECT_EQ(non_default_keys(*parse_case(kLong)).size(), 16U);
}

TEST(LineEdits, AreAllPlainerAndAllCases) {
  const Case c = *parse_case(kLong);
  const auto edits = plainer_lines(c);
  EXPECT_GT(edits.size(), 20U);
  for (const Edit& e : edits) {
    EXPECT_LT(rank_of(e.result), rank_of(c)) << e.what;
    EXPECT_TRUE(validate(e.result.problem)) << e.what;
  }
}

TEST(Shrink, LeavesWhatTheFailureNeedsAndSaysWhy) {
  const auto result =
      shrunk(kLong, backend([](const AttentionProblem& p) { return p.softcap > 0 && p.n_kv % 64 != 0; }));
  EXPECT_EQ(text(result.minimal), "flash_attn_ext d=64 n_head=1 n_q=1 n_kv=1 kv=f16 softcap=1");
  EXPECT_THAT(result.remaining, ElementsAre("n_kv=1: without it PASS", "softcap=1: without it PASS"));
  EXPECT_THAT(result.bounds, Contains("n_kv: fails for n_kv % 64 != 0"));
}

TEST(Shrink, FindsTheBorderOfANumber) {
  const auto result =
      shrunk(kLong, backend([](const AttentionProblem& p) { return p.n_kv > 1337 && p.n_head != p.n_head_kv; }));
  EXPECT_EQ(result.minimal.problem.n_kv, 1338);
  EXPECT_THAT(result.bounds, Contains("n_kv: fails for n_kv > 1337"));
  EXPECT_EQ(result.minimal.problem.n_head, 2);
  EXPECT_EQ(non_default_keys(result.minimal).size(), 3U);
}

TEST(Shrink, KeepsTheClassUnlessToldOtherwise) {
  const auto examine = [](const Case& c) -> Expected<Observation> {
    if (c.problem.softcap > 0) return kFail;
    return Observation{Verdict::FAIL, "mask"};  // another bug, everywhere
  };
  EXPECT_GT(shrunk(kLong, examine).minimal.problem.softcap, 0);
  EXPECT_EQ(shrunk(kLong, examine, {Keep::verdict, 2000}).minimal.problem.softcap, 0);
}

TEST(Shrink, IsAFunctionOfItsInputAndAsksNothingTwice) {
  const auto wrong = [](const AttentionProblem& p) { return p.mask.present() && p.n_q > 8 && p.k_type != DType::f32; };
  std::vector<std::string> asked[2];
  std::string minimal[2];
  for (int i = 0; i < 2; ++i) {
    const auto examine = [&](const Case& c) -> Expected<Observation> {
      asked[i].push_back(text(c));
      return wrong(c.problem) ? kFail : Observation{};
    };
    minimal[i] = text(shrunk(kLong, examine).minimal);
    EXPECT_EQ(std::set<std::string>(asked[i].begin(), asked[i].end()).size(), asked[i].size());
  }
  EXPECT_EQ(asked[0], asked[1]);
  EXPECT_EQ(minimal[0], minimal[1]);
  EXPECT_LT(asked[0].size(), 250U);
}

TEST(Shrink, ErrorsAndTheLimitEndIt) {
  int runs = 0;
  const auto failing = [&](const Case&) -> Expected<Observation> {
    return ++runs < 5 ? Expected<Observation>(kFail) : harness_error("gone");
  };
  EXPECT_EQ(shrink(*parse_case(kLong), kFail, {}, failing).error().message, "gone");
  EXPECT_EQ(runs, 5);
  runs = 0;
  EXPECT_TRUE(shrunk(kLong, backend([](const AttentionProblem& p) { return p.n_kv > 3; }, &runs), {Keep::class_, 10})
                  .exhausted);
  EXPECT_EQ(runs, 10);
}

TEST(Shrink, OtherOpsHaveTheirOwnKeys) {
  const auto result =
      shrunk("set_rows d=128 n_head=8 n_rows=17 n_ctx=64 kv=q8_0 order=descending source=nan poison=inf seed=3",
             backend([](const AttentionProblem& p) { return p.scatter.order == RowOrder::descending; }));
  EXPECT_THAT(non_default_keys(result.minimal), Contains("order"));
  EXPECT_LE(non_default_keys(result.minimal).size(), 2U);
}

TEST(Boundary, IsThePlainestThatFits) {
  const auto words = [](const std::function<bool(std::int64_t)>& fails, std::vector<std::int64_t> at) {
    std::map<std::int64_t, bool> tried;
    for (const std::int64_t n : at) tried[n] = fails(n);
    return boundary_text("n", tried);
  };
  const std::vector<std::int64_t> around{1, 62, 63, 64, 65, 66, 67, 96, 97, 128, 129, 130, 192, 193, 256, 257};
  EXPECT_EQ(words([](std::int64_t n) { return n > 64; }, around), "n > 64");
  EXPECT_EQ(words([](std::int64_t n) { return n < 64; }, around), "n < 64");
  EXPECT_EQ(words([](std::int64_t n) { return n >= 100; }, around), "n >= 128 (not 97)");
  EXPECT_EQ(words([](std::int64_t n) { return n % 64 != 0; }, around), "n % 64 != 0");
  EXPECT_EQ(words([](std::int64_t n) { return n % 64 == 1; }, around), "n % 64 == 1");
  EXPECT_EQ(words([](std::int64_t n) { return n > 64 && n % 64 != 0; }, around), "n > 64 and n % 64 != 0");
  EXPECT_EQ(words([](std::int64_t n) { return n == 65; }, around), "n = 65");
  EXPECT_EQ(words([](std::int64_t) { return true; }, around), "");
}

TEST(ShrinkState, GoesOnWhereAKilledSearchStopped) {
  const std::string path =
      (std::filesystem::path(::testing::TempDir()) / ("shrink_state" + std::to_string(::getpid()))).string();
  {
    auto state = ShrinkState::open(path, "q");
    ASSERT_TRUE(state) << state.error().text();
    ASSERT_TRUE(state->add("flash_attn_ext n_kv=3", kFail));
    ASSERT_TRUE(state->add("flash_attn_ext n_kv=4", {}));
  }
  std::ofstream(path, std::ios::app) << "FAIL\ttail\tflash_attn_ext n_kv=5";  // cut short
  {
    auto state = ShrinkState::open(path, "q");
    ASSERT_TRUE(state) << state.error().text();
    EXPECT_EQ(state->known(), 2U);
    EXPECT_EQ(*state->find("flash_attn_ext n_kv=3"), kFail);
    EXPECT_EQ(state->find("flash_attn_ext n_kv=4")->verdict, Verdict::PASS);
    EXPECT_EQ(state->find("flash_attn_ext n_kv=5"), nullptr);
    ASSERT_TRUE(state->add("flash_attn_ext n_kv=6", {}));
  }
  {
    const auto state = ShrinkState::open(path, "q");
    ASSERT_TRUE(state) << state.error().text();
    EXPECT_EQ(state->known(), 3U) << *read_text_file(path);
  }
  EXPECT_THAT(ShrinkState::open(path, "other").error().text(), HasSubstr("the state of another question"));
  std::filesystem::remove(path);
}

}  // namespace
}  // namespace attest
