#include "reports/history/history.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "reports/history/history_reporter.h"
#include "reports/history/migrations.h"
#include "reports/synthetic_run.h"

namespace attest {
namespace {

using testing::HasSubstr;

class HistoryFile : public testing::Test {
 protected:
  void SetUp() override {
    const auto* test = testing::UnitTest::GetInstance()->current_test_info();
    dir_ = std::filesystem::temp_directory_path() / fmt::format("attest_history_{}_{}", test->name(), getpid());
    std::filesystem::remove_all(dir_);
    std::filesystem::create_directories(dir_);
    path_ = dir_ / "runs.db";
  }
  void TearDown() override { std::filesystem::remove_all(dir_); }

  History open(bool create = true) {
    auto history = History::open(path_, create);
    if (!history) throw std::runtime_error(history.error().text());
    return std::move(*history);
  }
  std::string open_error(bool create = true) {
    const auto history = History::open(path_, create);
    return history ? "" : history.error().text();
  }

  std::filesystem::path dir_, path_;
};

VerdictRecord verdict(int number, Verdict kind = Verdict::PASS) {
  VerdictRecord r;
  r.case_id = fmt::format("{:016x}", std::uint64_t{0x9e3779b97f4a7c15} * static_cast<unsigned>(number + 1));
  r.line = fmt::format("flash_attn_ext n_kv={}", number);
  r.backend = "cpu:vec";
  r.verdict = kind;
  r.err_over_b = 0.25;
  return r;
}

RunHeader header(std::string commit = "") {
  RunHeader h;
  h.version = "0.1.0";
  h.suite = "quick";
  h.seed = 18446744073709551615ULL;
  h.started_utc = "2026-01-02T03:04:05Z";
  h.backends = {"cpu:vec"};
  h.build_ids = {"attest 0.1.0"};
  h.commit = std::move(commit);
  h.cases = h.verdicts_expected = 3;
  return h;
}

TEST_F(HistoryFile, EveryVerdictOfARunComesBackAsItWas) {
  SyntheticRun run = synthetic_run();
  run.header.commit = "0ad4a86";
  run.header.id = "00112233445566ff";
  for (std::size_t i = 0; i < run.records.size(); i += 2) run.records[i].digest = fmt::format("{:016x}", ~i);
  {
    HistoryReporter reporter(open());
    play(run, reporter);
    EXPECT_TRUE(reporter.failed());
    EXPECT_EQ(reporter.run(), 1);
  }
  History history = open(false);
  const auto runs = history.runs();
  ASSERT_TRUE(runs) << runs.error().text();
  ASSERT_EQ(runs->size(), 1U);
  RunHeader expected = run.header;
  EXPECT_EQ(runs->front().header, expected);
  EXPECT_TRUE(runs->front().finished);

  const auto stored = history.read(runs->front());
  ASSERT_TRUE(stored) << stored.error().text();
  const auto direct = brief({"x.jsonl", {run.header}, run.records});
  ASSERT_TRUE(direct) << direct.error().text();
  EXPECT_TRUE(stored->complete);
  ASSERT_EQ(stored->verdicts.size(), run.records.size());
  const auto same = [](double a, double b) { return a == b || (std::isnan(a) && std::isnan(b)); };
  for (std::size_t i = 0; i < run.records.size(); ++i) {
    const BriefVerdict &a = stored->verdicts[i], &b = direct->verdicts[i];
    EXPECT_EQ(a.case_id, b.case_id);
    EXPECT_EQ(a.backend, b.backend);
    EXPECT_EQ(a.verdict, b.verdict);
    EXPECT_EQ(a.digest, b.digest);
    EXPECT_EQ(a.rows_judged, b.rows_judged);
    EXPECT_EQ(a.err_over_b_is_bound, b.err_over_b_is_bound);
    EXPECT_TRUE(same(a.err_over_b, b.err_over_b) && same(a.nmse, b.nmse) && same(a.max_abs, b.max_abs));
    EXPECT_EQ(a.cpu_s, b.cpu_s);
    EXPECT_EQ(stored->line(a.case_id), direct->line(b.case_id));
    for (const auto text :
         {&BriefVerdict::path, &BriefVerdict::suspect, &BriefVerdict::detail, &BriefVerdict::underlying}) {
      EXPECT_EQ(stored->texts[a.*text], direct->texts[b.*text]);
    }
  }
}

TEST_F(HistoryFile, OneCaseIsFoundWithItsTexts) {
  History history = open();
  VerdictRecord bad = verdict(1, Verdict::FAIL);
  bad.path = "tiled";
  bad.triage.suspect = "tail";
  bad.detail = "alone";
  bad.digest = "ffffffffffffffff";
  const auto run = history.start(header());
  ASSERT_TRUE(run);
  const std::vector<VerdictRecord> verdicts{verdict(0), bad, verdict(2)};
  ASSERT_TRUE(history.append(*run, verdicts));
  const auto stored = history.runs()->front();
  const auto found = history.verdict(stored, 0, *hex_number(bad.case_id));
  ASSERT_TRUE(found) << found.error().text();
  ASSERT_TRUE(found->has_value());
  EXPECT_EQ((*found)->brief.verdict, Verdict::FAIL);
  EXPECT_EQ((*found)->brief.digest, ~std::uint64_t{0});
  EXPECT_EQ((*found)->path + " " + (*found)->suspect + " " + (*found)->detail, "tiled tail alone");
  EXPECT_FALSE(history.verdict(stored, 0, 12345)->has_value());
  EXPECT_FALSE(history.verdict(stored, 1, *hex_number(bad.case_id))->has_value());
}

TEST_F(HistoryFile, ARecordIsImportedOnceAndAnUnfinishedOneIsCompleted) {
  History history = open();
  RecordFile file{"run.jsonl", {header()}, {verdict(0), verdict(1)}};
  const auto first = history.import(file);
  ASSERT_TRUE(first) << first.error().text();
  EXPECT_FALSE(first->was_there);
  EXPECT_FALSE(history.runs()->front().finished) << "two of three verdicts";
  EXPECT_TRUE(history.import(file)->was_there);
  file.verdicts.push_back(verdict(2));
  const auto whole = history.import(file);
  EXPECT_FALSE(whole->was_there);
  EXPECT_EQ(whole->run, first->run);
  ASSERT_EQ(history.runs()->size(), 1U);
  EXPECT_TRUE(history.runs()->front().finished);
  EXPECT_EQ(history.read(history.runs()->front())->verdicts.size(), 3U);
}

TEST_F(HistoryFile, ARunThatWasCutAfterItsLastVerdictIsFinishedByItsRecord) {
  const RecordFile file{"run.jsonl", {header()}, {verdict(0), verdict(1), verdict(2)}};
  History history = open();
  const auto run = history.start(file.runs[0]);
  ASSERT_TRUE(run && history.append(*run, file.verdicts));
  EXPECT_FALSE(history.runs()->front().finished);
  const auto imported = history.import(file);
  ASSERT_TRUE(imported) << imported.error().text();
  EXPECT_TRUE(imported->was_there);
  EXPECT_TRUE(history.runs()->front().finished);
}

// Concurrent runs of one command agree in all that they say of themselves but the id.
TEST_F(HistoryFile, RunsOfTheSameCommandInTheSameSecondAreTwo) {
  History history = open();
  RecordFile good{"good.jsonl", {header("good1")}, {verdict(0)}}, bad{"bad.jsonl", {header("bad22")}, {verdict(0)}};
  good.runs[0].id = "1111111111111111";
  bad.runs[0].id = "2222222222222222";
  EXPECT_EQ(history.import(good)->run, 1);
  const auto second = history.import(bad);
  ASSERT_TRUE(second) << second.error().text();
  EXPECT_FALSE(second->was_there);
  EXPECT_EQ(second->run, 2);
  EXPECT_EQ(history.import(good)->run, 1);
  EXPECT_TRUE(history.import(bad)->was_there);
}

TEST_F(HistoryFile, RecordsWithoutAnIdAreToldApartByWhatTheySay) {
  History history = open();
  const RecordFile file{"run.jsonl", {header()}, {verdict(0)}};
  ASSERT_TRUE(history.import(file));
  EXPECT_TRUE(history.import(file)->was_there);
  RecordFile seed = file, options = file, build = file;
  seed.runs[0].seed = 7;
  options.runs[0].options = "key-budget=0.1";
  build.runs[0].build_ids = {"attest 0.1.0 (other)"};
  std::int64_t next = 2;
  for (const RecordFile* other : {&seed, &options, &build}) {
    EXPECT_EQ(history.import(*other)->run, next++);
    EXPECT_TRUE(history.import(*other)->was_there);
  }
}

TEST_F(HistoryFile, ACommitIsGivenOnceAndNeverChanged) {
  History history = open();
  const auto file = [](const std::string& commit) { return RecordFile{"run.jsonl", {header(commit)}, {verdict(0)}}; };
  ASSERT_FALSE(history.import(file(""))->commit_given);
  const auto given = history.import(file("deadbeef"));
  ASSERT_TRUE(given) << given.error().text();
  EXPECT_TRUE(given->was_there && given->commit_given);
  EXPECT_EQ(history.runs()->front().header.commit, "deadbeef");
  EXPECT_FALSE(history.import(file(""))->commit_given);
  EXPECT_FALSE(history.import(file("deadbeef"))->commit_given);
  const auto other = history.import(file("0ad4a86"));
  ASSERT_FALSE(other);
  EXPECT_EQ(other.error().kind, ErrorKind::input);
  EXPECT_THAT(other.error().text(), HasSubstr("is of commit 'deadbeef', not '0ad4a86'"));
  EXPECT_EQ(history.runs()->size(), 1U);

  HistoryReporter resumed(open(), header());
  resumed.on_start(header("0ad4a86"));
  ASSERT_FALSE(resumed.failed());
  EXPECT_THAT(resumed.failed().error().text(), HasSubstr("is of commit 'deadbeef'"));
}

TEST_F(HistoryFile, AResumedRunTakesThePlaceOfItsFirstPart) {
  std::optional<RunHeader> first = header();
  {
    HistoryReporter cut(open());
    cut.on_start(*first);
    cut.on_verdict(verdict(0));
    RunSummary stopped;
    stopped.selected = 3;
    stopped.ruled = 1;
    stopped.interrupted = true;
    cut.on_finish(stopped);
    ASSERT_TRUE(cut.failed());
  }
  HistoryReporter rest(open(), first);
  RunHeader later = *first;
  later.started_utc = "2026-01-02T09:00:00Z";
  rest.on_start(later);
  for (int i = 0; i < 3; ++i) rest.on_verdict(verdict(i));
  RunSummary summary;
  summary.selected = summary.ruled = 3;
  rest.on_finish(summary);
  ASSERT_TRUE(rest.failed()) << rest.failed().error().text();
  History history = open(false);
  ASSERT_EQ(history.runs()->size(), 1U);
  EXPECT_TRUE(history.runs()->front().finished);
  EXPECT_EQ(history.read(history.runs()->front())->verdicts.size(), 3U);
}

TEST_F(HistoryFile, ACaseIdThatIsNoneLeavesNothingBehind) {
  History history = open();
  RecordFile file{"run.jsonl", {header()}, {verdict(0), verdict(1)}};
  file.verdicts[1].case_id = "abc";
  const auto imported = history.import(file);
  ASSERT_FALSE(imported);
  EXPECT_EQ(imported.error().kind, ErrorKind::input);
  EXPECT_THAT(imported.error().text(), HasSubstr("run.jsonl: case id 'abc'"));
  EXPECT_TRUE(history.runs()->empty());
  file.verdicts.pop_back();
  EXPECT_TRUE(history.import(file)) << "the texts of what was undone are not taken for known";
  EXPECT_EQ(history.read(history.runs()->front())->verdicts.size(), 1U);
}

// ---- files of other kinds and versions

// Schema 1 as it was: without digests.
void make_schema_1(const std::filesystem::path& path) {
  auto old = sqlite::Connection::open(path, true);
  ASSERT_TRUE(old);
  ASSERT_TRUE(old->execute(history_steps()[0]));
  ASSERT_TRUE(old->execute("PRAGMA application_id = 1096045396; PRAGMA user_version = 1"));
  ASSERT_TRUE(old->execute(
      "INSERT INTO runs(started_utc, version, command, suite, seed, host, cpu, revision, selection, options, cases, "
      "verdicts_expected, shard_index, shard_count, finished) "
      "VALUES('2025-01-01T00:00:00Z','0.0.9','attest run','quick',0,'old','cpu','','','',1,1,0,1,1);"
      "INSERT INTO backends VALUES(1,0,'cpu:vec','attest 0.0.9');"
      "INSERT INTO cases VALUES(5,'flash_attn_ext');"
      "INSERT INTO texts VALUES(1,'FAIL');"
      "INSERT INTO verdicts VALUES(1,0,5,1,NULL,NULL,NULL,'seen long ago',4.5,0,1e-3,0.5,8,8,0.25,0.25,0.5)"));
}

TEST_F(HistoryFile, OfAnOlderSchemaIsBroughtUpToDateAndKeepsWhatItHolds) {
  ASSERT_NO_FATAL_FAILURE(make_schema_1(path_));
  History history = open(false);
  const auto runs = history.runs();
  ASSERT_EQ(runs->size(), 1U);
  EXPECT_EQ(runs->front().header.host, "old");
  const auto old = history.read(runs->front());
  ASSERT_TRUE(old) << old.error().text();
  ASSERT_EQ(old->verdicts.size(), 1U);
  EXPECT_EQ(old->verdicts[0].verdict, Verdict::FAIL);
  EXPECT_EQ(old->verdicts[0].err_over_b, 4.5);
  EXPECT_EQ(old->verdicts[0].digest, 0U) << "nobody knew it then";
  EXPECT_EQ(old->texts[old->verdicts[0].detail], "seen long ago");
  EXPECT_TRUE(history.import({"new.jsonl", {header()}, {verdict(0)}}));
  auto connection = sqlite::Connection::open(path_, false);
  EXPECT_EQ(connection->number("PRAGMA user_version").value(), static_cast<std::int64_t>(history_steps().size()));
}

TEST_F(HistoryFile, OfANewerSchemaIsRefused) {
  static_cast<void>(open());
  ASSERT_TRUE(sqlite::Connection::open(path_, false)->execute("PRAGMA user_version = 99"));
  EXPECT_THAT(open_error(), HasSubstr("has schema 99"));
}

TEST_F(HistoryFile, OfAnotherProgramIsRefusedAndNotTouched) {
  EXPECT_THAT(open_error(false), HasSubstr("no such file"));
  EXPECT_FALSE(std::filesystem::exists(path_));
  std::ofstream(path_) << "{\"run\":{\"schema\":1}}\n";
  EXPECT_THAT(open_error(), HasSubstr("is no history"));
  std::filesystem::remove(path_);
  ASSERT_TRUE(sqlite::Connection::open(path_, true)->execute("CREATE TABLE mine(x)"));
  for (const bool create : {true, false}) {
    EXPECT_THAT(open_error(create), HasSubstr("a database, but no history of attest"));
  }
  auto mode = sqlite::Connection::open(path_, false)->prepare("PRAGMA journal_mode");
  ASSERT_TRUE(mode && *mode->step());
  EXPECT_EQ(mode->text(0), "delete");
  std::filesystem::create_directory(dir_ / "dir");
  const auto directory = History::open(dir_ / "dir", true);
  ASSERT_FALSE(directory);
  EXPECT_EQ(directory.error().kind, ErrorKind::harness);
}

// ---- several writers, and dead ones

// Runs `body` in a process of its own; its exit code is the answer.
template <class Body>
pid_t in_a_process(Body body) {
  const pid_t pid = fork();
  if (pid == 0) _exit(body());
  return pid;
}

int exit_code(pid_t pid) {
  int status = 0;
  waitpid(pid, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

TEST_F(HistoryFile, TakesManyWritersAtOnceAndLosesNothing) {
  constexpr int kWriters = 6, kBatches = 20, kBatch = 50;
  std::vector<pid_t> writers;
  for (int w = 0; w < kWriters; ++w) {
    writers.push_back(in_a_process([&] {
      auto history = History::open(path_, true);  // they race for the empty file, too
      if (!history) {
        fmt::print(stderr, "{}\n", history.error().text());
        return 1;
      }
      RunHeader h = header(fmt::format("{}", w));
      h.verdicts_expected = kBatches * kBatch;
      const auto run = history->start(h);
      if (!run) return 2;
      for (int b = 0; b < kBatches; ++b) {
        std::vector<VerdictRecord> batch;
        for (int i = 0; i < kBatch; ++i) batch.push_back(verdict(b * kBatch + i));
        if (!history->append(*run, batch)) return 3;
      }
      return history->finish(*run, false, 1) ? 0 : 4;
    }));
  }
  for (const pid_t pid : writers) EXPECT_EQ(exit_code(pid), 0);
  History history = open(false);
  const auto runs = history.runs();
  ASSERT_EQ(runs->size(), static_cast<std::size_t>(kWriters));
  for (const StoredRun& run : *runs) {
    const auto read = history.read(run);
    ASSERT_TRUE(read) << read.error().text();
    EXPECT_TRUE(read->complete);
    EXPECT_EQ(read->verdicts.size(), static_cast<std::size_t>(kBatches * kBatch));
  }
}

// A reader of somebody else's history: neither the file nor its directory may be written to.
TEST_F(HistoryFile, IsReadByThoseWhoMayNotWriteIt) {
  path_ = dir_ / "a%20b?c#d.db";
  ASSERT_TRUE(open().import({"run.jsonl", {header("0ad4a86")}, {verdict(0), verdict(1), verdict(2)}}));
  std::filesystem::permissions(path_, std::filesystem::perms{0444});
  std::filesystem::permissions(dir_, std::filesystem::perms{0555});
  const auto as_reader = [&](auto body) {
    return exit_code(in_a_process([&] {
      if (geteuid() == 0 && setuid(65534) != 0) return 100;
      return body();
    }));
  };
  const auto read = [&] {
    auto history = History::open(path_, false);
    if (!history) return fmt::print(stderr, "{}\n", history.error().text()), 1;
    const auto runs = history->runs();
    if (!runs || runs->size() != 1) return 2;
    const auto run = history->read(runs->front());
    return run && run->verdicts.size() == 3 ? 0 : 3;
  };
  EXPECT_EQ(as_reader(read), 0);
  EXPECT_EQ(as_reader([&] {
              const auto history = History::open(path_, true);
              return history ? 1 : history.error().text().find("must be written to") == std::string::npos ? 2 : 0;
            }),
            0);
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(dir_), {}), 1) << "nothing is left beside it";

  // With a writer at work the reader sees what that has committed.
  std::filesystem::permissions(path_, std::filesystem::perms{0644});
  std::filesystem::permissions(dir_, std::filesystem::perms{0755});
  History writer = open();
  RunHeader second = header("4ee1f00");
  second.started_utc = "2026-01-02T03:05:00Z";
  ASSERT_TRUE(writer.start(second));
  EXPECT_EQ(as_reader([&] {
              auto history = History::open(path_, false);
              return history && history->runs() && history->runs()->size() == 2 ? 0 : 1;
            }),
            0);
}

TEST_F(HistoryFile, AFileThatIsWrittenWhileItIsReadAsUnchangingIsSaid) {
  ASSERT_TRUE(open().import({"run.jsonl", {header()}, {verdict(0)}}));
  EXPECT_EQ(exit_code(in_a_process([&] {
              std::filesystem::permissions(path_, std::filesystem::perms{0444});
              std::filesystem::permissions(dir_, std::filesystem::perms{0755});
              if (geteuid() == 0 && seteuid(65534) != 0) return 100;
              auto history = History::open(path_, false);
              if (!history || !history->runs()) return 1;
              if (geteuid() != getuid() && seteuid(getuid()) != 0) return 100;
              std::filesystem::last_write_time(path_, std::filesystem::file_time_type::clock::now());
              const auto runs = history->runs();
              return !runs && runs.error().text().find("while it was read") != std::string::npos ? 0 : 2;
            })),
            0);
}

TEST_F(HistoryFile, KeepsWhatAKilledWriterHadCommitted) {
  int told[2];
  ASSERT_EQ(pipe(told), 0);
  const pid_t pid = in_a_process([&] {
    auto history = History::open(path_, true);
    if (!history) return 1;
    const auto run = history->start(header("killed"));
    for (int b = 0; run; ++b) {
      std::vector<VerdictRecord> batch;
      for (int i = 0; i < 500; ++i) batch.push_back(verdict(b * 500 + i));
      if (!history->append(*run, batch)) return 2;
      const char committed = 'x';
      if (write(told[1], &committed, 1) != 1) return 3;
    }
    return 4;
  });
  close(told[1]);
  std::int64_t committed = 0;
  for (char c = 0; committed < 12 && read(told[0], &c, 1) == 1;) ++committed;
  kill(pid, SIGKILL);
  EXPECT_EQ(exit_code(pid), 128 + SIGKILL);
  for (char c = 0; read(told[0], &c, 1) == 1;) ++committed;
  close(told[0]);

  History history = open(false);
  auto runs = history.runs();
  ASSERT_TRUE(runs) << runs.error().text();
  ASSERT_EQ(runs->size(), 1U);
  EXPECT_FALSE(runs->front().finished);
  const auto read = history.read(runs->front());
  ASSERT_TRUE(read) << read.error().text();
  EXPECT_FALSE(read->complete);
  const auto found = static_cast<std::int64_t>(read->verdicts.size());
  EXPECT_GE(found, 500 * committed) << "a commit that was told of is gone";
  EXPECT_EQ(found % 500, 0) << "half a transaction is there";
  auto check = sqlite::Connection::open(path_, false)->prepare("PRAGMA integrity_check");
  ASSERT_TRUE(check && *check->step());
  EXPECT_EQ(check->text(0), "ok");
  RunHeader next = header("next");
  next.started_utc = "2026-01-02T03:05:00Z";
  EXPECT_TRUE(history.import({"next.jsonl", {next}, {verdict(0)}})) << "and the next writer goes on";
}

}  // namespace
}  // namespace attest
