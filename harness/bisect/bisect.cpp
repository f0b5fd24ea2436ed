#include "harness/bisect/bisect.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cctype>
#include <chrono>
#include <map>
#include <optional>

#include "harness/key.h"

namespace attest {

namespace {

constexpr std::string_view kVariantsMark = "variants\n";
constexpr std::uint64_t kVerdictBytes = std::uint64_t{32} << 20;

double now() { return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count(); }

bool is_cpu(const BackendSpec& spec) {
  std::string device = spec.variant;
  for (char& c : device) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return spec.family == "ggml" && device == "cpu";
}

Answer turned(Answer answer) {
  return answer == Answer::yes ? Answer::no : answer == Answer::no ? Answer::yes : Answer::unknown;
}

class Bisector {
 public:
  Bisector(const BisectQuestion& question, BisectHistory& history, const BisectOptions& options,
           BisectListener& listener)
      : question_(question), when_(question.when), history_(history), options_(options), listener_(listener) {
    if (!options.cache.empty()) store_.emplace(options.cache / "verdicts", kVerdictBytes);
  }

  Expected<BisectOutcome> run();

 private:
  const StepReport& good_end() const { return question_.find_fix ? outcome_.newer : outcome_.older; }
  bool interrupted() const { return options_.interrupted != nullptr && options_.interrupted->load(); }
  // What is seen may be otherwise on another machine or with less memory.
  std::string surroundings() const { return fmt::format("{}\n{}", options_.machine, options_.max_memory); }
  std::optional<std::string> kept(const std::string& address) const;
  void keep(const std::string& address, const std::string& text);
  Expected<std::vector<std::string>> variants_of(const Step& step);
  Expected<StepReport> judge(const Step& step);
  // False: outcome_ says why.
  Expected<bool> look_at_ends();
  Expected<bool> choose_variant();
  bool premise_holds();
  Expected<void> search();
  Expected<void> conclude();
  // What was seen with another one is forgotten.
  void use_variant(const std::string& name) {
    if (name != variant_) seen_.clear();
    variant_ = name;
  }
  bool premise_false(std::string text) {
    outcome_.kind = BisectOutcome::Kind::premise_false;
    outcome_.premise = std::move(text);
    return false;
  }

