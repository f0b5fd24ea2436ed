// attest bisect-step: is what lies here good or bad, in the words of `git bisect run`.
#include <fmt/format.h>

#include <fstream>
#include <iterator>
#include <memory>
#include <optional>

#include "cases/cache_dir.h"
#include "harness/backends.h"
#include "harness/bisect/bisect.h"
#include "harness/child_output.h"
#include "harness/cli/run_support.h"
#include "harness/cli/verbs.h"
#include "reports/sink.h"

namespace attest::cli {

namespace {

namespace fs = std::filesystem;

struct StepArguments {
  std::string line, ggml, plugin, build, backend, when, baseline, save_baseline, max_memory;
  bool find_fix = false;
  double timeout = 0;
};

int stop(const Error& error) {
  report(error);
  return kStopBisect;
}

int skip(const std::string& why) {
  fmt::print("cannot be judged: {}\n", why);
  return interrupted() ? static_cast<int>(kInterrupted) : static_cast<int>(kSkipCommit);
}

// Two commits compare only where they run the same CPU variant: the good one's.
std::string backend_like(const StepArguments& a, const std::optional<Measurement>& baseline) {
  if (!a.backend.empty() || !a.plugin.empty()) return a.backend;
  if (baseline && baseline->record.backend.rfind("ggml:", 0) == 0) return baseline->record.backend;
  if (!a.save_baseline.empty()) {
    const auto variants = runnable_cpu_variants({"step", a.ggml});
    if (variants && !variants->empty()) return "ggml:CPU,variant=" + variants->front();
  }
  return "";
}

// Why no other step can be held against this one; "": one can, as far as `when` needs it.
std::string unfit(const Predicate& when, const Measurement& good) {
  if (!good.compared()) return fmt::format("nothing was compared ({})", summary(good));
  if (!when.needs_baseline() || when.bad(good, good) == Answer::no) return "";
  if (when.timed()) return "it holds no time: it was saved without --when 'slower ...'";
  if (good.bits.empty()) return "its bits were others when it ran again";
  return fmt::format("its error is no limit ({})", summary(good));
}

int judge(const StepArguments& a, const BisectQuestion& question, const Measurement& m, const Measurement& good) {
  const Answer bad = question.when.bad(m, good);
  const bool now_new = a.find_fix ? bad == Answer::no : bad == Answer::yes;
  fmt::print("{}: {} ({})\n",
             bad == Answer::yes  ? "bad"
             : bad == Answer::no ? "good"
                                 : "cannot be judged",
             summary(m), question.when.meaning(good));
  if (interrupted()) return kInterrupted;
  return bad == Answer::unknown ? static_cast<int>(kSkipCommit) : now_new ? kBad : kOk;
}

int step_verb(const StepArguments& a) {
  BisectQuestion question;
  auto c = parse_case(a.line);
  if (!c) return stop(c.error());
  question.c = std::move(*c);
  auto when = Predicate::parse(a.when.empty() ? "bad" : a.when);
  if (!when) return stop(when.error());
  question.when = std::move(*when);
  const auto max_memory = bytes_of(a.max_memory);
  if (!max_memory) return stop(max_memory.error());
  if (a.ggml.empty() == a.plugin.empty())
    return stop(input_error("say what to judge: --ggml DIR or --plugin FILE").value());
  std::optional<Measurement> baseline;
  if (!a.baseline.empty()) {
    std::ifstream in(a.baseline, std::ios::binary);
    baseline = measurement_from_text(std::string{std::istreambuf_iterator<char>(in), {}});
    if (!baseline) {
      return stop(input_error(fmt::format("'{}' holds no baseline", a.baseline), "--save-baseline writes one").value());
    }
    if (baseline->record.line != text(question.c)) {
      return stop(
          input_error(fmt::format("the baseline '{}' is of another case: {}", a.baseline, baseline->record.line),
                      "--save-baseline with this --case writes one")
              .value());
    }
    if (const std::string why = unfit(question.when, *baseline); question.when.needs_baseline() && !why.empty()) {
      return stop(input_error(fmt::format("the baseline '{}' is of no use to --when '{}': {}", a.baseline, a.when, why),
                              "--save-baseline with this --when, on a good commit, writes one")
                      .value());
    }
  } else if (question.when.needs_baseline() && a.save_baseline.empty()) {
    return stop(input_error(fmt::format("--when '{}' needs the good commit's --baseline FILE", a.when),
                            "--save-baseline writes one")
                    .value());
  }
  if (!a.build.empty()) {
    ChildOptions options;
    options.interrupted = &interrupted();
    const auto built = run_child({"sh", "-c", a.build}, options);
    if (!built) return skip(built.error().text());
    if (!built->ok()) {
      fmt::print(stderr, "{}{}", built->out, built->err);
      return skip("the build " + built->how());
    }
  }
  question.backend = backend_like(a, baseline);
  Specimen specimen;
  std::error_code error;
  const fs::path at = fs::canonical(a.ggml.empty() ? a.plugin : a.ggml, error);
  if (error) return skip(fmt::format("there is no {}", a.ggml.empty() ? a.plugin : a.ggml));
  (a.ggml.empty() ? specimen.plugin : specimen.ggml) = at;
  if (const auto backend = backend_of(question, specimen, ""); !backend) return stop(backend.error());
  BisectOptions options;
  options.cache = default_cache_dir();
  options.timeout_s = a.timeout;
  options.interrupted = &interrupted();
  options.subjects = [bytes = *max_memory](const BackendEnvironment& e) { return subject_maker(e, false, bytes); };
  const auto m = measure_specimen(question, specimen, "", options);
  if (!m) return skip(m.error().text());
  if (!a.save_baseline.empty()) {
    if (const std::string why = unfit(question.when, *m); !why.empty()) return skip("no baseline was saved: " + why);
    auto out = open_file_sink(a.save_baseline, FileMode::replace);
    if (!out) return stop(out.error());
    if (auto written = (*out)->write(to_text(*m)); !written) return stop(written.error());
    fmt::print("baseline: {} of {}\n", summary(*m), m->record.backend);
    return kOk;
  }
  return judge(a, question, *m, baseline.value_or(Measurement{}));
}

}  // namespace

Verb add_bisect_step(CLI::App& app) {
  auto a = std::make_shared<StepArguments>();
  CLI::App* step = app.add_subcommand(std::string(kBisectStepVerb),
                                      "judge one case on what lies here, for a `git bisect run` of your own");
  step->add_option("--case", a->line, "the case: a descriptor or a test-backend-ops line, quoted")->required();
  auto* ggml = step->add_option("--ggml", a->ggml, "ggml build directory");
  step->add_option("--plugin", a->plugin, "plug-in file")->excludes(ggml);
  step->add_option("--build", a->build, "run this by sh first; a failure is 125");
  step->add_option("-b,--backend", a->backend, "which backend of the build; default ggml:CPU, or the baseline's");
  step->add_option("--when", a->when, "what is bad, as in attest bisect; default 'bad', any bad verdict");
  auto* baseline = step->add_option("--baseline", a->baseline, "what the good commit came to");
  step->add_option("--save-baseline", a->save_baseline, "write that, standing on the good commit")->excludes(baseline);
  step->add_flag("--find-fix", a->find_fix, "1 for good commits, 0 for bad ones");
  step->add_option("--timeout", a->timeout, "seconds a backend may take for the case")
      ->check(CLI::PositiveNumber)
      ->check(finite());
  step->add_option("--max-memory", a->max_memory, "memory a subject process may allocate, e.g. 4G");
  step->footer(
      "Exit codes, as git bisect run wants them: 0 good; 1 bad; 125 cannot be judged (does not build or load, does\n"
      "not take the case, fails otherwise than asked about); 128 usage, a baseline of no use, or no standard output,\n"
      "which ends the bisect; 130 interrupted.");
  return [a] { return step_verb(*a); };
}

}  // namespace attest::cli
