#include <fmt/format.h>

#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>
#include <optional>

#include "reports/record.h"

namespace attest {

namespace {

using Json = nlohmann::ordered_json;

// Every field is named once, in visit(); Writer and Reader are the two things that walk over them.
template <class Archive>
void visit(Archive& a, WorstElement& w) {
  a("seq", w.seq);
  a("head", w.head);
  a("query", w.query);
  a("column", w.column);
  a("got", w.got);
  a("expected", w.expected);
  a("budget", w.budget);
  a("dominant", w.dominant);
}

template <class Archive>
void visit(Archive& a, PartyError& p) {
  a.required("party", p.party);
  a("nmse", p.nmse);
  a("max_abs", p.max_abs);
}

template <class Archive>
void visit(Archive& a, VerdictRecord& r) {
  a.required("verdict", r.verdict);
  a.required("case_id", r.case_id);
  a.required("line", r.line);
  a.required("backend", r.backend);
  a("build_id", r.build_id);
  a("path", r.path);
  a("suite", r.suite);
  a("tags", r.tags);
  a("detail", r.detail);
  a("underlying", r.underlying);
  a("err_over_b", r.err_over_b);
  a("err_over_b_is_bound", r.err_over_b_is_bound);
  a("worst", r.worst);
  a("nmse", r.nmse);
  a("max_abs", r.max_abs);
  a("cosine", r.cosine);
  a("ulp_p50", r.ulp_p50);
  a("ulp_p99", r.ulp_p99);
  a("ulp_max", r.ulp_max);
  a("contract_nmse", r.contract_nmse);
  a("parties", r.parties);
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
  a("backend_cpu_s", r.backend_cpu_s);
  a("backend_wall_s", r.backend_wall_s);
  a("judge_s", r.judge_s);
}

template <class Archive>
void visit(Archive& a, RunHeader& h) {
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
}

Json number(double value) {
  if (std::isnan(value)) return "nan";
  if (std::isinf(value)) return value > 0 ? "inf" : "-inf";
  return value;
}

class Writer {
 public:
  template <class T>
  void operator()(const char* key, T& value) {
    json_[key] = encode(value);
  }
  template <class T>
  void required(const char* key, T& value) {
    (*this)(key, value);
  }
  Json take() { return std::move(json_); }

 private:
  static Json encode(double value) { return number(value); }
  static Json encode(Verdict value) { return info(value).name; }
  static Json encode(WorstElement& value) { return object(value); }
  static Json encode(std::vector<PartyError>& values) {
    Json out = Json::array();
    for (auto& value : values) out.push_back(object(value));
    return out;
  }
  template <class T>
  static Json encode(const T& value) {
    return value;
  }
  template <class T>
  static Json object(T& value) {
    Writer writer;
    visit(writer, value);
    return writer.take();
  }

  Json json_ = Json::object();
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
  void decode(const char* key, const Json& json, std::vector<PartyError>& values) {
    if (!json.is_array()) return wrong(key, "an array of objects");
    values.clear();
    for (const auto& item : json) decode_object(key, item, values.emplace_back());
  }
  void decode(const char* key, const Json& json, WorstElement& value) { decode_object(key, json, value); }
  template <class T>
  requires std::is_integral_v<T>
  void decode(const char* key, const Json& json, T& value) {
    json.is_number_integer() ? void(value = json.get<T>()) : wrong(key, "an integer");
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

template <class T>
Json encode(const T& value) {
  T copy = value;  // visit() serves reading too, so it takes its subject by reference
  Writer writer;
  visit(writer, copy);
  return writer.take();
}

// A backend's last words may be any bytes: what is not UTF-8 becomes U+FFFD instead of an exception.
std::string line(const Json& json) { return json.dump(-1, ' ', false, Json::error_handler_t::replace); }

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

}  // namespace

std::string to_json(const VerdictRecord& record) { return line(encode(record)); }

Expected<VerdictRecord> record_from_json(std::string_view json) {
  return parse(json).and_then([](const Json& parsed) { return decode<VerdictRecord>(parsed, ""); });
}

std::string to_json(const RunHeader& header) { return line(Json{{"run", encode(header)}}); }

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

std::string started_json(std::string_view line_text, std::string_view case_id, std::string_view backend) {
  return line(Json{{"started", line_text}, {"case_id", case_id}, {"backend", backend}});
}

std::string to_json(const RunSummary& summary) {
  Json counts = Json::object();
  for (const auto& [backend, by_verdict] : summary.counts) {
    Json& row = counts[backend] = Json::object();
    for (const auto& [verdict, count] : by_verdict) row[std::string(info(verdict).name)] = count;
  }
  Json ratios = Json::object();
  for (const auto& [backend, ratio] : summary.max_err_over_b) ratios[backend] = number(ratio);
  return line(Json{{"summary",
                    {{"counts", counts},
                     {"max_err_over_b", ratios},
                     {"selected", summary.selected},
                     {"ruled", summary.ruled},
                     {"wall_s", number(summary.wall_s)},
                     {"backend_cpu_s", number(summary.backend_cpu_s)},
                     {"interrupted", summary.interrupted}}}});
}

}  // namespace attest
