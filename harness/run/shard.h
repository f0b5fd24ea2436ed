// One part of a selection that several machines share, how it is named, and the mark that says which parts belong
// together.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "cases/error.h"

namespace attest {

// 0 <= index < count, as GTEST_SHARD_INDEX and GTEST_TOTAL_SHARDS count.
struct Shard {
  int index = 0, count = 1;
  bool operator==(const Shard&) const = default;
};

std::string text(const Shard& shard);  // "2/8"

// "i/n" with 0 <= i < n <= 100000.
Expected<Shard> parse_shard(std::string_view text);

// The shard that a test runner asks for: GTEST_TOTAL_SHARDS and GTEST_SHARD_INDEX, or TEST_TOTAL_SHARDS and
// TEST_SHARD_INDEX; 0/1 where none does. TEST_SHARD_STATUS_FILE and GTEST_SHARD_STATUS_FILE are touched, which says
// that this program knows of shards. `get` is std::getenv but in tests. Errors: one of a pair is missing, is no number
// or lies out of range; the pairs disagree; a status file cannot be written.
Expected<Shard> shard_from_environment(const std::function<const char*(const char*)>& get);

// Hash over the case ids, the backends' canonical names and the seed of a whole selection, in no order: equal in all of
// its shards, and to be worked out again from their verdicts.
std::string selection_fingerprint(std::vector<std::string> case_ids, std::vector<std::string> backends,
                                  std::uint64_t seed);

}  // namespace attest
