// The attest executable under kill -9, Ctrl-C, full disks and closed pipes: nothing is lost, nobody is left behind.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <spawn.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <map>
#include <set>

#include "cases/rng.h"
#include "harness/backends.h"
#include "harness/run/resume.h"
#include "harness/run/runner.h"

extern char** environ;  // NOLINT(readability-redundant-declaration): POSIX leaves it to the program

namespace attest {
namespace {

using testing::HasSubstr;

constexpr int kCases = 500;
constexpr const char* kJudgeVerb = "--judge";  // this executable as a judge of a backend that never returns

void wait_a_moment() { usleep(200); }

// A child process with its standard output and error in files; killed at the latest when it goes out of scope.
class Child {
 public:
  Child(std::vector<std::string> words, const std::string& out, const std::string& err) {
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, out.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0644);
    posix_spawn_file_actions_addopen(&actions, STDERR_FILENO, err.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0644);
    std::vector<char*> argv, environment;
    for (auto& word : words) argv.push_back(word.data());
    argv.push_back(nullptr);
    for (char** v = environ; *v != nullptr; ++v) {
      if (std::strstr(*v, "SHARD") == nullptr) environment.push_back(*v);  // this test may be in a shard itself
    }
    environment.push_back(nullptr);
    posix_spawnattr_t attributes;  // a process group of its own, as under a shell: Ctrl-C goes to all of it
    posix_spawnattr_init(&attributes);
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETPGROUP);
    if (posix_spawn(&pid_, argv[0], &actions, &attributes, argv.data(), environment.data()) != 0) pid_ = -1;
    posix_spawnattr_destroy(&attributes);
    posix_spawn_file_actions_destroy(&actions);
  }
  ~Child() {
    if (pid_ <= 0) return;
    kill(pid_, SIGKILL);
    wait();
  }
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;

  pid_t pid() const { return pid_; }
  bool running() {
    if (pid_ <= 0) return false;
    if (waitpid(pid_, &status_, WNOHANG) == 0) return true;
    pid_ = -1;
    return false;
  }
  // The exit code; 256 + N: ended by signal N.
  int wait() {
    while (pid_ > 0 && waitpid(pid_, &status_, 0) < 0 && errno == EINTR) {
    }
    pid_ = -1;
    return WIFSIGNALED(status_) ? 256 + WTERMSIG(status_) : WEXITSTATUS(status_);
  }

 private:
  pid_t pid_ = -1;
  int status_ = 0;
};

std::string content(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

// Counts the verdict lines of a file that grows.
class VerdictCounter {
 public:
  explicit VerdictCounter(std::string path) : path_(std::move(path)) {}
  int count() {
    std::ifstream file(path_, std::ios::binary);
    file.seekg(static_cast<std::streamoff>(read_));
    const std::string more{std::istreambuf_iterator<char>(file), {}};
    const auto whole = more.rfind('\n');
    if (whole == std::string::npos) return count_;
    for (std::size_t at = 0; at <= whole; at = more.find('\n', at) + 1) {
      count_ += more.compare(at, 10, "{\"verdict\"") == 0 ? 1 : 0;
    }
    read_ += whole + 1;
    return count_;
  }

 private:
  std::string path_;
  std::size_t read_ = 0;
  int count_ = 0;
};

class Survival : public testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = (std::filesystem::temp_directory_path() / "attest-survival-XXXXXX").string();
    ASSERT_NE(mkdtemp(pattern.data()), nullptr);
    dir_ = pattern;
    std::ofstream cases(path("cases"));
    for (int i = 0; i < kCases; ++i) {
      cases << "flash_attn_ext d=64 n_head=2 n_q=2 n_kv=" << 100 + i % 50 << " kv=f16 seed=" << i << "\n";
    }
  }
  void TearDown() override { std::filesystem::remove_all(dir_); }

  std::string path(const std::string& name) const { return (dir_ / name).string(); }
  std::vector<std::string> command(const std::vector<std::string>& more) const {
    std::vector<std::string> words{ATTEST_EXECUTABLE, "run", "-b", "cpu:vec", "--cases", path("cases")};
    words.insert(words.end(), more.begin(), more.end());
    return words;
  }
  int attest(const std::vector<std::string>& more) const {
    return Child(command(more), path("out"), path("err")).wait();
  }
  // Starts or continues the run that `record` keeps and ends it with `signal` once it holds `verdicts`.
  // The exit code as Child::wait() gives it.
  int end_at(const std::string& record, int verdicts, int signal) const {
    Child child(command({"--resume", record}), path("out"), path("err"));
    VerdictCounter seen(record);
    while (seen.count() < verdicts && child.running()) wait_a_moment();
    if (child.pid() > 0) kill(child.pid(), signal);
    return child.wait();
  }
  // The verdicts of a record without their times.
  std::set<std::string> verdicts(const std::string& record) const {
    std::set<std::string> out;
    const auto file = read_record_file(record);
    if (!file) ADD_FAILURE() << file.error().text();
    if (!file) return out;
    for (VerdictRecord r : file->verdicts) {
      r.backend_cpu_s = r.backend_wall_s = r.judge_s = 0;
      EXPECT_TRUE(out.insert(to_json(r)).second) << "twice: " << r.line;
    }
    return out;
  }

  std::filesystem::path dir_;
};

