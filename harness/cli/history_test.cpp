// attest run --db, report --db, history and compare from outside.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <iterator>
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
  ASSERT_EQ(attest({"run", "-b", "mutant:rescale-sum-missed", "--case", kLine, "--jsonl", jsonl, "--no-cache"}).code,
            1);
  const Ended first = attest({"report", jsonl, "--db", db_});
  EXPECT_EQ(first.code, 0) << first.err;
  EXPECT_EQ(first.out, db_ + ": run 1\n");
  EXPECT_THAT(attest({"report", jsonl, "--db", db_}).out, HasSubstr("run 1 (was there already)"));
  const Ended told = attest({"history", "--db", db_, "-b", "mutant:rescale-sum-missed"});
  EXPECT_EQ(told.code, 0) << "bad verdicts are what a history is about";
  EXPECT_THAT(told.out, AllOf(HasSubstr("1 case is bad"), HasSubstr("none: bad since its first verdict")));
}

TEST_F(Db, TwoRunsOfOneCommandAreTwoAndACommitIsNotDropped) {
  const auto record = [&](const std::string& name, std::vector<std::string> more) {
    const std::string jsonl = dir_.path() / name;
    std::vector<std::string> words{"run", "-b", "cpu:vec", "--case", kLine, "--no-cache", "--jsonl", jsonl};
    words.insert(words.end(), more.begin(), more.end());
    EXPECT_EQ(attest(words).code, 0);
    return jsonl;
  };
  const std::string good = record("g.jsonl", {"--commit", "good1"}), silent = record("s.jsonl", {});
  const std::string bad = record("b.jsonl", {"--commit", "bad22"});
  EXPECT_EQ(attest({"report", good, "--db", db_}).out, db_ + ": run 1\n");
  EXPECT_EQ(attest({"report", bad, "--db", db_}).out, db_ + ": run 2\n");
  EXPECT_THAT(attest({"history", "--db", db_}).out, AllOf(HasSubstr("good1"), HasSubstr("bad22")));
  EXPECT_EQ(attest({"report", silent, "--db", db_}).out, db_ + ": run 3\n");
  EXPECT_EQ(attest({"report", silent, "--db", db_, "--commit", "deadbeef"}).out,
            db_ + ": run 3 (was there already), now of commit deadbeef\n");
  EXPECT_THAT(attest({"history", "--db", db_}).out, HasSubstr("deadbeef"));
  const Ended other = attest({"report", silent, "--db", db_, "--commit", "0ad4a86"});
  EXPECT_EQ(other.code, 2);
  EXPECT_THAT(other.err, HasSubstr("is of commit 'deadbeef', not '0ad4a86'"));
  const Ended against = attest({"report", good, "--db", db_, "--commit", "0ad4a86"});
  EXPECT_EQ(against.code, 2);
  EXPECT_THAT(against.err, HasSubstr("the record says commit 'good1', --commit '0ad4a86'"));
}

// Records that were put together by hand.
TEST_F(Db, AFileThatIsNotOneRunIsRefused) {
  const auto record = [&](const std::string& backend, const std::string& name) {
    const std::string jsonl = dir_.path() / name;
    attest({"run", "-b", backend, "--case", kLine, "--jsonl", jsonl, "--no-cache"});
    std::ifstream in(jsonl);
    return std::string(std::istreambuf_iterator<char>(in), {});
  };
  const std::string vec = record("cpu:vec", "v.jsonl"), tiled = record("cpu:tiled", "t.jsonl");
  std::string failed = vec;
  const std::string pass = "\"verdict\":\"PASS\"";
  const auto at = failed.find(pass);
  ASSERT_NE(at, std::string::npos);
  failed.replace(at, pass.size(), "\"verdict\":\"FAIL\"");
  const std::string twice = dir_.file("twice.jsonl", failed + vec), two = dir_.file("two.jsonl", vec + tiled);
  for (const auto& [file, why] : {std::pair{twice, "has two verdicts on"}, {two, "is the record of another run"}}) {
    for (const std::vector<std::string>& words : {std::vector<std::string>{"report", file, "--db", db_},
                                                  {"report", file},
                                                  {"compare", file, file},
                                                  {"compare", dir_.path() / "v.jsonl", file}}) {
      const Ended ended = attest(words);
      EXPECT_EQ(ended.code, 2) << words[0] << ' ' << file;
      EXPECT_THAT(ended.err, HasSubstr(why));
    }
  }
  EXPECT_EQ(attest({"history", "--db", db_}).code, 2) << "nothing came into it";
}

