#include "reports/history/history.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <memory>
#include <tuple>

#include "reports/history/migrations.h"

namespace attest {

namespace {

using sqlite::Statement;
using sqlite::Transaction;

std::int64_t as_signed(std::uint64_t bits) { return static_cast<std::int64_t>(bits); }
std::uint64_t as_unsigned(std::int64_t bits) { return static_cast<std::uint64_t>(bits); }

constexpr const char* kRunColumns =
    "id, started_utc, version, command, suite, seed, host, cpu, revision, selection, options, cases, "
    "verdicts_expected, shard_index, shard_count, finished, interrupted, identity";

constexpr const char* kVerdictColumns =
    "backend, case_id, verdict, underlying, path, suspect, detail, err_over_b, is_bound, nmse, max_abs, cpu_s, digest, "
    "rows_judged";

StoredRun stored_run(const Statement& row) {
  StoredRun run;
  int column = 0;
  const auto text = [&] { return std::string(row.text(column++)); };
  const auto integer = [&] { return row.integer(column++); };
  run.id = integer();
  RunHeader& h = run.header;
  for (std::string* field : {&h.started_utc, &h.version, &h.command, &h.suite}) *field = text();
  h.seed = as_unsigned(integer());
  for (std::string* field : {&h.host, &h.cpu, &h.commit, &h.selection, &h.options}) *field = text();
  h.cases = integer();
  h.verdicts_expected = integer();
  h.shard_index = static_cast<int>(integer());
  h.shard_count = static_cast<int>(integer());
  run.finished = integer() != 0;
  run.interrupted = integer() != 0;
  h.id = text();
  return run;
}

// Whether a record is that of a stored run. Records without an id are told apart by what they say of themselves;
// backends that only verdicts named stand behind those of the header.
bool same_run(const RunHeader& stored, const RunHeader& h) {
  const auto facts = [](const RunHeader& x) {
    return std::tie(x.id, x.started_utc, x.host, x.command, x.selection, x.seed, x.options, x.shard_index,
                    x.shard_count);
  };
  if (facts(stored) != facts(h) || stored.backends.size() < h.backends.size()) return false;
  for (std::size_t i = 0; i < h.backends.size(); ++i) {
    const std::string build = i < h.build_ids.size() ? h.build_ids[i] : "";
    if (stored.backends[i] != h.backends[i] || stored.build_ids[i] != build) return false;
  }
  return true;
}

// A verdict's name out of the texts of the file: it may be of a newer attest.
Expected<Verdict> verdict_named(const std::string& name, const std::string& file) {
  auto verdict = verdict_from_name(name);
  if (!verdict) return input_error(fmt::format("history '{}': {}", file, verdict.error().message));
  return verdict;
}

BriefVerdict brief_verdict(const Statement& row) {
  BriefVerdict v;
  v.backend = static_cast<std::uint16_t>(row.integer(0));
  v.case_id = as_unsigned(row.integer(1));
  v.err_over_b = row.real(7);
  v.err_over_b_is_bound = row.integer(8) != 0;
  v.nmse = row.real(9);
  v.max_abs = row.real(10);
  v.cpu_s = row.real(11);
  v.digest = as_unsigned(row.integer(12));
  v.rows_judged = row.integer(13);
  return v;
}

}  // namespace

std::optional<std::uint64_t> hex_number(std::string_view text) {
  std::uint64_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number, 16);
  if (text.size() != 16 || error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return number;
}

Expected<History> History::open(const std::filesystem::path& path, bool create) {
  auto connection = sqlite::Connection::open(path, create);
  if (!connection) return Unexpected(connection.error());
  auto set = connection->execute("PRAGMA synchronous = NORMAL; PRAGMA cache_size = -65536");
  if (set) set = migrate(*connection);
  // Readers and a writer do not wait for each other, and what is committed outlives the process. Where the file system
  // has no shared memory SQLite keeps its older journal, which is as safe and slower. It is a property of the file: set
  // once that is known to be ours, by those that write.
  if (set && create) set = connection->execute("PRAGMA journal_mode = WAL");
  if (!set) return Unexpected(set.error());
  return History(std::move(*connection));
}

Expected<std::int64_t> History::start(const RunHeader& header) {
  auto transaction = Transaction::begin(connection_);
  if (!transaction) return Unexpected(transaction.error());
  auto run = insert_run(header);
  if (!run) return run;
  if (auto committed = transaction->commit(); !committed) return Unexpected(committed.error());
  return run;
}

Expected<std::int64_t> History::insert_run(const RunHeader& h) {
  auto insert = connection_.prepare(
      "INSERT INTO runs(started_utc, version, command, suite, seed, host, cpu, revision, selection, options, cases, "
      "verdicts_expected, shard_index, shard_count, identity) VALUES(?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)");
  if (!insert) return Unexpected(insert.error());
  auto inserted = insert->run(h.started_utc, h.version, h.command, h.suite, as_signed(h.seed), h.host, h.cpu, h.commit,
                              h.selection, h.options, h.cases, h.verdicts_expected,
                              static_cast<std::int64_t>(h.shard_index), static_cast<std::int64_t>(h.shard_count), h.id);
  if (!inserted) return Unexpected(inserted.error());
  const std::int64_t run = connection_.last_row_id();
  for (std::size_t i = 0; i < h.backends.size(); ++i) {
    auto done = insert_backend(run, i, h.backends[i], i < h.build_ids.size() ? h.build_ids[i] : "");
    if (!done) return Unexpected(done.error());
  }
  return run;
}

Expected<void> History::insert_backend(std::int64_t run, std::size_t number, const std::string& name,
                                       const std::string& build) {
  return connection_.prepare("INSERT INTO backends VALUES(?,?,?,?)").and_then([&](Statement insert) {
    return insert.run(run, static_cast<std::int64_t>(number), name, build);
  });
}

Expected<std::int64_t> History::text_id(const std::string& text) {
  if (const auto known = text_ids_.find(text); known != text_ids_.end()) return known->second;
  auto insert = connection_.prepare("INSERT OR IGNORE INTO texts(text) VALUES(?)");
  if (!insert) return Unexpected(insert.error());
  if (auto done = insert->run(text); !done) return Unexpected(done.error());
  auto find = connection_.prepare("SELECT id FROM texts WHERE text = ?");
  if (!find) return Unexpected(find.error());
  find->bind(1, text);
  if (auto row = find->step(); !row) return Unexpected(row.error());
  return text_ids_[text] = find->integer(0);
}

Expected<void> History::append(std::int64_t run, std::span<const VerdictRecord> verdicts) {
  auto transaction = Transaction::begin(connection_);
  if (!transaction) return Unexpected(transaction.error());
  auto done = insert_verdicts(run, verdicts);
  if (done) done = transaction->commit();
  if (!done) text_ids_.clear();  // ids of rows that are undone
  return done;
}

Expected<void> History::insert_verdicts(std::int64_t run, std::span<const VerdictRecord> verdicts) {
  std::unordered_map<std::string, std::int64_t> numbers;
  auto backends = connection_.prepare("SELECT number, name FROM backends WHERE run = ?");
  if (!backends) return Unexpected(backends.error());
  backends->bind(1, run);
  while (true) {
    const auto row = backends->step();
    if (!row) return Unexpected(row.error());
    if (!*row) break;
    numbers.emplace(backends->text(1), backends->integer(0));
  }

  struct Place {
    std::int64_t backend, case_id;
    const VerdictRecord* record;
  };
  std::vector<Place> order;
  order.reserve(verdicts.size());
  for (const VerdictRecord& r : verdicts) {
    const auto id = hex_number(r.case_id);
    if (!id) return input_error(fmt::format("case id '{}' is not 16 hexadecimal digits", r.case_id));
    const auto [at, fresh] = numbers.try_emplace(r.backend, static_cast<std::int64_t>(numbers.size()));
    if (fresh) {
      auto added = insert_backend(run, static_cast<std::size_t>(at->second), r.backend, r.build_id);
      if (!added) return added;
    }
    order.push_back({at->second, as_signed(*id), &r});
  }
  // In the order of the tables, so that pages fill up one after the other.
  std::sort(order.begin(), order.end(), [](const Place& a, const Place& b) {
    return a.backend != b.backend ? a.backend < b.backend : a.case_id < b.case_id;
  });

  auto insert_case = connection_.prepare("INSERT OR IGNORE INTO cases VALUES(?,?)");
  if (!insert_case) return Unexpected(insert_case.error());
  auto insert = connection_.prepare(
      "INSERT OR REPLACE INTO verdicts(run, backend, case_id, verdict, underlying, path, suspect, detail, err_over_b, "
      "is_bound, nmse, max_abs, rows, rows_judged, cpu_s, wall_s, judge_s, digest) "
      "VALUES(?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)");
  if (!insert) return Unexpected(insert.error());
  insert->bind(1, run);
  for (const Place& place : order) {
    const VerdictRecord& r = *place.record;
    if (auto done = insert_case->run(place.case_id, r.line); !done) return done;
    insert->bind(2, place.backend);
    insert->bind(3, place.case_id);
    int parameter = 3;
    for (const std::string_view text : {info(r.verdict).name, std::string_view(r.underlying), std::string_view(r.path),
                                        std::string_view(r.triage.suspect)}) {
      ++parameter;
      if (text.empty()) {
        insert->bind_null(parameter);
        continue;
      }
      const auto id = text_id(std::string(text));
      if (!id) return Unexpected(id.error());
      insert->bind(parameter, *id);
    }
    r.detail.empty() ? insert->bind_null(8) : insert->bind(8, r.detail);
    insert->bind(9, r.err_over_b);
    insert->bind(10, static_cast<std::int64_t>(r.err_over_b_is_bound));
    insert->bind(11, r.nmse);
    insert->bind(12, r.max_abs);
    insert->bind(13, r.rows);
    insert->bind(14, r.rows_judged);
    insert->bind(15, r.backend_cpu_s);
    insert->bind(16, r.backend_wall_s);
    insert->bind(17, r.judge_s);
    const auto digest = hex_number(r.digest);
    digest ? insert->bind(18, as_signed(*digest)) : insert->bind_null(18);
    auto done = insert->step();
    insert->reset();
    if (!done) return Unexpected(done.error());
  }
  return {};
}

Expected<void> History::finish(std::int64_t run, bool interrupted, double wall_s) {
  auto transaction = Transaction::begin(connection_);
  if (!transaction) return Unexpected(transaction.error());
  auto done = mark_finished(run, interrupted, wall_s);
  return done ? transaction->commit() : done;
}

Expected<void> History::mark_finished(std::int64_t run, bool interrupted, double wall_s) {
  return connection_.prepare("UPDATE runs SET finished = ?, interrupted = ?, wall_s = ? WHERE id = ?")
      .and_then([&](Statement update) {
        return update.run(static_cast<std::int64_t>(!interrupted), static_cast<std::int64_t>(interrupted), wall_s, run);
      });
}

Expected<std::optional<StoredRun>> History::find(const RunHeader& header) {
  auto stored = runs();
  if (!stored) return Unexpected(stored.error());
  for (StoredRun& run : *stored) {
    if (same_run(run.header, header)) return std::optional(std::move(run));
  }
  return std::nullopt;
}

Expected<bool> History::settle_commit(const StoredRun& run, const std::string& commit) {
  const std::string& known = run.header.commit;
  if (commit.empty() || commit == known) return false;
  if (!known.empty()) {
    return input_error(
        fmt::format("run {} of {} is of commit '{}', not '{}'", run.id, connection_.name(), known, commit));
  }
  return connection_.prepare("UPDATE runs SET revision = ? WHERE id = ?")
      .and_then([&](Statement update) { return update.run(commit, run.id); })
      .map([] { return true; });
}

Expected<History::Imported> History::import(const RecordFile& file) {
  if (file.runs.empty()) return input_error(fmt::format("'{}' records no run", file.name));
  auto transaction = Transaction::begin(connection_);
  if (!transaction) return Unexpected(transaction.error());
  const auto whole = [&]() -> Expected<Imported> {
    const RunHeader& header = file.runs.front();
    auto known = find(header);
    if (!known) return Unexpected(known.error());
    Imported imported;
    if (*known) {
      const std::int64_t run = (*known)->id;
      const auto there = connection_.number(fmt::format("SELECT count(*) FROM verdicts WHERE run = {}", run));
      if (!there) return Unexpected(there.error());
      const auto settled = settle_commit(**known, header.commit);
      if (!settled) return Unexpected(settled.error());
      imported = {run, *there >= static_cast<std::int64_t>(file.verdicts.size()), *settled};
    } else {
      auto run = insert_run(header);
      if (!run) return Unexpected(run.error());
      imported.run = *run;
    }
    auto done = imported.was_there ? Expected<void>() : insert_verdicts(imported.run, file.verdicts);
    const bool complete = static_cast<std::int64_t>(file.verdicts.size()) >= header.verdicts_expected;
    // A run may have lost nothing but its end.
    const bool finished = *known && (*known)->finished;
    if (done && complete && !finished) done = mark_finished(imported.run, false, 0);
    if (done) done = transaction->commit();
    if (!done) return Unexpected(done.error());
    return imported;
  }();
  if (!whole) {
    text_ids_.clear();
    Error error = whole.error();
    if (error.kind == ErrorKind::input && error.file.empty()) error.file = file.name;
    return Unexpected(error);
  }
  return whole;
}

Expected<std::vector<StoredRun>> History::runs() {
  auto select = connection_.prepare(fmt::format("SELECT {} FROM runs ORDER BY started_utc, id", kRunColumns));
  if (!select) return Unexpected(select.error());
  std::vector<StoredRun> runs;
  std::unordered_map<std::int64_t, std::size_t> index;
  while (true) {
    const auto row = select->step();
    if (!row) return Unexpected(row.error());
    if (!*row) break;
    index.emplace(select->integer(0), runs.size());
    runs.push_back(stored_run(*select));
  }
  auto backends = connection_.prepare("SELECT run, name, build_id FROM backends ORDER BY run, number");
  if (!backends) return Unexpected(backends.error());
  while (true) {
    const auto row = backends->step();
    if (!row) return Unexpected(row.error());
    if (!*row) break;
    const auto at = index.find(backends->integer(0));
    if (at == index.end()) continue;  // of a run that started in the meantime
    RunHeader& header = runs[at->second].header;
    header.backends.emplace_back(backends->text(1));
    header.build_ids.emplace_back(backends->text(2));
  }
  if (auto same = connection_.unchanged(); !same) return Unexpected(same.error());
  return runs;
}

Expected<BriefRun> History::read(const StoredRun& stored) {
  BriefRun run;
  run.name = fmt::format("run {}", stored.id);
  run.header = stored.header;
  run.texts = {""};
  // Ids of the file -> places in run.texts, and the verdicts among them.
  std::unordered_map<std::int64_t, std::uint32_t> places{{0, 0}};
  std::vector<std::optional<Verdict>> verdicts{std::nullopt};
  auto texts = connection_.prepare("SELECT id, text FROM texts");
  if (!texts) return Unexpected(texts.error());
  while (true) {
    const auto row = texts->step();
    if (!row) return Unexpected(row.error());
    if (!*row) break;
    places.emplace(texts->integer(0), static_cast<std::uint32_t>(run.texts.size()));
    run.texts.emplace_back(texts->text(1));
    const auto verdict = verdict_from_name(run.texts.back());
    verdicts.push_back(verdict ? std::optional(*verdict) : std::nullopt);
  }
  std::unordered_map<std::string, std::uint32_t> details;

  auto select = connection_.prepare(
      fmt::format("SELECT {} FROM verdicts WHERE run = ? ORDER BY backend, case_id", kVerdictColumns));
  if (!select) return Unexpected(select.error());
  select->bind(1, stored.id);
  while (true) {
    const auto row = select->step();
    if (!row) return Unexpected(row.error());
    if (!*row) break;
    BriefVerdict v = brief_verdict(*select);
    const auto place = [&](int column) {
      const auto at = places.find(select->integer(column));
      return at == places.end() ? 0 : at->second;
    };
    const std::uint32_t named = place(2);
    if (!verdicts[named]) return Unexpected(verdict_named(run.texts[named], connection_.name()).error());
    v.verdict = *verdicts[named];
    v.underlying = place(3);
    v.path = place(4);
    v.suspect = place(5);
    if (!select->is_null(6)) {
      const auto [at, fresh] =
          details.try_emplace(std::string(select->text(6)), static_cast<std::uint32_t>(run.texts.size()));
      if (fresh) run.texts.push_back(at->first);
      v.detail = at->second;
    }
    run.verdicts.push_back(v);
  }
  if (auto same = connection_.unchanged(); !same) return Unexpected(same.error());
  run.complete = stored.finished && static_cast<std::int64_t>(run.verdicts.size()) >= stored.header.verdicts_expected;
  run.line = [this](std::uint64_t case_id) { return line(case_id).value_or(fmt::format("case {:016x}", case_id)); };
  return run;
}

Expected<std::optional<StoredVerdict>> History::verdict(const StoredRun& run, std::size_t backend,
                                                        std::uint64_t case_id) {
  auto select = connection_.prepare(
      "SELECT backend, case_id, (SELECT text FROM texts WHERE id = verdict), underlying, (SELECT text FROM texts WHERE "
      "id = path), (SELECT text FROM texts WHERE id = suspect), detail, err_over_b, is_bound, nmse, max_abs, cpu_s, "
      "digest, rows_judged FROM verdicts WHERE run = ? AND backend = ? AND case_id = ?");
  if (!select) return Unexpected(select.error());
  select->bind(1, run.id);
  select->bind(2, static_cast<std::int64_t>(backend));
  select->bind(3, as_signed(case_id));
  const auto row = select->step();
  if (!row) return Unexpected(row.error());
  if (!*row) return std::nullopt;
  StoredVerdict found{brief_verdict(*select), std::string(select->text(4)), std::string(select->text(5)),
                      std::string(select->text(6))};
  const auto verdict = verdict_named(std::string(select->text(2)), connection_.name());
  if (!verdict) return Unexpected(verdict.error());
  found.brief.verdict = *verdict;
  return found;
}

Expected<std::string> History::line(std::uint64_t case_id) {
  auto select = connection_.prepare("SELECT line FROM cases WHERE id = ?");
  if (!select) return Unexpected(select.error());
  select->bind(1, as_signed(case_id));
  const auto row = select->step();
  if (!row) return Unexpected(row.error());
  return *row ? std::string(select->text(0)) : std::string();
}

}  // namespace attest
