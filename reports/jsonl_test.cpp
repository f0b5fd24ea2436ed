#include "reports/jsonl.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <array>
#include <csignal>
#include <fstream>
#include <iterator>

#include "reports/approval.h"
#include "reports/synthetic_run.h"

namespace attest {
namespace {

using testing::HasSubstr;

class TempFile {
 public:
  TempFile() {
    std::string pattern = (std::filesystem::temp_directory_path() / "attest-jsonl-XXXXXX").string();
    const int fd = mkstemp(pattern.data());
    if (fd >= 0) close(fd);
    path_ = pattern;
  }
  ~TempFile() {
    std::error_code ignored;
    std::filesystem::remove(path_, ignored);
  }
  const std::filesystem::path& path() const { return path_; }
  std::string text() const {
    std::ifstream file(path_, std::ios::binary);
    return {std::istreambuf_iterator<char>(file), {}};
  }
  void write(std::string_view text) const { std::ofstream(path_, std::ios::binary) << text; }

 private:
  std::filesystem::path path_;
};

TEST(Jsonl, WritesTheApprovedLines) {
  TempFile file;
  auto reporter = JsonlReporter::open(file.path());
  ASSERT_TRUE(reporter) << reporter.error().text();
  play(synthetic_run(), **reporter);
  EXPECT_TRUE((*reporter)->failed());
  const std::string difference = unapproved("run.jsonl", file.text());
  EXPECT_TRUE(difference.empty()) << difference;
}

TEST(Jsonl, EveryVerdictIsInTheFileBeforeTheNextEvent) {
  TempFile file;
  auto reporter = JsonlReporter::open(file.path());
  ASSERT_TRUE(reporter);
  (*reporter)->on_case_start("line", "id", "cpu:vec");
  EXPECT_EQ(file.text(), "{\"started\":\"line\",\"case_id\":\"id\",\"backend\":\"cpu:vec\"}\n");
  const VerdictRecord record = synthetic_run().records.front();
  (*reporter)->on_verdict(record);
  EXPECT_THAT(file.text(), testing::EndsWith(to_json(record) + "\n"));
}

// A pipe in packet mode keeps writes apart: a read returns one write.
TEST(Jsonl, EachObjectIsOneWrite) {
  std::array<int, 2> ends{};
  ASSERT_EQ(pipe2(ends.data(), O_DIRECT | O_CLOEXEC), 0);
  JsonlReporter reporter(std::make_unique<FdSink>(FdSink::owning(ends[1], "a pipe")));
  const auto records = synthetic_run().records;
  reporter.on_verdict(records[0]);
  reporter.on_verdict(records[1]);
  std::string buffer(1 << 16, '\0');
  for (int i = 0; i < 2; ++i) {
    const ssize_t n = read(ends[0], buffer.data(), buffer.size());
    ASSERT_GT(n, 0);
    EXPECT_EQ(buffer.substr(0, static_cast<std::size_t>(n)), to_json(records[static_cast<std::size_t>(i)]) + "\n");
  }
  close(ends[0]);
}

TEST(Jsonl, FullDiskIsReportedByNameAndEndsTheWriting) {
  auto reporter = JsonlReporter::open("/dev/full");
  ASSERT_TRUE(reporter) << reporter.error().text();
  EXPECT_TRUE((*reporter)->failed());
  play(synthetic_run(), **reporter);
  const auto failed = (*reporter)->failed();
  ASSERT_FALSE(failed);
  EXPECT_EQ(failed.error().kind, ErrorKind::harness);
  EXPECT_EQ(failed.error().text(), "cannot write /dev/full: No space left on device");
}

TEST(Jsonl, ClosedPipeIsReportedByName) {
  const auto old = std::signal(SIGPIPE, SIG_IGN);
  std::array<int, 2> ends{};
  ASSERT_EQ(pipe(ends.data()), 0);
  close(ends[0]);
  JsonlReporter reporter(std::make_unique<FdSink>(FdSink::owning(ends[1], "standard output")));
  reporter.on_verdict({});
  std::signal(SIGPIPE, old);
  const auto failed = reporter.failed();
  ASSERT_FALSE(failed);
  EXPECT_EQ(failed.error().text(), "cannot write standard output: Broken pipe");
}

TEST(Jsonl, PathsThatCannotBeOpenedAreHarnessErrors) {
  for (const auto& [path, reason] : std::vector<std::pair<std::string, std::string>>{
           {"/no/such/directory/run.jsonl", "No such file or directory"}, {"/tmp", "Is a directory"}}) {
    const auto reporter = JsonlReporter::open(path);
    ASSERT_FALSE(reporter) << path;
    EXPECT_EQ(reporter.error().kind, ErrorKind::harness);
    EXPECT_EQ(reporter.error().text(), "cannot open " + path + ": " + reason);
  }
}

TEST(Jsonl, ReplaceEmptiesTheFileAndAppendDoesNot) {
  TempFile file;
  file.write("{\"run\":1}\n");
  { ASSERT_TRUE(JsonlReporter::open(file.path(), FileMode::append)); }
  EXPECT_EQ(file.text(), "{\"run\":1}\n");
  { ASSERT_TRUE(JsonlReporter::open(file.path())); }
  EXPECT_EQ(file.text(), "");
}

TEST(Jsonl, AppendEndsALineThatAKillCutShort) {
  TempFile file;
  file.write("{\"run\":1}\n{\"verdi");
  auto reporter = JsonlReporter::open(file.path(), FileMode::append);
  ASSERT_TRUE(reporter);
  (*reporter)->on_case_start("x", "1", "b");
  EXPECT_EQ(file.text(), "{\"run\":1}\n{\"verdi\n{\"started\":\"x\",\"case_id\":\"1\",\"backend\":\"b\"}\n");
}

TEST(Jsonl, ASecondWriterIsRefusedAndDestroysNothing) {
  TempFile file;
  auto first = JsonlReporter::open(file.path(), FileMode::replace);
  ASSERT_TRUE(first);
  (*first)->on_start({});
  const std::string recorded = file.text();
  ASSERT_NE(recorded, "");
  for (const FileMode mode : {FileMode::replace, FileMode::append}) {
    const auto second = JsonlReporter::open(file.path(), mode);
    ASSERT_FALSE(second);
    EXPECT_THAT(second.error().text(), HasSubstr("another process is writing it"));
  }
  EXPECT_EQ(file.text(), recorded);
  first->reset();
  EXPECT_TRUE(JsonlReporter::open(file.path(), FileMode::append));
}

}  // namespace
}  // namespace attest
