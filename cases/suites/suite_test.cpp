#include "cases/suites/suite.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>

#include "cases/families.h"
#include "cases/suites/suite_parser.h"

namespace attest {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

Expected<Suite> from_toml(std::string_view toml) {
  return parse_toml_suite(toml, "own.toml", [](const std::string& name) -> Expected<std::string> {
    if (name == "list.txt") return std::string("flash_attn_ext n_q=1\n# a comment\nflash_attn_ext n_q=1  # again\n");
    return input_error("cannot read '" + name + "'");
  });
}

std::vector<std::string> texts(const Suite& suite) {
  std::vector<std::string> out;
  for (const auto& c : suite.cases) out.push_back(text(c));
  return out;
}

Error error_of(std::string_view body) {
  const auto suite = from_toml("name = \"own\"\ndescription = \"\"\n" + std::string(body));
  EXPECT_FALSE(suite.has_value());
  return suite ? Error{} : suite.error();
}

TEST(TomlSuite, ZipRowsGoTogetherAndAxesMultiply) {
  const auto suite = from_toml(R"(
name = "own"
description = "two by two"
[[group]]
tags = ["a", "b"]
why = "because"
line = "flash_attn_ext d=64 n_kv=9"
zip = [{d_k = 192, d_v = 128}, {k = "q8_0", v = "f16"}]
[group.axes]
n_q = [1, 2]
)");
  ASSERT_TRUE(suite.has_value()) << suite.error().text();
  EXPECT_THAT(texts(*suite), ElementsAre("flash_attn_ext d_k=192 d_v=128 n_head=1 n_q=1 n_kv=9 kv=f16",
                                         "flash_attn_ext d_k=192 d_v=128 n_head=1 n_q=2 n_kv=9 kv=f16",
                                         "flash_attn_ext d=64 n_head=1 n_q=1 n_kv=9 k=q8_0 v=f16",
                                         "flash_attn_ext d=64 n_head=1 n_q=2 n_kv=9 k=q8_0 v=f16"));
  EXPECT_THAT(suite->cases.back().tags, ElementsAre("a", "b"));
  EXPECT_EQ(suite->groups.front().why, "because");
  EXPECT_EQ(suite->groups.front().count, 4U);
}

TEST(TomlSuite, ACoveringGroupShowsEveryPairOfItsAxes) {
  const std::string toml = R"(
name = "own"
description = "pairs"
[[covering]]
tag = "pairs"
why = "because"
strength = 2
line = "flash_attn_ext d=64 n_kv=9"
max_flop = 1e6
seeds = [{n_q = 33, heads = {n_head = 6, n_head_kv = 2}}]
forbid = [{n_q = 1, mask = ["causal"]}]
[covering.axes]
n_q = [1, 2, 33]
heads = [{n_head = 4}, {n_head = 6, n_head_kv = 2}]
mask = ["none", "causal", "used:{n_kv/2}"]
max_bias = [0, 8]
)";
  const auto suite = from_toml(toml);
  ASSERT_TRUE(suite.has_value()) << suite.error().text();
  ASSERT_EQ(suite->coverings.size(), 1U);
  const SuiteCovering& covering = suite->coverings.front();
  EXPECT_EQ(suite->cases.size(), covering.rows.size());
  EXPECT_EQ(suite->cases.size(), suite->groups.front().count);
  EXPECT_LT(suite->cases.size(), 13U);
  EXPECT_THAT(suite->cases.front().tags, ElementsAre("pairs"));
  EXPECT_THAT(text(suite->cases.front()), HasSubstr("n_head=6 n_head_kv=2 n_q=33"));
  const auto coverage = measure_coverage(covering.space.to_cover(), 2, covering.rows);
  EXPECT_TRUE(coverage.missing.empty());
  EXPECT_EQ(coverage.excluded, 2);  // mask=none with max_bias=8; n_q=1 with mask=causal
  EXPECT_EQ(texts(*from_toml(toml)), texts(*suite));
}

