#include "backends/process/protocol.h"

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>

#include "backends/plugin/plugin_file.h"
#include "backends/plugin/translate.h"
#include "cases/op.h"

namespace attest::process {
namespace {

using Json = nlohmann::ordered_json;

struct FeatureRow {
  const char* name;
  bool (*needs)(const AttentionProblem&);
};
// A process that does not name a feature is not asked for problems that need it.
constexpr std::array<FeatureRow, 9> kFeatures{{
    {"mask", [](const AttentionProblem& p) { return p.mask.present(); }},
    {"alibi", [](const AttentionProblem& p) { return p.max_bias > 0; }},
    {"softcap", [](const AttentionProblem& p) { return p.softcap > 0; }},
    {"sinks", [](const AttentionProblem& p) { return p.sinks.kind != SinkKind::none; }},
    {"gqa", [](const AttentionProblem& p) { return p.n_head_kv != p.n_head; }},
    {"v-heads", [](const AttentionProblem& p) { return p.n_head_v != p.n_head_kv; }},
    {"d_v", [](const AttentionProblem& p) { return p.d_v != p.d_k; }},
    {"sequences", [](const AttentionProblem& p) { return p.n_seq > 1; }},
    {"broadcast", [](const AttentionProblem& p) { return p.n_seq_kv != p.n_seq; }},
}};
constexpr std::array<const char*, 5> kRoundings{"none", "f16", "bf16", "q8_0", "q8_1"};

std::string excerpt(const std::string& line) {
  constexpr std::size_t kLongest = 120;
  std::string text = plugin::clean_text(line.c_str());
  if (text.size() > kLongest) text = text.substr(0, kLongest) + " ...";
  return "'" + text + "'";
}

Unexpected garbage(const std::string& line, const std::string& expected) {
  return harness_error("expected " + expected + ", the process wrote " + excerpt(line),
                       "standard output is for replies: print to standard error");
}

Expected<Json> object_of(const std::string& line, const std::string& expected) {
  Json json = Json::parse(line, nullptr, false);
  if (json.is_discarded() || !json.is_object()) return garbage(line, expected);
  return json;
}

std::string string_at(const Json& json, const char* key) {
  const auto found = json.find(key);
  return found != json.end() && found->is_string() ? found->get<std::string>() : std::string();
}

bool has_id(const Json& json, std::uint64_t id) {
  const auto found = json.find("id");
  return found != json.end() && found->is_number_unsigned() && found->get<std::uint64_t>() == id;
}

Expected<std::vector<std::string>> words_at(const Json& json, const char* key) {
  std::vector<std::string> words;
  const auto found = json.find(key);
  if (found == json.end()) return words;
  if (!found->is_array()) return harness_error(std::string("'") + key + "' is no array of words");
  for (const Json& word : *found) {
    if (!word.is_string()) return harness_error(std::string("'") + key + "' is no array of words");
    words.push_back(word.get<std::string>());
  }
  return words;
}

Expected<std::vector<DType>> types_at(const Json& json, const char* key) {
  auto words = words_at(json, key);
  if (!words) return Unexpected(words.error());
  std::vector<DType> types;
  for (const std::string& word : *words) {
    const auto type = dtype_from_name(word);
    if (!type) {
      std::vector<std::string> names;
      for (int i = 0; i < kDTypeCount; ++i) names.emplace_back(info(static_cast<DType>(i)).name);
      return harness_error(std::string("'") + key + "' names a type '" + word + "'", did_you_mean(word, names));
    }
    types.push_back(*type);
  }
  return types;
}

Expected<void> read_contract_into(const Json& json, attest_contract& contract) {
  if (!json.is_object()) return harness_error("'contract' is no object");
  for (const auto& [key, value] : json.items()) {
    if (key == "path" && value.is_string()) {
      const std::string path = value.get<std::string>();
      path.copy(contract.path, sizeof contract.path - 1);
      contract.path[std::min(path.size(), sizeof contract.path - 1)] = '\0';
    } else if (key == "q_rounding" && value.is_string()) {
      const auto* at = std::find(kRoundings.begin(), kRoundings.end(), value.get<std::string>());
      if (at == kRoundings.end()) return harness_error("its contract: q_rounding is none, f16, bf16, q8_0 or q8_1");
      contract.q_rounding = static_cast<std::int32_t>(at - kRoundings.begin());
    } else if (value.is_number() || value.is_boolean()) {
      const double number = value.is_boolean() ? (value.get<bool>() ? 1.0 : 0.0) : value.get<double>();
      if (!plugin::set_contract_field(contract, key, number)) {
        return harness_error("its contract has no field '" + key + "'",
                             did_you_mean(key, plugin::contract_field_names()));
      }
    } else {
      return harness_error("its contract: '" + key + "' is " + excerpt(value.dump()));
    }
  }
  auto sound = plugin::read_contract(contract);
  if (!sound) return harness_error("its contract: " + sound.error().message);
  return {};
}

Json problem_json(const AttentionProblem& p, int threads) {
  Json json;
  json["op"] = info(p.op).name;
  json["d_k"] = p.d_k;
  json["d_v"] = p.d_v;
  json["n_head"] = p.n_head;
  json["n_head_kv"] = p.n_head_kv;
  json["n_head_v"] = p.n_head_v;
  json["n_q"] = p.n_q;
  json["n_kv"] = p.n_kv;
  json["n_seq"] = p.n_seq;
  json["n_seq_kv"] = p.n_seq_kv;
  json["k"] = info(p.k_type).name;
  json["v"] = info(p.v_type).name;
  json["mask"] = p.mask.present() ? Json(info(p.mask.type).name) : Json();
  json["sinks"] = p.sinks.kind != SinkKind::none;
  json["scale"] = p.scale;
  json["softcap"] = p.softcap;
  json["max_bias"] = p.max_bias;
  json["prec_f32"] = p.prec == Precision::f32;
  json["threads"] = threads;
  return json;
}

}  // namespace

std::string capabilities_request() { return Json{{"attest", kProtocolVersion}, {"ask", "capabilities"}}.dump(); }

Expected<Capabilities> read_capabilities(const std::string& line) {
  auto json = object_of(line, "its capabilities, a JSON object in one line");
  if (!json) return Unexpected(json.error());
  const auto version = json->find("attest");
  if (version == json->end() || !version->is_number_integer()) {
    return garbage(line, "its capabilities with \"attest\": " + std::to_string(kProtocolVersion));
  }
  if (const auto theirs = version->get<std::int64_t>(); theirs != kProtocolVersion) {
    return harness_error("it speaks version " + std::to_string(theirs) + " of the protocol, this attest version " +
                         std::to_string(kProtocolVersion));
  }
  Capabilities c;
  c.name = plugin::clean_text(string_at(*json, "name").c_str());
  c.build = plugin::clean_text(string_at(*json, "build").c_str());
  const std::vector<std::string> known{"attest",   "name",     "build",         "ops",     "dtypes",
                                       "features", "transfer", "asks_supports", "contract"};
  for (const auto& [key, value] : json->items()) {
    if (std::find(known.begin(), known.end(), key) == known.end()) {
      return harness_error("its capabilities have a field '" + key + "'", did_you_mean(key, known));
    }
  }
  if (c.name.empty()) return harness_error("its capabilities have no name");
  const auto ops = words_at(*json, "ops");
  if (!ops) return Unexpected(ops.error());
  if (std::find(ops->begin(), ops->end(), "flash_attn_ext") == ops->end()) {
    return harness_error("'ops' does not name flash_attn_ext, the only op a process can be asked for");
  }
  const Json dtypes = json->value("dtypes", Json::object());
  for (const auto& [key, to] : {std::pair{"k", &c.k}, {"v", &c.v}, {"mask", &c.mask}}) {
    auto types = dtypes.is_object() ? types_at(dtypes, key) : harness_error("'dtypes' is no object");
    if (!types) return Unexpected(types.error());
    *to = std::move(*types);
  }
  if (c.k.empty() || c.v.empty()) return harness_error("'dtypes' names no type for K or none for V");
  auto features = words_at(*json, "features");
  if (!features) return Unexpected(features.error());
  std::vector<std::string> names{"strides", "empty"};
  for (const FeatureRow& row : kFeatures) names.emplace_back(row.name);
  for (const std::string& feature : *features) {
    if (std::find(names.begin(), names.end(), feature) == names.end()) {
      return harness_error("there is no feature '" + feature + "'", did_you_mean(feature, names));
    }
  }
  c.features = std::move(*features);
  const std::string transfer = json->contains("transfer") ? string_at(*json, "transfer") : "npy";
  if (transfer != "npy" && transfer != "memory") return harness_error("'transfer' is neither npy nor memory");
  c.transfer = transfer == "npy" ? Transfer::npy : Transfer::memory;
  const Json asks = json->value("asks_supports", Json(false));
  if (!asks.is_boolean()) return harness_error("'asks_supports' is neither true nor false");
  c.asks = asks.get<bool>();
  c.contract = plugin::standard_contract();
  if (json->contains("contract")) {
    if (auto read = read_contract_into((*json)["contract"], c.contract); !read) return Unexpected(read.error());
  }
  return c;
}

std::string lacking(const Capabilities& c, const AttentionProblem& p) {
  const auto has = [](const auto& list, const auto& item) {
    return std::find(list.begin(), list.end(), item) != list.end();
  };
  if (!has(c.k, p.k_type)) return "K of type " + std::string(info(p.k_type).name) + " is not among its types";
  if (!has(c.v, p.v_type)) return "V of type " + std::string(info(p.v_type).name) + " is not among its types";
  for (const FeatureRow& row : kFeatures) {
    if (row.needs(p) && !has(c.features, std::string(row.name)))
      return std::string("it does not name the feature ") + row.name;
  }
  if (p.mask.present() && !has(c.mask, p.mask.type)) {
    return "a mask of type " + std::string(info(p.mask.type).name) + " is not among its types";
  }
  if (p.n_kv == 0 && !has(c.features, std::string("empty"))) return "it does not name the feature empty";
  if (c.transfer == Transfer::memory && p.layout != LayoutSpec{} && !has(c.features, std::string("strides"))) {
    return "it does not name the feature strides";
  }
  return cannot_carry(p, c.transfer);
}

std::string supports_request(std::uint64_t id, const AttentionProblem& problem, int threads) {
  return Json{{"ask", "supports"}, {"id", id}, {"problem", problem_json(problem, threads)}}.dump();
}

Expected<Opinion> read_opinion(const std::string& line, std::uint64_t id, const attest_contract& standard) {
  const std::string expected = "a reply with \"id\": " + std::to_string(id) + " and \"supports\"";
  auto json = object_of(line, expected);
  if (!json) return Unexpected(json.error());
  const auto supports = json->find("supports");
  if (!has_id(*json, id) || supports == json->end() || !supports->is_boolean()) return garbage(line, expected);
  Opinion opinion{supports->get<bool>(), plugin::clean_text(string_at(*json, "reason").c_str()), standard};
  if (opinion.yes && json->contains("contract")) {
    if (auto read = read_contract_into((*json)["contract"], opinion.contract); !read) return Unexpected(read.error());
  }
  return opinion;
}

std::string run_request(std::uint64_t id, const AttentionProblem& problem, int threads, Transfer transfer,
                        const std::vector<FileTensor>& tensors) {
  Json json{{"ask", "run"}, {"id", id}, {"problem", problem_json(problem, threads)}};
  for (const FileTensor& tensor : tensors) {
    Json entry{{"file", tensor.file}, {"dtype", info(tensor.shape.dtype).name}};
    if (transfer == Transfer::memory) {
      entry["offset"] = tensor.offset;
      entry["ne"] = tensor.shape.ne;
      entry["nb"] = tensor.shape.nb;
    } else {
      entry["shape"] = array_shape(tensor);
    }
    if (tensor.name == "output") {
      json["output"] = std::move(entry);
    } else {
      json["inputs"][tensor.name] = std::move(entry);
    }
  }
  return json.dump();
}

Expected<RunReply> read_run_reply(const std::string& line, std::uint64_t id) {
  const std::string expected = "a reply with \"id\": " + std::to_string(id);
  auto json = object_of(line, expected);
  if (!json) return Unexpected(json.error());
  if (!has_id(*json, id)) return garbage(line, expected);
  RunReply reply;
  if (const auto error = json->find("error"); error != json->end()) {
    reply.error = error->is_string() ? plugin::clean_text(error->get<std::string>().c_str()) : error->dump();
    if (reply.error.empty()) reply.error = "an error without words";
    return reply;
  }
  if (const auto output = json->find("output"); output != json->end()) {
    if (!output->is_string()) return garbage(line, "\"output\" with the name of a file");
    reply.output = output->get<std::string>();
  }
  if (const auto cpu = json->find("cpu_seconds"); cpu != json->end()) {
    // Not less than 0: NaN is no number in JSON, and one beyond a double does not parse.
    if (!cpu->is_number() || cpu->get<double>() < 0) return garbage(line, "\"cpu_seconds\" of 0 or more");
    reply.cpu_seconds = cpu->get<double>();
  }
  return reply;
}

}  // namespace attest::process