// In the text of a record: no pair is ruled before it was started, none is started after it was ruled.
void expect_started_then_ruled_once(const std::string& text) {
  std::set<std::string> started, ruled;
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t end = std::min(text.find('\n', at), text.size());
    const std::string line = text.substr(at, end - at);
    at = end + 1;
    const auto value = [&](const std::string& key) {
      const auto from = line.find("\"" + key + "\":\"") + key.size() + 4;
      return line.substr(from, line.find('"', from) - from);
    };
    if (line.starts_with("{\"started\"") && line.ends_with("}")) {
      const std::string pair = pair_key(value("case_id"), value("backend"));
      EXPECT_FALSE(ruled.contains(pair)) << "run again: " << line;
      started.insert(pair);
    } else if (line.starts_with("{\"verdict\"") && line.ends_with("}")) {
      const std::string pair = pair_key(value("case_id"), value("backend"));
      EXPECT_TRUE(started.contains(pair)) << "never started: " << line;
      ruled.insert(pair);
    }
  }
}

TEST_F(Survival, KilledAtTwentyRandomMomentsAndResumedEqualsAnUndisturbedRun) {
  ASSERT_EQ(attest({"--jsonl", path("whole")}), 0) << content(path("err"));
  const auto expected = verdicts(path("whole"));
  ASSERT_EQ(expected.size(), static_cast<std::size_t>(kCases));
  const Rng rng(20, 3);
  int cut_short = 0;
  for (std::uint64_t moment = 0; moment < 20; ++moment) {
    const std::string record = path("killed" + std::to_string(moment));
    end_at(record, static_cast<int>(rng.bits(moment) % kCases), SIGKILL);
    cut_short += verdicts(record).size() < expected.size() ? 1 : 0;
    ASSERT_EQ(attest({"--resume", record}), 0) << content(path("err"));
    EXPECT_EQ(verdicts(record), expected) << "moment " << moment;
    expect_started_then_ruled_once(content(record));
    EXPECT_THAT(content(path("out")), HasSubstr("500 cases x 1 backend = 500 verdicts, all accounted for"));
  }
  EXPECT_GE(cut_short, 10) << "too many kills came too late to show anything";
}

TEST_F(Survival, OneRunKilledTwentyTimesEqualsAnUndisturbedRun) {
  ASSERT_EQ(attest({"--jsonl", path("whole")}), 0) << content(path("err"));
  const Rng rng(20, 4);
  int verdicts_wanted = 0;
  for (std::uint64_t kill = 0; kill < 20; ++kill) {
    verdicts_wanted += 1 + static_cast<int>(rng.bits(kill) % 40);
    end_at(path("killed"), std::min(verdicts_wanted, kCases - 1), SIGKILL);
  }
  ASSERT_EQ(attest({"--resume", path("killed")}), 0) << content(path("err"));
  EXPECT_EQ(verdicts(path("killed")), verdicts(path("whole")));
  expect_started_then_ruled_once(content(path("killed")));
}

TEST_F(Survival, CtrlCPrintsTheSummarySoFarAndLeavesARecordToResume) {
  EXPECT_EQ(end_at(path("record"), 20, SIGINT), 130) << content(path("err"));
  const auto so_far = verdicts(path("record")).size();
  EXPECT_GE(so_far, 20U);
  EXPECT_LT(so_far, static_cast<std::size_t>(kCases));
  EXPECT_THAT(content(path("out")), HasSubstr("interrupted: " + std::to_string(so_far) + " of 500 cases x 1 backend"));
  EXPECT_THAT(content(path("out")), HasSubstr("no bad verdict"));
  EXPECT_THAT(content(path("record")), testing::EndsWith("\"interrupted\":true}}\n"));
  EXPECT_EQ(attest({"--resume", path("record")}), 0) << content(path("err"));
  EXPECT_EQ(verdicts(path("record")).size(), static_cast<std::size_t>(kCases));
}

TEST_F(Survival, ARecordThatCannotBeWrittenIsExitThree) {
  EXPECT_EQ(attest({"--jsonl", "/dev/full"}), 3);
  EXPECT_THAT(content(path("err")), HasSubstr("attest: error: cannot write /dev/full: No space left on device"));
}

