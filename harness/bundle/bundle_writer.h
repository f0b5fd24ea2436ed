// Failures as directories of files: manifest.toml, tensors, expected output, budget and answer as .npy.
#pragma once

#include <cstdint>
#include <filesystem>
#include <mutex>
#include <set>
#include <string>

#include "cases/error.h"
#include "harness/run/failure_saver.h"

namespace attest {

// Documented in the README; what lies in the directory already counts.
struct BundleLimits {
  std::int64_t count = 100;
  std::uint64_t bytes = std::uint64_t{1} << 30;
};

// One directory per failure, "<case id>-<backend>", written under another name and renamed: a bundle is there whole or
// not at all. One of the same name, of an earlier run, is replaced. Thread-safe.
class BundleWriter : public FailureSaver {
 public:
  // Makes the directory, removes what writers that were killed left in it, and counts what it holds.
  static Expected<std::unique_ptr<BundleWriter>> open(const std::filesystem::path& dir, const BundleLimits& limits);

  void save(const FailedCase& failed) override;

  struct Tally {
    std::int64_t saved = 0, beyond_limit = 0, unwritten = 0;
    Error error;  // of the first that could not be written
  };
  Tally tally() const;

 private:
  BundleWriter(std::filesystem::path dir, const BundleLimits& limits) : dir_(std::move(dir)), limits_(limits) {}
  Expected<void> write(const FailedCase& failed, const std::string& name);

  std::filesystem::path dir_;
  BundleLimits limits_;
  mutable std::mutex mutex_;
  std::set<std::string> named_;  // by this run
  std::int64_t count_ = 0;
  std::uint64_t bytes_ = 0;
  Tally tally_;
};

}  // namespace attest
