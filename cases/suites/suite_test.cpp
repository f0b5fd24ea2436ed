#include "cases/suites/suite.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <map>
#include <set>

#include "cases/families.h"
#include "cases/features.h"
#include "cases/poison.h"
#include "cases/suites/suite_parser.h"

namespace attest {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

Expected<Suite> from_toml(std::string_view toml) {
  return parse_toml_suite(toml, "own.toml", [](const std::string& name) -> Expected<std::string> {
    if (name == "empty.txt") return std::string("# flash_attn_ext n_q=1\n\n");
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

// Each of these left something out without a word, or crashed.
TEST(TomlSuite, WhatHoldsNothingOrHasAnotherTypeIsRefused) {
  struct Wrong {
    std::string_view body;
    int line, column;
    std::string_view message;
  };
  constexpr std::string_view
      kGroup = "[[group]]\nwhy = \"x\"\n",
      kCovering = "[[covering]]\nwhy = \"x\"\nline = \"flash_attn_ext\"\naxes = {n_q = [1, 2], n_kv = [32, 64]}\n";
  const auto check = [](std::string_view head, const Wrong& wrong) {
    SCOPED_TRACE(wrong.body);
    const Error error = error_of(std::string(head) + std::string(wrong.body));
    EXPECT_EQ(std::pair(error.line, error.column), std::pair(wrong.line, wrong.column)) << error.text();
    EXPECT_THAT(error.message, HasSubstr(std::string(wrong.message)));
  };
  for (const Wrong& wrong : {
           Wrong{"seeds = [{n_q = []}]", 7, 17, "n_q has no value"},
           Wrong{"seeds = [{n_q = [1, 2]}]", 7, 10, "one value per axis, and n_q has 2"},
           Wrong{"seeds = [{}]", 7, 10, "expected a table: {axis = value"},
           Wrong{"forbid = [{}, {n_q = 2, n_kv = 64}]", 7, 11, "expected a table: {axis = value"},
           Wrong{"forbid = [{n_q = 2, n_kv = []}]", 7, 28, "n_kv has no value"},
           Wrong{"strength = \"3\"", 7, 12, "strength is 1, 2 or 3"},
           Wrong{"strength = 4294967298", 7, 12, "strength is 1, 2 or 3"},
           Wrong{"strength = 2.0", 7, 12, "strength is 1, 2 or 3"},
           Wrong{"max_flop = \"100\"", 7, 12, "max_flop is a number from 0 on"},
           Wrong{"max_flop = nan", 7, 12, "max_flop is a number from 0 on"},
           Wrong{"max_rows = -1", 7, 12, "max_rows is a whole number from 0 on"},
           Wrong{"seed = [1]", 7, 8, "seed is a whole number from 0 on"},
       }) {
    check(kCovering, wrong);
  }
  for (const Wrong& wrong : {
           Wrong{"line = \"flash_attn_ext\"\nzip = []", 6, 7, "zip is a list of tables"},
           Wrong{"line = \"flash_attn_ext\"\nzip = [{n_q = 2}, {}]", 6, 19, "zip is a list of tables"},
           Wrong{"line = \"flash_attn_ext\"\naxes = {}", 6, 8, "axes is a table of lists"},
           Wrong{"file = \"empty.txt\"", 5, 8, "'empty.txt' holds no case"},
           Wrong{"file = [\"list.txt\", \"empty.txt\"]", 5, 21, "'empty.txt' holds no case"},
       }) {
    check(kGroup, wrong);
  }
  check("", {"group = []", 3, 9, "[[group]]"});
  check("[[covering]]\nwhy = \"x\"\nline = \"flash_attn_ext\"\naxes = {n_q = [1, {}], n_kv = [1]}\n",
        {"", 6, 19, "an axis value is"});
  EXPECT_EQ(error_of(std::string(kCovering) + "[[group]]\nwhy = \"\"\nlines = []\n").line, 7);
}

TEST(TomlSuite, ClaimsOfAGroupComeBeforeThoseOfTheSuite) {
  const std::string toml = R"(
name = "own"
description = ""
claims = ["gqa"]
[[group]]
why = "of the suite"
line = "flash_attn_ext n_q=1"
[[group]]
why = "its own"
claims = ["sinks", "tail"]
line = "flash_attn_ext n_q=2"
[[group]]
why = "none"
claims = []
line = "flash_attn_ext n_q=3"
)";
  const auto suite = from_toml(toml);
  ASSERT_TRUE(suite.has_value()) << suite.error().text();
  EXPECT_THAT(*suite->cases[0].claims, ElementsAre(Feature::gqa));
  EXPECT_THAT(*suite->cases[1].claims, ElementsAre(Feature::sinks, Feature::tail));
  EXPECT_TRUE(suite->cases[2].claims->empty());
  EXPECT_FALSE(load_suite("quick")->cases[0].claims.has_value());

  const Error wrong = error_of("[[group]]\nwhy = \"\"\nclaims = [\"sink\"]\nline = \"flash_attn_ext\"\n");
  EXPECT_EQ(std::pair(wrong.line, wrong.column), std::pair(5, 11));
  EXPECT_THAT(wrong.hint, HasSubstr("'sinks'"));
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

  const Error relation = error_of("relations = \"gqaa\"\n[[group]]\nwhy = \"\"\nline = \"flash_attn_ext\"\n");
  EXPECT_EQ(std::pair(relation.line, relation.column), std::pair(3, 13));
  EXPECT_THAT(relation.hint, HasSubstr("'gqa'"));
  EXPECT_THAT(error_of("relations_per_case = 2\n[[group]]\n").message, HasSubstr("beside relations"));

  EXPECT_EQ(error_of("[[group]]\nwhy = \n").line, 4);
  EXPECT_THAT(error_of("[[group]]\nline = \"flash_attn_ext\"\n").message, HasSubstr("why"));
  EXPECT_THAT(error_of("[[group]]\nwhy = \"\"\n").message, HasSubstr("needs line"));
  EXPECT_THAT(error_of("[[group]]\nwhy = \"\"\nfile = \"no.txt\"\n").message, HasSubstr("cannot read"));
  EXPECT_THAT(error_of("").message, HasSubstr("[[group]]"));
}

TEST(TomlSuite, NamesTheRelationsOfItsCases) {
  const std::string body = "[[group]]\nwhy = \"\"\nline = \"flash_attn_ext\"\n",
                    head = "name = \"own\"\ndescription = \"\"\n";
  EXPECT_TRUE(from_toml(head + body)->relations.relations.empty());
  const auto suite = from_toml(head + "relations = \"gqa,hidden\"\nrelations_per_case = 1\n" + body);
  ASSERT_TRUE(suite) << suite.error().text();
  EXPECT_EQ(suite->relations, (RelationChoice{{Relation::gqa, Relation::hidden}, 1}));
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

TEST(Suites, AllLoadWithoutDuplicatesAndSayWhy) {
  for (const auto& name : suite_names()) {
    if (name == "ggml") continue;  // line for line as given
    const auto suite = load_suite(name);
    ASSERT_TRUE(suite.has_value()) << suite.error().text();
    EXPECT_EQ(suite->name, name);
    EXPECT_EQ(suite->duplicates, 0U) << name;
    EXPECT_FALSE(suite->description.empty()) << name;
    for (const auto& group : suite->groups) {
      EXPECT_GE(group.count, 1U) << name;
      EXPECT_FALSE(group.why.empty() || group.tags.empty()) << name;
    }
  }
}

// A row counts for the triples of its values, so each must stand in the case.
TEST(Suites, NoCoveringRowPutsDataIntoAViewOfV) {
  const auto suite = load_suite("nightly");
  ASSERT_TRUE(suite.has_value()) << suite.error().text();
  for (const auto& covering : suite->coverings) {
    for (const auto& row : covering.rows) {
      const std::string line = *covering.space.line_of(row);
      EXPECT_FALSE(line.find("v-in-k") != std::string::npos && line.find("v_") != std::string::npos) << line;
    }
  }
}

TEST(Suites, PoisonLiesSomewhere) {
  for (const char* name : {"quick", "standard", "nightly", "models"}) {
    const auto suite = load_suite(name);
    ASSERT_TRUE(suite.has_value()) << suite.error().text();
    std::map<std::string, int> idle;  // by group
    int all = 0, poisoned = 0;
    for (const auto& group : suite->groups) {
      for (std::size_t i = group.first; i < group.first + group.count; ++i) {
        const Case& c = suite->cases[i];
        if (c.poison.what == PoisonWhat::none || c.problem.op == Op::kv_decode || c.problem.op == Op::set_rows)
          continue;
        ++poisoned;
        if (changes_bytes(c)) continue;
        ++all;
        ++idle[group.why];
      }
    }
    EXPECT_LE(all, poisoned / 100) << name << ": " << ::testing::PrintToString(idle);
  }
}

TEST(Museum, EveryBugIsExpressedOrSaysWhyNot) {
  const auto suite = load_suite("museum");
  ASSERT_TRUE(suite.has_value()) << suite.error().text();
  std::set<std::string> expressed, unexpressed;
  for (const auto& group : suite->groups) {
    ASSERT_EQ(group.tags.size(), 2U);
    EXPECT_TRUE(expressed.insert(group.tags[1]).second) << group.tags[1];
  }
  for (const auto& missing : suite->unexpressed) {
    EXPECT_FALSE(missing.reason.empty()) << missing.ref;
    EXPECT_FALSE(expressed.contains(missing.ref)) << missing.ref;
    EXPECT_TRUE(unexpressed.insert(missing.ref).second) << missing.ref;
  }
  EXPECT_EQ(expressed.size() + unexpressed.size(), 112U);
  EXPECT_LE(unexpressed.size(), 8U);
}

TEST(Models, EachHasADecodeAPrefillAndARaggedBatch) {
  const auto suite = load_suite("models");
  ASSERT_TRUE(suite.has_value()) << suite.error().text();
  EXPECT_EQ(suite->groups.size(), 56U);
  for (const auto& group : suite->groups) {
    ASSERT_EQ(group.count, 3U) << group.tags[1];
    const auto& problem = [&](std::size_t i) -> const AttentionProblem& {
      return suite->cases[group.first + i].problem;
    };
    EXPECT_EQ(problem(0).n_q, 1) << group.tags[1];
    EXPECT_GT(problem(1).n_q, 1) << group.tags[1];
    EXPECT_EQ(problem(2).n_seq, 2) << group.tags[1];
    for (std::size_t i = 1; i < 3; ++i) {
      EXPECT_EQ(problem(i).n_head, problem(0).n_head);
      EXPECT_EQ(problem(i).d_k, problem(0).d_k);
      EXPECT_EQ(problem(i).scale, problem(0).scale);
    }
  }
}

TEST(TomlSuite, UnexpressedNeedsBothWords) {
  const std::string group = "[[group]]\nwhy = \"\"\nline = \"flash_attn_ext\"\n";
  EXPECT_EQ(error_of(group + "[[unexpressed]]\nref = \"x\"\n").line, 6);
  EXPECT_THAT(error_of(group + "[[unexpressed]]\nref = \"x\"\nreasn = \"\"\n").hint, HasSubstr("'reason'"));
}

// Values that history says matter: each must be one line.
TEST(Axes, EveryValueThatMattersHasALine) {
  constexpr const char* kLines[] = {
      "d=16",
      "d=72",
      "d=512",
      "d_k=576 d_v=512",
      "d_k=64 d_v=128",
      "n_q=512",
      "n_kv=65537",
      "n_kv=70 n_head=2 layout=cache:40000000+sparse",
      "n_head=128 n_head_kv=1",
      "n_head=40 n_head_kv=8",
      "n_head=8 n_head_kv=4 n_head_v=2",
      "n_seq=4 n_head=2 mask=random+per-head+per-seq",
      "n_seq=4 mask=causal",
      "kv=iq4_nl",
      "k=f16 v=q8_0",
      "k=f32 v=f16",
      "mask=none",
      "mask=zeros",
      "mask=causal",
      "mask=causal:top-left",
      "mask=window:128",
      "mask=used:37",
      "mask=left:5",
      "mask=document:16",
      "mask=random",
      "mask=random+per-head",
      "mask=blocks:32",
      "mask=blocks:64",
      "mask=dead:first",
      "mask=dead:middle",
      "mask=dead:last",
      "mask=dead:all",
      "mask=finite:-65504",
      "mask=finite-rows:-65504",
      "mask=finite-blocks:-65504",
      "mask=finite-left:-3.4e38+f32",
      "mask=finite:-1e4",
      "n_q=7 mask=causal layout=mask-rows:1",
      "n_q=7 mask=causal layout=mask-rows:57 poison=mask-rows:random",
      "scale=1",
      "scale=1/128",
      "scale=1/12",
      "scale=0",
      "scale=-0.125",
      "softcap=50",
      "mask=causal max_bias=16 n_head=112",
      "sinks=normal",
      "sinks=-inf",
      "sinks=40",
      "prec=f32",
      "data=uniform",
      "data=v_shift",
      "data=v_scale:2000",
      "data=anti_aligned softcap=30",
      "data=low:5e4",
      "data=low:7e4",
      "data=huge:90",
      "data=spike:9.22",
      "data=spike:13.83",
      "data=spike_first:18.43",
      "data=rising:104",
      "data=outlier_channel",
      "data=v_const",
      "data=onehot",
      "layout=0123",
      "layout=0213",
      "layout=cache:128",
      "layout=pad:8",
      "layout=v-in-k",
      "layout=offset:2",
      "layout=kt",
      "layout=left",
      "layout=tail:64 poison=end:nan",
      "layout=pad:8 poison=rows:-60000",
      "layout=cache:128 poison=heads:inf",
      "mask=used:3 poison=hidden:previous:1",
      "poison=output:zero",
      "mask=causal layout=mask-cols:8 poison=mask-cols:nan",
      "threads=16",
  };
  for (const char* line : kLines) {
    const auto parsed = parse_case(std::string("flash_attn_ext ") + line);
    ASSERT_TRUE(parsed.has_value()) << parsed.error().text();
    EXPECT_EQ(parse_case(text(*parsed)), *parsed) << line;
  }
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
