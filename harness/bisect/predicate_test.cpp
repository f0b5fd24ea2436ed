#include "harness/bisect/predicate.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>

namespace attest {
namespace {

using ::testing::HasSubstr;

Measurement with(Verdict verdict, double err = 1e-5) {
  Measurement m;
  m.record.verdict = verdict;
  m.record.max_abs = err;
  m.record.nmse = err * err;
  m.bits = "0123";
  return m;
}

Measurement unknown(const std::string& why) {
  Measurement m;
  m.unknown = why;
  return m;
}

Answer bad(const char* when, const Measurement& step, const Measurement& good = with(Verdict::PASS)) {
  const auto p = Predicate::parse(when);
  EXPECT_TRUE(p) << when << ": " << p.error().text();
  return p ? p->bad(step, good) : Answer::unknown;
}

TEST(Predicate, AVerdictIsBadOthersAreGoodOrSayNothing) {
  EXPECT_EQ(bad("FAIL", with(Verdict::FAIL)), Answer::yes);
  EXPECT_EQ(bad("fail", with(Verdict::FAIL)), Answer::yes);
  EXPECT_EQ(bad("FAIL,NAN", with(Verdict::NAN_)), Answer::yes);
  EXPECT_EQ(bad("FAIL", with(Verdict::PASS)), Answer::no);
  EXPECT_EQ(bad("FAIL", with(Verdict::RANGE)), Answer::no);
  // A crash hides whether the result would have been wrong.
  EXPECT_EQ(bad("FAIL", with(Verdict::CRASH)), Answer::unknown);
  EXPECT_EQ(bad("FAIL", with(Verdict::NAN_)), Answer::unknown);
  EXPECT_EQ(bad("FAIL", unknown("does not build")), Answer::unknown);
  Measurement refused = unknown("UNSUPPORTED: no softcap");
  refused.record.verdict = Verdict::UNSUPPORTED;
  EXPECT_EQ(bad("FAIL", refused), Answer::unknown);
  EXPECT_EQ(bad("UNSUPPORTED", refused), Answer::yes);
}

TEST(Predicate, BadIsAnyBadVerdictThatComesBack) {
  EXPECT_EQ(bad("bad", with(Verdict::CRASH)), Answer::yes);
  EXPECT_EQ(bad("bad", with(Verdict::STALE)), Answer::yes);
  EXPECT_EQ(bad("bad", with(Verdict::BLIND)), Answer::no);
  EXPECT_EQ(bad("bad", with(Verdict::FLAKY)), Answer::unknown);
  EXPECT_EQ(bad("bad", with(Verdict::ORACLE)), Answer::unknown);
}

TEST(Predicate, AnErrorIsHeldAgainstTheGoodEnds) {
  const Measurement good = with(Verdict::PASS, 1e-5);
  EXPECT_EQ(bad("err > 2 * baseline", with(Verdict::PASS, 2e-5), good), Answer::no);
  EXPECT_EQ(bad("err > 2 * baseline", with(Verdict::PASS, 2.1e-5), good), Answer::yes);
  EXPECT_EQ(bad("err>2*baseline", with(Verdict::PASS, 2.1e-5), good), Answer::yes);
  EXPECT_EQ(bad("err > baseline * 3", with(Verdict::FAIL, 2.1e-5), good), Answer::no);
  EXPECT_EQ(bad("err > baseline", with(Verdict::PASS, 1e-5), good), Answer::no);
  EXPECT_EQ(bad("err > 1e-3", with(Verdict::PASS, 1e-2), good), Answer::yes);
  EXPECT_EQ(bad("nmse > 2 * baseline", with(Verdict::PASS, 1.5e-5), good), Answer::yes);
  // Not a number is no small error, and an output that never came has none.
  EXPECT_EQ(bad("err > 1", with(Verdict::FAIL, std::numeric_limits<double>::quiet_NaN()), good), Answer::yes);
  EXPECT_EQ(bad("err > 1", with(Verdict::NAN_, 0), good), Answer::yes);
  EXPECT_EQ(bad("err > 1", with(Verdict::CRASH, 0), good), Answer::unknown);
  EXPECT_EQ(bad("err > baseline", with(Verdict::PASS), with(Verdict::CRASH)), Answer::unknown);
}

TEST(Predicate, OtherBitsAreAChangeAndNoBitsSayNothing) {
  Measurement other = with(Verdict::PASS);
  other.bits = "4567";
  Measurement none = with(Verdict::PASS);
  none.bits.clear();
  EXPECT_EQ(bad("bitwise-change", with(Verdict::FAIL)), Answer::no);
  EXPECT_EQ(bad("bitwise-change", other), Answer::yes);
  EXPECT_EQ(bad("bitwise-change", none), Answer::unknown);
  EXPECT_EQ(bad("bitwise-change", with(Verdict::PASS), none), Answer::unknown);
}

TEST(Predicate, TimeIsHeldAgainstTheGoodEnds) {
  Measurement good = with(Verdict::PASS), slow = good, same = good;
  good.cpu_s = 0.1;
  slow.cpu_s = 0.13;
  same.cpu_s = 0.11;
  EXPECT_EQ(bad("slower 1.2", slow, good), Answer::yes);
  EXPECT_EQ(bad("slower 1.2", same, good), Answer::no);
  EXPECT_EQ(bad("slower 1.2", with(Verdict::PASS), good), Answer::unknown);
  EXPECT_TRUE(Predicate::parse("slower 1.2")->timed());
  EXPECT_FALSE(Predicate::parse("err > 1")->timed());
}

TEST(Predicate, ACrashIsADeathNotAWrongAnswer) {
  for (const Verdict v : {Verdict::CRASH, Verdict::HANG, Verdict::OOM, Verdict::OOB}) {
    EXPECT_EQ(bad("crash", with(v)), Answer::yes);
  }
  EXPECT_EQ(bad("crash", with(Verdict::FAIL)), Answer::no);
  EXPECT_EQ(bad("crash", with(Verdict::FLAKY)), Answer::unknown);
  EXPECT_EQ(bad("crash", unknown("build failed")), Answer::unknown);
}

TEST(Predicate, TheDefaultIsTheVerdictOfTheBadEnd) {
  auto p = Predicate::parse("");
  ASSERT_TRUE(p);
  ASSERT_TRUE(p->settle(with(Verdict::STALE)));
  EXPECT_EQ(p->text(), "STALE");
  EXPECT_EQ(p->bad(with(Verdict::STALE), with(Verdict::PASS)), Answer::yes);
  EXPECT_EQ(p->bad(with(Verdict::CRASH), with(Verdict::PASS)), Answer::unknown);
  auto none = Predicate::parse("");
  const auto settled = none->settle(with(Verdict::PASS));
  ASSERT_FALSE(settled);
  EXPECT_THAT(settled.error().hint, HasSubstr("bitwise-change"));
}

TEST(Predicate, MistakesNameTheNearestWord) {
  const auto hint = [](const char* text) {
    const auto p = Predicate::parse(text);
    EXPECT_FALSE(p) << text;
    return p ? std::string() : p.error().text();
  };
  EXPECT_THAT(hint("STAL"), HasSubstr("did you mean 'STALE'?"));
  EXPECT_THAT(hint("bitwise-chance"), HasSubstr("did you mean 'bitwise-change'?"));
  EXPECT_THAT(hint("nsme > 1"), HasSubstr("did you mean 'nmse'?"));
  EXPECT_THAT(hint("err > 2 * basline"), HasSubstr("did you mean 'baseline'?"));
  EXPECT_THAT(hint("err > -1"), HasSubstr("above 0"));
  EXPECT_THAT(hint("err >"), HasSubstr("is not a condition"));
  EXPECT_THAT(hint("slower"), HasSubstr("slower 1.2"));
  EXPECT_THAT(hint("slower 0.5"), HasSubstr("above 1"));
  EXPECT_THAT(hint("what ever"), HasSubstr("'crash'"));
}

TEST(Measurement, ComesBackFromItsTextAsItWas) {
  Measurement m = with(Verdict::STALE, std::numeric_limits<double>::infinity());
  m.release = "llama.cpp b6845";
  m.record.line = "flash_attn_ext d=64";
  m.record.underlying = "NAN";
  m.like = "an f16 accumulator";
  m.cpu_s = 0.1;
  const auto back = measurement_from_text(to_text(m));
  ASSERT_TRUE(back);
  EXPECT_EQ(*back, m);
  const auto none = measurement_from_text(to_text(unknown("build failed,\nexit code 2")));
  ASSERT_TRUE(none);
  EXPECT_EQ(none->unknown, "build failed, exit code 2");
  EXPECT_FALSE(measurement_from_text("attest measurement 1\n"));
  const std::string text = to_text(m);
  for (std::size_t n = 0; n < text.size(); ++n) EXPECT_FALSE(measurement_from_text(text.substr(0, n)));
}

}  // namespace
}  // namespace attest