  const BisectQuestion& question_;
  Predicate when_;
  BisectHistory& history_;
  const BisectOptions& options_;
  BisectListener& listener_;
  std::optional<BlobStore> store_;
  std::string variant_;
  BisectOutcome outcome_;
  std::map<std::string, StepReport> seen_;  // by step id
  int measured_ = 0;
  double spent_ = 0;  // seconds, on steps that were not kept
};

std::optional<std::string> Bisector::kept(const std::string& address) const {
  if (!store_ || address.empty()) return std::nullopt;
  const auto bytes = store_->load(address);
  if (!bytes) return std::nullopt;
  return std::string(reinterpret_cast<const char*>(bytes->data()), bytes->size());
}

void Bisector::keep(const std::string& address, const std::string& text) {
  if (store_ && !address.empty()) store_->store(address, std::as_bytes(std::span(text)));
}

Expected<std::vector<std::string>> Bisector::variants_of(const Step& step) {
  const auto identity = history_.identity(step);
  if (!identity) return Unexpected(identity.error());
  const std::string address = identity->empty() ? "" : "CPU variants\n" + *identity + "\n" + surroundings();
  std::vector<std::string> variants;
  if (const auto text = options_.fresh ? std::nullopt : kept(address); text && text->rfind(kVariantsMark, 0) == 0) {
    for (std::size_t at = kVariantsMark.size(); at < text->size();) {
      const auto end = std::min(text->find('\n', at), text->size());
      variants.push_back(text->substr(at, end - at));
      at = end + 1;
    }
    return variants;
  }
  const auto specimen =
      history_.obtain(step, {options_.interrupted, [&](const auto& what) { listener_.on_doing(what); }});
  if (!specimen) return Unexpected(specimen.error());
  if (!specimen->unusable.empty()) return variants;
  if (!specimen->ggml.empty()) {
    auto found = options_.variants({"step", specimen->ggml});
    if (!found) return variants;  // a build that does not load: judge() says why
    variants = std::move(*found);
  }
  std::string text(kVariantsMark);
  for (const auto& name : variants) text += name + "\n";
  keep(address, text);
  return variants;
}

Expected<StepReport> Bisector::judge(const Step& step) {
  StepReport report;
  report.step = step;
  const auto identity = history_.identity(step);
  if (!identity) return Unexpected(identity.error());
  std::string address;
  if (!identity->empty()) {
    address = fmt::format("verdict\n{} {}\n{}\n{}\n{} {}\n{}\n{}\n{}", options_.version, key_fingerprint(), *identity,
                          text(question_.c), question_.backend, variant_, when_.timed() ? "timed" : "",
                          options_.timeout_s, surroundings());
  }
  if (!options_.fresh) {
    if (const auto text = kept(address)) {
      auto m = measurement_from_text(*text);
      if (m && !(options_.retry_unknown && !m->unknown.empty())) {
        report.measurement = std::move(*m);
        report.kept = true;
        seen_[step.id] = report;
        return report;
      }
    }
  }
  const double start = now();
  auto specimen = history_.obtain(step, {options_.interrupted, [&](const auto& what) { listener_.on_doing(what); }});
  if (!specimen) return Unexpected(specimen.error());
  report.specimen = *specimen;
  if (specimen->unusable.empty()) {
    listener_.on_doing("running " + step.name);
    auto m = measure_specimen(question_, *specimen, variant_, options_);
    if (!m) return Unexpected(m.error());
    report.measurement = std::move(*m);
    report.backend = backend_of(question_, *specimen, variant_).value_or("");
  } else {
    report.measurement.unknown = specimen->unusable;
    report.measurement.release = specimen->release;
  }
  report.seconds = now() - start;
  spent_ += report.seconds;
  ++measured_;
  keep(address, to_text(report.measurement));
  seen_[step.id] = report;
  return report;
}

Expected<bool> Bisector::choose_variant() {
  if (question_.own_variant) return true;
  const auto spec = BackendSpec::parse(question_.backend.empty() ? "ggml:CPU" : question_.backend);
  if (!spec || !is_cpu(*spec) || spec->option("variant") != nullptr) return true;
  const auto older = variants_of(history_.older());
  if (!older) return Unexpected(older.error());
  // While the older end is there: most likely this is the variant that will be chosen.
  if (!older->empty()) use_variant(older->front());
  if (auto judged = judge(history_.older()); !judged) return Unexpected(judged.error());
  const auto newer = variants_of(history_.newer());
  if (!newer) return Unexpected(newer.error());
  if (older->empty() && newer->empty()) return true;
  for (const std::string& name : *older) {
    if (std::find(newer->begin(), newer->end(), name) == newer->end()) continue;
    use_variant(name);
    return true;
  }
  use_variant("");
  for (const Step& end : {history_.older(), history_.newer()}) {
    // An end that does not even load has a better reason.
    const auto report = judge(end);
    if (!report) return Unexpected(report.error());
    if (!report->measurement.unknown.empty()) return true;
  }
  const auto names = [](const std::vector<std::string>& all) {
    return all.empty() ? std::string("one CPU backend for all machines") : fmt::format("{}", fmt::join(all, ", "));
  };
  return premise_false(
      fmt::format("no CPU variant that runs here is at both ends: {} has {}; {} has {} (--own-variant: "
                  "every step the one it chooses itself)",
                  history_.older().name, names(*older), history_.newer().name, names(*newer)));
}

bool Bisector::premise_holds() {
  StepReport& good = question_.find_fix ? outcome_.newer : outcome_.older;
  StepReport& bad = question_.find_fix ? outcome_.older : outcome_.newer;
  for (const auto& [end, word] : {std::pair(&good, "good"), {&bad, "bad"}}) {
    if (!end->measurement.unknown.empty() &&
        !(end == &bad && when_.bad(bad.measurement, good.measurement) == Answer::yes)) {
      return premise_false(
          fmt::format("the {} end {} cannot be judged: {}", word, end->step.name, end->measurement.unknown));
    }
  }
  if (auto settled = when_.settle(bad.measurement); !settled) {
    const bool good_is_bad = info(good.measurement.record.verdict).bad;
    return premise_false(fmt::format("the bad end {} is good: {}. {}", bad.step.name, summary(bad.measurement),
                                     good_is_bad
                                         ? fmt::format("The good end {} is bad: {}. Are they the wrong way round?",
                                                       good.step.name, summary(good.measurement))
                                         : settled.error().hint));
  }
  good.bad = when_.bad(good.measurement, good.measurement);
  bad.bad = when_.bad(bad.measurement, good.measurement);
  const std::string about = when_.meaning(good.measurement);
  if (good.bad == Answer::yes && bad.bad == Answer::no) {
    return premise_false(
        fmt::format("the ends are the wrong way round ({}): the good end {} is bad ({}), the bad end {} "
                    "is not ({})",
                    about, good.step.name, summary(good.measurement), bad.step.name, summary(bad.measurement)));
  }
  for (const auto& [end, word, wanted] :
       {std::tuple(&good, "good", Answer::no), std::tuple(&bad, "bad", Answer::yes)}) {
    if (end->bad == wanted) continue;
    const char* how = end->bad == Answer::unknown ? "says neither good nor bad"
                      : wanted == Answer::no      ? "is bad already"
                                                  : "is not bad";
    return premise_false(
        fmt::format("the {} end {} {} ({}): {}", word, end->step.name, how, about, summary(end->measurement)));
  }
  return true;
}

Expected<bool> Bisector::look_at_ends() {
  const auto chosen = choose_variant();
  if (!chosen || !*chosen) return chosen;
  const auto end = [&](const Step& step) -> Expected<StepReport> {
    if (const auto it = seen_.find(step.id); it != seen_.end()) return it->second;
    return judge(step);
  };
  auto older = end(history_.older());
  if (!older) return Unexpected(older.error());
  auto newer = end(history_.newer());
  if (!newer) return Unexpected(newer.error());
  outcome_.older = std::move(*older);
  outcome_.newer = std::move(*newer);
  return premise_holds();
}

Expected<void> Bisector::search() {
  if (auto begun = history_.begin(); !begun) return begun;
  for (;;) {
    const auto left = history_.left();
    if (!left) return Unexpected(left.error());
    const auto step = history_.next();
    if (!step) return Unexpected(step.error());
    if (!*step) return {};
    listener_.on_left(*left, measured_ > 0 ? spent_ / measured_ * left->questions : 0);
    auto report = judge(**step);
    if (!report) return Unexpected(report.error());
    report->bad = when_.bad(report->measurement, good_end().measurement);
    seen_[report->step.id] = *report;
    ++outcome_.steps;
    outcome_.kept += report->kept ? 1 : 0;
    outcome_.unknown += report->bad == Answer::unknown ? 1 : 0;
    listener_.on_step(*report);
    if (auto noted = history_.record(**step, question_.find_fix ? turned(report->bad) : report->bad); !noted) {
      return noted;
    }
  }
}

Expected<void> Bisector::conclude() {
  const auto bracket = history_.bracket();
  if (!bracket) return Unexpected(bracket.error());
  const auto report_of = [&](const Step& step) {
    const auto it = seen_.find(step.id);
    return it == seen_.end() ? StepReport{step, {}, {}, {}, Answer::unknown, false, 0} : it->second;
  };
  outcome_.before = report_of(bracket->last_no);
  for (const Step& step : bracket->candidates) outcome_.candidates.push_back(report_of(step));
  outcome_.after = outcome_.candidates.back();
  for (StepReport* side : {&outcome_.before, &outcome_.after}) {
    // Nobody can repeat what is in another place by now.
    side->specimen = {};
    side->backend.clear();
    if (!history_.lasting() || interrupted()) continue;
    const auto specimen = history_.obtain(side->step, {options_.interrupted, {}});
    if (!specimen || !specimen->unusable.empty()) continue;
    side->specimen = *specimen;
    side->backend = backend_of(question_, *specimen, variant_).value_or("");
  }
  return {};
}

Expected<BisectOutcome> Bisector::run() {
  const auto stopped = [&](Error error) -> Expected<BisectOutcome> {
    if (!interrupted()) return Unexpected(std::move(error));
    outcome_.kind = BisectOutcome::Kind::interrupted;
    return outcome_;
  };
  const auto true_premise = look_at_ends();
  if (!true_premise) return stopped(true_premise.error());
  if (!*true_premise) return outcome_;
  for (const StepReport* end : {&outcome_.older, &outcome_.newer}) seen_[end->step.id] = *end;
  listener_.on_premise(outcome_.older, outcome_.newer, when_.meaning(good_end().measurement));
  if (auto searched = search(); !searched) {
    if (interrupted()) static_cast<void>(conclude());  // how far it came
    return stopped(searched.error());
  }
  if (auto concluded = conclude(); !concluded) return stopped(concluded.error());
  outcome_.kind = outcome_.candidates.size() == 1 ? BisectOutcome::Kind::found : BisectOutcome::Kind::range;
  return outcome_;
}

}  // namespace

Expected<std::string> backend_of(const BisectQuestion& question, const Specimen& specimen, const std::string& variant) {
  const bool plugin = !specimen.plugin.empty();
  auto spec = BackendSpec::parse(!question.backend.empty() ? question.backend : plugin ? "plugin" : "ggml:CPU");
  if (!spec) return Unexpected(spec.error());
  if (spec->family != (plugin ? "plugin" : "ggml") || !spec->build.empty() || spec->variant.empty() != plugin) {
    return input_error(
        fmt::format("'-b {}' does not go with {}", question.backend, plugin ? "plug-in files" : "ggml builds"),
        plugin ? "-b plugin,option..., or nothing" : "-b ggml:CPU");
  }
  if (plugin) spec->variant = specimen.plugin.string();
  if (!plugin && !variant.empty()) spec->options.emplace_back("variant", variant);
  return spec->text();
}

Expected<Measurement> measure_specimen(const BisectQuestion& question, const Specimen& specimen,
                                       const std::string& variant, const BisectOptions& options) {
  const auto backend = backend_of(question, specimen, variant);
  if (!backend) return Unexpected(backend.error());
  BackendEnvironment environment;
  if (!specimen.ggml.empty()) environment.ggml.push_back({"step", specimen.ggml});
  MeasureOptions how;
  how.timed = question.when.timed();
  how.timeout_s = options.timeout_s;
  how.cache = options.fresh ? std::filesystem::path() : options.cache;
  how.interrupted = options.interrupted;
  auto m = measure(question.c, *backend, options.subjects(environment), how);
  if (m) m->release = specimen.release;
  return m;
}

Expected<BisectOutcome> bisect(const BisectQuestion& question, BisectHistory& history, const BisectOptions& options,
                               BisectListener& listener) {
  return Bisector(question, history, options, listener).run();
}

}  // namespace attest
