// attest run --db, report --db and history from outside.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <sstream>

#include "harness/cli/testing/attest_process.h"

namespace attest::testing {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

constexpr const char* kLine = "flash_attn_ext d=16 n_head=2 n_q=3 n_kv=40 kv=f16 mask=causal";

class Db : public ::testing::Test {
 protected:
  std::vector<std::string> run(const std::string& backend, std::vector<std::string> more) {
    std::vector<std::string> words{"run", "-b", backend, "--case", kLine, "--db", db_, "--no-cache"};
    words.insert(words.end(), more.begin(), more.end());
    return words;
  }

  ScratchDir dir_;
  std::string db_ = dir_.path() / "runs.db";
};

TEST_F(Db, RunsAreListedAndACaseIsFollowedThroughThem) {
  ASSERT_EQ(attest(run("cpu:vec", {"--commit", "aaa"})).code, 0);
  ASSERT_EQ(attest(run("cpu:vec", {}), {{"GITHUB_SHA", "bbb"}}).code, 0);
  ASSERT_EQ(attest(run("cpu:vec", {}), {{"GITHUB_SHA", "bbb"}, {"ATTEST_COMMIT", "ccc"}}).code, 0);
  ASSERT_EQ(attest(run("cpu:tiled", {})).code, 0);
  const Ended list = attest({"history", "--db", db_});
  EXPECT_EQ(list.code, 0) << list.err;
  EXPECT_THAT(list.out, AllOf(HasSubstr("4 runs"), HasSubstr("aaa"), HasSubstr("bbb"), HasSubstr("ccc")));
  const Ended backend = attest({"history", "--db", db_, "-b", "cpu:vec"});
  EXPECT_EQ(backend.code, 0) << backend.err;
  EXPECT_THAT(backend.out, AllOf(HasSubstr("3 runs, 1 case"), HasSubstr("no case is bad"), Not(HasSubstr("tiled"))));
  const Ended followed = attest({"history", "--db", db_, "-b", "cpu:vec", "--case", kLine});
  EXPECT_EQ(followed.code, 0) << followed.err;
  EXPECT_THAT(followed.out, AllOf(HasSubstr(kLine), HasSubstr("in 3 of 3 runs"), HasSubstr("same"),
                                  HasSubstr("last good   run 3"), HasSubstr("first bad   none")));
  for (const Ended* told : {&list, &backend, &followed}) {
    std::istringstream lines(told->out);
    for (std::string line; std::getline(lines, line);) EXPECT_LE(line.size(), 100U) << line;
  }
}

TEST_F(Db, ARecordIsAddedOnce) {
  const std::string jsonl = dir_.path() / "run.jsonl";
  ASSERT_EQ(attest({"run", "-b", "mutant:rescale-sum-missed", "--case", kLine, "--jsonl", jsonl, "--no-cache"}).code, 1);
  const Ended first = attest({"report", jsonl, "--db", db_});
  EXPECT_EQ(first.code, 0) << first.err;
  EXPECT_EQ(first.out, db_ + ": run 1\n");
  EXPECT_THAT(attest({"report", jsonl, "--db", db_}).out, HasSubstr("run 1 (was there already)"));
  const Ended told = attest({"history", "--db", db_, "-b", "mutant:rescale-sum-missed"});
  EXPECT_EQ(told.code, 0) << "bad verdicts are what a history is about";
  EXPECT_THAT(told.out, AllOf(HasSubstr("1 case is bad"), HasSubstr("none: bad since its first verdict")));
}

TEST_F(Db, WhatIsNotThereIsNamedWithTheNearestWord) {
  const Ended nothing = attest({"history", "--db", db_});
  EXPECT_EQ(nothing.code, 2);
  EXPECT_THAT(nothing.err, HasSubstr("no such file"));
  ASSERT_EQ(attest(run("cpu:vec", {})).code, 0);
  const Ended backend = attest({"history", "--db", db_, "-b", "cpu:vek"});
  EXPECT_EQ(backend.code, 2);
  EXPECT_THAT(backend.err, HasSubstr("did you mean 'cpu:vec'?"));
  const Ended other = attest({"history", "--db", db_, "-b", "cpu:vec", "--case", "flash_attn_ext n_kv=99"});
  EXPECT_EQ(other.code, 2);
  EXPECT_THAT(other.err, HasSubstr("has this case"));
  EXPECT_EQ(attest({"history", "--db", db_, "--case", kLine}).code, 2) << "of which backend?";
  const std::string text = dir_.file("notes.txt", "this is no database, whatever its name says\n");
  const Ended wrong = attest({"run", "-b", "cpu:vec", "--case", kLine, "--db", text});
  EXPECT_EQ(wrong.code, 2);
  EXPECT_THAT(wrong.err, HasSubstr("is no history"));
}

}  // namespace
}  // namespace attest::testing
