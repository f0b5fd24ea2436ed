#include "cases/grammar/ggml_line.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "cases/suites/suite.h"

namespace attest {
namespace {

using ::testing::HasSubstr;

std::string reprinted(std::string_view line) {
  const auto c = parse_case(line);
  EXPECT_TRUE(c.has_value()) << c.error().text();
  return c ? text(*c) : "";
}

TEST(GgmlLine, HeadsRepeatAndTheCacheIsTwiceTheKeys) {
  EXPECT_EQ(reprinted("FLASH_ATTN_EXT(hsk=64,hsv=128,nh=8,nr23=[4,3],kv=1024,nb=32,mask=1,sinks=1,max_bias=8.000000,"
                      "logit_softcap=10.000000,prec=f32,type_K=f16,type_V=q8_0,permute=[0,1,2,3],kv_view=1,"
                      "v_is_view_of_k=0)"),
            "flash_attn_ext d_k=64 d_v=128 n_head=32 n_head_kv=8 n_q=32 n_kv=1024 n_seq=3 k=f16 v=q8_0 "
            "mask=ggml+per-seq softcap=10 max_bias=8 sinks=uniform layout=cache:2048 data=uniform prec=f32");
}

TEST(GgmlLine, APermutedViewHasTwiceTheHeadsInsteadOfTheKeys) {
  EXPECT_EQ(reprinted("FLASH_ATTN_EXT(hsk=64,hsv=64,nh=4,nr23=[1,1],kv=113,nb=1,mask=0,prec=def,type_K=f16,"
                      "type_V=f16,permute=[0,2,1,3],kv_view=1)"),
            "flash_attn_ext d=64 n_head=4 n_q=1 n_kv=113 kv=f16 layout=0213+heads:8 data=uniform");
}

TEST(GgmlLine, HeadSizesGrowToWholeBlocksWhileTheScaleStays) {
  const auto c = parse_case("FLASH_ATTN_EXT(hsk=72,hsv=72,nh=4,kv=113,nb=1,type_K=q4_0,type_V=f16)");
  ASSERT_TRUE(c.has_value());
  EXPECT_EQ(c->problem.d_k, 96);
  EXPECT_EQ(c->problem.d_v, 72);
  EXPECT_EQ(c->problem.scale, 1.0F / std::sqrt(72.0F));
}

TEST(GgmlLine, MissingArgumentsHaveTheDefaultsOfThatTool) {
  EXPECT_EQ(reprinted("FLASH_ATTN_EXT(hsk=128,hsv=128,nh=32,kv=96,nb=8)"),
            "flash_attn_ext d=128 n_head=32 n_q=8 n_kv=96 kv=f16 mask=ggml layout=cache:192 data=uniform prec=f32");
}

TEST(GgmlLine, OlderSpellingsBlanksAndTheVerdictAfterTheLineAreUnderstood) {
  EXPECT_EQ(reprinted("  FLASH_ATTN_EXT( hs = 64, nh=8, nr=4 , kv=77,nb=3, type_KV=q8_0, permute=[0, 2, 1, 3] ): OK"),
            reprinted("FLASH_ATTN_EXT(hsk=64,hsv=64,nh=8,nr23=[4,1],kv=77,nb=3,type_K=q8_0,type_V=q8_0,"
                      "permute=[0,2,1,3])"));
}

TEST(GgmlLine, BehindTheColonStandsAVerdictAndNothingForUs) {
  const std::string line = "FLASH_ATTN_EXT(hsk=64,nh=8,kv=7,nb=3)";
  for (const char* verdict : {": OK", ": \033[1;32mOK\033[0m", ": \033[1;31mFAIL\033[0m", ": not supported [CPU] ", ":",
                              ": [FLASH_ATTN_EXT] NMSE = 0.046134519 > 0.000500000 FAIL",
                              ": [FLASH_ATTN_EXT] inf mismatch: CUDA0=inf CPU=0.2 FAIL",
                              ": [FLASH_ATTN_EXT] NaN at index 3 (CPU=nan Metal=1.0) FAIL",
                              ":  8192 runs -  128.14 us/run - 134.22 MFLOP/run -   1.05 TFLOPS"}) {
    EXPECT_EQ(reprinted(line + verdict), reprinted(line)) << verdict;
  }
  const auto error = [&](const std::string& rest) {
    const auto c = parse_case(line + rest);
    return c ? Error{} : c.error();
  };
  EXPECT_EQ(error(": seed=7 prec=def").column, 40);
  EXPECT_THAT(error(": seed=7 prec=def").message, HasSubstr("'seed=7'"));
  EXPECT_EQ(error(": OK type_K=q8_0").column, 43);
  EXPECT_THAT(error(": poisn=nan").message, HasSubstr("changes nothing"));
}

TEST(GgmlLine, AViewOfVInKOfTwoTypesIsAnError) {
  const auto c = parse_case("FLASH_ATTN_EXT(hsk=64,hsv=64,nh=8,kv=77,nb=3,type_K=q8_0,v_is_view_of_k=1)");
  ASSERT_FALSE(c.has_value());
  EXPECT_EQ(c.error().column, 58);
  EXPECT_THAT(c.error().message, HasSubstr("one type"));
}

TEST(GgmlLine, WrongLinesPointAtTheirArgument) {
  const auto error = [](std::string_view line) {
    const auto c = parse_case(line);
    return c ? Error{} : c.error();
  };
  EXPECT_EQ(error("FLASH_ATTN_EXT(hsk=64,nh=8,kv=7,nb=3,maxbias=0)").column, 38);
  EXPECT_THAT(error("FLASH_ATTN_EXT(hsk=64,nh=8,kv=7,nb=3,maxbias=0)").hint, HasSubstr("max_bias"));
  EXPECT_EQ(error("FLASH_ATTN_EXT(hsk=64,nh=x,kv=7,nb=3)").column, 26);
  EXPECT_EQ(error("FLASH_ATTN_EXT(hsk=64,nh=8,kv=7,nb=3,permute=[0,1,3,2])").column, 46);
  EXPECT_EQ(error("FLASH_ATTN_EXT(hsk=64,nh=8,kv=7,nb=3,nr23=[1])").column, 43);
  EXPECT_EQ(error("FLASH_ATTN_EXT(hsk=64,nh=8,kv=7,nb=3,kv=7)").column, 38);
  EXPECT_EQ(error("FLASH_ATTN_EXT(hsk=64,nh=8,kv=7,nb=3").message, "no closing ')'");
  EXPECT_EQ(error("FLASH_ATTN_EXT(hsk=64,nh=8,kv=7,nb=3,hs=32)").message, "hsk and hs exclude each other");
  EXPECT_EQ(error("FLASH_ATTN_EXT(hsk=64,nh=8,kv=7,nb=3,nr=2,nr23=[1,1])").column, 43);
  EXPECT_EQ(error("FLASH_ATTN_EXT(hsk=64,nh=8,kv=7,nb=3,type_K=q8_0,type_KV=f16)").column, 50);
  EXPECT_EQ(error("FLASH_ATTN_EXT(hsk=64,nh=8,kv=7,nb=3,type_KV=f16,type_V=f16)").column, 50);
  EXPECT_EQ(error("FLASH_ATTN_EXT(hsk=64,nh=8,nb=3)").message, "'kv' is missing");
  EXPECT_THAT(error("SOFT_MAX(hsk=64)").message, HasSubstr("unknown op"));
}

TEST(GgmlLine, EveryLineOfTestBackendOpsReprintsToTheSameProblem) {
  const auto suite = load_suite("ggml");
  ASSERT_TRUE(suite.has_value()) << suite.error().text();
  EXPECT_EQ(suite->cases.size() + suite->duplicates, 5158U);
  int padded = 0, permuted_views = 0;
  for (Case c : suite->cases) {
    c.tags.clear();
    c.claims.reset();
    const auto again = parse_case(text(c));
    ASSERT_TRUE(again.has_value()) << text(c);
    ASSERT_EQ(*again, c) << text(c);
    const auto& p = c.problem;
    padded += p.d_k == 96 && p.scale == 1.0F / std::sqrt(72.0F) ? 1 : 0;
    permuted_views += p.layout.permuted && p.layout.parent_heads == 2 * p.n_head_kv ? 1 : 0;
  }
  EXPECT_EQ(padded, 673);
  EXPECT_EQ(permuted_views, 722);
}

}  // namespace
}  // namespace attest
