#include "harness/run/resume.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

namespace attest {

namespace {

class Differ {
 public:
  template <class T>
  void operator()(const char* what, const T& then, const T& now) {
    if (then != now) found.push_back(fmt::format("{} is '{}', was '{}'", what, now, then));
  }
  std::vector<std::string> found;
};

}  // namespace

std::vector<std::string> differences(const RunHeader& then, const RunHeader& now) {
  Differ differ;
  differ("schema", then.schema, now.schema);
  differ("attest's version", then.version, now.version);
  differ("suite", then.suite, now.suite);
  differ("seed", then.seed, now.seed);
  differ("backends", fmt::format("{}", fmt::join(then.backends, ", ")),
         fmt::format("{}", fmt::join(now.backends, ", ")));
  differ("options", then.options, now.options);
  // The fingerprint covers seed and backends too: named by itself only where nothing else explains it.
  if (differ.found.empty() && then.selection != now.selection) {
    differ.found.push_back("the cases are others");
  }
  return std::move(differ.found);
}

Expected<void> fits(const RecordFile& earlier, const RunHeader& now) {
  for (const RunHeader& then : earlier.runs) {
    auto found = differences(then, now);
    if (then.shard_index != now.shard_index || then.shard_count != now.shard_count) {
      found.push_back(fmt::format("shard is {}/{}, was {}/{}", now.shard_index, now.shard_count, then.shard_index,
                                  then.shard_count));
    }
    for (std::size_t i = 0; found.empty() && i < now.build_ids.size() && i < then.build_ids.size(); ++i) {
      if (now.build_ids[i] == then.build_ids[i]) continue;
      found.push_back(
          fmt::format("the build of {} is '{}', was '{}'", now.backends[i], now.build_ids[i], then.build_ids[i]));
    }
    if (found.empty()) continue;
    Error error;
    error.message = fmt::format("is the record of another run: {}", fmt::join(found, "; "));
    error.file = earlier.name;
    error.hint = then.command.empty() ? "" : "it was: " + then.command;
    return Unexpected(error);
  }
  return {};
}

}  // namespace attest