TEST(TomlSuite, WhatIsWrongInACoveringGroupIsSaid) {
  const auto group = [](std::string_view rest) {
    return "[[covering]]\nwhy = \"x\"\nline = \"flash_attn_ext n_kv=9\"\n" + std::string(rest);
  };
  EXPECT_THAT(error_of(group("axes = {n_q = [1], kv = [\"f17\"]}")).message, HasSubstr("f17"));
  EXPECT_THAT(error_of(group("axes = {n_q = [1], nkv = [2]}")).message, HasSubstr("nkv"));
  EXPECT_THAT(error_of(group("strength = 3\naxes = {n_q = [1, 2], kv = [\"f16\"]}")).message, HasSubstr("strength"));
  EXPECT_THAT(error_of(group("forbid = [{n_kw = 1}]\naxes = {n_q = [1], n_kv = [2]}")).hint, HasSubstr("n_kv"));
  EXPECT_THAT(error_of(group("seeds = [{n_q = 5}]\naxes = {n_q = [1], n_kv = [2]}")).message,
              HasSubstr("no value of axis n_q"));
  EXPECT_THAT(error_of(group("axes = {n_head_kv = [3], n_head = [2, 4]}")).message, HasSubstr("no combination"));
  EXPECT_THAT(error_of(group("axes = {n_q = [1], mask = [\"used:{n_kv/0}\"]}")).message, HasSubstr("n_kv/0"));
}

TEST(TomlSuite, CasesGivenTwiceAreDroppedAndCounted) {
  const auto suite = from_toml(R"(
name = "own"
description = ""
[[group]]
why = "from a file and from a line"
line = "flash_attn_ext n_q=1 seed=0"
file = "list.txt"
)");
  ASSERT_TRUE(suite.has_value()) << suite.error().text();
  EXPECT_EQ(suite->cases.size(), 1U);
  EXPECT_EQ(suite->duplicates, 2U);
}

TEST(TomlSuite, ErrorsPointIntoTheFile) {
  const Error key = error_of("[[group]]\nwhy = \"\"\nlin = \"flash_attn_ext\"\n");
  EXPECT_EQ(key.file, "own.toml");
  EXPECT_EQ(std::pair(key.line, key.column), std::pair(5, 1));
  EXPECT_THAT(key.hint, HasSubstr("'line'"));

  const Error line = error_of("[[group]]\nwhy = \"\"\nline = \"flash_attn_ext n_qq=1\"\n");
  EXPECT_EQ(std::pair(line.line, line.column), std::pair(5, 24));
  EXPECT_EQ(line.source_line, "line = \"flash_attn_ext n_qq=1\"");
  EXPECT_THAT(line.hint, HasSubstr("'n_q'"));

  const Error value =
      error_of("[[group]]\nwhy = \"\"\nline = \"flash_attn_ext\"\n[group.axes]\nkv = [\"f16\", \"q9_0\"]\n");
  EXPECT_EQ(std::pair(value.line, value.column), std::pair(7, 15));
  EXPECT_THAT(value.message, HasSubstr("in 'flash_attn_ext kv=q9_0'"));

  const Error axis = error_of("[[group]]\nwhy = \"\"\nline = \"flash_attn_ext\"\n[group.axes]\nn_qq = [1]\n");
  EXPECT_EQ(std::pair(axis.line, axis.column), std::pair(7, 1));

  const Error base = error_of("[[group]]\nwhy = \"\"\nline = \"flash_attn_ext kv=q9_0\"\n[group.axes]\nn_q = [1]\n");
  EXPECT_EQ(std::pair(base.line, base.column), std::pair(5, 27));

  EXPECT_EQ(error_of("[[group]]\nwhy = \n").line, 4);
  EXPECT_THAT(error_of("[[group]]\nline = \"flash_attn_ext\"\n").message, HasSubstr("why"));
  EXPECT_THAT(error_of("[[group]]\nwhy = \"\"\n").message, HasSubstr("needs line"));
  EXPECT_THAT(error_of("[[group]]\nwhy = \"\"\nfile = \"no.txt\"\n").message, HasSubstr("cannot read"));
  EXPECT_THAT(error_of("").message, HasSubstr("[[group]]"));
}

