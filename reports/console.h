// The table at the end of a run: counts per backend, failures in groups with a line that reproduces each, the
// reckoning.
#pragma once

#include <optional>

#include "reports/reporter.h"
#include "reports/sink.h"
#include "reports/tally.h"
#include "reports/variant_matrix.h"

namespace attest {

struct ConsoleOptions {
  bool color = false;       // see wants_color()
  std::size_t width = 100;  // columns; only repro lines may be longer, for they are pasted
  std::size_t max_groups = 20;
  std::string repro_options = "";  // what a repro line needs besides backend and case, e.g. "--ggml 'DIR'"
};

class ConsoleReporter : public RunListener {
 public:
  // The sink outlives the reporter.
  explicit ConsoleReporter(Sink& sink, ConsoleOptions options = {}) : sink_(&sink), options_(options) {}

  void on_start(const RunHeader& header) override;
  void on_verdict(const VerdictRecord& record) override;
  void on_finish(const RunSummary& summary) override;
  Expected<void> failed() const override;

 private:
  std::string table() const;
  std::string coverage() const;
  std::string slowest(const RunSummary& summary) const;
  std::string failures() const;
  std::string group(const FailureGroup& group) const;
  std::string notes(Verdict verdict, std::string_view title) const;
  std::string losses() const;
  std::string remarks() const;
  std::string reckoning(const RunSummary& summary) const;
  std::string paint(const char* code, std::string_view text) const;
  void put(const std::string& text);

  Sink* sink_;
  ConsoleOptions options_;
  RunHeader header_;
  Tally tally_;
  VariantMatrix variants_;
  std::optional<Error> error_;
};

}  // namespace attest
