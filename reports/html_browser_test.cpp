// The page in a browser: it loads without a complaint, and its filter, matrix, failures and table do what they say.
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <array>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "reports/history/comparison_page.h"
#include "reports/html_page.h"
#include "reports/synthetic_run.h"

namespace attest {
namespace {

using testing::HasSubstr;

bool found(const std::string& program) {
  return std::system(fmt::format("command -v '{}' >/dev/null 2>&1", program).c_str()) == 0;
}

// Debian has a whole browser, and one without a window.
std::string chromium() {
  if (const char* named = std::getenv("ATTEST_CHROMIUM")) return named;
  return found("chromium") ? "chromium" : "chromium-headless-shell";
}

class Browser : public testing::Test {
 protected:
  void SetUp() override {
    if (!found("node") || !found(chromium()))
      GTEST_SKIP() << "needs node and chromium (Debian: nodejs chromium-headless-shell)";
    page_ = std::filesystem::temp_directory_path() / fmt::format("attest_page_{}.html", getpid());
  }
  void TearDown() override {
    std::error_code none;
    std::filesystem::remove(page_, none);
  }

  nlohmann::json look(const RecordFile& file, const std::vector<std::string>& steps) {
    return look(html_page(file), steps);
  }
  // What browser.mjs says to the page after the steps; null where it failed.
  nlohmann::json look(const std::string& page, const std::vector<std::string>& steps) {
    std::ofstream(page_, std::ios::binary) << page;
    std::string command = fmt::format("ATTEST_CHROMIUM='{}' node '{}/reports/html/browser.mjs' '{}'", chromium(), ATTEST_SOURCE_DIR,
                                      page_.string());
    for (const auto& step : steps) command += fmt::format(" '{}'", step);
    FILE* pipe = popen(command.c_str(), "r");
    std::string said;
    std::array<char, 4096> part{};
    while (const std::size_t n = std::fread(part.data(), 1, part.size(), pipe)) said.append(part.data(), n);
    return pclose(pipe) == 0 ? nlohmann::json::parse(said) : nlohmann::json();
  }

