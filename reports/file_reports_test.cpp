#include "reports/file_reports.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>

#include "reports/approval.h"
#include "reports/csv.h"
#include "reports/html_page.h"
#include "reports/junit.h"
#include "reports/markdown.h"
#include "reports/synthetic_run.h"

namespace attest {
namespace {

using testing::HasSubstr;
using testing::Not;
using testing::StartsWith;

RecordFile synthetic_file() {
  const SyntheticRun run = synthetic_run();
  return {"run.jsonl", {run.header}, run.records};
}

// Text that would end a quotation, an element or a script wherever it is not escaped.
RecordFile hostile_file() {
  RecordFile file = synthetic_file();
  file.verdicts.resize(1);
  file.runs[0].cases = 1;
  file.runs[0].backends = {"cpu:vec"};
  file.runs[0].suite = "a<b>&\"c\"";
  VerdictRecord& r = file.verdicts[0];
  r.verdict = Verdict::CRASH;
  r.detail = "said \"</script><!-- ]]> & |*_`\x01\x1b[31m,\n\xff";
  r.backend = "cpu:vec";
  return file;
}

class Directory {
 public:
  Directory()
      : path_(std::filesystem::temp_directory_path() / fmt::format("attest_reports_{}_{}", getpid(), std::rand())) {
    std::filesystem::create_directories(path_);
  }
  ~Directory() { std::filesystem::remove_all(path_); }
  std::string file(const char* name) const { return (path_ / name).string(); }

