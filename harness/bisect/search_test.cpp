#include "harness/bisect/search.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <functional>

namespace attest {
namespace {

using Truth = std::function<Answer(std::int64_t)>;

int drive(Search& search, const Truth& truth) {
  int asked = 0;
  while (const auto step = search.next()) {
    search.record(*step, truth(*step));
    ++asked;
  }
  return asked;
}

TEST(Search, FindsEveryBoundaryOfAShortHistoryInTheFewestQuestions) {
  for (std::int64_t n = 2; n <= 130; ++n) {
    for (std::int64_t first = 1; first < n; ++first) {
      Search search(0, n - 1);
      const int least = search.questions_left();
      const int asked = drive(search, [&](std::int64_t s) { return s >= first ? Answer::yes : Answer::no; });
      EXPECT_EQ(search.first_yes(), first);
      EXPECT_EQ(search.last_no(), first - 1);
      EXPECT_TRUE(search.unknown().empty());
      EXPECT_LE(asked, least) << n << " steps, boundary " << first;
      EXPECT_GE(asked + 1, least) << n << " steps, boundary " << first;
    }
  }
}

TEST(Search, SaysHowManyQuestionsAreLeft) {
  EXPECT_EQ(Search(0, 1).questions_left(), 0);
  EXPECT_EQ(Search(0, 2).questions_left(), 1);
  EXPECT_EQ(Search(0, 4).questions_left(), 2);
  EXPECT_EQ(Search(0, 5).questions_left(), 3);
  EXPECT_EQ(Search(0, 199).questions_left(), 8);
  EXPECT_EQ(Search(-3, 5).untested(), 7);
}

TEST(Search, ALongStretchOfUnknownsCostsItsLogarithm) {
  // 1000 steps in the middle do not build; the boundary lies elsewhere.
  for (const std::int64_t first : {100, 3900}) {
    Search search(0, 4000);
    const int asked = drive(search, [&](std::int64_t s) {
      if (s >= 1500 && s < 2500) return Answer::unknown;
      return s >= first ? Answer::yes : Answer::no;
    });
    EXPECT_EQ(search.first_yes(), first);
    EXPECT_EQ(search.last_no(), first - 1);
    EXPECT_LE(asked, 12 + 2 * 10);
  }
}

TEST(Search, UnknownsAroundTheBoundaryMakeARange) {
  Search search(0, 9);
  drive(search, [](std::int64_t s) { return s < 4 ? Answer::no : s > 6 ? Answer::yes : Answer::unknown; });
  EXPECT_EQ(search.last_no(), 3);
  EXPECT_EQ(search.unknown(), (std::vector<std::int64_t>{4, 5, 6}));
  EXPECT_EQ(search.first_yes(), 7);
}

TEST(Search, NothingButUnknownsLeavesTheWholeHistory) {
  Search search(0, 5);
  EXPECT_EQ(drive(search, [](std::int64_t) { return Answer::unknown; }), 4);
  EXPECT_EQ(search.last_no(), 0);
  EXPECT_EQ(search.first_yes(), 5);
  EXPECT_EQ(search.unknown().size(), 4U);
}

TEST(Search, AnswersAboutWhatIsSettledChangeNothing) {
  Search search(10, 20);
  search.record(15, Answer::yes);
  search.record(17, Answer::no);
  search.record(15, Answer::no);
  search.record(10, Answer::yes);
  search.record(16, Answer::unknown);
  EXPECT_EQ(search.last_no(), 10);
  EXPECT_EQ(search.first_yes(), 15);
  EXPECT_TRUE(search.unknown().empty());
}

// What a look at every step would say.
struct Scan {
  std::int64_t last_no = 0, first_yes = 0;
  std::vector<std::int64_t> unknown;
};
Scan scan(const std::vector<Answer>& answers) {
  Scan found;
  const auto n = static_cast<std::int64_t>(answers.size());
  while (answers[static_cast<std::size_t>(found.first_yes)] != Answer::yes) ++found.first_yes;
  for (std::int64_t s = 0; s < found.first_yes && s < n; ++s) {
    if (answers[static_cast<std::size_t>(s)] == Answer::no) found.last_no = s;
  }
  for (std::int64_t s = found.last_no + 1; s < found.first_yes; ++s) found.unknown.push_back(s);
  return found;
}

RC_GTEST_PROP(SearchProperty, AgreesWithALinearScanWhateverIsUnknown, ()) {
  const auto n = *rc::gen::inRange<std::size_t>(2, 400);
  const auto first = *rc::gen::inRange<std::size_t>(1, n);
  const auto share = *rc::gen::element(0, 3, 30, 70, 95);  // percent unknown
  std::vector<Answer> answers;
  std::int64_t unknowns = 0;
  for (std::size_t s = 0; s < n; ++s) {
    const bool end = s == 0 || s == n - 1;
    const bool unknown = !end && *rc::gen::inRange(0, 100) < share;
    unknowns += unknown ? 1 : 0;
    answers.push_back(unknown ? Answer::unknown : s >= first ? Answer::yes : Answer::no);
  }
  Search search(0, static_cast<std::int64_t>(n) - 1);
  int asked_in_vain = 0;
  const int asked = drive(search, [&](std::int64_t s) {
    const Answer answer = answers[static_cast<std::size_t>(s)];
    asked_in_vain += answer == Answer::unknown ? 1 : 0;
    return answer;
  });
  const Scan expected = scan(answers);
  RC_ASSERT(search.last_no() == expected.last_no);
  RC_ASSERT(search.first_yes() == expected.first_yes);
  RC_ASSERT(search.unknown() == expected.unknown);
  RC_ASSERT(asked_in_vain <= unknowns);
  if (unknowns == 0) RC_ASSERT(asked <= Search(0, static_cast<std::int64_t>(n) - 1).questions_left());
}

RC_GTEST_PROP(SearchProperty, WhateverTheAnswersAreTheEndsOfWhatItNamesWereAnsweredSo, ()) {
  const auto n = *rc::gen::inRange<std::size_t>(2, 200);
  std::vector<Answer> answers{Answer::no};
  for (std::size_t s = 1; s + 1 < n; ++s) {
    answers.push_back(*rc::gen::element(Answer::no, Answer::yes, Answer::unknown));
  }
  answers.push_back(Answer::yes);
  Search search(0, static_cast<std::int64_t>(n) - 1);
  drive(search, [&](std::int64_t s) { return answers[static_cast<std::size_t>(s)]; });
  RC_ASSERT(answers[static_cast<std::size_t>(search.last_no())] == Answer::no);
  RC_ASSERT(answers[static_cast<std::size_t>(search.first_yes())] == Answer::yes);
  for (std::int64_t s = search.last_no() + 1; s < search.first_yes(); ++s) {
    RC_ASSERT(answers[static_cast<std::size_t>(s)] == Answer::unknown);
  }
}

}  // namespace
}  // namespace attest
