// attest mutants from outside: suite quick kills every deliberate bug and leaves every legal variant alone.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "harness/cli/testing/attest_process.h"
#include "harness/cli/testing/verdicts.h"

namespace attest::testing {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

constexpr const char* kOneCase =
    "name = \"one\"\ndescription = \"one case\"\n[[group]]\ntag = \"a\"\nwhy = \"no sinks\"\nline = \"flash_attn_ext "
    "d=64 n_head=2 n_kv=70\"\n";

// The canonical text of a suite's only case.
std::string only_line_of(const std::string& suite) {
  const std::string out = attest({"list", "cases", "--suite", suite}).out;
  return out.substr(0, out.find('\n'));
}

TEST(Mutants, QuickKillsEveryOneAndFlagsNoLegalVariant) {
  const ScratchDir dir;
  const std::string html = dir.path() / "kills.html", markdown = dir.path() / "kills.md";
  const Ended ended = attest({"mutants", "--suite", "quick", "--html", html, "--markdown", markdown});
  EXPECT_EQ(ended.code, 0) << ended.out << ended.err;
  EXPECT_THAT(ended.out, HasSubstr("mutation score 100 %"));
  EXPECT_THAT(ended.out, HasSubstr("\n0 false alarms on "));
  EXPECT_THAT(shell("head -c 15 '" + html + "'").out, HasSubstr("<!doctype html>"));
  EXPECT_THAT(shell("cat '" + markdown + "'").out, HasSubstr("| rescale |"));
}

struct OnceFlagged {
  const char *backend, *line;
};
constexpr OnceFlagged kOnceFlagged[] = {
    // A sink far above every score: the sums meet a factor near the smallest f32 while their maximum lags.
    {"legal:lazy-rescale",
     "flash_attn_ext d_k=192 d_v=32 n_head=6 n_head_kv=1 n_q=42 n_kv=8 n_seq=3 kv=iq4_nl mask=causal+per-seq softcap=50 "
     "sinks=40 layout=mask-rows:41+left data=anti_aligned poison=mask-cols:previous:25 seed=445504"},
    // Outputs of 1e-24 of V: their squares are beyond f32.
    {"legal:score-bf16",
     "flash_attn_ext d_k=96 d_v=64 n_head=16 n_head_kv=2 n_q=64 n_kv=2 k=iq4_nl v=q2_0 softcap=30 sinks=uniform "
     "layout=heads:4+pad:64 data=huge threads=3 seed=670071"},
    // Hundreds of keys at the softcap: equal weights, whose roundings add up.
    {"legal:lazy-rescale",
     "flash_attn_ext d=100 n_head=12 n_head_kv=6 n_q=1 n_kv=568 kv=f16 softcap=1 layout=left data=rising:32 seed=2"},
    {"legal:lazy-rescale",
     "flash_attn_ext d=100 n_head=12 n_head_kv=6 n_q=1 n_kv=568 kv=f16 softcap=1 layout=left data=rising:32 seed=189243"},
};

TEST(Mutants, LegalVariantsThatWereOnceFlaggedKeepInsideTheirBudgets) {
  for (const auto& [backend, line] : kOnceFlagged) {
    const Ended ended = attest({"run", "--blindness", "off", "-b", backend, "--case", line});
    EXPECT_EQ(ended.code, 0) << ended.out << ended.err;
    EXPECT_THAT(ended.out, HasSubstr("no bad verdict"));
  }
}

// Sixteen lines of quick; suites_long_test judges by all of it.
TEST(Mutants, OfTheMetalKernelsAreKilledByTheirLines) {
  const Ended ended =
      attest({"mutants", "--metal", "--suite", ATTEST_SOURCE_DIR "/harness/cli/testing/metal-mutants.toml"});
  EXPECT_EQ(ended.code, 0) << ended.out << ended.err;
  EXPECT_THAT(ended.out, HasSubstr("mutation score 100 %"));
  EXPECT_THAT(ended.out, HasSubstr("metal:sim,mutant=gqa-modulo "));
  EXPECT_THAT(ended.out, HasSubstr("\n0 false alarms on 4 legal variants"));
}

TEST(Mutants, OfTheMetalKernelsHaveNamesAndOptions) {
  const ScratchDir dir;
  const Ended survivor =
      attest({"mutants", "--metal", "-m", "sink-dropped", "--suite", dir.file("one.toml", kOneCase)});
  EXPECT_EQ(survivor.code, 1);
  EXPECT_THAT(survivor.out, HasSubstr("SURVIVED: metal:sim,mutant=sink-dropped"));
  const Ended wrong = attest({"mutants", "--metal", "-m", "gqa-modulus"});
  EXPECT_EQ(wrong.code, 2);
  EXPECT_THAT(wrong.err, HasSubstr("metal:sim,mutant=gqa-modulo"));
  const Ended both = attest({"run", "-b", "metal:sim,mutant=gqa-modulo,kernel=tiled", "--case", "flash_attn_ext"});
  EXPECT_EQ(both.code, 3) << both.out;
  EXPECT_THAT(both.err, HasSubstr("a mutant is of one kernel"));
}

TEST(Mutants, ASurvivorIsNamedAndIsExitOne) {
  const ScratchDir dir;
  const std::string suite = dir.file("one.toml", kOneCase);
  const Ended ended = attest({"mutants", "--suite", suite, "-m", "sink-dropped", "-m", "mutant:gqa-off-by-one"});
  EXPECT_EQ(ended.code, 1) << ended.out << ended.err;
  EXPECT_THAT(ended.out, HasSubstr("SURVIVED: mutant:sink-dropped"));
  EXPECT_THAT(ended.out, HasSubstr("1 of 2 mutants killed"));
}

TEST(Mutants, RulesStandBesideTheVerdictsOnBothInputs) {
  const ScratchDir dir;
  const std::string suite = dir.file("one.toml", kOneCase), jsonl = dir.path() / "kills.jsonl";
  const Ended ended =
      attest({"mutants", "--suite", suite, "--rules", "-m", "one-element-off", "-m", "all-inf", "--jsonl", jsonl});
  EXPECT_EQ(ended.code, 0) << ended.out << ended.err;
  EXPECT_THAT(ended.out, HasSubstr("line of suite ggml"));
  const Verdicts verdicts = verdicts_in(jsonl);
  EXPECT_EQ(verdicts.size(), 3U) << "standard attention and two mutants";
  const VerdictRecord& off = verdicts.at({only_line_of(suite), "mutant:one-element-off"});
  EXPECT_TRUE(info(off.verdict).bad);
  EXPECT_LT(off.nmse, 5e-4) << "the rule of test-backend-ops does not see it";
  EXPECT_GT(off.allclose, 0);
}

TEST(Mutants, AWrongNameGetsTheNearest) {
  const Ended ended = attest({"mutants", "-m", "gqa-modulus"});
  EXPECT_EQ(ended.code, 2);
  EXPECT_THAT(ended.err, HasSubstr("gqa-modulo"));
  EXPECT_THAT(ended.out, Not(HasSubstr("mutation score")));
}

}  // namespace
}  // namespace attest::testing