// "nan" lies in every range: it would switch off what the option bounds.
TEST_F(Db, NumbersMustBeFinite) {
  for (const std::vector<std::string>& words : {std::vector<std::string>{"compare", "a", "b", "--grown"},
                                                {"compare", "a", "b", "--slower"},
                                                {"run", "--timeout"},
                                                {"run", "--key-budget"},
                                                {"check", "dir", "--timeout"},
                                                {"shrink", kLine, "--timeout"},
                                                {"fuzz", "--max-flop"},
                                                {"bisect", "git", "--timeout"},
                                                {"bisect-step", "--timeout"}}) {
    for (const char* number : {"nan", "-nan", "inf"}) {
      std::vector<std::string> all = words;
      all.back() += std::string("=") + number;
      const Ended ended = attest(all);
      EXPECT_EQ(ended.code, words[0] == "bisect-step" ? 128 : 2) << words[0] << ' ' << all.back();
      EXPECT_THAT(ended.err, HasSubstr(words.back())) << words[0];
    }
  }
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

// Two backends take the parts of an old and a new build.
class Compare : public Db {
 protected:
  void SetUp() override {
    ASSERT_EQ(attest(run("cpu:tiled", {"--commit", "0ad4a86f", "--jsonl", old_})).code, 0);
    ASSERT_EQ(attest(run("mutant:rescale-sum-missed", {"--commit", "4ee1f00d", "--jsonl", new_})).code, 1);
  }
  std::string old_ = dir_.path() / "old.jsonl", new_ = dir_.path() / "new.jsonl";
  const std::string pair_ = "cpu:tiled=mutant:rescale-sum-missed";
};

TEST_F(Compare, ANewFailureIs1FromFilesRunsAndCommitsAlike) {
  for (const std::vector<std::string>& sides : {std::vector<std::string>{old_, new_},
                                                {"1", "2", "--db", db_},
                                                {"0ad4", "4ee1f00d", "--db", db_},
                                                {"last~1", "last", "--db", db_},
                                                {old_, db_}}) {
    std::vector<std::string> words{"compare", "-b", pair_};
    words.insert(words.end(), sides.begin(), sides.end());
    const Ended ended = attest(words);
    EXPECT_EQ(ended.code, 1) << sides[0] << ended.err;
    EXPECT_THAT(ended.out, AllOf(HasSubstr("new-failure: 1 case"), HasSubstr("bits: 1 case"), HasSubstr(kLine),
                                 HasSubstr("REGRESSION: new-failure (--fail-on new-failure,coverage)")));
    std::istringstream lines(ended.out);
    for (std::string line; std::getline(lines, line);) {
      EXPECT_TRUE(line.size() <= 100 || line.find("repro") != std::string::npos) << line;
    }
  }
}

TEST_F(Compare, FewerRowsAreLostCoverage) {
  const auto record = [&](const std::string& name, std::vector<std::string> more) {
    const std::string jsonl = dir_.path() / name;
    std::vector<std::string> words{
        "run",     "-b",  "cpu:vec",    "--case", "flash_attn_ext d=64 n_head=8 n_q=64 n_kv=300",
        "--jsonl", jsonl, "--no-cache", "--db",   db_};
    words.insert(words.end(), more.begin(), more.end());
    EXPECT_EQ(attest(words).code, 0);
    return jsonl;
  };
  const std::string all = record("all.jsonl", {}), few = record("few.jsonl", {"--key-budget", "0.000001"});
  for (const std::vector<std::string>& sides : {std::vector<std::string>{all, few}, {"3", "4", "--db", db_}}) {
    std::vector<std::string> words{"compare"};
    words.insert(words.end(), sides.begin(), sides.end());
    const Ended ended = attest(words);
    EXPECT_EQ(ended.code, 1);
    EXPECT_THAT(ended.out, AllOf(HasSubstr("PASS in fewer rows, was PASS"), HasSubstr("judged, was 512"),
                                 HasSubstr("REGRESSION: coverage")));
  }
  EXPECT_EQ(attest({"compare", few, all}).code, 0);
}

TEST_F(Compare, FailOnDecides) {
  const auto code = [&](const std::string& list) {
    return attest({"compare", old_, new_, "-b", pair_, "--fail-on", list}).code;
  };
  EXPECT_EQ(code("coverage,error"), 0);
  EXPECT_EQ(code("bits"), 1);
  EXPECT_EQ(code("none"), 0);
  EXPECT_EQ(code("all"), 1);
  EXPECT_EQ(code("bit"), 2);
}

TEST_F(Compare, BitsThatAreNotKnownAreNoPass) {
  std::ifstream in(old_);
  std::string text(std::istreambuf_iterator<char>(in), {});
  const auto at = text.find(",\"digest\":\"");
  ASSERT_NE(at, std::string::npos);
  text.erase(at, text.find(',', at + 1) - at);
  const std::string without = dir_.file("without.jsonl", text);
  for (const char* words : {"bits", "all"}) {
    const Ended ended = attest({"compare", old_, without, "--fail-on", words, "--slower", "1000"});
    EXPECT_EQ(ended.code, 1);
    EXPECT_THAT(ended.out, AllOf(HasSubstr("NOT KNOWN: bits of 1 case (--fail-on"), Not(HasSubstr("no regression"))));
  }
  EXPECT_EQ(attest({"compare", old_, without}).code, 0) << "nobody asked for bits";
}

TEST_F(Compare, ARunAgainstItselfHasNoRegressionAndNothingInCommonIs2) {
  const Ended same = attest({"compare", "1", "1", "--db", db_, "--fail-on", "all"});
  EXPECT_EQ(same.code, 0) << same.out;
  EXPECT_THAT(same.out, AllOf(HasSubstr("the same bits in 1 of 1"), HasSubstr("no regression")));
  const Ended other = attest({"compare", old_, new_});
  EXPECT_EQ(other.code, 2);
  EXPECT_THAT(other.err, HasSubstr("no backend is in both"));
  EXPECT_THAT(attest({"compare", "1", "7", "--db", db_}).err, HasSubstr("no run or commit in"));
  EXPECT_THAT(attest({"compare", "1", "2"}).err, HasSubstr("needs --db FILE"));
}

TEST_F(Compare, AnEmptyOrShortWordIsNoCommit) {
  for (const std::vector<std::string>& sides : {std::vector<std::string>{"", "4ee1f00d"}, {"4ee1f00d", ""}}) {
    const Ended empty = attest({"compare", sides[0], sides[1], "--db", db_, "-b", pair_});
    EXPECT_EQ(empty.code, 2);
    EXPECT_THAT(empty.err, HasSubstr("an empty word names no run"));
  }
  const Ended brief = attest({"compare", "0ad", "4ee1", "--db", db_, "-b", pair_});
  EXPECT_EQ(brief.code, 2);
  EXPECT_THAT(brief.err, AllOf(HasSubstr("'0ad' is no file, and no run or commit"), HasSubstr("4 characters")));
  ASSERT_EQ(attest(run("cpu:tiled", {"--commit", "v1"})).code, 0);
  EXPECT_EQ(attest({"compare", "v1", "0ad4", "--db", db_}).code, 0) << "a whole name may be as short as it is";
}

TEST_F(Compare, ABackendWithOptionsIsNamedAsItIs) {
  const std::string jsonl = dir_.path() / "options.jsonl";
  ASSERT_EQ(
      attest({"run", "-b", "cpu:vec,vskip=1e-6", "-b", "cpu:vec", "--case", kLine, "--jsonl", jsonl, "--no-cache"})
          .code,
      0);
  for (const char* word : {"cpu:vec,vskip=1e-6", "cpu:vec,vskip=1e-6=cpu:vec", "cpu:vec=cpu:vec,vskip=1e-6"}) {
    const Ended ended = attest({"compare", jsonl, jsonl, "-b", word});
    EXPECT_EQ(ended.code, 0) << ended.err;
    EXPECT_THAT(ended.out, HasSubstr("1 verdict in both"));
  }
  const Ended wrong = attest({"compare", jsonl, jsonl, "-b", "cpu:vek=cpu:vec"});
  EXPECT_EQ(wrong.code, 2);
  EXPECT_THAT(wrong.err, HasSubstr("-b 'cpu:vek=cpu:vec' is no backend of both"));
}

}  // namespace
}  // namespace attest::testing
