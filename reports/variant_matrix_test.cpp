#include "reports/variant_matrix.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>
#include <sstream>

namespace attest {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

const std::vector<std::string> kBackends{"cpu:vec", "ggml:CPU,variant=icelake,threads=2",
                                         "ggml:CPU,variant=haswell,threads=2", "ggml:CPU,variant=skylakex,threads=2"};

VerdictRecord record(int number, const std::string& variant, const std::string& digest, double err_over_b,
                     Verdict verdict = Verdict::PASS) {
  VerdictRecord r;
  r.case_id = "case" + std::to_string(number);
  r.line = "flash_attn_ext n_kv=" + std::to_string(number);
  r.backend = "ggml:CPU,variant=" + variant + ",threads=2";
  r.path = number < 3 ? "vec" : "tiled";
  r.digest = digest;
  r.err_over_b = err_over_b;
  r.verdict = verdict;
  return r;
}

// icelake and skylakex agree always; haswell differs in cases 2 and 3, fails 3 and does not answer 4.
std::vector<VerdictRecord> records() {
  const double nan = std::numeric_limits<double>::quiet_NaN();
  return {record(1, "icelake", "a", 0.1),
          record(1, "haswell", "a", 0.1),
          record(1, "skylakex", "a", 0.1),
          record(2, "icelake", "b", 0.2),
          record(2, "haswell", "c", 0.3),
          record(2, "skylakex", "b", 0.2),
          record(3, "icelake", "d", 0.4),
          record(3, "haswell", "e", 7, Verdict::FAIL),
          record(3, "skylakex", "d", 0.4),
          record(4, "icelake", "f", nan),
          record(4, "haswell", "", 0, Verdict::CRASH),
          record(4, "skylakex", "f", nan)};
}

std::vector<VariantMatrix::Family> families(const std::vector<VerdictRecord>& of) {
  VariantMatrix matrix;
  matrix.announce(kBackends);
  for (const VerdictRecord& r : of) matrix.add(r);
  return matrix.families();
}

TEST(VariantMatrix, CountsOtherBitsAndBudgetsPairByPair) {
  const auto found = families(records());
  ASSERT_EQ(found.size(), 1U);
  const auto& family = found[0];
  EXPECT_EQ(family.backend, "ggml:CPU,threads=2");
  EXPECT_EQ(family.cases, 4);
  EXPECT_THAT(family.alike, ElementsAre(ElementsAre("icelake", "skylakex"), ElementsAre("haswell")));
  ASSERT_EQ(family.pairs.size(), 1U);
  const auto& pair = family.pairs[0];
  EXPECT_EQ(pair.a, "icelake");
  EXPECT_EQ(pair.b, "haswell");
  EXPECT_EQ(pair.cases, 3);
  EXPECT_EQ(pair.different, 2);
  EXPECT_EQ(pair.beyond, 1);
  EXPECT_EQ(pair.one_answers, 1);
  EXPECT_EQ(pair.worst_a, 0.4);
  EXPECT_EQ(pair.worst_b, 7);
  EXPECT_EQ(pair.line, "flash_attn_ext n_kv=3");
  EXPECT_EQ(family.paths.at("vec"), std::pair(std::int64_t{2}, std::int64_t{1}));
  EXPECT_EQ(family.paths.at("tiled"), std::pair(std::int64_t{2}, std::int64_t{1}));
}

// The JSONL file holds all that the table is made of.
TEST(VariantMatrix, IsTheSameOfRecordsThatWereWrittenAndRead) {
  std::vector<VerdictRecord> read;
  for (const VerdictRecord& r : records()) read.push_back(*record_from_json(to_json(r)));
  std::reverse(read.begin(), read.end());
  EXPECT_EQ(variant_text(families(read), 100), variant_text(families(records()), 100));
}

TEST(VariantMatrix, TextNamesWhatDiffersAndFitsTheScreen) {
  const std::string text = variant_text(families(records()), 100);
  EXPECT_THAT(text, HasSubstr("CPU variants of ggml:CPU,threads=2: 3, 4 cases"));
  EXPECT_THAT(text, HasSubstr("same bits  icelake = skylakex"));
  EXPECT_THAT(text, HasSubstr("path tiled: 1 of 2, path vec: 1 of 2 cases"));
  EXPECT_THAT(text, HasSubstr("-b 'ggml:CPU,threads=2,variant=icelake' -b 'ggml:CPU,threads=2,variant=haswell' --case "
                              "'flash_attn_ext n_kv=3'"));
  EXPECT_THAT(variant_text(families(records()), 100, "--ggml 'a b'"),
              HasSubstr("attest run --ggml 'a b' -b 'ggml:CPU,threads=2,variant=icelake' -b 'ggml:CPU"));
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    const bool pasted = line.find("attest run ") != std::string::npos;
    EXPECT_TRUE(pasted || line.size() <= 100) << line;
  }
}

TEST(VariantMatrix, SaysNothingOfBackendsWithoutASibling) {
  VariantMatrix matrix;
  matrix.announce({"cpu:vec", "ggml:CPU", "ggml:CPU,variant=x64", "ggml:CPU,ref,variant=haswell"});
  for (const VerdictRecord& r : records()) matrix.add(r);
  EXPECT_EQ(variant_text(matrix.families(), 100), "");
}

}  // namespace
}  // namespace attest
