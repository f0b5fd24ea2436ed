// attest bisect over builds and npm releases, made of the parts of one real ggml build: another CPU variant under the
// same name is a change of bits.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>
#include <sstream>

#include "cases/ggml_files_for_tests.h"
#include "harness/cli/testing/attest_process.h"

namespace attest::testing {
namespace {

namespace fs = std::filesystem;
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

constexpr const char* kLine = "flash_attn_ext d=64 n_head=2 n_q=5 n_kv=300 kv=f16";

// Answers from files instead of from a registry, and keeps what it was asked.
constexpr const char* kNpm = R"(#!/bin/sh
echo "$*" >> "$REGISTRY/calls"
while case "$1" in --*) true ;; *) false ;; esac; do shift; done
v=${2##*@}
case "$1 $3" in
  "view versions") cat "$REGISTRY/versions.json" ;;
  "view dist.integrity") echo "sha512-$v" ;;
  "pack --json")
    if [ -e "$REGISTRY/hold" ]; then touch "$REGISTRY/held"; sleep 60; fi
    tar -chzf "got-$v.tgz" -C "$REGISTRY/$v" package
    d=$v; if [ -e "$REGISTRY/damaged" ]; then d=other; fi
    echo "[{\"filename\":\"got-$v.tgz\",\"integrity\":\"sha512-$d\"}]" ;;
esac
)";

class RealBisect : public ::testing::Test {
 protected:
  void SetUp() override {
    const auto bases = ggml_files_for_tests("libggml-base");
    if (bases.empty()) GTEST_SKIP() << "no ggml build: ci/fetch-ggml gets one, ATTEST_GGML_DIR names one";
    base_ = bases.back();
    const Ended listed = attest({"list", "backends", "--ggml", base_.parent_path().string()});
    std::istringstream words(listed.out);
    constexpr std::string_view kVariant = "ggml:CPU,variant=";
    std::vector<std::string> variants;
    for (std::string line; std::getline(words, line);) {
      const auto at = line.find(kVariant);
      if (at == std::string::npos || line.find("does not have") != std::string::npos) continue;
      const auto from = at + kVariant.size();
      variants.push_back(line.substr(from, line.find_first_of(" \t", from) - from));
    }
    if (variants.size() < 2) GTEST_SKIP() << "the build has fewer than two CPU variants that run here";
    best_ = variants.front();
    last_ = variants.back();
    fs::create_directories(registry());
    std::ofstream(scratch_.path() / "npm") << kNpm;
    fs::permissions(scratch_.path() / "npm", fs::perms::owner_all);
    // 1.0.3 does not have the variant the others have; from 1.0.5 on it computes as another one.
    std::string list;
    for (int i = 0; i < 8; ++i) {
      const std::string version = "1.0." + std::to_string(i);
      add(version, i == 3 ? "elsewhere" : best_, i >= 5 ? last_ : best_);
      list += (i > 0 ? ", \"" : "\"") + version + "\"";
    }
    std::ofstream(registry() / "versions.json") << "[" << list << "]";
  }

  fs::path registry() const { return scratch_.path() / "registry"; }
  fs::path package(const std::string& version) const { return registry() / version / "package"; }
  // A package whose CPU variant `name` is the build's variant `content`.
  void add(const std::string& version, const std::string& name, const std::string& content) const {
    const fs::path bins = package(version) / "bins" / "here";
    fs::create_directories(bins);
    fs::create_symlink(base_, bins / base_.filename());
    fs::create_symlink(base_.parent_path() / ("libggml-cpu-" + content + base_.extension().string()),
                       bins / ("libggml-cpu-" + name + base_.extension().string()));
    std::ofstream(bins / "_nlcBuildMetadata.json")
        << R"({"buildOptions":{"llamaCpp":{"release":"b)" << 7000 + version.back() - '0' << "\"}}}";
    std::ofstream(bins / "llama-addon.node") << "not needed";
  }
  Variables variables() const {
    return {{"PATH", scratch_.path().string() + ":" + std::getenv("PATH")},
            {"REGISTRY", registry().string()},
            {"ATTEST_CACHE_DIR", (scratch_.path() / "cache").string()}};
  }
  static std::vector<std::string> npm_words(const std::string& good, const std::string& bad,
                                            std::vector<std::string> more = {"--when", "bitwise-change"}) {
    std::vector<std::string> words{"bisect", "npm",   "--npm", "@some/ggml", "--good",
                                   good,     "--bad", bad,     "--case",     kLine};
    words.insert(words.end(), more.begin(), more.end());
    return words;
  }
  Ended npm(const std::string& good, const std::string& bad,
            std::vector<std::string> more = {"--when", "bitwise-change"}) const {
    return attest(npm_words(good, bad, std::move(more)), variables());
  }
  std::string calls() const {
    std::ifstream in(registry() / "calls");
    return {std::istreambuf_iterator<char>(in), {}};
  }

  ScratchDir scratch_;
  fs::path base_;
  std::string best_, last_;
};

