#include "harness/cli/run_support.h"

#include <fmt/format.h>

#include "harness/backends.h"
#include "reports/jsonl.h"
#include "reports/text.h"

namespace attest::cli {

SubjectMaker subject_maker(const BackendEnvironment& environment, bool in_process, std::uint64_t max_memory) {
  return [environment, in_process, max_memory](const std::string& backend,
                                               const std::vector<int>& places) -> std::unique_ptr<Subject> {
    if (in_process) {
      return make_in_process_subject([environment, backend]() -> Expected<std::unique_ptr<Backend>> {
        auto spec = BackendSpec::parse(backend);
        if (!spec) return Unexpected(spec.error());
        return make_any_backend(*spec, environment);
      });
    }
    return make_process_subject(
        {{own_executable().string(), kSubjectVerb}, backend, environment, places, max_memory, &interrupted()});
  };
}

Expected<std::uint64_t> bytes_of(const std::string& text, std::string_view option) {
  if (text.empty()) return 0;
  std::size_t end = 0;
  double n = 0;
  try {
    n = std::stod(text, &end);
  } catch (const std::exception&) {
    return input_error(fmt::format("{} '{}' is not a size", option, text), "e.g. 512M or 4G");
  }
  const std::string unit = text.substr(end);
  const double factor = unit.empty()                   ? 1
                        : unit == "K" || unit == "KiB" ? 0x1p10
                        : unit == "M" || unit == "MiB" ? 0x1p20
                        : unit == "G" || unit == "GiB" ? 0x1p30
                                                       : 0;
  if (factor == 0 || !(n > 0 && n * factor < 0x1p63)) {
    return input_error(fmt::format("{} '{}' is not a size", option, text), "e.g. 512M or 4G");
  }
  return static_cast<std::uint64_t>(n * factor);
}

void add_backend_options(CLI::App& verb, std::vector<std::string>& backends, std::vector<std::string>& ggml,
                         const std::string& standard) {
  verb.add_option(
          "-b,--backend", backends,
          "backend, repeatable: cpu:vec, ggml:CPU,ref, plugin:FILE.so, process:COMMAND ... (attest list backends); default: " + standard)
      ->expected(1)
      ->take_all()
      ->allow_extra_args(false);
  verb.add_option("--ggml", ggml,
                  "ggml build directory, DIR or NAME=DIR, repeatable; default: ATTEST_GGML_DIR, then build/ggml/*")
      ->expected(1)
      ->take_all()
      ->allow_extra_args(false);
}

std::string ggml_words(const std::vector<std::string>& ggml) {
  std::string words;
  for (const auto& dir : ggml) words += (words.empty() ? "--ggml " : " --ggml ") + shell_quoted(dir);
  return words;
}

Expected<std::unique_ptr<RunListener>> add_jsonl(const std::string& path, std::vector<RunListener*>& listeners) {
  if (path.empty()) return std::unique_ptr<RunListener>{};
  auto opened = JsonlReporter::open(path);
  if (!opened) return Unexpected(opened.error());
  listeners.push_back(opened->get());
  return std::unique_ptr<RunListener>(std::move(*opened));
}

void add_blindness_option(CLI::App& verb, bool& off) {
  verb.add_option_function<std::string>(
          "--blindness", [&off](const std::string& how) { off = how == "off"; },
          "'on' (default): a PASS of a case that could not have seen one of its features go wrong is BLIND; 'off': "
          "it stays PASS")
      ->check(CLI::IsMember({"on", "off"}));
}

void add_relations_option(CLI::App& verb, std::string& relations, const std::string& standard) {
  verb.add_option("--relations", relations,
                  "hold every case that passes against variants of itself: all, none or LIST (attest list relations); "
                  "default: " +
                      standard);
}

Expected<void> choose_relations(const std::string& text, RelationChoice& choice) {
  if (text.empty()) return {};
  auto relations = parse_relations(text);
  if (!relations) {
    relations.error().message = "--relations: " + relations.error().message;
    return Unexpected(relations.error());
  }
  choice = {std::move(*relations), 0};
  return {};
}

void JoinedRuns::on_start(const RunHeader& part) {
  if (started_) return;
  started_ = true;
  const RunHeader mine = header_;
  header_ = part;
  header_.cases = mine.cases;
  header_.verdicts_expected = mine.cases * static_cast<std::int64_t>(part.backends.size());
  header_.selection = mine.selection;
  target_->on_start(header_);
}

void JoinedRuns::on_case_start(std::string_view line, std::string_view case_id, std::string_view backend) {
  target_->on_case_start(line, case_id, backend);
}

void JoinedRuns::on_verdict(const VerdictRecord& record) { target_->on_verdict(record); }

void JoinedRuns::on_finish(const RunSummary& part) {
  for (const auto& [backend, counts] : part.counts) {
    for (const auto& [verdict, count] : counts) summary_.counts[backend][verdict] += count;
  }
  for (const auto& [backend, worst] : part.max_err_over_b) {
    auto& most = summary_.max_err_over_b[backend];
    if (worst > most) most = worst;
  }
  summary_.selected += part.selected;
  summary_.ruled += part.ruled;
  summary_.wall_s += part.wall_s;
  summary_.backend_cpu_s += part.backend_cpu_s;
  summary_.interrupted = summary_.interrupted || part.interrupted;
}

void JoinedRuns::finish() {
  // Between two runs, and while one starts, nobody else would say so.
  summary_.interrupted = summary_.interrupted || interrupted();
  if (started_) target_->on_finish(summary_);
}

}  // namespace attest::cli
