// What a project sees that was given the installed package: cmake --install, find_package(attest), ctest.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>

#include "harness/cli/testing/attest_process.h"

namespace attest::testing {
namespace {

using ::testing::AllOf;
using ::testing::ContainsRegex;
using ::testing::HasSubstr;
using ::testing::Not;
namespace fs = std::filesystem;

std::string contents(const fs::path& file) {
  std::ifstream in(file, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

// The package under prefix/, a project beside it.
class Consumer : public ::testing::Test {
 protected:
  void SetUp() override {
    const Ended installed = shell("cmake --install " ATTEST_BINARY_DIR " --prefix " + prefix().string());
    ASSERT_EQ(installed.code, 0) << installed.out << installed.err;
  }

  fs::path prefix() const { return dir_.path() / "prefix"; }
  fs::path build() const { return dir_.path() / "build"; }

  // A project without a compiled line whose tests are `suites`.
  Ended configure(const std::string& suites, const std::string& options = {}) {
    dir_.file("project/CMakeLists.txt",
              "cmake_minimum_required(VERSION 3.25)\nproject(consumer NONE)\nenable_testing()\n"
              "find_package(attest 0.1 CONFIG REQUIRED)\n" +
                  suites);
    return shell("cmake -G '" ATTEST_GENERATOR "' -S " + (dir_.path() / "project").string() + " -B " +
                 build().string() + " -DCMAKE_PREFIX_PATH=" + prefix().string() + " " + options);
  }

  Ended ctest(const std::string& options) {
    return shell("ctest --test-dir " + build().string() + " --output-on-failure " + options,
                 {{"ATTEST_CACHE_DIR", (dir_.path() / "cache").string()}, {"CTEST_PARALLEL_LEVEL", "2"}});
  }

  ScratchDir dir_;
};

TEST_F(Consumer, SeesEveryShardAsALabelledTestAndRunsThem) {
  dir_.file("project/lines.txt",
            "flash_attn_ext d=64 n_kv=17\nflash_attn_ext d=64 n_kv=18\nflash_attn_ext d=64 n_kv=19 n_q=3\n");
  const Ended configured = configure(
      "attest_add_suite(NAME mine SUITE lines.txt BACKENDS cpu:vec cpu:tiled SHARDS 2 LABELS kernels nightly TIMEOUT "
      "77 "
      "JOBS 2)\n"
      "attest_add_suite(NAME corpus SUITE corpus BACKENDS cpu:split)\n");
  ASSERT_EQ(configured.code, 0) << configured.out << configured.err;

  const auto shown = nlohmann::json::parse(ctest("--show-only=json-v1").out);
  std::map<std::string, std::map<std::string, nlohmann::json>> tests;
  for (const auto& test : shown.at("tests")) {
    for (const auto& p : test.at("properties")) tests[test.at("name")][p.at("name")] = p.at("value");
    EXPECT_EQ(test.at("command").at(0), (prefix() / "bin/attest").string());
  }
  ASSERT_EQ(tests.size(), 5U) << shown.dump(1);
  for (const char* name : {"mine.cpu:vec.0of2", "mine.cpu:vec.1of2", "mine.cpu:tiled.0of2", "mine.cpu:tiled.1of2"}) {
    ASSERT_TRUE(tests.contains(name)) << name;
    EXPECT_EQ(tests[name]["LABELS"], (nlohmann::json{"kernels", "nightly"})) << name;
    EXPECT_EQ(tests[name]["TIMEOUT"], 77.0) << name;
    EXPECT_EQ(tests[name]["PROCESSORS"], 2) << name;
    EXPECT_EQ(tests[name]["SKIP_RETURN_CODE"], 77) << name;
  }
  EXPECT_EQ(tests["corpus.cpu:split"]["LABELS"], nlohmann::json{"attest"});

  const Ended run = ctest("");
  EXPECT_EQ(run.code, 0) << run.out;
  EXPECT_THAT(run.out, HasSubstr("100% tests passed, 0 tests failed out of 5"));
  // A report per test, and records that make one run of the shards.
  for (const char* name : {"mine.cpu_vec.0of2", "mine.cpu_vec.1of2", "corpus.cpu_split"}) {
    EXPECT_THAT(contents(build() / "attest" / (std::string(name) + ".xml")), HasSubstr("<testsuites")) << name;
  }
  const std::string records = (build() / "attest/mine.cpu_vec.").string();
  const Ended merged = attest({"merge", records + "0of2.jsonl", records + "1of2.jsonl", "-o", records + "jsonl"});
  EXPECT_EQ(merged.code, 0) << merged.err;
  EXPECT_THAT(merged.out, HasSubstr("3 cases"));
}

TEST_F(Consumer, SkipsWhatCannotBeAskedHereAndPassesNothingForNothing) {
  dir_.file("project/one.txt", "flash_attn_ext d=64 n_kv=17\n");
  dir_.file("project/no_kernel_has_it.txt", "set_rows d=64 n_rows=2 n_ctx=8\nset_rows d=64 n_rows=3 n_ctx=8\n");
  dir_.file("project/none.txt", "# nothing\n");
  const Ended configured = configure(
      "attest_add_suite(NAME absent SUITE one.txt BACKENDS ggml:CPU GGML nowhere)\n"
      "attest_add_suite(NAME empty_shard SUITE one.txt BACKENDS cpu:vec SHARDS 2)\n"
      "attest_add_suite(NAME unsupported_shard SUITE no_kernel_has_it.txt BACKENDS eigen:f32 SHARDS 2)\n"
      "attest_add_suite(NAME unsupported SUITE no_kernel_has_it.txt BACKENDS eigen:f32)\n"
      "attest_add_suite(NAME no_case SUITE none.txt BACKENDS cpu:vec)\n"
      "attest_add_suite(NAME no_suite SUITE quik BACKENDS cpu:vec)\n"
      "attest_add_suite(NAME no_backend SUITE one.txt BACKENDS cpu:vek)\n"
      "attest_add_suite(NAME wrong SUITE one.txt BACKENDS mutant:rescale-sum-missed)\n");
  ASSERT_EQ(configured.code, 0) << configured.out << configured.err;
  // What an earlier run left must not be taken for this one's report.
  dir_.file("build/attest/absent.ggml_CPU.xml", "<testsuites/>");
  dir_.file("build/attest/absent.ggml_CPU.jsonl", "{}\n");

  const Ended run = ctest("");
  EXPECT_EQ(run.code, 8) << run.out;
  for (const char* name : {"absent.ggml:CPU", "empty_shard.cpu:vec.[01]of2", "unsupported_shard.eigen:f32.0of2",
                           "unsupported_shard.eigen:f32.1of2"}) {
    EXPECT_THAT(run.out, ContainsRegex(std::string(name) + " [.]*[*]*Skipped")) << name;
  }
  EXPECT_THAT(run.out, ContainsRegex("empty_shard.cpu:vec.[01]of2 [.]* *Passed"));
  for (const char* name : {"unsupported.eigen:f32", "no_case.cpu:vec", "no_suite.cpu:vec", "no_backend.cpu:vek",
                           "wrong.mutant:rescale-sum-missed"}) {
    EXPECT_THAT(run.out, ContainsRegex(std::string(name) + " [.]*[*]*Failed")) << name;
  }
  EXPECT_THAT(run.out, AllOf(HasSubstr("did you mean 'quick'?"), HasSubstr("did you mean 'vec'?")));
  EXPECT_FALSE(fs::exists(build() / "attest/absent.ggml_CPU.xml"));
  EXPECT_FALSE(fs::exists(build() / "attest/absent.ggml_CPU.jsonl"));
}

TEST_F(Consumer, IsToldWhatIsWrongWithASuiteWhenItConfigures) {
  const std::pair<const char*, const char*> wrong[] = {
      {"SUITE quick BACKENDS cpu:vec", "NAME is missing"},
      {"NAME a BACKENDS cpu:vec", "SUITE is missing"},
      {"NAME a SUITE quick", "BACKENDS is missing"},
      {"NAME a SUITE quick BACKENDS cpu:vec SHARDS 0", "SHARDS '0' is not a number from 1 on"},
      {"NAME a SUITE quick BACKENDS cpu:vec TIMEOUT long", "TIMEOUT 'long' is not a number"},
      {"a SUITE quick BACKENDS cpu:vec", "unknown argument 'a'"},
      {"NAME a SUITE mine.toml BACKENDS cpu:vec", "/mine.toml'"},
      {"NAME a SUITE quick BACKENDS cpu:vec LEDGER no.toml", "/no.toml'"},
  };
  for (const auto& [arguments, message] : wrong) {
    const Ended configured = configure(std::string("attest_add_suite(") + arguments + ")\n");
    EXPECT_NE(configured.code, 0) << arguments;
    EXPECT_THAT(configured.err, AllOf(HasSubstr("attest_add_suite: "), HasSubstr(message))) << arguments;
  }
}

// The worked example as it is installed: a kernel that passes, and everything that must not.
TEST_F(Consumer, TestsItsOwnKernelThroughTheInstalledHeaders) {
  const std::string example = (prefix() / "share/doc/attest/example").string();
  const Ended built =
      shell("cmake -G '" ATTEST_GENERATOR "' -S " + example + " -B " + build().string() +
            " -DCMAKE_PREFIX_PATH=" + prefix().string() +
            " -DCMAKE_BUILD_TYPE=None -DCMAKE_CXX_FLAGS='-O1 -Wall -Wextra -Wshadow -Wconversion -Werror'"
            " && cmake --build " +
            build().string());
  ASSERT_EQ(built.code, 0) << built.out << built.err;
  // One case in eight: the kernel is not a fast one.
  const Ended passed =
      shell("ctest --test-dir " + build().string(), {{"GTEST_TOTAL_SHARDS", "8"}, {"GTEST_SHARD_INDEX", "0"}});
  EXPECT_EQ(passed.code, 0) << passed.out;
  EXPECT_THAT(passed.out, ContainsRegex("tiny_attention [.]* *Passed"));

  const auto test = [&](const std::string& filter) {
    return shell((build() / "tiny_attention_test").string() + " --gtest_also_run_disabled_tests --gtest_filter='" +
                 filter + "'");
  };
  // Its own kernel on what it takes, the reason on what it does not.
  const Ended one = test("Attest/TinyKernel.*d_64_n_head_1_n_q_1_n_kv_*:*d_32_n_head_2_n_q_2_n_kv_40_kv_q4_1*");
  EXPECT_EQ(one.code, 0) << one.out;
  EXPECT_THAT(one.out, AllOf(HasSubstr("PASSED"), HasSubstr("K and V must be f32 or f16")));

  const Ended broken = test("*DISABLED_BrokenKernel*d_64_n_head_2_n_q_3_n_kv_65_*");
  EXPECT_EQ(broken.code, 1);
  EXPECT_THAT(broken.out,
              AllOf(HasSubstr("FAIL  broken\n"), ContainsRegex("  case    flash_attn_ext d="),
                    ContainsRegex("  worst   seq 0, head [0-9]+, query [0-9]+, column [0-9]+: got "),
                    HasSubstr("  suspect "), HasSubstr("  budget  "),
                    HasSubstr("  repro   --gtest_filter='Attest/DISABLED_BrokenKernel.ComputesAttention/")));

  const Ended by_hand = test("DISABLED_BrokenByHand.*");
  EXPECT_EQ(by_hand.code, 1);
  EXPECT_THAT(by_hand.out,
              AllOf(HasSubstr("is attention within its error budget, flash_attn_ext d=64 n_head=1 n_q=3 n_kv=9 kv=f16"),
                    HasSubstr("which is FAIL"), ContainsRegex("worst   seq 0, head 0, query [0-9], column"),
                    HasSubstr("repro   --gtest_filter='DISABLED_BrokenByHand.IsTold'")));

  // Green for nothing, a read beyond Q, a suite that is none.
  const Ended nothing = test("*DISABLED_TakesNothing*");
  EXPECT_EQ(nothing.code, 1);
  EXPECT_THAT(nothing.out, HasSubstr("the kernel took none of 3 cases"));
  // As gtest_discover_tests runs it: one test per process.
  const Ended alone = test("*DISABLED_TakesNothing*/takes_some_case");
  EXPECT_EQ(alone.code, 1);
  EXPECT_THAT(alone.out, HasSubstr("the kernel took none of 3 cases"));
  const Ended some = test("Attest/TinyKernel.*/takes_some_case");
  EXPECT_EQ(some.code, 0) << some.out;
  EXPECT_THAT(some.out, HasSubstr("[  PASSED  ] 1 test."));
  const Ended overrun = test("*DISABLED_Overrun*");
  EXPECT_GT(overrun.code, 128);
  EXPECT_THAT(overrun.err,
              ContainsRegex("attest: the kernel touched [0-9]+ bytes behind the last of Q\nattest: case "));
  const Ended no_judge = shell((build() / "tiny_attention_test").string() + " --gtest_filter='*TinyKernel*'",
                               {{"ATTEST_EXECUTABLE", "/nowhere/attest"}});
  EXPECT_EQ(no_judge.code, 1);
  EXPECT_THAT(no_judge.out, HasSubstr("the judge '/nowhere/attest' cannot be started"));
  const Ended no_suite = test("*DISABLED_NoSuchSuite*");
  EXPECT_EQ(no_suite.code, 1);
  EXPECT_THAT(no_suite.out, HasSubstr("did you mean 'quick'?"));
  // Whatever a kernel throws, the tests behind it are judged.
  const Ended throwing = test("*DISABLED_Throwing*");
  EXPECT_EQ(throwing.code, 1);
  const std::string thrown = "the kernel threw what is no std::exception";
  int failures = 0;
  for (auto at = throwing.out.find(thrown); at != std::string::npos; at = throwing.out.find(thrown, at + 1)) ++failures;
  EXPECT_EQ(failures, 3) << throwing.out;
  EXPECT_THAT(throwing.out, Not(HasSubstr("nothing was compared")));
}

}  // namespace
}  // namespace attest::testing