TEST_F(RealBisect, NamesTheReleaseThatChangedBitsAndStepsAroundOneWithoutTheVariant) {
  const Ended ended = npm("1.0.0", "1.0.7");
  EXPECT_EQ(ended.code, 0) << ended.out << ended.err;
  EXPECT_THAT(ended.out, AllOf(HasSubstr("First bad: @some/ggml@1.0.5 (llama.cpp b7005)\nfound in 4 steps"),
                               HasSubstr("ggml:CPU,variant=" + best_), HasSubstr("3 steps left (about"),
                               HasSubstr("?     1.0.3")));
  EXPECT_THAT(ended.out, HasSubstr("has no CPU variant '" + best_ + "'"));
  EXPECT_THAT(calls(), AllOf(HasSubstr("pack @some/ggml@1.0.5"), Not(HasSubstr("pack @some/ggml@1.0.6"))));
  EXPECT_FALSE(fs::exists(scratch_.path() / "cache/npm/@some+ggml/1.0.5/bins/here/llama-addon.node"));
  EXPECT_TRUE(fs::exists(scratch_.path() / "cache/npm/@some+ggml/1.0.5/bins/here" / base_.filename()));
  std::istringstream lines(ended.out);
  for (std::string line; std::getline(lines, line);) {
    const bool path = line.find("attest run -b") != std::string::npos || line.rfind("log ", 0) == 0;
    EXPECT_TRUE(path || line.size() <= 100) << line;
  }

  // Once more: nothing is fetched or run, and no registry is needed.
  fs::remove(registry() / "calls");
  fs::rename(registry() / "versions.json", registry() / "gone.json");
  const Ended again = npm("1.0.0", "1.0.7");
  EXPECT_EQ(again.code, 0) << again.out << again.err;
  EXPECT_THAT(again.out, HasSubstr("First bad: @some/ggml@1.0.5 (llama.cpp b7005)\nfound in 4 steps beside the two "
                                   "ends, 4 of them kept from before"));
  EXPECT_THAT(calls(), Not(HasSubstr("pack")));
}

TEST_F(RealBisect, FindsTheFixWhereTheBadEndIsTheOlderOne) {
  const Ended ended = npm("1.0.7", "1.0.0", {"--when", "bitwise-change", "--find-fix"});
  EXPECT_EQ(ended.code, 0) << ended.out << ended.err;
  EXPECT_THAT(ended.out, HasSubstr("First good: @some/ggml@1.0.5"));
}

TEST_F(RealBisect, AFalsePremiseIs2AndSaysHow) {
  const auto premise = [&](const char* good, const char* bad, std::vector<std::string> more, const char* says) {
    const Ended ended = npm(good, bad, std::move(more));
    EXPECT_EQ(ended.code, 2) << says << ended.out;
    EXPECT_THAT(ended.err, HasSubstr(says));
  };
  const std::vector<std::string> bits{"--when", "bitwise-change"};
  premise("1.0.0", "1.0.4", bits, "the bad end 1.0.4 is not bad (other bits than the good end's): PASS");
  premise("1.0.0", "1.0.4", {}, "the bad end 1.0.4 is good: PASS");
  premise("1.0.0", "1.0.4", {"--when", "err > 1e-30"}, "the good end 1.0.0 is bad already (err > 1e-30)");
  premise("1.0.0", "1.0.3", bits, "no CPU variant that runs here is at both ends");
  premise("1.0.7", "1.0.0", bits, "1.0.7 is not an earlier release than 1.0.0");
  premise("1.0.0", "1.0.9", bits, "@some/ggml has no version '1.0.9' (published: ");
}

