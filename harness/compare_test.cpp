#include "harness/compare.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>

#include "cases/inputs.h"
#include "cases/poison.h"
#include "harness/mock_backend.h"

namespace attest {
namespace {

// The truth of a case, to be bent by a test, and what compare() says of it.
struct Exam {
  explicit Exam(const std::string& line, const KeyOptions& options = {})
      : c(*parse_case(line)), owned(c), key(c, owned.inputs(), options) {
    write_truth(owned.inputs(), owned.output());
  }
  float& at(std::int64_t seq, std::int64_t head, std::int64_t query, std::int64_t column) {
    return reinterpret_cast<float*>(owned.output().row(head, query, seq))[column];
  }
  Ruling rule(const ArithmeticContract& contract = {}) {
    record = {};
    return compare(key, contract, owned.output().view(), record);
  }

  Case c;
  OwnedInputs owned;
  Key key;
  VerdictRecord record;
};

constexpr const char* kSixtyFourRows = "flash_attn_ext d=64 n_head=4 n_head_kv=2 n_q=16 n_kv=100 kv=f32 seed=3";

TEST(Compare, TheTruthPassesWithEveryRowJudged) {
  Exam exam(kSixtyFourRows);
  const Ruling ruling = exam.rule();
  EXPECT_EQ(ruling.verdict, Verdict::PASS) << exam.record.detail;
  EXPECT_FALSE(ruling.suspect);
  EXPECT_EQ(exam.record.rows_judged, 64);
  EXPECT_GE(exam.record.rows_confirmed, 1);
  EXPECT_LT(exam.record.err_over_b, 0.5);
}

// One element of one row of 64, 1 % off: NMSE cannot see it, the budget does.
TEST(Compare, OnePercentInOneElementOfSixtyFourRowsIsFailWhereNmseSaysPass) {
  Exam exam(kSixtyFourRows);
  exam.at(0, 2, 7, 11) *= 1.01F;
  const Ruling ruling = exam.rule();
  EXPECT_EQ(ruling.verdict, Verdict::FAIL);
  EXPECT_EQ(exam.record.bad_elements, 1);
  EXPECT_EQ(exam.record.worst.head, 2);
  EXPECT_EQ(exam.record.worst.query, 7);
  EXPECT_EQ(exam.record.worst.column, 11);
  EXPECT_GT(exam.record.err_over_b, 1);
  EXPECT_LT(exam.record.nmse, 5e-4);  // test-backend-ops' limit for FLASH_ATTN_EXT
}

TEST(Compare, NanIsItsOwnVerdictAndNeverARatio) {
  for (const float value : {std::nanf(""), std::numeric_limits<float>::infinity()}) {
    Exam exam(kSixtyFourRows);
    exam.at(0, 3, 15, 63) = value;
    EXPECT_EQ(exam.rule().verdict, Verdict::NAN_);
    EXPECT_TRUE(std::isnan(exam.record.err_over_b));
    EXPECT_EQ(exam.record.worst.column, 63);
  }
}

// Captured tensors may hold an Inf in V: the references agree about what follows from it.
TEST(Compare, AnInfinityInVIsNoQuarrelOfTheReferences) {
  const Case c = *parse_case(kSixtyFourRows);
  OwnedInputs owned(c);
  const TensorPlan& v = owned.plan().v;
  const float infinity = std::numeric_limits<float>::infinity();
  std::memcpy(owned.buffers().v + v.offset, &infinity, sizeof infinity);
  Key key(c, owned.inputs(), {});
  write_truth(owned.inputs(), owned.output());
  VerdictRecord record;
  EXPECT_NE(compare(key, {}, owned.output().view(), record).verdict, Verdict::ORACLE) << record.detail;
}

TEST(Compare, NanInARowThatIsNotJudgedIsStillSeen) {
  KeyOptions options;
  options.rows = 4;
  Exam exam(kSixtyFourRows, options);
  ASSERT_EQ(exam.key.rows().size(), 4U);
  for (std::int64_t h = 0; h < 4; ++h) {
    for (std::int64_t i = 0; i < 16; ++i) {
      const Row row{0, h, i};
      if (std::find(exam.key.rows().begin(), exam.key.rows().end(), row) != exam.key.rows().end()) continue;
      Exam other(kSixtyFourRows, options);
      other.at(0, h, i, 5) = std::nanf("");
      ASSERT_EQ(other.rule().verdict, Verdict::NAN_);
    }
  }
}

TEST(Compare, AnElementThatWasNotWrittenIsUnwritten) {
  Exam exam(kSixtyFourRows);
  exam.at(0, 0, 1, 2) = std::bit_cast<float>(kOutputPrefill);
  EXPECT_EQ(exam.rule().verdict, Verdict::UNWRITTEN);
  EXPECT_EQ(exam.record.bad_elements, 1);
}

TEST(Compare, ADeadRowMustBeExactlyZero) {
  Exam exam("flash_attn_ext d=32 n_q=4 n_kv=40 kv=f32 mask=causal+dead:first");
  EXPECT_EQ(exam.rule().verdict, Verdict::PASS);
  EXPECT_EQ(exam.record.rows_dead, 1);
  exam.at(0, 0, 0, 0) = 1e-30F;
  EXPECT_EQ(exam.rule().verdict, Verdict::FAIL);
}

TEST(Compare, ARowSwappedWithItsNeighbourFails) {
  Exam exam(kSixtyFourRows);
  for (std::int64_t e = 0; e < 64; ++e) std::swap(exam.at(0, 1, 3, e), exam.at(0, 1, 4, e));
  EXPECT_EQ(exam.rule().verdict, Verdict::FAIL);
  EXPECT_GT(exam.record.bad_elements, 64);
  EXPECT_EQ(exam.record.parties.size(), 2U);
}

TEST(Compare, PrecisionThatIsNotHonouredIsRecorded) {
  Exam exam("flash_attn_ext d=32 n_q=2 n_kv=40 prec=f32");
  ArithmeticContract contract;
  EXPECT_EQ(exam.rule(contract).verdict, Verdict::PASS);
  EXPECT_FALSE(exam.record.prec_not_honoured);
  contract.honours_prec_f32 = false;
  exam.rule(contract);
  EXPECT_TRUE(exam.record.prec_not_honoured);
}

// What an f16 accumulator may lose over 8192 equal weights is everything; the contract allows it, the record says it.
TEST(Compare, WhatTheContractLetsGoIsNamedAsLoss) {
  Exam exam("flash_attn_ext d=64 n_kv=8192 data=flat+v_const");
  ArithmeticContract narrow;
  narrow.u_acc = kUnitF16;
  narrow.omega_acc = 0x1p-25;
  EXPECT_EQ(exam.rule(narrow).verdict, Verdict::PASS);
  EXPECT_EQ(exam.record.loss, "");
  for (std::int64_t e = 0; e < 64; ++e) exam.at(0, 0, 0, e) *= 0.75F;
  EXPECT_EQ(exam.rule(narrow).verdict, Verdict::PASS);
  EXPECT_EQ(exam.record.loss, "accumulator");
  EXPECT_EQ(exam.rule().verdict, Verdict::FAIL);
  EXPECT_EQ(exam.record.loss, "");
}

TEST(Compare, OverflowThatTheContractPredictsIsNamedAsLoss) {
  Exam exam("flash_attn_ext d=64 n_kv=100 data=normal:0.3+v_scale:20000");
  ArithmeticContract narrow;
  narrow.u_acc = kUnitF16;
  narrow.omega_acc = 0x1p-25;
  EXPECT_EQ(exam.rule(narrow).verdict, Verdict::RANGE);
  EXPECT_EQ(exam.record.loss, "");
  exam.at(0, 0, 0, 5) = std::numeric_limits<float>::infinity();
  EXPECT_EQ(exam.rule(narrow).verdict, Verdict::RANGE);
  EXPECT_EQ(exam.record.loss, "overflow");
}

TEST(Compare, NanInRowsThatAreNotJudgedTakesNothingFromRange) {
  Exam exam("flash_attn_ext d=64 n_head=4 n_q=40 n_kv=32 kv=f32 data=normal:0.1+v_scale:30000", {.rows = 2});
  ArithmeticContract narrow;
  narrow.u_acc = kUnitF16;
  narrow.omega_acc = 0x1p-25;
  for (std::int64_t i = 0; i < exam.owned.output().elements(); ++i) {
    reinterpret_cast<float*>(exam.owned.output().data)[i] = std::numeric_limits<float>::quiet_NaN();
  }
  EXPECT_EQ(exam.rule(narrow).verdict, Verdict::RANGE);
  EXPECT_EQ(exam.record.rows_judged, 2);
  EXPECT_EQ(exam.record.rows_range, 2);
}

// A block of Q whose sum, kept in f16 by q8_1, overflows: under that contract no finite answer exists, and the
// references are not to be blamed for saying so in their ways.
TEST(Compare, RowsWithoutAFiniteAnswerUnderTheStatedRoundingAreRangeNotOracle) {
  Exam exam(
      "flash_attn_ext d=32 n_head=14 n_head_kv=2 n_q=8 n_kv=32 k=q4_1 v=q4_0 mask=causal scale=1/128 data=onehot "
      "seed=268052",
      {.oracle_full = true});
  ArithmeticContract contract;
  contract.q_rounding = QRounding::q8_1;
  const Ruling ruling = exam.rule(contract);
  EXPECT_GE(exam.record.rows_range, 1);
  EXPECT_NE(ruling.verdict, Verdict::ORACLE) << exam.record.detail;
}

}  // namespace
}  // namespace attest
