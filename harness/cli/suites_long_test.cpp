// Every suite that takes seconds to minutes, over our own kernels: all of it passes.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "harness/cli/testing/attest_process.h"

namespace attest::testing {
namespace {

class OurKernels : public ::testing::TestWithParam<const char*> {};

TEST_P(OurKernels, PassTheSuiteWhole) {
  const Ended ended = attest({"run", "--suite", GetParam(), "-b", "cpu:vec", "-b", "cpu:tiled", "-b", "cpu:split"});
  EXPECT_EQ(ended.code, 0) << ended.out << ended.err;
  EXPECT_THAT(ended.out, ::testing::Not(::testing::HasSubstr("UNSUPPORTED")));
}

INSTANTIATE_TEST_SUITE_P(Suites, OurKernels,
                         ::testing::Values("standard", "nightly", "models", "museum", "qwen3-tts", "vskip", "fused-sdpa",
                                           "split-kv"),
                         [](const auto& suite) {
                           std::string name = suite.param;
                           std::erase(name, '-');
                           return name;
                         });

TEST(Mutants, OfTheMetalKernelsAreKilledByQuick) {
  const Ended ended = attest({"mutants", "--metal", "--suite", "quick"});
  EXPECT_EQ(ended.code, 0) << ended.out << ended.err;
  EXPECT_THAT(ended.out, ::testing::HasSubstr("mutation score 100 %"));
  EXPECT_THAT(ended.out, ::testing::HasSubstr("\n0 false alarms on 4 legal variants"));
}

TEST(Vskip, StaysInsideTheBoundOfWhatItDropsAtEveryThreshold) {
  std::vector<std::string> words{"run", "--suite", "vskip"};
  for (const char* threshold : {"1e-2", "1e-3", "1e-4", "1e-5", "1e-6", "1e-7", "1e-8"}) {
    words.insert(words.end(), {"-b", std::string("cpu:vec,vskip=") + threshold});
  }
  const Ended ended = attest(words);
  EXPECT_EQ(ended.code, 0) << ended.out << ended.err;
}

TEST(MetalSimulator, PassesStandardAndFusedSdpaWhole) {
  for (const char* suite : {"standard", "fused-sdpa"}) {
    const Ended ended = attest({"run", "--suite", suite, "-b", "metal:sim"});
    EXPECT_EQ(ended.code, 0) << ended.out << ended.err;
    EXPECT_THAT(ended.out, ::testing::Not(::testing::HasSubstr("UNSUPPORTED")));
  }
}

// Lanes in step cost about nine times as much.
TEST(MetalSimulator, PassesStandardInStep) {
  const Ended ended = attest({"run", "--suite", "standard", "-b", "metal:sim,model=lockstep"});
  EXPECT_EQ(ended.code, 0) << ended.out << ended.err;
  EXPECT_THAT(ended.out, ::testing::Not(::testing::HasSubstr("UNSUPPORTED")));
}

// Our Metal kernels are right by the memory model, not by luck.
TEST(MetalSimulator, GivesTheSameBitsInEveryOrderInStepAndWatched) {
  const Ended ended = attest({"race", "--suite", "quick"});
  EXPECT_EQ(ended.code, 0) << ended.out << ended.err;
  EXPECT_THAT(ended.out, ::testing::HasSubstr("no race in 4"));
}

TEST(MetalSimulator, StaysInsideTheBoundOfTheRowsOfVItSkips) {
  const Ended ended = attest({"run", "--suite", "vskip", "-b", "metal:sim,vskip=1e-3", "-b", "metal:sim,vskip=1e-6"});
  EXPECT_EQ(ended.code, 0) << ended.out << ended.err;
}

}  // namespace
}  // namespace attest::testing
