// attest bisect git and bisect-step over generated histories of a kernel plug-in.
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <sstream>

#include "harness/cli/testing/attest_process.h"
#include "harness/cli/testing/kernel_history.h"

namespace attest::testing {
namespace {

namespace fs = std::filesystem;
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

constexpr const char* kLine = "flash_attn_ext d=32 n_q=3 n_kv=40 kv=f32";

class BisectGit : public ::testing::Test {
 protected:
  fs::path repository() const { return scratch_.path() / "repo"; }
  fs::path cache() const { return scratch_.path() / "cache"; }
  Variables variables() const { return {{"ATTEST_CACHE_DIR", cache().string()}}; }
  std::string git(const std::string& words) const {
    const Ended ended = shell("git -C '" + repository().string() + "' " + words);
    EXPECT_EQ(ended.code, 0) << words << ended.err;
    return ended.out;
  }
  std::string commit(int n) const { return git(fmt::format("rev-parse c{}", n)).substr(0, 40); }
  std::vector<std::string> words(const std::string& good, const std::string& bad,
                                 std::vector<std::string> more = {}) const {
    // Counts the builds, those that fail too.
    const std::string build = fmt::format("echo built >> '{}/builds'; {}", scratch_.path().string(), build_);
    std::vector<std::string> all{"bisect",  "git", "--repo",   repository().string(), "--good", good, "--bad", bad,
                                 "--build", build, "--plugin", "kernel.so",           "--case", kLine};
    all.insert(all.end(), more.begin(), more.end());
    return all;
  }
  Ended bisect(const std::string& good, const std::string& bad, std::vector<std::string> more = {}) const {
    return attest(words(good, bad, std::move(more)), variables());
  }
  int builds() const {
    std::ifstream in(scratch_.path() / "builds");
    int count = 0;
    for (std::string line; std::getline(in, line);) ++count;
    return count;
  }
  void build_at(const std::string& tag) const {
    const Ended made = shell(fmt::format("cd '{}' && git checkout -q {} && {}", repository().string(), tag, build_));
    ASSERT_EQ(made.code, 0) << made.err;
  }
  Ended step(std::vector<std::string> more, const std::string& line = kLine) const {
    std::vector<std::string> all{"bisect-step", "--plugin", repository() / "kernel.so", "--case", line};
    all.insert(all.end(), more.begin(), more.end());
    return attest(all, variables());
  }
  // What must not change: the checkout, its branch, and what git keeps of work trees and bisects.
  std::string state() const {
    return git("status --porcelain") + git("rev-parse HEAD") + git("symbolic-ref HEAD") + git("worktree list") +
           git("for-each-ref refs/bisect");
  }

