// attest: does this flash-attention kernel compute attention?
#include <fmt/format.h>
#include <sys/resource.h>

#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <filesystem>
#include <ios>

#include "cases/op.h"
#include "harness/backends.h"
#include "harness/cli/verbs.h"
#include "harness/gtest/judge_main.h"
#include "harness/run/subject_main.h"
#include "harness/version.h"

namespace attest::cli {

int report(const Error& error) {
  fmt::print(stderr, "attest: error: {}\n", error.text());
  return error.kind == ErrorKind::input ? kUsage : kHarness;
}

int report_backend(Error error) {
  if (error.file.empty()) error.kind = ErrorKind::harness;
  return report(error);
}

Expected<std::string> operation(std::string_view name) {
  if (const auto op = op_from_name(name)) return std::string(info(*op).name);
  std::string lower(name);
  for (char& c : lower) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return input_error(fmt::format("unknown op '{}': attest knows {}", name, fmt::join(op_names(), ", ")),
                     did_you_mean(lower, op_names()));
}

std::atomic<bool>& interrupted() {
  static std::atomic<bool> flag{false};
  return flag;
}

namespace {

constexpr const char* kParseVerb = "__parse";  // parses the words behind it and does nothing

void on_interrupt(int signal) {
  if (interrupted().exchange(true)) {
    // Asked twice: go now.
    ::signal(signal, SIG_DFL);
    raise(signal);
  }
}

// Every slot holds a descriptor per place.
void raise_descriptor_limit() {
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
  limit.rlim_cur = limit.rlim_max;
  setrlimit(RLIMIT_NOFILE, &limit);
}

// The message of a parse error, with the nearest valid option or verb.
int usage_error(const CLI::App& app, const CLI::ParseError& error) {
  std::string message = error.what(), hint;
  const CLI::App* where = &app;
  while (!where->get_subcommands().empty()) where = where->get_subcommands().back();
  const std::vector<std::string> extras = where->remaining(true);
  // A word that is no verb leaves the parser without one, and that is all it says.
  if (where == &app && !extras.empty() && extras[0][0] != '-') message = fmt::format("unknown verb '{}'", extras[0]);
  if (!extras.empty()) {
    std::vector<std::string> words;
    for (const CLI::Option* option : where->get_options()) {
      for (const auto& name : option->get_lnames()) words.push_back("--" + name);
    }
    for (const CLI::App* sub : where->get_subcommands([](const CLI::App*) { return true; })) {
      words.push_back(sub->get_name());
    }
    for (const std::string& extra : extras) {
      if (hint = did_you_mean(extra.substr(0, extra.find('=')), words); !hint.empty()) break;
    }
  }
  fmt::print(stderr, "attest: error: {}{}\nRun 'attest --help' or 'attest VERB --help'.\n", message,
             hint.empty() ? "" : " (" + hint + ")");
  return kUsage;
}

// The code of what went wrong outside a verb. Every one below 125 would say something about the commit.
int failure_code(std::string_view verb, int code) { return verb == kBisectStepVerb ? kStopBisect : code; }

// What a verb returns, unless its words did not all reach standard output: a listing cut short is no listing.
int whole(std::string_view name, const Verb& verb) {
  int code = kOk, error = 0;
  try {
    code = verb();
  } catch (const std::filesystem::filesystem_error& failed) {
    return failure_code(name, report(harness_error(failed.what()).value()));
  } catch (const std::ios_base::failure& failed) {
    return failure_code(name, report(harness_error(failed.what()).value()));
  } catch (const std::system_error& failed) {  // fmt::print
    error = failed.code().value();
  }
  if (std::fflush(stdout) != 0 && error == 0) error = errno;
  if (error == 0) return code;
  const std::string message = "cannot write standard output: " + std::generic_category().message(error);
  return failure_code(name, report(Error{ErrorKind::harness, message, {}, 0, 0, {}, {}}));
}

int main(int argc, char** argv) {
  const std::vector<std::string> words(argv + 1, argv + argc);
  if (!words.empty() && words[0] == kSubjectVerb) {
    return subject_main({words.begin() + 1, words.end()}, make_any_backend);
  }
  if (words.size() == 1 && words[0] == kJudgeVerb) {
    std::signal(SIGPIPE, SIG_IGN);
    return judge_main();
  }
  if (words.size() == 3 && words[0] == kListingsVerb) return print_ggml_listings(words[1], words[2]);

  std::signal(SIGPIPE, SIG_IGN);  // a closed pipe is an error to report, not a death
  std::signal(SIGINT, on_interrupt);
  std::signal(SIGTERM, on_interrupt);
  raise_descriptor_limit();

  CLI::App app{
      "attest: does this flash-attention kernel compute attention?\n"
      "Asks every backend the same generated questions, works the answers out twice by other means (a scalar\n"
      "oracle in fp64, an Eigen reference that is not flash attention), derives for every output element how\n"
      "far off a correct kernel may be, and rules."};
  app.name("attest");
  app.set_version_flag("--version", fmt::format("attest {}", kVersion));
  app.require_subcommand(1);
  app.footer(kExitCodes);
  std::vector<std::pair<std::string, Verb>> verbs;
  verbs.emplace_back("run", add_run(app));
  verbs.emplace_back("merge", add_merge(app));
  verbs.emplace_back("fuzz", add_fuzz(app));
  verbs.emplace_back("check", add_check(app));
  verbs.emplace_back("shrink", add_shrink(app));
  verbs.emplace_back("sweep", add_sweep(app));
  verbs.emplace_back("probe", add_probe(app));
  verbs.emplace_back("coverage", add_coverage(app));
  verbs.emplace_back("report", add_report(app));
  verbs.emplace_back("history", add_history(app));
  verbs.emplace_back("compare", add_compare(app));
  verbs.emplace_back("mutants", add_mutants(app));
  verbs.emplace_back("list", add_list(app));
  verbs.emplace_back("race", add_race(app));
  verbs.emplace_back("show", add_show(app));
  verbs.emplace_back("explain", add_explain(app));
  verbs.emplace_back("bisect", add_bisect(app));
  verbs.emplace_back(kBisectStepVerb, add_bisect_step(app));
  verbs.emplace_back("bench-accuracy", add_accuracy(app));
  verbs.emplace_back("doctor", add_doctor(app));
  verbs.emplace_back("completion", add_completion(app));
  // A test reads the commands of recipes and documents through this, so that they cannot rot.
  const bool parse_only = !words.empty() && words[0] == kParseVerb;
  try {
    parse_only ? app.parse(argc - 1, argv + 1) : app.parse(argc, argv);
  } catch (const CLI::Success& success) {
    app.exit(success);
    return kOk;
  } catch (const CLI::ParseError& error) {
    return failure_code(words.empty() ? "" : words[0], usage_error(app, error));
  }
  if (parse_only) return kOk;
  for (const auto& [name, verb] : verbs) {
    if (app.got_subcommand(name)) return whole(name, verb);
  }
  return kUsage;
}

}  // namespace

}  // namespace attest::cli

int main(int argc, char** argv) { return attest::cli::main(argc, argv); }