 private:
  std::filesystem::path path_;
};

std::string slurp(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

// What a JUnit reader says to the text; "" where it takes it.
std::string complaint(const std::string& junit) {
  const Directory directory;
  std::ofstream(directory.file("junit.xml"), std::ios::binary) << junit;
  const std::string command = fmt::format("xmllint --noout --schema '{}/reports/testing/junit.xsd' '{}' >'{}' 2>&1",
                                          ATTEST_SOURCE_DIR, directory.file("junit.xml"), directory.file("said"));
  return std::system(command.c_str()) == 0 ? "" : slurp(directory.file("said"));
}

nlohmann::json data_of(const std::string& page) {
  const std::string open = "<script type=\"application/json\" id=\"data\">";
  const auto from = page.find(open) + open.size();
  return nlohmann::json::parse(page.substr(from, page.find("</script>", from) - from));
}

std::size_t count(const std::string& text, const std::string& part) {
  std::size_t n = 0;
  for (auto at = text.find(part); at != std::string::npos; at = text.find(part, at + 1)) ++n;
  return n;
}

TEST(JUnit, IsAsApproved) { EXPECT_EQ(unapproved("junit.xml", junit_xml(synthetic_file())), ""); }

TEST(JUnit, EveryKindOfVerdictIsValid) {
  EXPECT_EQ(complaint(junit_xml(synthetic_file())), "");
  EXPECT_EQ(complaint(junit_xml({})), "");
}

TEST(JUnit, TheSchemaRefusesWhatReadersRefuse) {
  std::string junit = junit_xml(synthetic_file());
  junit.replace(junit.find("hostname="), 8, "hostnome");
  EXPECT_THAT(complaint(junit), HasSubstr("hostnome"));
}

TEST(JUnit, HostileTextStaysText) {
  RecordFile file = hostile_file();
  file.verdicts[0].detail.pop_back();  // the record itself replaces what is not UTF-8 when it is read
  EXPECT_EQ(complaint(junit_xml(file)), "");
}

TEST(JUnit, WhatIsNotPassIsNeverGreen) {
  const RecordFile file = synthetic_file();
  const std::string junit = junit_xml(file);
  std::size_t bad = 0, neither = 0;
  for (const auto& r : file.verdicts) {
    bad += info(r.verdict).bad ? 1U : 0U;
    neither += !info(r.verdict).bad && r.verdict != Verdict::PASS ? 1U : 0U;
  }
  EXPECT_EQ(count(junit, "<failure ") + count(junit, "<error ") - count(junit, "type=\"UNFINISHED\""), bad);
  EXPECT_EQ(count(junit, "<skipped "), neither);
}

TEST(JUnit, AnUnfinishedRunIsAnError) {
  RecordFile file = synthetic_file();
  file.runs[0].cases += 7;
  EXPECT_THAT(junit_xml(file), HasSubstr("have no verdict in this record"));
  EXPECT_EQ(complaint(junit_xml(file)), "");
}

TEST(Csv, IsAsApproved) { EXPECT_EQ(unapproved("run.csv", csv_table(synthetic_file())), ""); }

TEST(Csv, QuotesWhatWouldEndACell) { EXPECT_THAT(csv_table(hostile_file()), HasSubstr("\"said \"\"</script>")); }

TEST(Markdown, IsAsApproved) { EXPECT_EQ(unapproved("summary.md", markdown_summary(synthetic_file())), ""); }

TEST(Markdown, ThousandsOfCausesStayShort) {
  RecordFile file = synthetic_file();
  const VerdictRecord failed = file.verdicts[1];
  for (char a = 'a'; a <= 'z'; ++a) {
    for (char b = 'a'; b <= 'z'; ++b) {
      file.verdicts.push_back(failed);
      file.verdicts.back().verdict = Verdict::CRASH;
      file.verdicts.back().detail = fmt::format("cause {}{} {}", a, b, std::string(3000, 'x'));
    }
  }
  EXPECT_LT(markdown_summary(file).size(), 100'000U);
}

TEST(HtmlPage, LoadsNothing) {
  const std::string page = html_page(synthetic_file());
  EXPECT_THAT(page, StartsWith("<!doctype html>"));
  EXPECT_THAT(page, Not(HasSubstr("src=")));
  EXPECT_THAT(page, Not(HasSubstr("<link")));
  EXPECT_THAT(page, Not(HasSubstr("@import")));
  EXPECT_THAT(page, Not(HasSubstr("fetch(")));
}

TEST(HtmlPage, CarriesEveryVerdictAndTheWholeRecordOfTheBadOnes) {
  const RecordFile file = synthetic_file();
  const auto data = data_of(html_page(file));
  ASSERT_EQ(data["columns"]["verdict"].size(), file.verdicts.size());
  for (std::size_t i = 0; i < file.verdicts.size(); ++i) {
    const VerdictRecord& r = file.verdicts[i];
    EXPECT_EQ(data["verdicts"][data["columns"]["verdict"][i].get<std::size_t>()]["name"], info(r.verdict).name);
    EXPECT_EQ(data["strings"][data["columns"]["line"][i].get<std::size_t>()], r.line);
    if (!info(r.verdict).bad) continue;
    EXPECT_EQ(data["records"][std::to_string(i)]["case_id"], r.case_id) << i;
  }
  EXPECT_EQ(data["runs"][0]["suite"], file.runs[0].suite);
}

TEST(HtmlPage, HostileTextEndsNoScript) {
  const std::string page = html_page(hostile_file());
  EXPECT_EQ(count(page, "</script>"), 2U);
  EXPECT_EQ(count(page, "<!--"), 0U);
  EXPECT_EQ(data_of(page)["columns"]["verdict"].size(), 1U);
}

TEST(FileReporter, WritesAllFourWhenTheRunEnds) {
  const Directory directory;
  const ReportFiles where{directory.file("a.html"), directory.file("a.xml"), directory.file("a.csv"),
                          directory.file("a.md")};
  FileReporter reporter(where, "--rows 8");
  play(synthetic_run(), reporter);
  ASSERT_TRUE(reporter.failed());
  EXPECT_EQ(slurp(where.junit), junit_xml(synthetic_file(), "--rows 8"));
  EXPECT_EQ(slurp(where.html), html_page(synthetic_file(), {"--rows 8"}));
  EXPECT_EQ(slurp(where.csv), csv_table(synthetic_file()));
  EXPECT_EQ(slurp(where.markdown), markdown_summary(synthetic_file(), "--rows 8"));
  EXPECT_FALSE(std::filesystem::exists(where.html + ".part"));
}

TEST(FileReporter, TellsWhatItCouldNotWrite) {
  FileReporter reporter({"", "/nowhere/junit.xml", "", ""}, "");
  play(synthetic_run(), reporter);
  ASSERT_FALSE(reporter.failed());
  EXPECT_THAT(reporter.failed().error().message, HasSubstr("/nowhere/junit.xml"));
}

TEST(FileReporter, AFullDiskIsAnError) {
  FileReporter reporter({"/dev/full", "", "", ""}, "");
  play(synthetic_run(), reporter);
  EXPECT_FALSE(reporter.failed());
}

}  // namespace
}  // namespace attest
