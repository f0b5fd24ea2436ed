// Suite quick over a real ggml build: every verdict that is not PASS is in the ledger of that release.
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>

#include "cases/ggml_files_for_tests.h"
#include "harness/cli/testing/attest_process.h"
#include "harness/cli/testing/verdicts.h"

namespace attest::testing {
namespace {

namespace fs = std::filesystem;
using ::testing::AllOf;
using ::testing::HasSubstr;

class RealGgml : public ::testing::Test {
 protected:
  void SetUp() override {
    const auto found = ggml_files_for_tests("libggml-base");
    if (found.empty()) GTEST_SKIP() << "no ggml build: ci/fetch-ggml gets one, ATTEST_GGML_DIR names one";
    dir_ = fs::path(found.back()).parent_path();
  }
  Ended run(std::vector<std::string> words) const {
    words.insert(words.begin(), {"run", "--ggml", dir_.string()});
    return attest(words);
  }
  // The ledger of the release in whose directory the build lies; "" where there is none.
  std::string ledger() const {
    for (fs::path at = dir_; at.has_relative_path(); at = at.parent_path()) {
      const fs::path file =
          fs::path(ATTEST_SOURCE_DIR) / "ci" / "ledger" / ("ggml-" + at.filename().string() + ".toml");
      if (fs::exists(file)) return file.string();
    }
    return "";
  }
  fs::path dir_;
};

TEST_F(RealGgml, FailsInQuickWhereTheLedgerSaysSoAndNowhereElse) {
  if (ledger().empty()) GTEST_SKIP() << "no ledger for the build in " << dir_;
  const ScratchDir dir;
  const std::string jsonl = dir.path() / "ggml.jsonl";
  const Ended ended =
      run({"--suite", "quick", "-b", "ggml:CPU", "-b", "ggml:CPU,ref", "--ledger", ledger(), "--jsonl", jsonl});
  EXPECT_EQ(ended.code, 0) << ended.out << ended.err;
  const Verdicts verdicts = verdicts_in(jsonl);
  const std::string cases = attest({"list", "cases"}).out;
  EXPECT_EQ(verdicts.size(), 2 * static_cast<std::size_t>(std::count(cases.begin(), cases.end(), '\n')));
  int passed = 0, known = 0;
  for (const auto& [key, record] : verdicts) {
    passed += record.verdict == Verdict::PASS ? 1 : 0;
    known += record.verdict == Verdict::XFAIL ? 1 : 0;
  }
  EXPECT_GE(passed, 500);
  EXPECT_GE(known, 1) << "the ledger's entries are seen to fail";
}

// Every variant the machine can execute answers every case, and the table is made of the record alone.
TEST_F(RealGgml, VariantsAreComparedBitByBit) {
  const ScratchDir dir;
  const std::string jsonl = dir.path() / "variants.jsonl";
  std::vector<std::string> words{"-b", "ggml:CPU,variant=*", "--jsonl", jsonl};
  const std::vector<std::string> lines{"flash_attn_ext d=64 n_head=2 n_q=3 n_kv=100 kv=f16",
                                       "flash_attn_ext d=64 n_head=2 n_q=70 n_kv=128 kv=f32",
                                       "flash_attn_ext d=64 n_head=2 n_q=1 n_kv=300 kv=q8_0"};
  for (const auto& line : lines) words.insert(words.end(), {"--case", line});
  const Ended ended = run(words);
  if (ended.err.find("no variants") != std::string::npos) GTEST_SKIP() << ended.err;
  EXPECT_EQ(ended.code, 0) << ended.out << ended.err;
  std::map<std::string, std::map<std::string, std::string>> digests;  // by variant, then line
  for (const auto& [key, record] : verdicts_in(jsonl)) {
    EXPECT_EQ(info(record.verdict).name, "PASS") << key.second << ": " << key.first << ": " << record.detail;
    digests[key.second][key.first] = record.digest;
  }
  ASSERT_GE(digests.size(), 2U) << ended.out;
  bool other_bits = false;
  for (const auto& [variant, by_line] : digests) {
    EXPECT_EQ(by_line.size(), lines.size()) << variant;
    other_bits |= by_line != digests.begin()->second;
  }
  EXPECT_THAT(ended.out, HasSubstr("CPU variants of ggml:CPU: " + std::to_string(digests.size()) + ", 3 cases"));
  EXPECT_EQ(other_bits, ended.out.find("other bits") != std::string::npos) << ended.out;
  const std::string table = ended.out.substr(ended.out.find("CPU variants of"));
  EXPECT_THAT(attest({"report", jsonl}).out, HasSubstr(table.substr(0, table.find("repro"))));
}

TEST_F(RealGgml, VecPathIsToldByItsF16AccumulatorWhereVIsF16) {
  for (const char* shape : {"d=64 n_head=2 n_q=5 n_kv=300", "d=128 n_head=4 n_head_kv=2 n_q=1 n_kv=200 softcap=10"}) {
    const auto like = [&](const std::string& types) {
      const Ended ended = attest({"explain", "--ggml", dir_.string(), "-b", "ggml:CPU,ref", "--no-hints",
                                  fmt::format("flash_attn_ext {} {} data=normal:2", shape, types)});
      EXPECT_EQ(ended.code, 0) << ended.out << ended.err;
      return ended.out;
    };
    EXPECT_THAT(like("kv=f16"), HasSubstr("\nlike      Q rounded to f16 and an f16 accumulator\n")) << shape;
    EXPECT_THAT(like("k=bf16 v=f16"), HasSubstr("\nlike      Q rounded to bf16 and an f16 accumulator\n")) << shape;
    EXPECT_THAT(like("k=f16 v=f32"), HasSubstr("\nlike      Q rounded to f16\n")) << shape;
    EXPECT_THAT(like("kv=f32"), HasSubstr("\nlike      f32 throughout\n")) << shape;
  }
}

TEST_F(RealGgml, NightlyShowsItEveryTupleItTakesAndListsTheOthersWithItsReason) {
  const Ended ended =
      attest({"coverage", "--ggml", dir_.string(), "--suite", "nightly", "-b", "ggml:CPU", "--blindness", "off"});
  EXPECT_EQ(ended.code, 0) << ended.out << ended.err;
  const auto answer = ended.out.find("ggml:CPU: takes");
  ASSERT_NE(answer, std::string::npos) << ended.out;
  EXPECT_THAT(ended.out.substr(answer, 300), HasSubstr("100.000 %"));
  EXPECT_THAT(ended.out,
              HasSubstr("unsupported: ggml: flash_attn_ext does not broadcast sequences\n    n_seq=4 n_seq_kv=2"));
}

TEST_F(RealGgml, ACaseNobodyTakesIsExitCode3WithTheReason) {
  const Ended ended = run({"-b", "ggml:CPU", "--case", "flash_attn_ext n_head=4 n_head_kv=2 n_head_v=4"});
  EXPECT_EQ(ended.code, 3);
  EXPECT_THAT(ended.out, HasSubstr("Unsupported"));
  EXPECT_THAT(ended.err, HasSubstr("took none of the 1 cases"));
}

TEST_F(RealGgml, DevicesAndVariantsItDoesNotHaveAreNamed) {
  const Ended device = run({"-b", "ggml:CPUU", "--case", "flash_attn_ext"});
  EXPECT_EQ(device.code, 3);
  EXPECT_THAT(device.err, AllOf(HasSubstr("no device 'CPUU'"), HasSubstr("did you mean 'CPU'?")));
  const Ended other = run({"-b", "ggml:Vulkan7", "--case", "flash_attn_ext", "--skip-unavailable"});
  EXPECT_EQ(other.code, 77) << "a device this machine does not have is unavailable, not misspelt";
  EXPECT_THAT(other.err, HasSubstr("no device 'Vulkan7'"));
  const Ended variant = run({"-b", "ggml:CPU,variant=haswel", "--case", "flash_attn_ext"});
  EXPECT_EQ(variant.code, 3);
  EXPECT_THAT(variant.err, HasSubstr("variant 'haswel'"));
}

}  // namespace
}  // namespace attest::testing
