// attest bisect git over 200 commits: the culprit in at most ten builds.
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>

#include "harness/cli/testing/attest_process.h"
#include "harness/cli/testing/kernel_history.h"

namespace attest::testing {
namespace {

namespace fs = std::filesystem;

TEST(BisectGitLong, FindsOneBugAmong200CommitsInTenBuilds) {
  const ScratchDir scratch;
  const fs::path repository = scratch.path() / "repo";
  const KernelHistory history{200, 137, {135}, {23, 61, 104, 160, 169}};
  write_history(repository, history);
  const fs::path count = scratch.path() / "builds";
  const Ended ended = attest({"bisect", "git", "--repo", repository.string(), "--good", "c1", "--bad", "c200",
                              "--build", fmt::format("echo built >> '{}'; {}", count.string(), kernel_build_command()),
                              "--plugin", "kernel.so", "--case", "flash_attn_ext d=32 n_q=3 n_kv=40 kv=f32"},
                             {{"ATTEST_CACHE_DIR", (scratch.path() / "cache").string()}});
  EXPECT_EQ(ended.code, 0) << ended.err;
  EXPECT_THAT(ended.out, ::testing::HasSubstr("Save a multiplication per maximum\nfound in")) << ended.out;
  std::ifstream in(count);
  int builds = 0;
  for (std::string line; std::getline(in, line);) ++builds;
  EXPECT_LE(builds, 10) << ended.out;
  std::puts(ended.out.c_str());
}

}  // namespace
}  // namespace attest::testing
