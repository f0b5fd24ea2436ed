#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <fstream>
#include <set>
#include <sstream>

#include "backends/ggml/files.h"
#include "harness/bisect/git.h"
#include "harness/bisect/history.h"
#include "reports/sink.h"

namespace attest {

namespace fs = std::filesystem;

namespace {

constexpr const char* kNew = "refs/bisect/new";

// What the compiler said, rather than that make stopped.
std::string first_error_in(const fs::path& log) {
  std::ifstream in(log);
  for (std::string line; std::getline(in, line);) {
    for (const char* sign : {"error:", "Error:", "ERROR", "undefined reference", "not found"}) {
      if (line.find(sign) != std::string::npos) return ": " + line;
    }
  }
  return "";
}

class GitHistory final : public BisectHistory {
 public:
  GitHistory(GitQuestion question, fs::path state, std::unique_ptr<Sink> lock, Step older, Step newer, Git git)
      : question_(std::move(question)),
        state_(std::move(state)),
        lock_(std::move(lock)),
        older_(std::move(older)),
        newer_(std::move(newer)),
        git_(std::move(git)),
        tree_(state_ / "tree") {}

  Expected<void> open(const fs::path& common);

  std::string describe() const override {
    return fmt::format("{} commits of {}, {} .. {}", commits_, question_.repository.string(), question_.older,
                       question_.newer);
  }
  Step older() const override { return older_; }
  Step newer() const override { return newer_; }
  std::string full_name(const Step& step) const override { return step.id + " " + step.title; }
  // A commit's hash says all about its files; the rest is what is done to them.
  Expected<std::string> identity(const Step& step) override {
    return fmt::format("git {}\n{}\n{}{}", step.id, question_.build, question_.ggml.string(),
                       question_.plugin.string());
  }
  Expected<Specimen> obtain(const Step& step, const Obtain& how) override;
  bool lasting() const override { return false; }

  Expected<void> begin() override;
  Expected<std::optional<Step>> next() override;
  Expected<void> record(const Step& step, Answer like_newer) override;
  Expected<StepsLeft> left() override;
  Expected<Bracket> bracket() override;
  std::vector<std::string> about(const Step& culprit) override { return about_commit(git_, culprit.id); }
  void close() override;

 private:
  // Commits that may be the first new one, oldest first, the one known to be new last; and those of them that were
  // skipped.
  struct Candidates {
    std::vector<std::string> commits;
    std::set<std::string> skipped;
    std::int64_t untested() const {
      return static_cast<std::int64_t>(commits.size()) - 1 - static_cast<std::int64_t>(skipped.size());
    }
  };
  Expected<Candidates> candidates() const;
  Git tree() const { return Git(tree_); }
  Expected<void> check_out(const std::string& commit) const;
  void remove_old_build() const;
  std::string made_nothing() const;  // "" where what was to be made is there
  Expected<Step> step_of(const std::string& commit) const;

