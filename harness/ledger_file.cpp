#include <fmt/format.h>
#include <toml++/toml.h>

#include <algorithm>
#include <fstream>
#include <iterator>

#include "cases/relations.h"
#include "cases/toml_file.h"
#include "harness/ledger.h"
#include "harness/triage.h"

namespace attest {

namespace {

const std::vector<std::string> kEntryKeys{"suspect",   "fingerprint", "backend", "path",  "match",
                                          "tag",       "line",        "verdict", "mode",  "strict",
                                          "sometimes", "reason",      "link",    "repro", "relation"};

class Reader {
 public:
  Reader(std::string_view text, std::string file) : file_(text, std::move(file)) {}

  Expected<std::vector<LedgerEntry>> read() const {
    const auto parsed = file_.parse();
    if (!parsed) return Unexpected(parsed.error());
    const toml::table& root = *parsed;
    std::vector<LedgerEntry> entries;
    for (const auto& [key, node] : root) {
      if (key.str() != "entry") {
        return at(key.source(), fmt::format("unknown key '{}'", key.str()), did_you_mean(key.str(), {"entry"}));
      }
      const toml::array* tables = node.as_array();
      if (tables == nullptr) return at(node.source(), "'entry' must be a list of tables", "[[entry]]");
      for (const auto& item : *tables) {
        if (!item.is_table()) return at(item.source(), "'entry' must be a list of tables", "[[entry]]");
        auto entry = read_entry(*item.as_table());
        if (!entry) return Unexpected(entry.error());
        entries.push_back(std::move(*entry));
      }
    }
    return entries;
  }

 private:
  Unexpected at(const toml::source_region& where, std::string message, std::string hint = {}, int offset = 0) const {
    return file_.wrong(where, std::move(message), std::move(hint), offset);
  }

  // An error of a text inside a TOML string: behind the opening quote, at the text's own column.
  Unexpected inside(const toml::node& node, const Error& error, std::string_view what) const {
    return at(node.source(), fmt::format("{}: {}", what, error.message), error.hint, std::max(error.column, 1));
  }

  Expected<std::string> string_at(const toml::table& table, std::string_view key, bool required) const {
    const toml::node* node = table.get(key);
    if (node == nullptr) {
      if (required) return at(table.source(), fmt::format("entry without '{}'", key));
      return std::string();
    }
    if (!node->is_string()) return at(node->source(), fmt::format("'{}' must be a string", key));
    if (node->as_string()->get().empty()) return at(node->source(), fmt::format("'{}' is empty", key));
    return node->as_string()->get();
  }

  Expected<LedgerEntry> read_entry(const toml::table& table) const {
    for (const auto& [key, node] : table) {
      if (std::find(kEntryKeys.begin(), kEntryKeys.end(), key.str()) == kEntryKeys.end()) {
        return at(key.source(), fmt::format("unknown key '{}' in an entry", key.str()),
                  did_you_mean(key.str(), kEntryKeys));
      }
    }
    LedgerEntry entry;
    entry.file_line = static_cast<int>(table.source().begin.line);
    for (const auto& [key, slot] : {std::pair{"backend", &entry.backend}, {"reason", &entry.reason}}) {
      auto value = string_at(table, key, true);
      if (!value) return Unexpected(value.error());
      *slot = std::move(*value);
    }
    for (const auto& [key, slot] : {std::pair{"path", &entry.path},
                                    {"link", &entry.link},
                                    {"tag", &entry.tag},
                                    {"suspect", &entry.suspect},
                                    {"fingerprint", &entry.fingerprint}}) {
      auto value = string_at(table, key, false);
      if (!value) return Unexpected(value.error());
      *slot = std::move(*value);
    }
    if (auto known = check_class(table, entry); !known) return Unexpected(known.error());
    for (auto step : {&Reader::read_mode, &Reader::read_relations, &Reader::read_verdicts, &Reader::read_selection,
                      &Reader::read_repro}) {
      if (auto done = (this->*step)(table, entry); !done) return Unexpected(done.error());
    }
    return entry;
  }

  // A class word without a glob must be one that triage gives.
  Expected<void> check_class(const toml::table& table, const LedgerEntry& entry) const {
    if (entry.suspect.empty() || entry.suspect.find_first_of("*?") != std::string::npos) return {};
    std::vector<std::string> words;
    for (const SuspectInfo& s : suspects()) words.emplace_back(s.word);
    if (std::find(words.begin(), words.end(), entry.suspect) != words.end()) return {};
    return at(table.get("suspect")->source(), fmt::format("'{}' is no class of triage", entry.suspect),
              did_you_mean(entry.suspect, words));
  }

