#include "reports/file_reports.h"

#include <fmt/format.h>

#include <array>
#include <functional>
#include <system_error>

#include "reports/csv.h"
#include "reports/html_page.h"
#include "reports/junit.h"
#include "reports/markdown.h"
#include "reports/sink.h"

namespace attest {

Expected<void> write_whole(const std::string& path, const std::string& text) {
  if (path == "-") return FdSink::standard_output().write(text);
  // What is no regular file, /dev/stdout or a named pipe, takes the text as it comes.
  std::error_code none;
  const bool direct = std::filesystem::exists(path, none) && !std::filesystem::is_regular_file(path, none);
  const std::string target = direct ? path : path + ".part";
  auto sink = open_file_sink(target, FileMode::replace);
  if (!sink) return Unexpected(sink.error());
  auto written = (*sink)->write(text);
  sink->reset();
  if (direct) return written;
  std::error_code failed;
  if (!written) {
    std::filesystem::remove(target, failed);
    return written;
  }
  std::filesystem::rename(target, path, failed);
  if (failed) return harness_error(fmt::format("cannot write '{}': {}", path, failed.message()));
  return {};
}

Expected<void> write_reports(const RecordFile& file, const ReportFiles& where, const std::string& repro_options) {
  const std::array<std::pair<const std::string*, std::function<std::string()>>, 4> wanted{{
      {&where.html, [&] { return html_page(file, {repro_options}); }},
      {&where.junit, [&] { return junit_xml(file, repro_options); }},
      {&where.csv, [&] { return csv_table(file); }},
      {&where.markdown, [&] { return markdown_summary(file, repro_options); }},
  }};
  for (const auto& [path, text] : wanted) {
    if (path->empty()) continue;
    if (auto written = write_whole(*path, text()); !written) return written;
  }
  return {};
}

void remove_old_reports(const ReportFiles& where) {
  for (const std::string* path : {&where.html, &where.junit, &where.csv, &where.markdown}) {
    std::error_code none;
    if (std::filesystem::is_regular_file(*path, none)) std::filesystem::remove(*path, none);
  }
}

void FileReporter::on_finish(const RunSummary&) {
  if (auto written = write_reports(file_, where_, repro_options_); !written) error_ = written.error();
}

Expected<void> FileReporter::failed() const {
  if (error_) return Unexpected(*error_);
  return {};
}

}  // namespace attest