  GitQuestion question_;
  fs::path state_;
  std::unique_ptr<Sink> lock_;
  Step older_, newer_;
  Git git_;
  fs::path tree_;
  std::string commits_ = "?";
  std::string built_;             // the commit that lies in the tree, built; "": none
  Specimen specimen_;             // of built_
  std::vector<Step> like_older_;  // as recorded
};

Expected<Step> step_at(const Git& git, const std::string& commit) {
  const auto words = git.ask({"show", "-s", "--abbrev=10", "--format=%H%n%h%n%s", commit});
  if (!words) return Unexpected(words.error());
  std::istringstream in(*words);
  Step step;
  std::getline(in, step.id);
  std::getline(in, step.name);
  std::getline(in, step.title);
  return step;
}

Expected<Step> GitHistory::step_of(const std::string& commit) const { return step_at(git_, commit); }

// The work tree, of this repository; one that an interrupted bisect left is taken as it is, with what it has built.
Expected<void> GitHistory::open(const fs::path& common) {
  const auto number = git_.ask({"rev-list", "--count", older_.id + ".." + newer_.id});
  if (!number) return Unexpected(number.error());
  commits_ = *number;
  std::error_code error;
  if (fs::exists(tree_ / ".git", error)) {
    const auto whose = tree().ask({"rev-parse", "--path-format=absolute", "--git-common-dir"});
    if (whose && fs::equivalent(*whose, common, error)) return {};
  }
  fs::remove_all(tree_, error);
  // Forced, for git may still know one here whose directory is gone; to prune would forget the user's own as well.
  const auto added = git_.ask({"worktree", "add", "--force", "--detach", "--no-checkout", tree_.string(), newer_.id});
  if (!added) return Unexpected(added.error());
  return {};
}

Expected<void> GitHistory::check_out(const std::string& commit) const {
  const auto done = tree().ask({"checkout", "--quiet", "--force", "--detach", commit});
  if (!done) return Unexpected(done.error());
  return {};
}

// A build command that hides its failure must not leave another commit's code to be judged as this one's.
void GitHistory::remove_old_build() const {
  std::vector<fs::path> old;
  if (!question_.plugin.empty()) {
    old.push_back(tree_ / question_.plugin);
  } else if (const auto build = ggml::find_build(tree_ / question_.ggml)) {
    std::error_code ignored;
    for (const auto& entry : fs::directory_iterator(build->dir, ignored)) {
      const std::string name = entry.path().filename().string();
      const bool library = name.find(".so") != std::string::npos || name.find(".dylib") != std::string::npos;
      if (name.rfind("libggml", 0) == 0 && library) old.push_back(entry.path());
    }
  }
  for (const fs::path& file : old) {
    const auto tracked = tree().run({"ls-files", "--error-unmatch", fs::relative(file, tree_).string()});
    if (tracked && tracked->ok()) continue;
    std::error_code ignored;
    fs::remove(file, ignored);
  }
}

std::string GitHistory::made_nothing() const {
  std::error_code ignored;
  if (!question_.plugin.empty()) {
    if (fs::is_regular_file(tree_ / question_.plugin, ignored)) return "";
    return "the build made no " + question_.plugin.string();
  }
  const auto build = ggml::find_build(tree_ / question_.ggml);
  return build ? "" : "the build made no ggml: " + build.error().message;
}

Expected<Specimen> GitHistory::obtain(const Step& step, const Obtain& how) {
  if (built_ == step.id) return specimen_;
  built_.clear();
  specimen_ = {};
  const fs::path log = state_ / fmt::format("build-{}.log", step.name);
  if (how.doing) how.doing(fmt::format("building {} into {}", step.name, log.string()));
  if (auto done = check_out(step.id); !done) return Unexpected(done.error());
  remove_old_build();
  ChildOptions options;
  options.directory = tree_;
  options.environment = Git::environment();
  options.environment.erase(options.environment.begin());  // its language is the user's
  options.log = log;
  options.interrupted = how.interrupted;
  const auto end = run_child({"sh", "-c", question_.build}, options);
  if (!end) return Unexpected(end.error());
  if (end->interrupted) return harness_error("interrupted");
  if (!end->ok()) {
    specimen_.unusable = fmt::format("the build {}{}", end->how(), first_error_in(log));
  } else {
    specimen_.unusable = made_nothing();
  }
  if (!question_.plugin.empty()) specimen_.plugin = tree_ / question_.plugin;
  if (!question_.ggml.empty()) specimen_.ggml = tree_ / question_.ggml;
  built_ = step.id;
  return specimen_;
}

Expected<void> GitHistory::begin() {
  like_older_ = {older_};
  static_cast<void>(tree().run({"bisect", "reset"}));
  // Without checking out: a step whose verdict is kept is never in the tree.
  for (const auto& words :
       {std::vector<std::string>{"bisect", "start", "--no-checkout", "--term-new=new", "--term-old=old"},
        {"bisect", "new", newer_.id},
        {"bisect", "old", older_.id}}) {
    if (auto done = tree().ask(words); !done) return Unexpected(done.error());
  }
  return {};
}

Expected<GitHistory::Candidates> GitHistory::candidates() const {
  const auto refs = tree().lines({"for-each-ref", "--format=%(refname) %(objectname)", "refs/bisect/"});
  if (!refs) return Unexpected(refs.error());
  std::vector<std::string> words{"rev-list", "--topo-order", "--reverse", kNew, "--not"};
  std::set<std::string> skips;
  for (const std::string& ref : *refs) {
    const std::string name = ref.substr(0, ref.find(' ')), commit = ref.substr(ref.find(' ') + 1);
    if (name.rfind("refs/bisect/old-", 0) == 0) words.push_back(commit);
    if (name.rfind("refs/bisect/skip-", 0) == 0) skips.insert(commit);
  }
  auto commits = tree().lines(words);
  if (!commits) return Unexpected(commits.error());
  Candidates found{std::move(*commits), {}};
  if (found.commits.empty()) return harness_error("git bisect lost its way: no commit is left");
  for (const std::string& commit : found.commits) {
    if (skips.count(commit) != 0 && commit != found.commits.back()) found.skipped.insert(commit);
  }
  return found;
}

Expected<std::optional<Step>> GitHistory::next() {
  const auto open = candidates();
  if (!open) return Unexpected(open.error());
  if (open->untested() <= 0) return std::optional<Step>();
  const auto head = tree().ask({"rev-parse", "--verify", "BISECT_HEAD"});
  if (!head) return Unexpected(head.error());
  return step_of(*head).map([](Step step) { return std::optional(std::move(step)); });
}

Expected<void> GitHistory::record(const Step& step, Answer like_newer) {
  const char* word = like_newer == Answer::yes ? "new" : like_newer == Answer::no ? "old" : "skip";
  if (like_newer == Answer::no) like_older_.push_back(step);
  const auto end = tree().run({"bisect", word, step.id});
  if (!end) return Unexpected(end.error());
  // 2: only skipped commits are left. That it is over is seen from its refs.
  if (!end->ok() && !(end->signal == 0 && !end->late && !end->interrupted && end->code == 2)) {
    return harness_error(fmt::format("git bisect {}: {}", word, end->err.empty() ? end->how() : end->err));
  }
  return {};
}

Expected<StepsLeft> GitHistory::left() {
  const auto open = candidates();
  if (!open) return Unexpected(open.error());
  const std::int64_t untested = std::max<std::int64_t>(0, open->untested());
  return StepsLeft{untested, static_cast<int>(std::bit_width(static_cast<std::uint64_t>(untested)))};
}

Expected<Bracket> GitHistory::bracket() {
  const auto open = candidates();
  if (!open) return Unexpected(open.error());
  Bracket found;
  for (const std::string& commit : open->commits) {
    auto step = step_of(commit);
    if (!step) return Unexpected(step.error());
    found.candidates.push_back(std::move(*step));
  }
  found.last_no = like_older_.back();
  const auto parents = git_.ask({"show", "-s", "--format=%P", open->commits.front()});
  for (const Step& step : like_older_) {
    if (parents && parents->find(step.id) != std::string::npos) found.last_no = step;
  }
  return found;
}

void GitHistory::close() {
  built_.clear();
  static_cast<void>(git_.run({"worktree", "remove", "--force", tree_.string()}));
  std::error_code ignored;
  fs::remove_all(tree_, ignored);
}

Expected<std::string> commit_of(const Git& git, const std::string& revision) {
  const auto found = git.run({"rev-parse", "--verify", "--quiet", "--end-of-options", revision + "^{commit}"});
  if (!found) return Unexpected(found.error());
  if (found->ok()) return found->out.substr(0, found->out.find('\n'));
  const auto names = git.lines({"for-each-ref", "--format=%(refname:short)"});
  return input_error(fmt::format("{} has no commit '{}'", git.directory().string(), revision),
                     names ? did_you_mean(revision, *names) : "");
}

bool leaves(const fs::path& path) {
  return path.is_absolute() || std::find(path.begin(), path.end(), fs::path("..")) != path.end();
}

}  // namespace

Expected<std::unique_ptr<BisectHistory>> git_history(const GitQuestion& question, const fs::path& state) {
  if (question.ggml.empty() == question.plugin.empty()) {
    return input_error("say what the build makes: --ggml SUBDIR or --plugin FILE");
  }
  if (leaves(question.ggml) || leaves(question.plugin)) {
    return input_error("what the build makes is named relative to the repository's root",
                       "each commit is built in a work tree of its own");
  }
  std::error_code error;
  GitQuestion q = question;
  q.repository = fs::canonical(question.repository, error);
  if (error) return input_error(fmt::format("'{}': no such repository", question.repository.string()));
  const Git git(q.repository);
  const auto common = git.run({"rev-parse", "--path-format=absolute", "--git-common-dir"});
  if (!common) return harness_error("git cannot be started: is it installed, and on PATH?");
  if (!common->ok()) return input_error(fmt::format("'{}' is no git repository", q.repository.string()));
  const auto older = commit_of(git, q.older), newer = commit_of(git, q.newer);
  if (!older) return Unexpected(older.error());
  if (!newer) return Unexpected(newer.error());
  if (*older == *newer) return input_error(fmt::format("'{}' and '{}' are the same commit", q.older, q.newer));
  const auto ancestor = git.run({"merge-base", "--is-ancestor", *older, *newer});
  if (!ancestor) return Unexpected(ancestor.error());
  if (!ancestor->ok()) {
    const auto base = git.ask({"merge-base", *older, *newer});
    const bool reversed = base && *base == *newer;
    return input_error(fmt::format("'{}' does not lead to '{}'", q.older, q.newer),
                       reversed ? "they are the other way round: with --find-fix the bad one is the older one"
                       : base   ? fmt::format("what they have in common is {}", base->substr(0, 10))
                                : "they have nothing in common");
  }
  fs::create_directories(state, error);
  if (error) return harness_error(fmt::format("cannot write {}: {}", state.string(), error.message()));
  auto lock = open_file_sink(state / "lock", FileMode::append);
  if (!lock) {
    return harness_error(fmt::format(
        "cannot work in {}: another bisect of this repository with this build command does", state.string()));
  }
  auto first = step_at(git, *older), last = step_at(git, *newer);
  if (!first) return Unexpected(first.error());
  if (!last) return Unexpected(last.error());
  auto history = std::make_unique<GitHistory>(q, state, std::move(*lock), *first, *last, git);
  if (auto opened = history->open(common->out.substr(0, common->out.find('\n'))); !opened) {
    return Unexpected(opened.error());
  }
  return history;
}

}  // namespace attest