  Expected<void> read_mode(const toml::table& table, LedgerEntry& entry) const {
    if (auto mode = string_at(table, "mode", true); !mode) {
      return Unexpected(mode.error());
    } else if (*mode == "quarantined") {
      entry.mode = LedgerMode::quarantined;
    } else if (*mode != "tolerated") {
      const std::vector<std::string> modes{"tolerated", "quarantined"};
      std::string hint = did_you_mean(*mode, modes);
      return at(table.get("mode")->source(), fmt::format("'{}' is no mode", *mode),
                hint.empty() ? "tolerated or quarantined" : std::move(hint));
    }
    // Known only once the case has run.
    for (const char* key : {"path", "suspect", "fingerprint"}) {
      if (entry.mode != LedgerMode::quarantined || !table.contains(key)) continue;
      return at(table.get(key)->source(),
                fmt::format("'{}' is for tolerated entries: a quarantined case never runs", key));
    }
    std::optional<bool> sometimes;
    for (const auto& [key, means] : {std::pair{"sometimes", true}, {"strict", false}}) {
      const toml::node* node = table.get(key);
      if (node == nullptr) continue;
      if (!node->is_boolean()) return at(node->source(), fmt::format("'{}' must be true or false", key));
      if (entry.mode == LedgerMode::quarantined) {
        return at(node->source(), fmt::format("'{}' is for tolerated entries: a quarantined case never runs", key));
      }
      const bool value = node->as_boolean()->get() == means;
      if (sometimes && *sometimes != value) return at(node->source(), "'strict' and 'sometimes' contradict each other");
      sometimes = value;
    }
    entry.sometimes = sometimes.value_or(false);
    return {};
  }

  Expected<void> read_relations(const toml::table& table, LedgerEntry& entry) const {
    const toml::node* node = table.get("relation");
    if (node == nullptr) return {};
    auto list = string_at(table, "relation", true);
    if (!list) return Unexpected(list.error());
    const auto relations = parse_relations(*list);
    if (!relations) return inside(*node, relations.error(), "relation");
    if (relations->empty()) return at(node->source(), "'relation' names none");
    if (entry.mode == LedgerMode::quarantined) {
      return at(node->source(), "'relation' is for tolerated entries: a quarantined case never runs");
    }
    for (const Relation r : *relations) entry.relations.emplace_back(info(r).name);
    return {};
  }

  Expected<void> read_verdicts(const toml::table& table, LedgerEntry& entry) const {
    const toml::node* node = table.get("verdict");
    if (node == nullptr) {
      if (entry.mode == LedgerMode::quarantined) return {};
      if (!entry.relations.empty()) entry.verdicts = {Verdict::RELATION};
      if (!entry.relations.empty()) return {};
      return at(table.source(), "entry without 'verdict'");
    }
    std::vector<const toml::node*> names{node};
    if (const toml::array* list = node->as_array()) {
      names.clear();
      for (const auto& item : *list) names.push_back(&item);
      if (names.empty()) return at(node->source(), "'verdict' is empty");
    }
    for (const toml::node* name : names) {
      if (!name->is_string()) return at(name->source(), "'verdict' must be a string or a list of strings");
      const auto verdict = verdict_from_name(name->as_string()->get());
      if (!verdict) return at(name->source(), verdict.error().message, verdict.error().hint);
      if (!info(*verdict).bad || *verdict == Verdict::XPASS) {
        return at(name->source(), fmt::format("{} is no failure to expect", info(*verdict).name));
      }
      if (*verdict == Verdict::ORACLE) {
        return at(name->source(), "ORACLE is a bug of attest: it cannot be a known failure of a backend");
      }
      entry.verdicts.push_back(*verdict);
    }
    return {};
  }

  Expected<void> read_selection(const toml::table& table, LedgerEntry& entry) const {
    int given = 0;
    for (const char* key : {"match", "tag", "line"}) given += table.contains(key) ? 1 : 0;
    if (given != 1) return at(table.source(), "an entry needs exactly one of 'match', 'tag' and 'line'");
    if (const toml::node* node = table.get("match")) {
      auto pattern = string_at(table, "match", true);
      if (!pattern) return Unexpected(pattern.error());
      auto parsed = CasePattern::parse(*pattern);
      if (!parsed) return inside(*node, parsed.error(), "match");
      entry.pattern = std::move(*parsed);
    } else if (const toml::node* line = table.get("line")) {
      auto given_text = string_at(table, "line", true);
      if (!given_text) return Unexpected(given_text.error());
      const auto parsed = parse_case(*given_text);
      if (!parsed) return inside(*line, parsed.error(), "line");
      entry.line = text(*parsed);
    }
    return {};
  }

  // The line that shows the defect must be one the entry covers, or it shows something else.
  Expected<void> read_repro(const toml::table& table, LedgerEntry& entry) const {
    auto repro = string_at(table, "repro", true);
    if (!repro) return Unexpected(repro.error());
    const toml::node& node = *table.get("repro");
    const auto parsed = parse_case(*repro);
    if (!parsed) return inside(node, parsed.error(), "repro");
    if (entry.pattern && !entry.pattern->matches(*parsed)) {
      return at(node.source(), fmt::format("repro is not one of the entry's own cases: '{}' does not hold for it",
                                           entry.pattern->first_broken(*parsed)));
    }
    if (!entry.line.empty() && entry.line != text(*parsed)) {
      return at(node.source(), "repro is not the entry's own line");
    }
    entry.repro = std::move(*repro);
    return {};
  }

  TomlFile file_;
};

}  // namespace

Expected<Ledger> Ledger::parse(std::string_view toml, std::string file) {
  auto entries = Reader(toml, file).read();
  if (!entries) return Unexpected(entries.error());
  Ledger ledger;
  ledger.file_ = std::move(file);
  ledger.entries_ = std::move(*entries);
  ledger.counts_.resize(ledger.entries_.size());
  return ledger;
}

Expected<Ledger> load_ledger(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  std::error_code none;
  if (!file || std::filesystem::is_directory(path, none)) {
    return input_error(fmt::format("cannot read the ledger {}", path.string()));
  }
  const std::string text{std::istreambuf_iterator<char>(file), {}};
  return Ledger::parse(text, path.string());
}

}  // namespace attest
