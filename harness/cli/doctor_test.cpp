// attest doctor from outside: what it finds, what it misses, and when it fails.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <sstream>

#include "harness/cli/testing/attest_process.h"

namespace attest::testing {
namespace {

using ::testing::AllOf;
using ::testing::ContainsRegex;
using ::testing::HasSubstr;
using ::testing::Not;

TEST(Doctor, SaysWhatIsHereAndMeasuresTheCache) {
  const ScratchDir dir;
  dir.file("cache/aa/blob", std::string(3 << 20, 'x'));
  const Ended ended = attest({"doctor"}, {{"ATTEST_CACHE_DIR", (dir.path() / "cache").string()}});
  EXPECT_EQ(ended.code, 0) << ended.err;
  EXPECT_THAT(ended.out, AllOf(HasSubstr("  ok self-check"), HasSubstr("  ok cpu:tiled"), HasSubstr("  ok cores"),
                               HasSubstr("  ok memory"), HasSubstr("  ok SIMD"), HasSubstr(": 3 MiB in 1 file\n"),
                               HasSubstr("attest works here"), Not(HasSubstr("mutant:"))));
  std::istringstream lines(ended.out);
  for (std::string line; std::getline(lines, line);) EXPECT_LE(line.size(), 100U) << line;
}

TEST(Doctor, SaysHowToGetWhatIsMissing) {
  const ScratchDir dir;
  const Ended ended =
      attest({"doctor"}, {{"ATTEST_CLANG", "/nowhere/clang"}, {"PATH", dir.path().string()}, {"HOME", "/nowhere"}});
  EXPECT_EQ(ended.code, 0) << ended.err;
  EXPECT_THAT(ended.out,
              AllOf(ContainsRegex("-- metal:sim +.*needs clang 19"), ContainsRegex("-- npm +needed for ci/fetch-ggml"),
                    ContainsRegex("-- debugger +needed for attest run --debug")));
#ifndef __APPLE__
  EXPECT_THAT(ended.out, HasSubstr("Debian: apt-get install npm"));
#endif
}

TEST(Doctor, FailsWhereAttestCannotWorkAsAsked) {
  const ScratchDir dir;
  const Ended missing = attest({"doctor", "--ggml", (dir.path() / "nowhere").string()});
  EXPECT_EQ(missing.code, 3);
  EXPECT_THAT(missing.out, AllOf(ContainsRegex("NO ggml +--ggml '"), HasSubstr("no such directory"),
                                 Not(HasSubstr("attest works here"))));
  const Ended empty = attest({"doctor", "--ggml", dir.path().string(), "--need", "ggml:CPU", "--need", "cpu:vec"});
  EXPECT_EQ(empty.code, 3);
  EXPECT_THAT(empty.out, AllOf(ContainsRegex("NO ggml:CPU +no ggml in"), ContainsRegex("ok cpu:vec +attest ")));
  EXPECT_EQ(attest({"doctor", "--need", "cpu:vec"}).code, 0);
  const Ended wrong = attest({"doctor", "--need", "cpu:vek"});
  EXPECT_EQ(wrong.code, 2);
  EXPECT_THAT(wrong.err, HasSubstr("did you mean 'vec'?"));
}

}  // namespace
}  // namespace attest::testing
