#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <iterator>
#include <limits>
#include <nlohmann/json.hpp>
#include <optional>

#include "reports/record.h"

namespace attest {

namespace {

using Json = nlohmann::json;

// T or const T.
template <class U, class T>
concept Maybe = std::is_same_v<std::remove_const_t<U>, T>;

// Every field is named once, in visit(); Writer and Reader are the two things that walk over them.
template <class Archive, Maybe<WorstElement> T>
void visit(Archive& a, T& w) {
  a("seq", w.seq);
  a("head", w.head);
  a("query", w.query);
  a("column", w.column);
  a("got", w.got);
  a("expected", w.expected);
  a("budget", w.budget);
  a("dominant", w.dominant);
}

template <class Archive, Maybe<PartyError> T>
void visit(Archive& a, T& p) {
  a.required("party", p.party);
  a("nmse", p.nmse);
  a("max_abs", p.max_abs);
}

template <class Archive, Maybe<TriageRecord> T>
void visit(Archive& a, T& t) {
  a("suspect", t.suspect);
  a("says", t.says);
  a("place", t.place);
  a("fingerprint", t.fingerprint);
  a("hints", t.hints);
  a("depth", t.depth);
}

template <class Archive, Maybe<MapRecord> T>
void visit(Archive& a, T& m) {
  a("rows", m.rows);
  a("columns", m.columns);
  a("down", m.down);
  a("across", m.across);
  a("period", m.period);
  a("values", m.values);
}

template <class Archive, Maybe<VerdictRecord> T>
void visit(Archive& a, T& r) {
  a.required("verdict", r.verdict);
  a.required("case_id", r.case_id);
  a.required("line", r.line);
  a.required("backend", r.backend);
  a("build_id", r.build_id);
  a("path", r.path);
  a("suite", r.suite);
  a("tags", r.tags);
  a.optional("source", r.source);
  a("detail", r.detail);
  a("underlying", r.underlying);
  a.optional("also", r.also);
  a("err_over_b", r.err_over_b);
  a("err_over_b_is_bound", r.err_over_b_is_bound);
  a("worst", r.worst);
  a("nmse", r.nmse);
  a("max_abs", r.max_abs);
  a("cosine", r.cosine);
  a.optional("allclose", r.allclose);
  a("ulp_p50", r.ulp_p50);
  a("ulp_p99", r.ulp_p99);
  a("ulp_max", r.ulp_max);
  a("contract_nmse", r.contract_nmse);
  a("parties", r.parties);
  a.optional("triage", r.triage);
  a.optional("maps", r.maps);
  a.optional("digest", r.digest);
  a.optional("alignment", r.alignment);
  a.optional("loss", r.loss);
  a.optional("blind_to", r.blind_to);
  a("rows", r.rows);
  a("rows_judged", r.rows_judged);
  a("rows_confirmed", r.rows_confirmed);
  a("rows_dead", r.rows_dead);
  a("rows_range", r.rows_range);
  a("rows_det", r.rows_det);
  a("bad_elements", r.bad_elements);
  a("suspect_reruns", r.suspect_reruns);
  a("suspect", r.suspect);
  a("prec_not_honoured", r.prec_not_honoured);
  a("relations_held", r.relations_held);
  a("relations_broken", r.relations_broken);
  a("relations_unsupported", r.relations_unsupported);
  a("relations_inapplicable", r.relations_inapplicable);
  a("backend_cpu_s", r.backend_cpu_s);
  a("backend_wall_s", r.backend_wall_s);
  a("judge_s", r.judge_s);
}

template <class Archive, Maybe<RunHeader> T>
void visit(Archive& a, T& h) {
  a.required("schema", h.schema);
  a.required("version", h.version);
  a("command", h.command);
  a("suite", h.suite);
  a("seed", h.seed);
  a("started_utc", h.started_utc);
  a("host", h.host);
  a("cpu", h.cpu);
  a("backends", h.backends);
  a("build_ids", h.build_ids);
  a("cases", h.cases);
  a("verdicts_expected", h.verdicts_expected);
  a("shard_index", h.shard_index);
  a("shard_count", h.shard_count);
  a("selection", h.selection);
  a("options", h.options);
  a.optional("commit", h.commit);
  a.optional("id", h.id);
}

// Written, never read back.
template <class Archive>
void visit(Archive& a, const RunSummary& s) {
  a("counts", s.counts);
  a("max_err_over_b", s.max_err_over_b);
  a("selected", s.selected);
  a("ruled", s.ruled);
  a("wall_s", s.wall_s);
  a("backend_cpu_s", s.backend_cpu_s);
  a("jobs", s.jobs);
  a("overhead", s.overhead());
  a("interrupted", s.interrupted);
}

// Straight into text, without a tree of values: this runs once per verdict, thousands of times a second.
class Writer {
 public:
  explicit Writer(std::string& out) : out_(&out) { *out_ += '{'; }

