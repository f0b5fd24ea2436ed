#include "harness/cpu_variants.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace attest {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

const BackendEnvironment kOne{{{"v5", "/nowhere/v5"}}};
const BackendEnvironment kTwo{{{"old", "/nowhere/old"}, {"new", "/nowhere/new"}}};

Expected<std::vector<std::string>> two_variants(const GgmlBuild& build) {
  if (build.dir == "/nowhere/old") return std::vector<std::string>{"x64"};
  return std::vector<std::string>{"haswell", "x64"};
}

std::string failure(const std::string& backend, const BackendEnvironment& environment,
                    const VariantsOf& variants = two_variants) {
  const auto expanded = expand_cpu_variants({backend}, environment, variants);
  return expanded ? "expanded" : expanded.error().text();
}

TEST(CpuVariants, TheStarBecomesEveryVariantAndNothingElseChanges) {
  const auto expanded =
      expand_cpu_variants({"cpu:vec", "ggml:CPU,variant=*,threads=2", "ggml:CPU,variant=x64", "ggml:CPU,ref,variant=*"},
                          kOne, two_variants);
  ASSERT_TRUE(expanded) << expanded.error().text();
  EXPECT_THAT(expanded->backends,
              ElementsAre("cpu:vec", "ggml:CPU,variant=haswell,threads=2", "ggml:CPU,variant=x64,threads=2",
                          "ggml:CPU,variant=x64", "ggml:CPU,ref,variant=haswell", "ggml:CPU,ref,variant=x64"));
}

TEST(CpuVariants, AreThoseOfTheBuildThatIsNamed) {
  const auto expanded = expand_cpu_variants({"ggml@old:cpu,variant=*", "ggml@new:CPU,variant=*"}, kTwo, two_variants);
  ASSERT_TRUE(expanded) << expanded.error().text();
  EXPECT_THAT(expanded->backends,
              ElementsAre("ggml@old:cpu,variant=x64", "ggml@new:CPU,variant=haswell", "ggml@new:CPU,variant=x64"));
}

TEST(CpuVariants, ThatCannotBeHadAreAnErrorAndNeverAnEmptyRun) {
  EXPECT_THAT(failure("ggml:CPU,variant=*", {}), HasSubstr("no ggml build given"));
  EXPECT_THAT(failure("ggml:CPU,variant=*", kTwo), HasSubstr("say which, as in ggml@old:CPU"));
  EXPECT_THAT(failure("ggml@nwe:CPU,variant=*", kTwo), HasSubstr("did you mean 'new'?"));
  EXPECT_THAT(failure("ggml:Vulkan0,variant=*", kOne), HasSubstr("only the device CPU has variants"));
  EXPECT_THAT(
      failure("ggml:CPU,variant=*", kOne,
              [](const GgmlBuild&) -> Expected<std::vector<std::string>> { return std::vector<std::string>{}; }),
      HasSubstr("has one CPU backend and no variants"));
  EXPECT_THAT(
      failure("ggml:CPU,variant=*", kOne,
              [](const GgmlBuild&) -> Expected<std::vector<std::string>> { return harness_error("no such library"); }),
      HasSubstr("no such library"));
  EXPECT_THAT(failure("cpu:vec,", kOne), HasSubstr("option's name is missing"));
}

}  // namespace
}  // namespace attest