  ScratchDir scratch_;
  std::string build_ = kernel_build_command();
};

TEST_F(BisectGit, NamesTheCommitAroundACrashAndOnesThatDoNotBuild) {
  // The crash is the first commit that is looked at.
  write_history(repository(), {24, 19, {12}, {5, 13, 17}});
  std::ofstream(repository() / "mine.txt") << "not tracked";
  const std::string before = state();
  const Ended ended = bisect("c1", "main");
  EXPECT_EQ(ended.code, 0) << ended.out << ended.err;
  EXPECT_THAT(ended.out, AllOf(HasSubstr("First bad: " + commit(19) + " Save a multiplication per maximum"),
                               HasSubstr("bad is    verdict FAIL"), HasSubstr("?     " + commit(12).substr(0, 10)),
                               HasSubstr("1 of its 2 changed files looks like an attention kernel:"),
                               HasSubstr("The sum is rescaled at the end anyway.")));
  EXPECT_THAT(ended.out, ::testing::ContainsRegex("flash_attention.c +\\+1 -2\n"));
  EXPECT_THAT(ended.out, HasSubstr("c1 .. main"));
  EXPECT_LE(builds(), 10);
  EXPECT_EQ(state(), before);
  const auto at = ended.out.find("\nlog ");
  ASSERT_NE(at, std::string::npos);
  std::ifstream in(ended.out.substr(at + 11, ended.out.find('\n', at + 1) - at - 11));
  const std::string log{std::istreambuf_iterator<char>(in), {}};
  EXPECT_THAT(log, AllOf(HasSubstr("building " + commit(24).substr(0, 10)), HasSubstr("#error half done"),
                         HasSubstr("signal 11")));

  // Once more: nothing is built.
  const int built = builds();
  const Ended again = bisect("c1", "main");
  EXPECT_EQ(again.code, 0) << again.out << again.err;
  EXPECT_THAT(again.out, HasSubstr("First bad: " + commit(19)));
  EXPECT_EQ(builds(), built);
  EXPECT_EQ(state(), before);
}

TEST_F(BisectGit, CommitsThatDoNotBuildAroundTheBugLeaveARange) {
  write_history(repository(), {8, 5, {}, {4, 5}});
  const Ended ended = bisect("c1", "c8");
  EXPECT_EQ(ended.code, 3) << ended.out << ended.err;
  EXPECT_THAT(ended.out, AllOf(HasSubstr("The first bad step is one of 3"), HasSubstr("half done")));
}

TEST_F(BisectGit, ABuildThatHidesItsFailureIsNotJudgedAsTheCommitBefore) {
  write_history(repository(), {8, 5, {}, {4}});
  build_ += " 2>&1 | tail -n 1";
  const Ended ended = bisect("c1", "c8");
  EXPECT_EQ(ended.code, 3) << ended.out << ended.err;
  EXPECT_THAT(ended.out, HasSubstr("the build made no kernel.so"));
}

TEST_F(BisectGit, FindsWhatMendedTheKernel) {
  write_history(repository(), {8, 2, {}, {}, 6});
  const Ended ended = bisect("c8", "c3", {"--find-fix"});
  EXPECT_EQ(ended.code, 0) << ended.out << ended.err;
  EXPECT_THAT(ended.out, HasSubstr("First good: " + commit(6) + " Revision 6"));
}

TEST_F(BisectGit, FindsWhatMadeItCrash) {
  write_history(repository(), {6, 2, {5, 6}});
  const Ended ended = bisect("c1", "c6", {"--when", "crash"});
  EXPECT_EQ(ended.code, 0) << ended.out << ended.err;
  EXPECT_THAT(ended.out, AllOf(HasSubstr("First bad: " + commit(5)), HasSubstr("CRASH"), HasSubstr("signal 11")));
}

// The bug came on a side branch; the kernels are built beforehand, so that a build is a copy.
TEST_F(BisectGit, FollowsTheSideBranchThatBroughtTheBug) {
  write_history(scratch_.path() / "kernels", {2, 2});
  const Ended made = shell(fmt::format(
      "set -e; cd '{0}/kernels'; git checkout -q c1; {1}; mv kernel.so ../good.so; git checkout -q c2; {1}; mv "
      "kernel.so "
      "../bad.so; mkdir ../repo; cd ../repo; git init -q -b main .; git config user.name a; git config user.email a@b;"
      "put() {{ echo $1 > which; echo $2 > $2; git add .; git commit -q -m \"$2\"; git tag $2; }};"
      "put good m1; put good m2; git checkout -q -b side; put good s1; put bad s2; put bad s3; git checkout -q main;"
      "put good m3; put good m4; git merge -q -m merge side; git tag merge; put bad m5; put bad m6",
      scratch_.path().string(), build_));
  ASSERT_EQ(made.code, 0) << made.err;
  build_ = fmt::format("cp {}/$(cat which).so kernel.so", scratch_.path().string());
  const Ended ended = bisect("m1", "m6");
  EXPECT_EQ(ended.code, 0) << ended.out << ended.err;
  const std::string s2 = git("rev-parse s2").substr(0, 40);
  EXPECT_THAT(ended.out,
              AllOf(HasSubstr("First bad: " + s2 + " s2"), HasSubstr(git("rev-parse --short=10 s1").substr(0, 10))));
}

TEST_F(BisectGit, WhatIsWrongWithTheQuestionIs2) {
  write_history(repository(), {4, 3, {}, {}});
  const auto says = [&](const Ended& ended, const char* what) {
    EXPECT_EQ(ended.code, 2) << what << ended.out;
    EXPECT_THAT(ended.err, HasSubstr(what));
  };
  says(bisect("c4", "c1"), "they are the other way round: with --find-fix");
  says(bisect("c1", "c2"), "is good: PASS");
  says(bisect("c1", "man"), "did you mean 'main'?");
  says(bisect("c3", "c4"), "is bad already");
  says(attest({"bisect", "git", "--repo", "/", "--good", "a", "--bad", "b", "--build", "true", "--plugin", "x.so",
               "--case", kLine},
              variables()),
       "is no git repository");
}

TEST_F(BisectGit, AfterAnInterruptTheSameCommandGoesOnWithoutBuildingAgain) {
  write_history(repository(), {12, 9, {}, {}});
  // The third build never ends.
  const std::string held = scratch_.path() / "held";
  build_ += fmt::format(" && if [ $(wc -l < '{}/builds') = 3 ]; then touch '{}'; sleep 60; fi",
                        scratch_.path().string(), held);
  std::string command;
  std::vector<std::string> all = words("c1", "c12");
  all.insert(all.begin(), attest_executable().string());
  for (const std::string& word : all) {
    command += "'";
    for (const char c : word) command += c == '\'' ? std::string("'\\''") : std::string(1, c);
    command += "' ";
  }
  const Ended stopped = shell(command + "& pid=$!; while ! [ -e '" + held +
                                  "' ]; do sleep 0.02; done; kill -INT $pid; "
                                  "wait $pid; echo code $?",
                              variables());
  EXPECT_THAT(stopped.out, HasSubstr("code 130")) << stopped.err;
  EXPECT_THAT(stopped.err, HasSubstr("the same command goes on from there"));
  const Ended ended = bisect("c1", "c12");
  EXPECT_EQ(ended.code, 0) << ended.out << ended.err;
  EXPECT_THAT(ended.out, HasSubstr("First bad: " + commit(9)));
  EXPECT_LE(builds(), 3 + 4) << "the ends are not built again";
}

TEST_F(BisectGit, AStepSpeaksToGitsOwnBisectRun) {
  write_history(repository(), {12, 9, {6}, {7}});
  const auto run = [&](const std::string& line) {
    const std::string step = fmt::format("'{}' bisect-step --build \"{}\" --plugin kernel.so --when FAIL --case '{}'",
                                         attest_executable().string(), build_, line);
    Ended ended = shell(fmt::format("cd '{}' && git bisect reset; git bisect start c12 c1 && git bisect run {}",
                                    repository().string(), step),
                        variables());
    return ended;
  };
  const Ended found = run(kLine);
  EXPECT_EQ(found.code, 0) << found.out << found.err;
  EXPECT_THAT(found.out, HasSubstr(commit(9) + " is the first bad commit"));
  // A mistake on the command line is no verdict on the commit.
  const Ended mistake = run("flash_attn_ext d=32 n_qq=3");
  EXPECT_NE(mistake.code, 0);
  EXPECT_THAT(mistake.out + mistake.err, AllOf(HasSubstr("n_qq"), Not(HasSubstr("first bad commit"))));
  EXPECT_EQ(attest({"bisect-step", "--plugin", "x.so", "--cas", kLine}).code, 128);
  EXPECT_EQ(attest({"bisect-step", "--plugin", "x.so", "--case", kLine}).code, 125);
  EXPECT_EQ(attest({"bisect-step", "--plugin", "x.so", "--when", "bitwise-change", "--case", kLine}).code, 128);
}

// A listing that did not reach its reader is no verdict on the commit either.
TEST_F(BisectGit, AStepThatCannotSpeakStopsTheBisect) {
  const std::string words =
      fmt::format("'{}' bisect-step --plugin x.so --case '{}'", attest_executable().string(), kLine);
  EXPECT_EQ(shell(words + " > /dev/full", variables()).code, 128);
  EXPECT_EQ(shell(words, variables()).code, 125);
}

TEST_F(BisectGit, ABaselineIsOfTheSameQuestionOrStopsTheBisect) {
  write_history(repository(), {4, 3, {4}, {}});
  const std::string baseline = scratch_.path() / "baseline";
  build_at("c1");
  EXPECT_EQ(step({"--save-baseline", baseline}).code, 0);
  EXPECT_EQ(step({"--baseline", baseline, "--when", "bitwise-change"}).code, 0);
  const auto stops = [&](const Ended& ended, const char* what) {
    EXPECT_EQ(ended.code, 128) << what << ended.out;
    EXPECT_THAT(ended.err, HasSubstr(what));
  };
  stops(step({"--baseline", baseline, "--when", "bitwise-change"}, "flash_attn_ext d=32 n_q=3 n_kv=41 kv=f32"),
        "is of another case: flash_attn_ext d=32 n_head=1 n_q=3 n_kv=40 kv=f32");
  stops(step({"--baseline", baseline, "--when", "slower 1.2"}), "holds no time");
  // What died has no error to be held against.
  std::ifstream in(baseline);
  std::string words{std::istreambuf_iterator<char>(in), {}};
  words.replace(words.find("\"PASS\""), 6, "\"CRASH\"");
  stops(step({"--baseline", scratch_.file("died", words), "--when", "err > 2 * baseline"}), "CRASH");
  EXPECT_EQ(step({"--baseline", scratch_.file("died", words), "--when", "FAIL"}).code, 0);
  build_at("c4");
  const Ended died = step({"--save-baseline", scratch_.path() / "crash"});
  EXPECT_EQ(died.code, 125) << died.out;
  EXPECT_THAT(died.out, HasSubstr("CRASH"));
  EXPECT_FALSE(fs::exists(scratch_.path() / "crash"));
}

// A disk that is not mounted, a container's directory: git's own record of them is the user's.
TEST_F(BisectGit, WorkTreesThatAreAwayStayRegistered) {
  write_history(repository(), {6, 4, {}, {}});
  git(fmt::format("worktree add -q --detach '{}' c1", (scratch_.path() / "disk").string()));
  fs::rename(scratch_.path() / "disk", scratch_.path() / "unmounted");
  const std::string before = state();
  EXPECT_THAT(before, HasSubstr("disk"));
  EXPECT_EQ(bisect("c1", "c6").code, 0);
  EXPECT_EQ(state(), before);
  // Its own, removed by somebody else, does not stand in its way.
  EXPECT_EQ(bisect("c1", "c6", {"--keep"}).code, 0);
  fs::remove_all(cache() / "bisect");
  const Ended again = bisect("c1", "c6", {"--no-cache"});
  EXPECT_EQ(again.code, 0) << again.out << again.err;
  EXPECT_EQ(state(), before);
}

}  // namespace
}  // namespace attest::testing
