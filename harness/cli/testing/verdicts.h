// The verdicts in a JSONL file, by case and backend: for the end-to-end tests.
#pragma once

#include <gtest/gtest.h>

#include <fstream>
#include <map>
#include <string>
#include <utility>

#include "reports/record.h"

namespace attest::testing {

using Verdicts = std::map<std::pair<std::string, std::string>, VerdictRecord>;  // (line, backend)

// A second verdict of the same case and backend is a test failure. Times are taken out: what is left must be equal in
// equal runs.
inline Verdicts verdicts_in(const std::string& jsonl) {
  Verdicts verdicts;
  std::ifstream in(jsonl);
  for (std::string line; std::getline(in, line);) {
    if (line.rfind("{\"verdict\"", 0) != 0) continue;
    auto record = record_from_json(line);
    if (!record) {
      ADD_FAILURE() << record.error().text();
      continue;
    }
    record->backend_cpu_s = record->backend_wall_s = record->judge_s = 0;
    const auto key = std::pair(record->line, record->backend);
    EXPECT_TRUE(verdicts.emplace(key, *record).second) << "two verdicts: " << line;
  }
  return verdicts;
}

}  // namespace attest::testing
