#include "harness/causal_probe.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>

#include "cases/inputs.h"
#include "harness/mock_backend.h"

namespace attest {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using enum CausalAlignment;

constexpr const char* kProblem = "flash_attn_ext d=32 n_head=2 n_q={} n_kv={} mask={}";

Case case_of(int n_q, int n_kv, const std::string& mask) {
  return *parse_case(fmt::format(fmt::runtime(kProblem), n_q, n_kv, mask));
}

// What `asked` is answered with by a kernel that masks as `done` says: the same tensors, another mask.
CausalClass classified(const Case& asked, const Case& done, bool anti = false) {
  const OwnedInputs inputs(asked);
  OwnedInputs answer(done);
  if (anti) {
    const AttentionProblem& p = done.problem;
    for (std::int64_t i = 0; i < p.n_q; ++i) {
      for (std::int64_t j = 0; j < p.n_kv; ++j) {
        auto* at = const_cast<std::byte*>(answer.inputs().mask.row(i, 0, 0)) + 2 * j;
        const std::uint16_t bits = j >= i + p.n_kv - p.n_q ? 0x0000 : 0xfc00;
        std::memcpy(at, &bits, sizeof bits);
      }
    }
  }
  write_truth(answer.inputs(), answer.output());
  return *classify_causal(asked, inputs.inputs(), answer.output().view());
}

TEST(CausalProbe, TellsTheFourAlignmentsApartWhereNqAndNkvDiffer) {
  for (const auto& [n_q, n_kv] : {std::pair{12, 20}, {20, 12}}) {
    const Case right = case_of(n_q, n_kv, "causal"), left = case_of(n_q, n_kv, "causal:top-left"),
               none = case_of(n_q, n_kv, "zeros");
    EXPECT_THAT(classified(right, right).like, ElementsAre(bottom_right));
    EXPECT_THAT(classified(right, left).like, ElementsAre(top_left));
    EXPECT_THAT(classified(right, none).like, ElementsAre(full));
    EXPECT_THAT(classified(right, right, true).like, ElementsAre(anti_causal));
    EXPECT_THAT(classified(left, left).like, ElementsAre(top_left));
    EXPECT_TRUE(classified(left, left).as_asked());
    EXPECT_FALSE(classified(left, right).as_asked());
    EXPECT_EQ(classified(left, none).text(), "full");
  }
}

TEST(CausalProbe, SquareProblemsHaveOneAlignment) {
  const Case square = case_of(16, 16, "causal");
  EXPECT_EQ(classified(square, square).text(), "bottom-right or top-left");
  EXPECT_TRUE(classified(square, square).as_asked());
}

TEST(CausalProbe, OtherTermsOfTheMaskStay) {
  EXPECT_THAT(classified(case_of(12, 20, "causal+left:4"), case_of(12, 20, "left:4")).like, ElementsAre(full));
  EXPECT_THAT(classified(case_of(12, 20, "causal+left:4"), case_of(12, 20, "causal:top-left+left:4")).like,
              ElementsAre(top_left));
}

TEST(CausalProbe, SomethingElseIsNoneOfThem) {
  EXPECT_THAT(classified(case_of(12, 20, "causal"), case_of(12, 20, "used:3")).like, IsEmpty());
  EXPECT_EQ(classified(case_of(12, 20, "causal"), case_of(12, 20, "used:3")).text(), "none of the four");
}

TEST(CausalProbe, WithoutACausalTermThereIsNothingToTell) {
  const Case c = case_of(12, 20, "used:3");
  const OwnedInputs inputs(c);
  write_truth(inputs.inputs(), inputs.output());
  EXPECT_FALSE(classify_causal(c, inputs.inputs(), inputs.output().view()).has_value());
}

}  // namespace
}  // namespace attest
