#include "harness/merge.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <set>
#include <tuple>
#include <unordered_set>

#include "harness/run/resume.h"
#include "harness/run/shard.h"

namespace attest {

namespace {

Unexpected wrong(const RecordFile& file, std::string message) {
  Error error;
  error.message = std::move(message);
  error.file = file.name;
  return Unexpected(error);
}

Shard shard_of(const RecordFile& file) { return {file.runs.front().shard_index, file.runs.front().shard_count}; }

// Every pair of the file's own shard is there, once.
Expected<void> whole(const RecordFile& file) {
  if (auto one = one_run(file); !one) return one;
  const RunHeader& header = file.runs.front();
  if (header.selection.empty()) return wrong(file, "has no fingerprint of its selection");
  const auto expected = static_cast<std::size_t>(header.verdicts_expected);
  if (file.verdicts.size() != expected) {
    return wrong(file, fmt::format("is not finished: {} of {} verdicts are there; attest run --resume continues it",
                                   file.verdicts.size(), expected));
  }
  return {};
}

// The shards are of one run, and all of them are there.
Expected<void> belong_together(const std::vector<RecordFile>& files) {
  const RecordFile& first = files.front();
  const int count = shard_of(first).count;
  if (!parse_shard(text(Shard{0, count})))
    return wrong(first, fmt::format("says it is shard {}", text(shard_of(first))));
  std::vector<const RecordFile*> by_index(static_cast<std::size_t>(count));
  for (const RecordFile& file : files) {
    if (const auto found = differences(first.runs.front(), file.runs.front()); !found.empty()) {
      return wrong(file, fmt::format("does not belong to {}: {}", first.name, fmt::join(found, "; ")));
    }
    const Shard shard = shard_of(file);
    if (shard.count != count) {
      return wrong(file,
                   fmt::format("is shard {}, but {} is shard {}", text(shard), first.name, text(shard_of(first))));
    }
    if (!parse_shard(text(shard))) {
      return wrong(file, fmt::format("says it is shard {}", text(shard)));
    }
    const RecordFile*& place = by_index[static_cast<std::size_t>(shard.index)];
    if (place != nullptr) return wrong(file, fmt::format("is shard {}, and so is {}", text(shard), place->name));
    place = &file;
  }
  std::vector<std::string> missing;
  for (std::size_t i = 0; i < by_index.size(); ++i) {
    if (by_index[i] == nullptr) missing.push_back(text(Shard{static_cast<int>(i), count}));
  }
  if (missing.empty()) return {};
  return input_error(fmt::format("{} of {} shards missing: {}", missing.size(), count, fmt::join(missing, ", ")));
}

// The values of one field over all shards, each once, e.g. the hosts.
template <class Field>
std::string joined(const std::vector<RecordFile>& files, Field field) {
  std::set<std::string> values;
  for (const RecordFile& file : files) values.insert(field(file.runs.front()));
  return fmt::format("{}", fmt::join(values, " | "));
}

RunHeader joined_header(const std::vector<RecordFile>& files) {
  RunHeader header = files.front().runs.front();
  header.shard_index = 0;
  header.shard_count = 1;
  header.cases = header.verdicts_expected = 0;
  for (const RecordFile& file : files) {
    header.cases += file.runs.front().cases;
    header.verdicts_expected += file.runs.front().verdicts_expected;
    header.started_utc = std::min(header.started_utc, file.runs.front().started_utc);
  }
  header.host = joined(files, [](const RunHeader& h) { return h.host; });
  header.cpu = joined(files, [](const RunHeader& h) { return h.cpu; });
  header.id = joined(files, [](const RunHeader& h) { return h.id; });
  for (std::size_t i = 0; i < header.build_ids.size(); ++i) {
    header.build_ids[i] =
        joined(files, [&](const RunHeader& h) { return i < h.build_ids.size() ? h.build_ids[i] : ""; });
  }
  return header;
}

RunSummary reckoned(const MergedRun& merged) {
  RunSummary summary;
  summary.selected = merged.header.verdicts_expected;
  for (const VerdictRecord& r : merged.verdicts) summary.add(r);
  return summary;
}

}  // namespace

Expected<void> one_run(const RecordFile& file) {
  if (file.runs.empty()) return wrong(file, "is empty: the run never started");
  for (const RunHeader& later : file.runs) {
    if (auto fit = fits(file, later); !fit) return fit;
  }
  std::unordered_set<std::string> seen;
  for (const VerdictRecord& r : file.verdicts) {
    if (!seen.insert(pair_key(r.case_id, r.backend)).second) {
      return wrong(file, fmt::format("has two verdicts on '{}' by {}", r.line, r.backend));
    }
  }
  return {};
}

Expected<MergedRun> merge(std::vector<RecordFile> files) {
  if (files.empty()) return input_error("nothing to merge");
  for (const RecordFile& file : files) {
    if (auto complete = whole(file); !complete) return Unexpected(complete.error());
  }
  if (auto one_run = belong_together(files); !one_run) return Unexpected(one_run.error());

  MergedRun merged;
  merged.header = joined_header(files);
  std::set<std::string> ids;
  for (RecordFile& file : files) {
    for (VerdictRecord& record : file.verdicts) {
      ids.insert(record.case_id);
      merged.verdicts.push_back(std::move(record));
    }
  }
  // Worked out again from the verdicts: a shard of the right size with the wrong cases does not pass for the right one.
  const std::string found = selection_fingerprint({ids.begin(), ids.end()}, merged.header.backends, merged.header.seed);
  if (found != merged.header.selection) {
    return input_error("the verdicts are not those of the selection: the shards overlap, or a record was changed");
  }
  std::sort(merged.verdicts.begin(), merged.verdicts.end(), [](const VerdictRecord& a, const VerdictRecord& b) {
    return std::tie(a.case_id, a.backend) < std::tie(b.case_id, b.backend);
  });
  merged.summary = reckoned(merged);
  return merged;
}

}  // namespace attest
