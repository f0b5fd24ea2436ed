#include "oracles/blindness.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "cases/inputs.h"
#include "cases/suites/suite.h"

namespace attest {
namespace {

using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::IsEmpty;

// Names of the claimed features that a case is blind to under a contract, f32 throughout unless said otherwise.
std::vector<std::string> blind_names(const Case& c, const ArithmeticContract& contract = {}) {
  std::vector<std::string> out;
  for (const Feature f : blind_to(c, contract)) out.emplace_back(info(f).name);
  return out;
}

Case line(const std::string& words) {
  auto c = parse_case("flash_attn_ext " + words);
  EXPECT_TRUE(c.has_value()) << c.error().text();
  return *c;
}

std::vector<std::string> blind_line(const std::string& words) { return blind_names(line(words)); }

std::vector<std::string> names_of(const Case& c) {
  std::vector<std::string> out;
  for (const Feature f : claimed_features(c)) out.emplace_back(info(f).name);
  return out;
}

TEST(Features, TheLineSaysWhatACaseIsAbout) {
  EXPECT_THAT(names_of(line("n_kv=9")), IsEmpty());
  EXPECT_THAT(names_of(line("n_kv=9 mask=zeros sinks=-inf")), IsEmpty());
  EXPECT_THAT(names_of(line("n_kv=9 n_q=3 mask=window:2+per-head n_head=4 n_head_kv=2 sinks=1 softcap=5 max_bias=8")),
              ElementsAre("mask", "planes", "upper-edge", "lower-edge", "softcap", "alibi", "sinks", "gqa"));
  EXPECT_THAT(names_of(line("n_kv=9 mask=finite:-65504 scale=1 data=needle_last")),
              ElementsAre("finite-mask", "last-key", "scale"));
  EXPECT_THAT(names_of(line("n_kv=9 n_seq=2 n_head=4 n_head_kv=2 n_head_v=4 data=rising")),
              ElementsAre("rescale", "gqa", "v-heads", "sequences"));
  Case c = line("n_kv=9 mask=causal n_q=3");
  c.claims.emplace();
  EXPECT_THAT(names_of(c), IsEmpty());
}

TEST(Features, EveryNameIsReadBackAndStandsInAKey) {
  for (const FeatureInfo& f : features()) {
    EXPECT_EQ(feature_from_name(f.name), f.feature);
    EXPECT_FALSE(key_of(f.feature).empty()) << f.name;
  }
  EXPECT_EQ(feature_from_name("sink").error().hint, "did you mean 'sinks'?");
}

// Pairs of lines that differ in the data alone: one shows the feature, the other hides it.
TEST(Blindness, TheDataDecideWhetherAFeatureIsSeen) {
  const struct {
    const char *name, *problem, *seen, *blind;
  } table[] = {
      {"sinks", "n_q=3 n_kv=40 sinks=-30", "data=low:40", "data=normal:1"},
      {"softcap", "n_q=3 n_kv=40 softcap=50", "data=near_softcap", "data=v_const"},
      {"alibi", "n_head=4 n_q=3 n_kv=40 max_bias=8", "mask=random:8", "mask=causal"},
      {"gqa", "n_head=4 n_head_kv=2 n_q=3 n_kv=40", "data=normal", "data=v_const"},
      {"mask", "n_q=9 n_kv=40 mask=used:20", "data=normal", "data=needle_first:60"},
      {"upper-edge", "n_q=9 n_kv=40 mask=causal", "data=rising", "data=needle_first:60"},
      {"lower-edge", "n_q=9 n_kv=40 mask=left:9", "data=falling", "data=needle_last:60"},
      {"finite-mask", "n_q=9 n_kv=40 mask=finite:-65504", "data=v_shift", "data=v_const:0"},
      {"first-key", "n_kv=200 data=needle_first:5", "mask=zeros", "mask=finite-left:-65504"},
      {"last-key", "n_kv=200 data=needle_last:5", "mask=zeros", "sinks=400"},
      {"rescale", "n_kv=200 data=rising:40", "mask=zeros", "scale=0"},
      {"scale", "n_q=3 n_kv=40 scale=0.5", "data=normal:4", "data=flat"},
      {"v-heads", "n_head=4 n_head_kv=2 n_head_v=4 n_kv=40", "data=normal", "data=v_const"},
      {"sequences", "n_seq=3 n_kv=40", "data=normal", "data=v_const"},
      {"planes", "n_head=4 n_q=5 n_kv=40", "mask=blocks:4+per-head", "mask=zeros+per-head"},
  };
  for (const auto& row : table) {
    EXPECT_THAT(blind_line(fmt::format("{} {}", row.problem, row.seen)), ::testing::Not(Contains(row.name)))
        << row.name;
    EXPECT_THAT(blind_line(fmt::format("{} {}", row.problem, row.blind)), Contains(row.name)) << row.name;
  }
}

TEST(Blindness, ACausalMaskThatHidesNothingIsNoFeature) {
  EXPECT_THAT(blind_line("n_q=1 n_kv=40 mask=causal"), IsEmpty());
  Case c = line("n_q=1 n_kv=40 mask=causal");
  c.claims = {Feature::upper_edge};  // but a suite that claims it is told
  EXPECT_THAT(blind_names(c), ElementsAre("upper-edge"));
}

TEST(Blindness, PaddingKeysShowOnlyNearTheSoftcap) {
  Case c = line("n_q=64 n_kv=100 softcap=10 data=anti_aligned");
  c.claims = {Feature::tail};
  EXPECT_THAT(blind_names(c), IsEmpty());
  c = line("n_q=64 n_kv=100 softcap=50 data=normal");
  c.claims = {Feature::tail};
  EXPECT_THAT(blind_names(c), ElementsAre("tail"));
}

TEST(Blindness, BytesBehindTheMaskCountAsTheyLie) {
  EXPECT_THAT(blind_line("n_q=2 n_kv=40 mask=used:20 poison=hidden:nan data=needle_first:60"), IsEmpty());
  EXPECT_THAT(blind_line("n_q=1 n_kv=40 mask=dead:all poison=hidden:nan"), IsEmpty());
}

// What f32 accumulators must show, f16 accumulators need not.
TEST(Blindness, AWeakContractSeesLess) {
  const Case c = line("n_kv=2000 data=normal:0.3 mask=used:1999");
  EXPECT_THAT(blind_names(c), IsEmpty());
  ArithmeticContract weak;
  weak.u_acc = kUnitF16;
  weak.omega_acc = 0x1p-25;
  EXPECT_THAT(blind_names(c, weak), Contains("upper-edge"));
}

TEST(Blindness, RowsAskedTwiceAnswerTheSame) {
  const Case c = line("n_head=4 n_head_kv=2 n_q=5 n_kv=70 mask=causal sinks=uniform");
  const OwnedInputs inputs(c);
  const EmulatedInputs exact(inputs.inputs(), QRounding::none);
  const ErrorBudget budget(exact, {}, true);
  Blindness blindness(inputs.inputs());
  const auto claimed = features_of(c);
  const auto first = blindness.look(claimed, budget);
  EXPECT_EQ(first, blindness.look(claimed, budget));
  const std::vector<Feature> few{claimed.back()};
  EXPECT_EQ(blindness.look(few, budget).front(), first.back());
}

class SuitesSee : public ::testing::TestWithParam<const char*> {};

TEST_P(SuitesSee, EveryFeatureTheyClaim) {
  const auto suite = load_suite(GetParam());
  ASSERT_TRUE(suite.has_value()) << suite.error().text();
  for (const Case& c : suite->cases) {
    if (c.problem.op != Op::flash_attn_ext) continue;
    EXPECT_THAT(blind_names(c), IsEmpty()) << text(c);
  }
}

INSTANTIATE_TEST_SUITE_P(Suites, SuitesSee, ::testing::Values("quick", "qwen3-tts", "standard", "split-kv"),
                         [](const auto& suite) {
                           std::string name = suite.param;
                           std::erase(name, '-');
                           return name;
                         });

TEST(Suites, TheLinesOfTestBackendOpsClaimNothing) {
  const auto suite = load_suite("ggml");
  ASSERT_TRUE(suite.has_value()) << suite.error().text();
  for (const Case& c : suite->cases) ASSERT_THAT(claimed_features(c), IsEmpty()) << text(c);
}

}  // namespace
}  // namespace attest