  std::filesystem::path page_;
};

RecordFile synthetic_file() {
  const SyntheticRun run = synthetic_run();
  return {"run.jsonl", {run.header}, run.records};
}

TEST_F(Browser, EveryViewDrawsWithoutAComplaint) {
  const RecordFile file = synthetic_file();
  const auto said = look(file, {"document.title", "document.getElementById(\"status\").textContent",
                                "for (const [view] of views) show(view); drawn.size",
                                "document.querySelectorAll(\"#matrix .cells tbody button\").length",
                                "document.querySelectorAll(\"#spread svg\").length",
                                "document.querySelectorAll(\"#curve svg path\").length"});
  ASSERT_TRUE(said.is_object());
  EXPECT_EQ(said["problems"], nlohmann::json::array());
  EXPECT_EQ(said["values"][0], "attest: synthetic");
  EXPECT_THAT(said["values"][1].get<std::string>(), HasSubstr(fmt::format("bad of {} verdicts", file.verdicts.size())));
  EXPECT_EQ(said["values"][2], 6);
  for (const int drawing : {3, 4, 5}) EXPECT_GT(said["values"][static_cast<std::size_t>(drawing)], 0) << drawing;
}

TEST_F(Browser, FilterMatrixAndFailuresLeadToTheVerdicts) {
  const RecordFile file = synthetic_file();
  std::size_t ggml = 0;
  for (const auto& r : file.verdicts) ggml += r.backend == "ggml:CPU" && r.verdict != Verdict::PASS ? 1U : 0U;
  const auto said = look(
      file, {"document.getElementById(\"query\").value = \"backend=ggml:CPU -PASS\"; refresh(); state.shown.length",
             "document.getElementById(\"shown\").textContent",
             "show(\"failures\"); const box = document.querySelector(\"#failures details\"); box.open = true; new "
             "Promise((done) => setTimeout(() => done(box.querySelector(\"code\").textContent), 100))",
             "document.getElementById(\"clear\").click(); state.shown.length",
             "show(\"matrix\"); picks.row = \"backend\"; picks.column = \"verdict\"; drawMatrix(); "
             "document.querySelector(\"#matrix .cells tbody button\").click(); current + \" \" + state.shown.length",
             "document.querySelectorAll(\"#verdicts .row\").length > 1",
             "document.dispatchEvent(new KeyboardEvent(\"keydown\", {key: \"j\"})); document.dispatchEvent(new "
             "KeyboardEvent(\"keydown\", {key: \"Enter\"})); document.getElementById(\"detail\").hidden"});
  ASSERT_TRUE(said.is_object());
  const auto& values = said["values"];
  EXPECT_EQ(said["problems"], nlohmann::json::array());
  EXPECT_EQ(values[0], ggml);
  EXPECT_EQ(values[1], fmt::format("{} of {}", ggml, file.verdicts.size()));
  EXPECT_THAT(values[2].get<std::string>(), testing::StartsWith("attest run -b"));
  EXPECT_EQ(values[3], file.verdicts.size());
  EXPECT_EQ(values[4], fmt::format("verdicts {}", file.verdicts.size() / 2));  // the backend that passes all
  EXPECT_EQ(values[5], true);
  EXPECT_EQ(values[6], false);
}

TEST_F(Browser, AFailureShowsWhereItSits) {
  const auto said =
      look(synthetic_file(),
           {"document.getElementById(\"query\").value = \"n_kv=518\"; refresh(); show(\"failures\"); const box = "
            "[...document.querySelectorAll(\"#failures details\")].find((b) => b.textContent.includes(\"mask\")); "
            "box.open = "
            "true; new Promise((done) => setTimeout(() => done(box.querySelectorAll(\"canvas.map\").length), 100))",
            "box.querySelector(\".errormap\").textContent",
            // The last cell of the first row is far over budget, the first cell of the second was not judged.
            "const map = box.querySelector(\"canvas.map\"); "
            "const all = map.getContext(\"2d\").getImageData(0, 0, map.width, 4).data; const at = (x, y) => "
            "all.slice(4 * (y * map.width + x), 4 * (y * map.width + x) + 4).join(); "
            "at(60, 2) !== at(2, 2) && at(60, 2) !== at(30, 2)"});
  ASSERT_TRUE(said.is_object());
  EXPECT_EQ(said["problems"], nlohmann::json::array());
  EXPECT_EQ(said["values"][0], 2);
  EXPECT_THAT(said["values"][1].get<std::string>(),
              testing::AllOf(HasSubstr("heads down, queries across"), HasSubstr("2 of 6 cells over budget"),
                             HasSubstr("a cell is 2 heads x 8 queries"), HasSubstr("comes back every 64")));
  EXPECT_EQ(said["values"][2], true);
}

TEST_F(Browser, ASweepOpensOnItsCurve) {
  RecordFile file = synthetic_file();
  file.runs[0].command = "attest sweep --line 'flash_attn_ext' --axis 'n_q=1..64:log'";
  const auto said = look(file, {"current + \" \" + picks.axis", "document.querySelectorAll(\"#curve svg\").length"});
  ASSERT_TRUE(said.is_object());
  EXPECT_EQ(said["values"][0], "curve n_q");
  EXPECT_EQ(said["values"][1], 1);
}

TEST_F(Browser, AComparisonDrawsItsPlotsAndNamesWhatChanged) {
  RecordFile old = synthetic_file(), now = old;
  now.name = "new.jsonl";
  now.verdicts[0].verdict = Verdict::FAIL;
  now.verdicts[0].err_over_b = 50;
  const auto a = brief(old), b = brief(now);
  ASSERT_TRUE(a && b);
  const auto comparison = compare_runs(*a, *b, {});
  ASSERT_TRUE(comparison);
  const auto said = look(comparison_page(*comparison, *a, *b, {}),
                         {"document.title", "document.getElementById(\"status\").textContent",
                          "document.querySelectorAll(\"#plots canvas\").length",
                          "document.querySelector(\"#groups code\").textContent", "page.points.line.length"});
  ASSERT_TRUE(said.is_object());
  EXPECT_EQ(said["problems"], nlohmann::json::array());
  EXPECT_EQ(said["values"][0], "attest: new.jsonl against run.jsonl");
  EXPECT_EQ(said["values"][1], "1 new-failure");
  EXPECT_EQ(said["values"][2], 3);
  EXPECT_THAT(said["values"][3].get<std::string>(), HasSubstr("n_kv=512"));
  EXPECT_EQ(said["values"][4], old.verdicts.size());
}

TEST_F(Browser, AHundredThousandVerdictsAreStillOnePage) {
  RecordFile file = synthetic_file();
  const auto few = file.verdicts;
  file.verdicts.clear();
  for (int i = 0; i < 100'000; ++i) {
    file.verdicts.push_back(few[static_cast<std::size_t>(i) % few.size()]);
    file.verdicts.back().line += fmt::format(" scale={}", i);
  }
  const auto said =
      look(file, {"state.shown.length", "show(\"verdicts\"); document.querySelectorAll(\"#rows .row\").length",
                  "state.at = 99998; document.dispatchEvent(new KeyboardEvent(\"keydown\", {key: \"j\"})); new "
                  "Promise((done) => setTimeout(() => done(document.getElementById(\"rows\").textContent), 200))"});
  ASSERT_TRUE(said.is_object());
  EXPECT_EQ(said["problems"], nlohmann::json::array());
  EXPECT_EQ(said["values"][0], 100'000);
  EXPECT_LT(said["values"][1], 200) << "only rows in sight exist";
  EXPECT_THAT(said["values"][2].get<std::string>(), HasSubstr("scale=99999"));
  std::printf("100,000 verdicts: ready after %d ms\n", said["ready_ms"].get<int>());
}

}  // namespace
}  // namespace attest
