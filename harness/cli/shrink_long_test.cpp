#include <cstdio>

#include "harness/cli/testing/shrunk.h"

namespace attest::testing {
namespace {

TEST(ShrinkLong, TwentyMutantsComeDownToFourKeysOnAverage) {
  int sum = 0, count = 0;
  for (const MutantFailure& f : kMutantFailures) {
    const Shrunk shrunk = shrink(f);
    std::printf("%-34s %2d -> %d  %s\n", f.mutant, shrunk.before, shrunk.left, shrunk.line.c_str());
    ASSERT_GE(shrunk.before, 12) << f.mutant;
    ASSERT_GE(shrunk.left, 0) << f.mutant;
    sum += shrunk.left;
    ++count;
  }
  EXPECT_EQ(count, 20);
  EXPECT_LE(sum, 4 * count);
}

}  // namespace
}  // namespace attest::testing
