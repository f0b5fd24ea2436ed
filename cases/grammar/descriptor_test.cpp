#include "cases/grammar/descriptor.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "cases/case.h"

namespace attest {
namespace {

using ::testing::HasSubstr;

Case parsed(std::string_view line) {
  const auto c = parse_case(line);
  EXPECT_TRUE(c.has_value()) << c.error().text();
  return c.value_or(Case{});
}

std::string reprinted(std::string_view line) { return text(parsed(line)); }

TEST(Descriptor, PrintsKeysInOneOrderAndLeavesDefaultsOut) {
  EXPECT_EQ(reprinted("FLASH_ATTN_EXT seed=7 poison=nan n_kv=2060 layout=0213 n_head=16 mask=used:300 n_head_kv=8 "
                      "n_q=1 data=normal kv=f16 d=128 threads=0 sinks=none"),
            "flash_attn_ext d=128 n_head=16 n_head_kv=8 n_q=1 n_kv=2060 kv=f16 mask=used:300 layout=0213 poison=nan "
            "seed=7");
}

TEST(Descriptor, DefaultsAreThoseOfACaseWithSixtyFourKeys) {
  Case c;
  c.problem.n_kv = 64;
  EXPECT_EQ(parsed("flash_attn_ext"), c);
}

TEST(Descriptor, TermsOfEqualMeaningHaveOneText) {
  EXPECT_EQ(reprinted("flash_attn_ext mask=f32+random:1+per-head+blocks:64+causal n_head=2"),
            "flash_attn_ext d=64 n_head=2 n_q=1 n_kv=64 kv=f16 mask=causal+blocks+random+per-head+f32");
  EXPECT_EQ(reprinted("flash_attn_ext data=v_shift:5+normal:1 scale=-0 softcap=0 layout=cache:64 mask=zeros+per-seq"),
            "flash_attn_ext d=64 n_head=1 n_q=1 n_kv=64 kv=f16 mask=zeros scale=0 data=v_shift");
}

TEST(Descriptor, AViewOfVInKHasNoDataOfItsOwn) {
  const std::string line = "flash_attn_ext d=64 n_head=1 n_q=1 n_kv=64 kv=f16 layout=v-in-k";
  EXPECT_EQ(reprinted(line + " data=v_const"), line);
  EXPECT_EQ(reprinted(line + " data=spike+v_index"), line + " data=spike");
  EXPECT_TRUE(is_generic(parsed(line + " data=rising+v_const")));
}

TEST(Descriptor, ScaleIsANumberAFractionOrAnInverseRoot) {
  EXPECT_EQ(parsed("flash_attn_ext scale=1/sqrt(72)").problem.scale, 1.0F / std::sqrt(72.0F));
  EXPECT_EQ(parsed("flash_attn_ext scale=1/12").problem.scale, 1.0F / 12.0F);
  EXPECT_EQ(parsed("flash_attn_ext scale=-0.3").problem.scale, -0.3F);
  EXPECT_EQ(parsed("flash_attn_ext d=96").problem.scale, 1.0F / std::sqrt(96.0F));
  EXPECT_THAT(reprinted("flash_attn_ext d=96 scale=1/sqrt(72)"), HasSubstr(" scale=1/sqrt(72)"));
  EXPECT_THAT(reprinted("flash_attn_ext scale=0.0078125"), HasSubstr(" scale=1/128"));
}

TEST(Descriptor, ReadsEveryPartOfPoisonSinksAndLayout) {
  const Case c = parsed(
      "flash_attn_ext n_head=4 n_head_kv=2 poison=gaps:previous:9 sinks=-inf "
      "layout=left+v-in-k+offset:6+pad:8+heads:3+cache:100+0213");
  EXPECT_EQ(c.poison, (PoisonSpec{PoisonWhere::gaps, PoisonWhat::previous, 9}));
  EXPECT_EQ(c.problem.sinks, (SinkSpec{SinkKind::value, -std::numeric_limits<double>::infinity()}));
  EXPECT_EQ(c.problem.layout, (LayoutSpec{true, 100, 3, 8, 6, true, true}));
  EXPECT_THAT(text(c),
              HasSubstr("sinks=-inf layout=0213+cache:100+heads:3+pad:8+offset:6+v-in-k+left poison=gaps:previous:9"));
}

TEST(Descriptor, TheIdChangesWithTheMeaningOnly) {
  const auto id = [](std::string_view line) { return case_id(parsed(line)); };
  EXPECT_EQ(id("flash_attn_ext d=64 n_q=2"), id("flash_attn_ext n_q=2 n_head_kv=1 seed=0"));
  EXPECT_NE(id("flash_attn_ext n_q=2"), id("flash_attn_ext n_q=2 seed=1"));
  EXPECT_EQ(id("flash_attn_ext n_q=2").size(), 16U);
}

TEST(Descriptor, EveryExampleOfTheAxesParses) {
  for (const auto& axis : grammar::axes()) {
    const std::string line = "flash_attn_ext " + std::string(axis.example) +
                             (axis.key == "n_head_kv" || axis.key == "n_head_v" ? " n_head=16"
                              : axis.key == "n_seq_kv"                          ? " n_seq=2"
                              : axis.key == "max_bias"                          ? " mask=causal"
                              : axis.key == "mask"                              ? " n_kv=400"
                                                                                : "");
    const auto c = parse_case(line);
    EXPECT_TRUE(c.has_value()) << c.error().text();
    EXPECT_FALSE(axis.values.empty() || axis.meaning.empty() || axis.standard.empty()) << axis.key;
  }
}

struct Wrong {
  std::string_view line;
  int column;
  std::string_view message, hint;
};

constexpr Wrong kWrong[] = {

    {"flash_attn_ext n_kvv=4", 16, "unknown key 'n_kvv'", "'n_kv'"},
    {"flash_attn_ext d=64 n_q 4", 21, "'n_q' has no value", "n_q=33"},
    {"flash_attn_ext d=64 what", 21, "expected key=value, not 'what'", ""},
    {"flash_attn_ext d=64 n_q= n_kv=4", 25, "n_q= has no value", "n_q=33"},
    {"flash_attn_ext n_q=4 n_q=4", 22, "given twice", ""},
    {"flash_attn_ext n_q=0", 20, "n_q = 0 is out of range", "1 to 2147483647"},
    {"flash_attn_ext n_q=-3", 20, "out of range", ""},
    {"flash_attn_ext n_q=99999999999999999999", 20, "out of range", ""},
    {"flash_attn_ext n_q=4096x", 20, "n_q must be a whole number, not '4096x'", ""},
    {"flash_attn_ext softcap=hot", 24, "softcap must be a number", ""},
    {"flash_attn_ext softcap=1e99", 24, "softcap is out of range", ""},
    {"flash_attn_ext softcap=nan", 24, "must be a number", ""},
    {"flash_attn_ext seed=-1", 21, "seed must be a whole number", ""},
    {"flash_attn_ext d=72 kv=q8_0", 16, "d = 72 is not a multiple of 32, the block of q8_0", "64 and 96"},
    {"flash_attn_ext kv=q1_0", 16, "d_k = 64 is not a multiple of 128", "nearest is 128"},
    {"flash_attn_ext n_head=8 n_head_kv=3", 25, "n_head_kv = 3 does not divide n_head = 8", "2 and 4"},
    {"flash_attn_ext d=64 d_v=32", 21, "exclude each other", "d_k=N d_v=M"},
    {"flash_attn_ext kv=q9_0", 19, "kv = 'q9_0' is no type", "did you mean"},
    {"flash_attn_ext mask=causal+windw:4", 28, "unknown mask 'windw:4'", "'window'"},
    {"flash_attn_ext mask=window", 21, "needs an argument", "window:N"},
    {"flash_attn_ext mask=zeros:3", 21, "takes no argument", ""},
    {"flash_attn_ext mask=dead:second", 26, "unknown rows 'second'", "every-third"},
    {"flash_attn_ext mask=causal+causal", 28, "twice", ""},
    {"flash_attn_ext mask=per-head", 21, "no term", ""},
    {"flash_attn_ext n_kv=10 mask=used:11", 24, "used:11 is out of range", "0 to 10"},
    {"flash_attn_ext max_bias=8", 16, "needs a mask", "mask=causal"},
    {"flash_attn_ext sinks=yes", 22, "no kind of sinks", "uniform[:A]"},
    {"flash_attn_ext layout=0312", 23, "unknown layout '0312'", "0123"},
    {"flash_attn_ext layout=cache", 23, "cache takes a number", "cache:N"},
    {"flash_attn_ext data=uniformm", 21, "unknown data family", "'uniform'"},
    {"flash_attn_ext data=normal+rising", 28, "both shape", ""},
    {"flash_attn_ext poison=gaps", 23, "does not say what", "gaps:nan"},
    {"flash_attn_ext poison=gaps:nam", 28, "unknown poison", "'nan'"},
    {"flash_attn_ext poison=previous", 23, "needs the seed", "previous:7"},
    {"flash_attn_ext poison=hidden:nan+output:inf", 34, "one thing in one place", "hidden:nan"},
    {"flash_attn_ext poison=zero+nan", 28, "one thing in one place", "hidden:nan"},
    {"flash_attn_ext sinks=uniform+normal", 30, "one term", "uniform[:A]"},
    {"flash_attn_ext sinks=40+normal:2", 25, "one term", "uniform[:A]"},
    {"soft_max_ext n_q=2147483647 n_kv=2147483647", 29, "n_kv makes the scores more than 2^44", ""},
    {"soft_max_ext n_q=65536 n_kv=65536 n_head=65536", 24, "n_kv makes the scores more than 2^44", ""},
    {"set_rows d=4096 n_head=65536 n_seq=65536 n_rows=1 n_ctx=1073741824", 51, "the cache larger than 2^44", ""},
    {"set_rows d=64 n_head=65536 n_seq=65536 n_ctx=1024", 40, "the cache larger than 2^44", ""},
    {"kv_decode d=65536 n_head=65536 n_ctx=2147483647", 32, "the cache larger than 2^44", ""},
    {"flash_attn_ext prec=f16", 21, "no precision", "f32"},
    {"flash_attn_ext scale=1/sqrt(64", 22, "no closing", ""},
    {"flash_attn d=64", 1, "unknown op", "flash_attn_ext"},
    {"d=64", 1, "starts with the name of its op", "flash_attn_ext"},
    {"", 1, "empty line", ""}};

TEST(Descriptor, AWrongLineIsAnInputErrorAtItsColumnWithAHint) {
  for (const auto& wrong : kWrong) {
    SCOPED_TRACE(wrong.line);
    const auto c = parse_case(wrong.line);
    ASSERT_FALSE(c.has_value());
    EXPECT_EQ(c.error().kind, ErrorKind::input);
    EXPECT_EQ(c.error().column, wrong.column) << c.error().text();
    EXPECT_EQ(c.error().source_line, wrong.line);
    EXPECT_THAT(c.error().message, HasSubstr(std::string(wrong.message)));
    EXPECT_THAT(c.error().hint, HasSubstr(std::string(wrong.hint)));
  }
}

}  // namespace
}  // namespace attest
