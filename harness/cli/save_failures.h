// --save-failures and its limits, the same for every verb that runs cases.
#pragma once

#include <CLI/CLI.hpp>
#include <cstdint>
#include <memory>
#include <string>

#include "cases/error.h"
#include "harness/bundle/bundle_writer.h"

namespace attest::cli {

struct SaveFailures {
  std::string dir, bytes;
  std::int64_t count = BundleLimits{}.count;
};

void add_save_options(CLI::App& verb, SaveFailures& where);
// nullptr where --save-failures was not given.
Expected<std::unique_ptr<BundleWriter>> open_bundles(const SaveFailures& where);
// Says what was saved and what was not; false where something could not be written.
bool tell_saved(const SaveFailures& where, const BundleWriter* writer);

}  // namespace attest::cli
