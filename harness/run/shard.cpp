#include "harness/run/shard.h"

#include <fmt/format.h>
#include <xxhash.h>

#include <algorithm>
#include <charconv>
#include <fstream>
#include <optional>

namespace attest {

namespace {

constexpr int kMostShards = 100000;

std::optional<int> number(std::string_view text) {
  int value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

// `what` names the two values in messages.
Expected<Shard> shard_of(std::string_view index_text, std::string_view count_text, std::string_view what) {
  const auto index = number(index_text), count = number(count_text);
  if (!index || !count) {
    return input_error(fmt::format("{}: the shard's index and the number of shards must be whole numbers", what),
                       "e.g. --shard 0/4 for the first of four");
  }
  if (*count < 1 || *count > kMostShards) {
    return input_error(fmt::format("{}: the number of shards must lie between 1 and {}", what, kMostShards));
  }
  if (*index < 0 || *index >= *count) {
    return input_error(fmt::format("{}: the index of one of {} shards runs from 0 to {}", what, *count, *count - 1));
  }
  return Shard{*index, *count};
}

struct Names {
  const char *count, *index, *status;
};
constexpr Names kNames[] = {{"GTEST_TOTAL_SHARDS", "GTEST_SHARD_INDEX", "GTEST_SHARD_STATUS_FILE"},
                            {"TEST_TOTAL_SHARDS", "TEST_SHARD_INDEX", "TEST_SHARD_STATUS_FILE"}};

}  // namespace

std::string text(const Shard& shard) { return fmt::format("{}/{}", shard.index, shard.count); }

Expected<Shard> parse_shard(std::string_view text) {
  const auto slash = text.find('/');
  if (slash == std::string_view::npos) {
    return input_error(fmt::format("--shard '{}' is not of the form i/n", text), "e.g. 0/4 for the first of four");
  }
  return shard_of(text.substr(0, slash), text.substr(slash + 1), fmt::format("--shard '{}'", text));
}

Expected<Shard> shard_from_environment(const std::function<const char*(const char*)>& get) {
  const auto value = [&](const char* name) -> std::optional<std::string> {
    const char* v = get(name);
    if (v == nullptr || *v == '\0') return std::nullopt;
    return v;
  };
  std::optional<Shard> asked;
  const Names* by = nullptr;
  for (const Names& names : kNames) {
    const auto count = value(names.count), index = value(names.index);
    if (!count && !index) continue;
    if (!count || !index) {
      return input_error(
          fmt::format("{} is set and {} is not", count ? names.count : names.index, count ? names.index : names.count));
    }
    const auto shard = shard_of(*index, *count, fmt::format("{}={} {}={}", names.index, *index, names.count, *count));
    if (!shard) return shard;
    if (asked && *asked != *shard) {
      return input_error(fmt::format("{} and {} ask for shard {}, {} and {} for shard {}", by->index, by->count,
                                     text(*asked), names.index, names.count, text(*shard)));
    }
    asked = *shard;
    by = &names;
  }
  if (!asked) return Shard{};
  for (const Names& names : kNames) {
    const auto path = value(names.status);
    if (path && !std::ofstream(*path, std::ios::app)) {
      return harness_error(fmt::format("cannot write {} ({})", *path, names.status));
    }
  }
  return *asked;
}

std::string selection_fingerprint(std::vector<std::string> case_ids, std::vector<std::string> backends,
                                  std::uint64_t seed) {
  std::sort(case_ids.begin(), case_ids.end());
  std::sort(backends.begin(), backends.end());
  std::string all;
  for (const auto* list : {&case_ids, &backends}) {
    for (const auto& word : *list) (all += word) += '\n';
    all += '\n';
  }
  all += std::to_string(seed);
  return fmt::format("{:016x}", XXH3_64bits(all.data(), all.size()));
}

}  // namespace attest
