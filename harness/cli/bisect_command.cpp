// attest bisect git|builds|npm: the first step of a history at which one case is bad.
#include <fmt/format.h>

#include <memory>

#include "cases/cache_dir.h"
#include "harness/backends.h"
#include "harness/bisect/bisect.h"
#include "harness/build_contents.h"
#include "harness/cli/bisect_report.h"
#include "harness/cli/machine.h"
#include "harness/cli/run_support.h"
#include "harness/cli/verbs.h"
#include "harness/version.h"

namespace attest::cli {

namespace {

namespace fs = std::filesystem;

struct BisectArguments {
  std::string line, backend, when, max_memory;
  bool find_fix = false, own_variant = false, fresh = false, retry_unknown = false;
  double timeout = 0;
  std::vector<std::string> paths;  // builds
  std::string list;
  NpmQuestion npm;
  std::string good, bad;
  std::string repository, build, ggml, plugin;  // git
  bool keep = false;
};

struct Asked {
  BisectQuestion question;
  BisectOptions options;
};

Expected<Asked> asked(const BisectArguments& a) {
  Asked out;
  auto c = parse_case(a.line);
  if (!c) return Unexpected(c.error());
  out.question.c = std::move(*c);
  auto when = Predicate::parse(a.when);
  if (!when) return Unexpected(when.error());
  out.question.when = std::move(*when);
  if (!a.backend.empty()) {
    if (auto spec = BackendSpec::parse(a.backend); !spec) return Unexpected(spec.error());
  }
  out.question.backend = a.backend;
  out.question.own_variant = a.own_variant;
  out.question.find_fix = a.find_fix;
  const auto max_memory = bytes_of(a.max_memory);
  if (!max_memory) return Unexpected(max_memory.error());
  BisectOptions& o = out.options;
  o.version = kVersion;
  o.machine = cpu_identity();
  o.cache = default_cache_dir();
  o.fresh = a.fresh;
  o.retry_unknown = a.retry_unknown;
  o.timeout_s = a.timeout;
  o.max_memory = *max_memory;
  o.interrupted = &interrupted();
  o.subjects = [bytes = *max_memory](const BackendEnvironment& e) { return subject_maker(e, false, bytes); };
  o.variants = runnable_cpu_variants;
  return out;
}

// Where a bisect of this history keeps its log: the same for the same question.
fs::path log_of(const fs::path& cache, const std::string& what) {
  if (cache.empty()) return {};
  const fs::path dir = cache / "bisect";
  std::error_code error;
  fs::create_directories(dir, error);
  return error ? fs::path() : dir / (fingerprint_of_text(what) + ".log");
}

int drive(const std::string& verb, const Asked& asked, BisectHistory& history, BisectConsole& console,
          bool keep = true) {
  console.open(verb, history);
  const auto outcome = bisect(asked.question, history, asked.options, console);
  if (!outcome) return report(outcome.error());
  const int code = console.conclude(*outcome, history);
  if (!keep && outcome->kind != BisectOutcome::Kind::interrupted) history.close();
  return code;
}

std::string words_of(const BisectArguments& a) {
  return fmt::format("{}\n{}\n{}\n{}", a.line, a.backend, a.when, a.find_fix);
}

int builds_verb(const BisectArguments& a) {
  const auto question = asked(a);
  if (!question) return report(question.error());
  std::vector<std::string> paths = a.paths;
  if (!a.list.empty()) {
    const auto listed = read_list(a.list);
    if (!listed) return report(listed.error());
    paths.insert(paths.end(), listed->begin(), listed->end());
  }
  const auto history = builds_history(paths);
  if (!history) return report(history.error());
  std::string what = words_of(a);
  for (const auto& path : paths) what += "\n" + path;
  BisectConsole console(question->question, log_of(question->options.cache, what));
  return drive("builds", *question, **history, console);
}

int npm_verb(const BisectArguments& a) {
  auto question = asked(a);
  if (!question) return report(question.error());
  NpmQuestion npm = a.npm;
  npm.older = a.find_fix ? a.bad : a.good;
  npm.newer = a.find_fix ? a.good : a.bad;
  const std::string what = fmt::format("{}\n{}\n{}\n{}", words_of(a), npm.package, npm.older, npm.newer);
  BisectConsole console(question->question, log_of(question->options.cache, what));
  const auto history = npm_history(npm, question->options.cache,
                                   {&interrupted(), [&](const std::string& text) { console.on_doing(text); }});
  if (!history) return interrupted() ? kInterrupted : report(history.error());
  return drive("npm", *question, **history, console);
}

int git_verb(const BisectArguments& a) {
  const auto question = asked(a);
  if (!question) return report(question.error());
  const fs::path& cache = question->options.cache;
  if (cache.empty()) {
    return report(harness_error("there is no place to build commits in", "set ATTEST_CACHE_DIR").value());
  }
  std::error_code ignored;
  GitQuestion git;
  git.repository = a.repository;
  git.older = a.find_fix ? a.bad : a.good;
  git.newer = a.find_fix ? a.good : a.bad;
  git.build = a.build;
  git.ggml = a.ggml;
  git.plugin = a.plugin;
  const std::string repository = fs::weakly_canonical(a.repository, ignored).string();
  const std::string what = fmt::format("{}\n{}\n{}{}", repository, git.build, a.ggml, a.plugin);
  // One work tree for all questions about what this command makes of this repository.
  const auto history = git_history(git, cache / "bisect" / ("git-" + fingerprint_of_text(what)));
  if (!history) return report(history.error());
  BisectConsole console(question->question,
                        log_of(cache, fmt::format("{}\n{}\n{}\n{}", what, words_of(a), a.good, a.bad)));
  return drive("git", *question, **history, console, a.keep);
}

void add_common(CLI::App& verb, BisectArguments& a) {
  verb.add_option("--case", a.line, "the case: a descriptor or a test-backend-ops line, quoted")->required();
  verb.add_option("-b,--backend", a.backend,
                  "which backend of every step; default ggml:CPU with the best CPU variant that both ends have, or the "
                  "plug-in file");
  verb.add_option(
      "--when", a.when,
      "what makes a step bad: a verdict (FAIL or FAIL,NAN), 'bad' (any bad verdict), 'err > 2 * baseline', "
      "'nmse > 1e-3', bitwise-change, 'slower 1.2', crash; baseline is the good end. Default: the verdict of "
      "the bad end");
  verb.add_flag("--find-fix", a.find_fix, "the bad end is the older one: find the first good step");
  verb.add_flag("--own-variant", a.own_variant, "let every ggml build choose its CPU variant itself");
  verb.add_flag("--retry-unknown", a.retry_unknown, "look again at steps that could not be judged before");
  verb.add_flag("--no-cache", a.fresh, "look again at every step");
  verb.add_option("--timeout", a.timeout, "seconds a backend may take for the case (default: from its cost)")
      ->check(CLI::PositiveNumber)
      ->check(finite());
  verb.add_option("--max-memory", a.max_memory, "memory a subject process may allocate, e.g. 4G");
  verb.footer(kBisectExitCodes);
}

}  // namespace

Verb add_bisect(CLI::App& app) {
  auto a = std::make_shared<BisectArguments>();
  CLI::App* verb = app.add_subcommand("bisect", "which commit, build or release broke a case (or mended it)");
  verb->require_subcommand(1);
  verb->footer(kBisectExitCodes);

  CLI::App* git =
      verb->add_subcommand("git", "commits of a git repository, built one by one in a work tree of their own");
  git->add_option("--repo", a->repository, "the repository; its checkout is left alone")->default_val(".");
  git->add_option("--good", a->good, "a revision that is good")->required();
  git->add_option("--bad", a->bad, "a revision that is bad")->required();
  git->add_option("--build", a->build,
                  "what builds a commit: a command for sh, run at the root of the work tree; what "
                  "is not tracked stays there from commit to commit")
      ->required();
  auto* ggml = git->add_option("--ggml", a->ggml, "what it makes: a ggml build in this directory of the work tree");
  git->add_option("--plugin", a->plugin, "what it makes: this plug-in file")->excludes(ggml);
  git->add_flag("--keep", a->keep, "leave the work tree there at the end, for the next question");
  add_common(*git, *a);

  CLI::App* builds = verb->add_subcommand("builds", "ggml build directories and plug-in files, oldest first");
  builds->add_option("paths", a->paths, "the builds, oldest first");
  builds->add_option("--list", a->list, "file with one path per line, relative to it; # starts a comment");
  add_common(*builds, *a);

  CLI::App* npm = verb->add_subcommand("npm", "published releases of an npm package that holds a ggml build");
  npm->add_option("--npm", a->npm.package, "the package, e.g. @node-llama-cpp/linux-x64")->required();
  npm->add_option("--good", a->good, "a version that is good")->required();
  npm->add_option("--bad", a->bad, "a version that is bad")->required();
  add_common(*npm, *a);

  return [a, builds, git] { return git->parsed() ? git_verb(*a) : builds->parsed() ? builds_verb(*a) : npm_verb(*a); };
}

}  // namespace attest::cli