TEST(LoadSuite, UnknownNamesGetTheNearestSuite) {
  const auto suite = load_suite("quik");
  ASSERT_FALSE(suite.has_value());
  EXPECT_EQ(suite.error().kind, ErrorKind::input);
  EXPECT_THAT(suite.error().hint, HasSubstr("'quick'"));
  EXPECT_FALSE(load_suite("/nowhere/own.toml").has_value());
}

TEST(LoadCaseFile, ReadsBothGrammarsAndPointsAtBadLines) {
  const auto path = std::filesystem::path(::testing::TempDir()) / "attest_case_file_test.txt";
  const auto write = [&](std::string_view body) { std::ofstream(path) << body; };
  write("# cases\n\nflash_attn_ext n_q=2  # decode twice\r\nFLASH_ATTN_EXT(hsk=64,nh=2,kv=9,nb=1): OK\n");
  const auto suite = load_case_file(path.string());
  ASSERT_TRUE(suite.has_value()) << suite.error().text();
  EXPECT_EQ(suite->cases.size(), 2U);

  write("flash_attn_ext n_q=2\nflash_attn_ext n_q=two\n");
  const auto wrong = load_case_file(path.string());
  ASSERT_FALSE(wrong.has_value());
  EXPECT_EQ(std::pair(wrong.error().line, wrong.error().column), std::pair(2, 20));
  EXPECT_EQ(wrong.error().file, path.string());
  std::filesystem::remove(path);
  EXPECT_FALSE(load_case_file(path.string()).has_value());
}

class Quick : public ::testing::Test {
 protected:
  void SetUp() override {
    const auto suite = load_suite("quick");
    ASSERT_TRUE(suite.has_value()) << suite.error().text();
    suite_ = *suite;
  }
  template <class Predicate>
  bool any(Predicate holds) const {
    return std::any_of(suite_.cases.begin(), suite_.cases.end(), holds);
  }
  Suite suite_;
};

TEST_F(Quick, HasThreeHundredDifferentCasesAndStaysSmall) {
  EXPECT_GE(suite_.cases.size(), 300U);
  EXPECT_EQ(suite_.duplicates, 0U);
  double total = 0;
  for (const auto& c : suite_.cases) {
    total += flop(c.problem);
    EXPECT_LE(flop(c.problem), 30e6) << text(c);
    EXPECT_FALSE(c.tags.empty()) << text(c);
  }
  EXPECT_LE(total, 1.5e9);
}

TEST_F(Quick, TouchesEveryValueOfEveryTable) {
  for (int type = 0; type < kDTypeCount; ++type) {
    EXPECT_TRUE(any([&](const Case& c) { return c.problem.k_type == static_cast<DType>(type); })) << type;
    EXPECT_TRUE(any([&](const Case& c) { return c.problem.v_type == static_cast<DType>(type); })) << type;
  }
  for (int kind = 0; kind <= static_cast<int>(MaskKind::ggml); ++kind) {
    EXPECT_TRUE(any([&](const Case& c) {
      return std::any_of(c.problem.mask.terms.begin(), c.problem.mask.terms.end(),
                         [&](const MaskTerm& t) { return t.kind == static_cast<MaskKind>(kind); });
    })) << kind;
  }
  for (const auto& family : families()) {
    if (family.name == "normal") continue;  // what no term means
    EXPECT_TRUE(any([&](const Case& c) {
      return std::any_of(c.data.terms.begin(), c.data.terms.end(),
                         [&](const DataTerm& t) { return t.name == family.name; });
    })) << family.name;
  }
  for (int what = 0; what <= static_cast<int>(PoisonWhat::previous); ++what) {
    if (static_cast<PoisonWhat>(what) == PoisonWhat::zero) continue;  // zeros hide mistakes
    EXPECT_TRUE(any([&](const Case& c) { return c.poison.what == static_cast<PoisonWhat>(what); })) << what;
  }
  for (int kind = 0; kind <= static_cast<int>(SinkKind::normal); ++kind) {
    EXPECT_TRUE(any([&](const Case& c) { return c.problem.sinks.kind == static_cast<SinkKind>(kind); })) << kind;
  }
}

}  // namespace
}  // namespace attest
