#include "harness/cli/save_failures.h"

#include <fmt/format.h>

#include "harness/cli/run_support.h"
#include "reports/text.h"

namespace attest::cli {

void add_save_options(CLI::App& verb, SaveFailures& where) {
  auto* dir = verb.add_option("--save-failures", where.dir,
                              "save every failure below this directory: line, tensors as .npy, expected output, budget "
                              "and answer");
  verb.add_option("--save-limit", where.count, "bundles that directory may hold; default 100")
      ->check(CLI::PositiveNumber)
      ->needs(dir);
  verb.add_option("--save-bytes", where.bytes, "bytes they may take together; default 1G")->needs(dir);
}

Expected<std::unique_ptr<BundleWriter>> open_bundles(const SaveFailures& where) {
  if (where.dir.empty()) return nullptr;
  BundleLimits limits;
  limits.count = where.count;
  const auto bytes = bytes_of(where.bytes, "--save-bytes");
  if (!bytes) return Unexpected(bytes.error());
  if (*bytes > 0) limits.bytes = *bytes;
  return BundleWriter::open(where.dir, limits);
}

bool tell_saved(const SaveFailures& where, const BundleWriter* writer) {
  if (writer == nullptr) return true;
  const BundleWriter::Tally tally = writer->tally();
  if (tally.saved > 0) {
    fmt::print("saved {} in {}: attest check {}\n", count_of(tally.saved, "failure", "failures"), where.dir,
               shell_quoted(where.dir));
  }
  if (tally.beyond_limit > 0) {
    fmt::print(stderr, "attest: NOT SAVED: {} beyond the limits of {} bundles and {} (--save-limit, --save-bytes)\n",
               count_of(tally.beyond_limit, "failure", "failures"), where.count,
               where.bytes.empty() ? "1G" : where.bytes);
  }
  if (tally.unwritten > 0) {
    fmt::print(stderr, "attest: NOT SAVED: {}: {}\n", count_of(tally.unwritten, "failure", "failures"),
               tally.error.text());
  }
  return tally.unwritten == 0;
}

}  // namespace attest::cli