  template <class T>
  void operator()(std::string_view key, const T& value) {
    if (!first_) *out_ += ',';
    first_ = false;
    put(key);
    *out_ += ':';
    put(value);
  }
  template <class T>
  void required(std::string_view key, const T& value) {
    (*this)(key, value);
  }
  // Left out where it says nothing.
  template <class T>
  void optional(std::string_view key, const T& value) {
    if (!(value == T{})) (*this)(key, value);
  }
  void close() { *out_ += '}'; }

 private:
  void put(std::string_view text) {
    const bool plain =
        std::all_of(text.begin(), text.end(), [](char c) { return c >= ' ' && c < 0x7f && c != '"' && c != '\\'; });
    if (plain) {
      *out_ += '"';
      *out_ += text;
      *out_ += '"';
    } else {
      // A backend's last words may be any bytes: what is not UTF-8 becomes U+FFFD instead of an exception.
      *out_ += Json(text).dump(-1, ' ', false, Json::error_handler_t::replace);
    }
  }
  void put(const std::string& text) { put(std::string_view(text)); }
  void put(const char* text) { put(std::string_view(text)); }
  void put(bool value) { *out_ += value ? "true" : "false"; }
  void put(double value) {
    if (std::isfinite(value)) {
      fmt::format_to(std::back_inserter(*out_), "{}", value);  // the shortest text that reads back as the same number
    } else {
      put(std::isnan(value) ? "nan" : value > 0 ? "inf" : "-inf");
    }
  }
  template <class T>
  requires std::is_integral_v<T>
  void put(T value) { fmt::format_to(std::back_inserter(*out_), "{}", value); }
  void put(Verdict value) { put(info(value).name); }
  void put(const WorstElement& value) { object(value); }
  void put(const PartyError& value) { object(value); }
  void put(const TriageRecord& value) { object(value); }
  void put(const MapRecord& value) { object(value); }
  void put(const RunHeader& value) { object(value); }
  void put(const RunSummary& value) { object(value); }
  template <class T>
  void put(const std::vector<T>& values) {
    *out_ += '[';
    for (std::size_t i = 0; i < values.size(); ++i) {
      if (i > 0) *out_ += ',';
      put(values[i]);
    }
    *out_ += ']';
  }
  template <class Key, class T>
  void put(const std::map<Key, T>& values) {
    Writer writer(*out_);
    for (const auto& [key, value] : values) {
      if constexpr (std::is_same_v<Key, Verdict>) {
        writer(info(key).name, value);
      } else {
        writer(key, value);
      }
    }
    writer.close();
  }
  template <class T>
  void object(const T& value) {
    Writer writer(*out_);
    visit(writer, value);
    writer.close();
  }

  std::string* out_;
  bool first_ = true;
};

// Stops at the first key that is missing or of the wrong type; keys it does not know are left alone.
class Reader {
 public:
  Reader(const Json& json, std::string prefix) : json_(&json), prefix_(std::move(prefix)) {}

  template <class T>
  void operator()(const char* key, T& value) {
    if (error_) return;
    if (const auto it = json_->find(key); it != json_->end()) decode(key, *it, value);
  }
  template <class T>
  void required(const char* key, T& value) {
    if (error_) return;
    if (!json_->contains(key)) {
      error_ = input_error(fmt::format("record: missing key '{}{}'", prefix_, key)).value();
      return;
    }
    (*this)(key, value);
  }
  template <class T>
  void optional(const char* key, T& value) {
    (*this)(key, value);
  }
  const std::optional<Error>& error() const { return error_; }