TEST_F(RealBisect, WhatIsWrongOnTheCommandLineIs2) {
  EXPECT_EQ(npm("1.0.0", "1.0.7", {"--when", "bitwise-chance"}).code, 2);
  EXPECT_EQ(npm("1.0.0", "1.0.7", {"-b", "cpu:vec"}).code, 2);
  EXPECT_EQ(attest({"bisect", "npm", "--case", kLine}).code, 2);
  EXPECT_EQ(attest({"bisect", "builds", "--case", kLine, package("1.0.0").string()}).code, 2);
  EXPECT_EQ(attest({"bisect", "builds", "--case", kLine, "no/such", "no/other"}).code, 2);
  EXPECT_THAT(attest({"bisect", "builds", "--cases", "x"}).err, HasSubstr("did you mean '--case'?"));
}

TEST_F(RealBisect, ADamagedPackageIsNotUsed) {
  std::ofstream(registry() / "damaged") << "";
  const Ended ended = npm("1.0.0", "1.0.7");
  EXPECT_EQ(ended.code, 3);
  EXPECT_THAT(ended.err, HasSubstr("@some/ggml@1.0.0 is damaged"));
  EXPECT_FALSE(fs::exists(scratch_.path() / "cache/npm/@some+ggml/1.0.0"));
}

TEST_F(RealBisect, AfterAnInterruptTheSameCommandGoesOn) {
  std::ofstream(registry() / "hold") << "";
  std::string command;
  std::vector<std::string> words = npm_words("1.0.0", "1.0.7");
  words.insert(words.begin(), attest_executable().string());
  for (const std::string& word : words) command += "'" + word + "' ";
  const Ended stopped = shell(command +
                                  "& pid=$!; while ! [ -e \"$REGISTRY/held\" ]; do sleep 0.02; done; kill -INT $pid; "
                                  "wait $pid; echo code $?",
                              variables());
  EXPECT_THAT(stopped.out, HasSubstr("code 130")) << stopped.err;
  EXPECT_THAT(stopped.err, HasSubstr("interrupted after 0 steps beside the two ends: the same command goes on"));
  fs::remove(registry() / "hold");
  const Ended ended = npm("1.0.0", "1.0.7");
  EXPECT_EQ(ended.code, 0) << ended.out << ended.err;
  for (const auto& entry : fs::directory_iterator(scratch_.path() / "cache/npm/@some+ggml")) {
    EXPECT_THAT(entry.path().filename().string(), Not(HasSubstr(".part-")));
  }
}

TEST_F(RealBisect, BuildsThatCannotBeJudgedLeaveARange) {
  const auto builds = [&](std::vector<std::string> versions) {
    std::string list = "# oldest first\n\n";
    for (const auto& version : versions) list += "registry/" + version + "/package  # relative to this file\n";
    return attest(
        {"bisect", "builds", "--list", scratch_.file("list.txt", list), "--case", kLine, "--when", "bitwise-change"},
        variables());
  };
  const Ended range = builds({"1.0.0", "1.0.1", "1.0.3", "1.0.5", "1.0.6"});
  EXPECT_EQ(range.code, 3) << range.out << range.err;
  EXPECT_THAT(range.out, AllOf(HasSubstr("The first bad step is one of 2"), HasSubstr("has no CPU variant")));
  const Ended found = builds({"1.0.0", "1.0.3", "1.0.1", "1.0.5", "1.0.6"});
  EXPECT_EQ(found.code, 0) << found.out << found.err;
  EXPECT_THAT(found.out, HasSubstr("First bad: 1.0.5/package"));
}

}  // namespace
}  // namespace attest::testing
