#include "backends/metal/manifest/expression.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <limits>

namespace attest::metal {
namespace {

const std::vector<std::string> kNames{"n_q", "n_kv", "scale"};
const Numbers kNumbers{{"n_q", Number::of(33)}, {"n_kv", Number::of(100)}, {"scale", Number::of_real(0.125)}};

std::int64_t integer(const std::string& text) {
  const auto e = Expression::parse(text, kNames);
  EXPECT_TRUE(e) << e.error().text();
  if (!e) return -1;
  const auto value = e->evaluate(kNumbers);
  EXPECT_TRUE(value) << value.error().text();
  if (!value) return -1;
  EXPECT_FALSE(value->real) << text;
  return value->integer;
}

TEST(Expression, HasTheOperatorsOfCWithTheirStrength) {
  EXPECT_EQ(integer("2 + 3 * 4 - 1"), 13);
  EXPECT_EQ(integer("(2 + 3) * 4"), 20);
  EXPECT_EQ(integer("100 / 7 % 5"), 4);
  EXPECT_EQ(integer("10 - 4 - 3"), 3) << "joins from the left";
  EXPECT_EQ(integer("-7 / 2"), -3) << "towards zero";
  EXPECT_EQ(integer("-7 % 2"), -1);
  EXPECT_EQ(integer("- -n_q"), 33);
  EXPECT_EQ(integer("0x10 + 1"), 17);
  EXPECT_EQ(integer("n_q > 8 && n_kv <= 100 || 0"), 1);
  EXPECT_EQ(integer("1 || 0 && 0"), 1);
  EXPECT_EQ(integer("!n_q + 1"), 1);
  EXPECT_EQ(integer("1 + 1 == 2"), 1);
  EXPECT_EQ(integer("n_q != 33"), 0);
  EXPECT_EQ(integer("1 < 2 == 1"), 1);
}

TEST(Expression, HasItsFunctions) {
  EXPECT_EQ(integer("ceil_div(n_q, 32)"), 2);
  EXPECT_EQ(integer("ceil_div(n_q - 1, 32)"), 1);
  EXPECT_EQ(integer("ceil_div(0, 32)"), 0);
  EXPECT_EQ(integer("round_up(n_kv, 32)"), 128);
  EXPECT_EQ(integer("min(n_q, 5, n_kv) + max(n_q, n_kv)"), 105);
  EXPECT_EQ(integer("min(1,2)*max( 3 ,4 )"), 4);
}

TEST(Expression, IsRealWhereAnOperandIs) {
  const auto value = Expression::parse("scale * 1.5 + n_q / 2", kNames)->evaluate(kNumbers);
  ASSERT_TRUE(value);
  EXPECT_TRUE(value->real);
  EXPECT_EQ(value->value, 16.1875) << "n_q / 2 is of whole numbers";
  EXPECT_EQ(Expression::parse("1e-3", {})->evaluate({})->value, 1e-3);
  EXPECT_EQ(Expression::parse("2e+3 / 4", {})->evaluate({})->value, 500);
  EXPECT_EQ(integer("scale < 1"), 1);
}

TEST(Expression, WhatDecidesEarlyIsNotEvaluatedFurther) {
  EXPECT_EQ(integer("0 && 1 / 0"), 0);
  EXPECT_EQ(integer("1 || 1 / 0"), 1);
}

struct Bad {
  const char* text;
  int column;
  const char* says;
};

TEST(Expression, AMistakeHasItsColumnAndTheNearestWord) {
  for (const Bad& bad :
       {Bad{"n_q + n_kw", 7, "n_kv"}, Bad{"2 +", 4, "missing at the end"}, Bad{"(1 + 2", 1, "not closed"},
        Bad{"1 2", 3, "does not belong"}, Bad{"ceildiv(1, 2)", 1, "ceil_div"}, Bad{"min(1)", 1, "two or more"},
        Bad{"ceil_div(1, 2, 3)", 1, "two arguments"}, Bad{"99999999999999999999", 1, "64 bits"},
        Bad{"1.2.3", 1, "no number"}, Bad{"", 1, "missing"}, Bad{"3 & 4", 3, "does not belong"},
        Bad{"12abc", 1, "no whole number"}}) {
    const auto e = Expression::parse(bad.text, kNames);
    ASSERT_FALSE(e) << bad.text;
    EXPECT_EQ(e.error().column, bad.column) << bad.text;
    EXPECT_NE(e.error().text().find(bad.says), std::string::npos) << bad.text << ": " << e.error().text();
  }
  EXPECT_FALSE(Expression::parse(std::string(200, '('), {}));
  EXPECT_FALSE(Expression::parse(std::string(1000, '-') + "1", {}));
}

TEST(Expression, WhatHasNoValueSaysSo) {
  for (const char* text : {"1 / 0", "1 % (n_q - 33)", "9223372036854775807 + 1", "4611686018427387904 * 2", "scale % 2",
                           "ceil_div(scale, 2)", "ceil_div(-1, 2)", "1 / 0.0", "(0 - 9223372036854775807 - 1) / -1"}) {
    const auto e = Expression::parse(text, kNames);
    ASSERT_TRUE(e) << text;
    EXPECT_FALSE(e->evaluate(kNumbers)) << text;
  }
  EXPECT_FALSE(Expression::parse("n_q", kNames)->evaluate({})) << "a name without a number";
}

TEST(Expression, ACountIsWholeAndInItsRange) {
  EXPECT_EQ(*Expression::parse("n_q", kNames)->count(kNumbers, 1, 100), 33);
  EXPECT_FALSE(Expression::parse("n_q", kNames)->count(kNumbers, 1, 32));
  EXPECT_FALSE(Expression::parse("n_q - 33", kNames)->count(kNumbers, 1, 32));
  EXPECT_FALSE(Expression::parse("scale", kNames)->count(kNumbers, 0, 32));
}

// A tree, its text with all parentheses, and its value worked out beside the evaluator.
struct Tree {
  std::string text;
  bool defined = true;
  std::int64_t value = 0;
};

Tree tree(int depth) {
  if (depth == 0 || *rc::gen::inRange(0, 4) == 0) {
    const auto n = *rc::gen::inRange<std::int64_t>(0, 8);
    return {std::to_string(n), true, n};
  }
  const Tree a = tree(depth - 1), b = tree(depth - 1);
  const bool defined = a.defined && b.defined;
  switch (*rc::gen::inRange(0, 8)) {
    case 0:
      return {"(" + a.text + "+" + b.text + ")", defined, a.value + b.value};
    case 1:
      return {"(" + a.text + " - " + b.text + ")", defined, a.value - b.value};
    case 2:
      return {"(" + a.text + " *" + b.text + ")", defined, a.value * b.value};
    case 3:
      return {"(" + a.text + "/ " + b.text + ")", defined && b.value != 0, b.value == 0 ? 0 : a.value / b.value};
    case 4:
      return {"(" + a.text + "%" + b.text + ")", defined && b.value != 0, b.value == 0 ? 0 : a.value % b.value};
    case 5:
      return {"min(" + a.text + "," + b.text + ")", defined, std::min(a.value, b.value)};
    case 6:
      return {"max(" + a.text + "," + b.text + ")", defined, std::max(a.value, b.value)};
    default:
      return {"(" + a.text + "<" + b.text + ")", defined, a.value < b.value ? 1 : 0};
  }
}

RC_GTEST_PROP(ExpressionProperty, AgreesWithTheArithmeticOfTheHost, ()) {
  const Tree t = tree(4);  // at most 7^16: no product needs more than 64 bits
  const auto e = Expression::parse(t.text, {});
  RC_ASSERT(e.has_value());
  const auto value = e->evaluate({});
  RC_ASSERT(value.has_value() == t.defined);
  if (t.defined) RC_ASSERT(value->integer == t.value);
}

RC_GTEST_PROP(ExpressionProperty, AnyTextIsAnExpressionOrAnError, (const std::string& text)) {
  const auto e = Expression::parse(text, kNames);
  RC_ASSERT(e.has_value() || e.error().column > 0);
}

}  // namespace
}  // namespace attest::metal