 private:
  void wrong(const char* key, std::string_view wanted) {
    error_ = input_error(fmt::format("record: key '{}{}' must be {}", prefix_, key, wanted)).value();
  }
  void decode(const char* key, const Json& json, std::string& value) {
    json.is_string() ? void(value = json.get<std::string>()) : wrong(key, "a string");
  }
  void decode(const char* key, const Json& json, bool& value) {
    json.is_boolean() ? void(value = json.get<bool>()) : wrong(key, "true or false");
  }
  void decode(const char* key, const Json& json, double& value) {
    if (json.is_number()) {
      value = json.get<double>();
    } else if (json == "nan") {
      value = std::numeric_limits<double>::quiet_NaN();
    } else if (json == "inf") {
      value = std::numeric_limits<double>::infinity();
    } else if (json == "-inf") {
      value = -std::numeric_limits<double>::infinity();
    } else {
      wrong(key, "a number, \"nan\", \"inf\" or \"-inf\"");
    }
  }
  void decode(const char* key, const Json& json, Verdict& value) {
    if (!json.is_string()) return wrong(key, "a string");
    if (const auto verdict = verdict_from_name(json.get_ref<const std::string&>())) {
      value = *verdict;
    } else {
      error_ = verdict.error();
    }
  }
  void decode(const char* key, const Json& json, std::vector<std::string>& values) {
    if (!json.is_array()) return wrong(key, "an array of strings");
    values.clear();
    for (const auto& item : json) decode(key, item, values.emplace_back());
  }
  void decode(const char* key, const Json& json, std::vector<PartyError>& values) { decode_objects(key, json, values); }
  void decode(const char* key, const Json& json, std::vector<MapRecord>& values) { decode_objects(key, json, values); }
  template <class T>
  void decode(const char* key, const Json& json, std::vector<std::vector<T>>& rows) {
    if (!json.is_array()) return wrong(key, "an array of arrays");
    rows.clear();
    for (const auto& row : json) {
      if (!row.is_array()) return wrong(key, "an array of arrays");
      auto& values = rows.emplace_back();
      for (const auto& item : row) decode(key, item, values.emplace_back());
    }
  }
  void decode(const char* key, const Json& json, WorstElement& value) { decode_object(key, json, value); }
  void decode(const char* key, const Json& json, TriageRecord& value) { decode_object(key, json, value); }
  template <class T>
  requires std::is_integral_v<T>
  void decode(const char* key, const Json& json, T& value) {
    json.is_number_integer() ? void(value = json.get<T>()) : wrong(key, "an integer");
  }
  template <class T>
  void decode_objects(const char* key, const Json& json, std::vector<T>& values) {
    if (!json.is_array()) return wrong(key, "an array of objects");
    values.clear();
    for (const auto& item : json) decode_object(key, item, values.emplace_back());
  }
  template <class T>
  void decode_object(const char* key, const Json& json, T& value) {
    if (!json.is_object()) return wrong(key, "an object");
    Reader reader(json, fmt::format("{}{}.", prefix_, key));
    visit(reader, value);
    error_ = reader.error();
  }

  const Json* json_;
  std::string prefix_;
  std::optional<Error> error_;
};

Expected<Json> parse(std::string_view text) {
  try {
    Json json = Json::parse(text);
    if (!json.is_object()) return input_error("record: not a JSON object");
    return json;
  } catch (const Json::parse_error& e) {
    return input_error(fmt::format("record: not JSON at byte {}", e.byte));
  }
}

template <class T>
Expected<T> decode(const Json& json, std::string prefix) {
  T value;
  Reader reader(json, std::move(prefix));
  visit(reader, value);
  if (reader.error()) return Unexpected(*reader.error());
  return value;
}

// {"key": {...}}
template <class T>
std::string wrapped_json(std::string_view key, const T& value) {
  std::string out;
  Writer writer(out);
  writer(key, value);
  writer.close();
  return out;
}

}  // namespace

std::string to_json(const VerdictRecord& record) {
  std::string out;
  out.reserve(1024);
  Writer writer(out);
  visit(writer, record);
  writer.close();
  return out;
}

Expected<VerdictRecord> record_from_json(std::string_view json) {
  return parse(json).and_then([](const Json& parsed) { return decode<VerdictRecord>(parsed, ""); });
}

std::string to_json(const RunHeader& header) { return wrapped_json("run", header); }

Expected<RunHeader> header_from_json(std::string_view json) {
  return parse(json).and_then([](const Json& parsed) -> Expected<RunHeader> {
    const auto run = parsed.find("run");
    if (run == parsed.end() || !run->is_object()) return input_error("record: missing key 'run'");
    auto header = decode<RunHeader>(*run, "run.");
    if (header && header->schema > kRecordSchema) {
      return input_error(fmt::format("record: schema {} is newer than {}, the newest this program reads",
                                     header->schema, kRecordSchema));
    }
    return header;
  });
}

std::string started_json(std::string_view line, std::string_view case_id, std::string_view backend) {
  std::string out;
  Writer writer(out);
  writer("started", line);
  writer("case_id", case_id);
  writer("backend", backend);
  writer.close();
  return out;
}

std::string to_json(const RunSummary& summary) { return wrapped_json("summary", summary); }

}  // namespace attest