TEST_F(Survival, AClosedPipeIsExitThreeAndTheRecordIsWhole) {
  const std::string pipe = path("pipe");
  ASSERT_EQ(mkfifo(pipe.c_str(), 0600), 0);
  const int reader = open(pipe.c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC);
  Child child(command({"--jsonl", path("record")}), pipe, path("err"));
  char letter = 0;  // as head -1 does: one line, then it closes
  while (letter != '\n') {
    if (read(reader, &letter, 1) != 1) wait_a_moment();
  }
  close(reader);
  EXPECT_EQ(child.wait(), 3);
  EXPECT_THAT(content(path("err")), HasSubstr("attest: error: cannot write standard output: Broken pipe"));
  EXPECT_EQ(verdicts(path("record")).size(), static_cast<std::size_t>(kCases));
}

TEST_F(Survival, MergedShardsEqualTheMergedWholeButForTimes) {
  ASSERT_EQ(attest({"--jsonl", path("whole"), "--jobs", "1"}), 0) << content(path("err"));
  std::vector<std::string> words{ATTEST_EXECUTABLE, "merge"};
  for (int i = 2; i >= 0; --i) {
    const std::string record = path("shard" + std::to_string(i));
    ASSERT_EQ(attest({"--jsonl", record, "--shard", std::to_string(i) + "/3"}), 0) << content(path("err"));
    words.push_back(record);
  }
  words.insert(words.end(), {"-o", path("joined")});
  EXPECT_EQ(Child(words, path("out"), path("err")).wait(), 0) << content(path("err"));
  EXPECT_THAT(content(path("out")), HasSubstr("500 cases x 1 backend = 500 verdicts, all accounted for"));
  EXPECT_EQ(Child({ATTEST_EXECUTABLE, "merge", path("whole"), "-o", path("sorted")}, path("out"), path("err")).wait(),
            0);
  const auto joined = read_record_file(path("joined")), sorted = read_record_file(path("sorted"));
  ASSERT_TRUE(joined && sorted);
  ASSERT_EQ(joined->verdicts.size(), sorted->verdicts.size());
  for (std::size_t i = 0; i < joined->verdicts.size(); ++i) {
    ASSERT_EQ(joined->verdicts[i].case_id, sorted->verdicts[i].case_id);
  }
  EXPECT_EQ(verdicts(path("joined")), verdicts(path("sorted")));
  words.erase(words.begin() + 2);
  EXPECT_EQ(Child(words, path("out"), path("err")).wait(), 2);
  EXPECT_THAT(content(path("err")), HasSubstr("1 of 3 shards missing: 2/3"));
}

TEST_F(Survival, AnEmptyShardSaysSoAndIsNoFailure) {
  const std::vector<std::string> one{ATTEST_EXECUTABLE, "run", "-b", "cpu:vec", "--case", "flash_attn_ext n_kv=9"};
  auto words = one;
  words.insert(words.end(), {"--shard", "1/2", "--jsonl", path("s1")});
  EXPECT_EQ(Child(words, path("out"), path("err")).wait(), 0);
  EXPECT_THAT(content(path("err")), HasSubstr("shard 1/2 of this selection is empty"));
  words = one;
  words.insert(words.end(), {"--shard", "0/2", "--jsonl", path("s0")});
  EXPECT_EQ(Child(words, path("out"), path("err")).wait(), 0);
  EXPECT_EQ(
      Child({ATTEST_EXECUTABLE, "merge", path("s0"), path("s1"), "-o", path("all")}, path("out"), path("err")).wait(),
      0)
      << content(path("err"));
}

#ifdef __linux__

struct Process {
  pid_t parent = 0;
  char state = 0;  // Z: dead, and nobody has asked for its exit code
};

std::map<pid_t, Process> processes() {
  std::map<pid_t, Process> all;
  for (const auto& entry : std::filesystem::directory_iterator("/proc")) {
    const std::string name = entry.path().filename();
    if (name.find_first_not_of("0123456789") != std::string::npos) continue;
    const std::string stat = content(entry.path() / "stat");  // pid (name) state parent ...
    const auto behind = stat.rfind(") ");
    if (behind == std::string::npos) continue;
    all[std::stoi(name)] = {std::stoi(stat.substr(behind + 4)), stat[behind + 2]};
  }
  return all;
}

std::vector<pid_t> children_of(pid_t parent) {
  std::vector<pid_t> out;
  for (const auto& [pid, process] : processes()) {
    if (process.parent == parent && process.state != 'Z') out.push_back(pid);
  }
  return out;
}

// How many of them live on after two seconds.
std::size_t survivors(const std::vector<pid_t>& pids) {
  std::size_t alive = 0;
  for (int i = 0; i < 200; ++i) {
    const auto all = processes();
    alive = static_cast<std::size_t>(std::count_if(pids.begin(), pids.end(), [&](pid_t pid) {
      const auto found = all.find(pid);
      return found != all.end() && found->second.state != 'Z';
    }));
    if (alive == 0) break;
    usleep(10'000);
  }
  return alive;
}

TEST_F(Survival, SubjectsEndWithTheirJudge) {
  for (const int verdicts_wanted : {0, 1, 100}) {
    const std::string record = path("record" + std::to_string(verdicts_wanted));
    Child judge(command({"--jsonl", record}), path("out"), path("err"));
    VerdictCounter seen(record);
    std::vector<pid_t> subjects;
    while (judge.running() && (subjects.empty() || seen.count() < verdicts_wanted)) subjects = children_of(judge.pid());
    ASSERT_FALSE(subjects.empty());
    kill(judge.pid(), SIGKILL);
    judge.wait();
    EXPECT_EQ(survivors(subjects), 0U) << "after " << verdicts_wanted << " verdicts";
  }
}

TEST_F(Survival, CtrlCWhileSubjectsStartIsAnInterruptAndNoDeadBackend) {
  for (int delay = 0; delay < 8; ++delay) {
    Child judge(command({}), path("out"), path("err"));
    while (judge.running() && children_of(judge.pid()).empty()) {
    }
    usleep(static_cast<useconds_t>(delay) * 300);
    ASSERT_GT(judge.pid(), 0) << content(path("err"));
    kill(-judge.pid(), SIGINT);
    EXPECT_EQ(judge.wait(), 130) << content(path("err"));
    EXPECT_THAT(content(path("out")) + content(path("err")), HasSubstr("interrupted"));
  }
}

TEST_F(Survival, SubjectsInAnEndlessLoopEndWithTheirJudge) {
  Child judge({own_executable().string(), kJudgeVerb, path("looping")}, path("out"), path("err"));
  // The backend leaves a file behind when it enters its loop, one per subject.
  const auto looping = [&] {
    return std::filesystem::exists(path("looping0")) && std::filesystem::exists(path("looping1"));
  };
  while (judge.running() && !looping()) wait_a_moment();
  ASSERT_TRUE(judge.running()) << content(path("err"));
  const auto subjects = children_of(judge.pid());
  ASSERT_EQ(subjects.size(), 2U);
  kill(judge.pid(), SIGKILL);
  judge.wait();
  EXPECT_EQ(survivors(subjects), 0U);
}

TEST_F(Survival, ASubjectWhoseJudgeIsGoneAlreadyDoesNotStart) {
  SubjectArguments arguments;
  arguments.backend = "cpu:vec";
  arguments.judge = getpid() + 1;  // not the parent
  std::vector<std::string> words{ATTEST_EXECUTABLE, kSubjectVerb};
  for (auto& word : arguments.to_words()) words.push_back(std::move(word));
  EXPECT_EQ(Child(words, path("out"), path("err")).wait(), 3);
}

#endif

class LoopBackend final : public Backend {
 public:
  std::string name() const override { return "loop"; }
  std::string description() const override { return "never returns"; }
  std::string build_id() const override { return "loop 1"; }
  Support supports(const AttentionProblem&) const override { return {}; }
  ArithmeticContract contract(const AttentionProblem&) const override { return {}; }
  Outcome run(const AttentionInputs& in, const MutableTensorView&) override {
    std::ofstream(std::getenv("ATTEST_LOOPING") + std::to_string(in.problem->n_kv % 2)) << "here";
    for (volatile bool forever = true; forever;) {
    }
    return {};
  }
};

int judge(const char* looping) {
  setenv("ATTEST_LOOPING", looping, 1);  // for the subjects
  RunPlan plan;
  plan.backends = {"loop"};
  for (const char* n_kv : {"8", "9"}) plan.cases.push_back(*parse_case(std::string("flash_attn_ext n_kv=") + n_kv));
  RunOptions options;
  options.jobs = 2;
  options.timeout_s = 60;
  RunListener nobody;
  const SubjectMaker maker = [](const std::string& backend, const std::vector<int>& places) {
    return make_process_subject({{own_executable().string(), kSubjectVerb}, backend, {}, places, 0});
  };
  return run(plan, options, maker, {}, nobody) ? 0 : 3;
}

}  // namespace
}  // namespace attest

int main(int argc, char** argv) {
  if (argc > 1 && std::string(argv[1]) == attest::kSubjectVerb) {
    return attest::subject_main(
        {argv + 2, argv + argc}, [](const attest::BackendSpec&, const attest::BackendEnvironment&) {
          return attest::Expected<std::unique_ptr<attest::Backend>>(std::make_unique<attest::LoopBackend>());
        });
  }
  if (argc > 2 && std::string(argv[1]) == attest::kJudgeVerb) return attest::judge(argv[2]);
  std::signal(SIGPIPE, SIG_IGN);
  ::testing::InitGoogleTest(&argc, argv);
  return RUN_ALL_TESTS();
}
