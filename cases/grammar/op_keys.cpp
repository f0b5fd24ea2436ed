#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "cases/decode.h"
#include "cases/families.h"
#include "cases/grammar/keys.h"
#include "cases/grammar/values.h"
#include "cases/op_inputs.h"
#include "cases/rules.h"

namespace attest::grammar {
namespace {

template <class T>
struct Word {
  std::string_view name;
  T value;
};
constexpr std::array kOrders{
    Word<RowOrder>{"shuffled", RowOrder::shuffled}, Word<RowOrder>{"ascending", RowOrder::ascending},
    Word<RowOrder>{"descending", RowOrder::descending}, Word<RowOrder>{"strided", RowOrder::strided}};
constexpr std::array kSources{Word<SourceKind>{"plain", SourceKind::plain}, Word<SourceKind>{"nan", SourceKind::nan},
                              Word<SourceKind>{"inf", SourceKind::inf}, Word<SourceKind>{"large", SourceKind::large},
                              Word<SourceKind>{"tiny", SourceKind::tiny}};
constexpr std::array kCaches{Word<CacheKind>{"static", CacheKind::static_}, Word<CacheKind>{"grown", CacheKind::grown},
                             Word<CacheKind>{"doubling", CacheKind::doubling}};
constexpr std::array kIndices{Word<bool>{"i64", false}, Word<bool>{"i32", true}};

template <const auto& words, class T>
Expected<void> read_word(const Token& token, std::string_view what, T& slot) {
  std::vector<std::string> names;
  for (const auto& word : words) {
    if (word.name == token.text) {
      slot = word.value;
      return {};
    }
    names.emplace_back(word.name);
  }
  const std::string near = did_you_mean(token.text, names);
  return error_at(token, fmt::format("unknown {} '{}'", what, token.text),
                  near.empty() ? fmt::format("one of: {}", fmt::join(names, ", ")) : near);
}

template <const auto& words>
std::string choices() {
  std::vector<std::string_view> names;
  for (const auto& word : words) names.push_back(word.name);
  return fmt::format("{}", fmt::join(names, " | "));
}

template <const auto& words, class T>
std::string text_of(T value) {
  const auto* at = std::find_if(words.begin(), words.end(), [&](const auto& w) { return w.value == value; });
  return at == words.begin() ? "" : std::string(at->name);
}

std::string counted() { return "1, 2, 3 ..."; }
std::string counted_from_0() { return "0, 1, 2 ..."; }
void nothing(Case&) {}

Expected<void> read_count(const Token& token, std::int64_t low, std::int64_t& slot) {
  const auto number = read_int(token, "the value", low, kMaxTokens);
  if (!number) return tl::unexpected(number.error());
  slot = *number;
  return {};
}

template <auto member, std::int64_t low>
Expected<void> read_problem(const Token& t, Case& c) {
  return read_count(t, low, c.problem.*member);
}
template <auto member, std::int64_t low>
Expected<void> read_decode(const Token& t, Case& c) {
  return read_count(t, low, c.problem.decode.*member);
}
template <auto member, std::int64_t standard>
std::string print_decode(const Case& c) {
  return c.problem.decode.*member == standard ? "" : fmt::format("{}", c.problem.decode.*member);
}

using P = AttentionProblem;
using D = DecodeSpec;

Key taken(std::string_view name) {
  const auto& all = attention_keys();
  return *std::find_if(all.begin(), all.end(), [&](const Key& k) { return k.key == name; });
}

Key scale_of_soft_max() {
  Key key = taken("scale");
  key.standard = "1";
  key.meaning = "factor on the scores";
  key.fallback = [](Case& c) { c.problem.scale = 1; };
  key.print = [](const Case& c) { return c.problem.scale == 1 ? std::string() : scale_text(c.problem.scale); };
  return key;
}

// A key of the attention table with a name and a meaning of its own; `standard` replaces what a line without it means.
Key renamed(std::string_view name, std::string_view meaning, std::string_view example = {}) {
  Key key = taken(name);
  key.meaning = meaning;
  if (!example.empty()) key.example = example;
  return key;
}

Key cache_rows(std::int64_t /*standard*/) {
  return {"n_ctx",
          "rows of the cache",
          "64",
          "n_ctx=2060",
          counted,
          read_problem<&P::n_kv, 1>,
          [](Case& c) { c.problem.n_kv = 64; },
          [](const Case& c) { return fmt::format("{}", c.problem.n_kv); }};
}

std::vector<Key> soft_max_keys() {
  return {renamed("n_head", "heads of the scores"),
          renamed("n_q", "rows per head"),
          renamed("n_kv", "scores per row"),
          renamed("n_seq", "sequences"),
          taken("mask"),
          scale_of_soft_max(),
          taken("max_bias"),
          renamed("sinks", "one more logit per head, without a weight of its own"),
          renamed("data", "what the scores are; families that shape scores", "data=rising"),
          renamed("poison", "hidden: scores that the mask hides; output", "poison=hidden:nan"),
          taken("threads"),
          taken("seed")};
}

std::vector<Key> set_rows_keys() {
  return {renamed("d", "elements of a row", "d=128"),
          renamed("n_head", "heads of source and cache"),
          renamed("n_seq", "sequences, each with indices of its own"),
          {"n_rows", "rows to be stored per head; at most n_ctx", "1", "n_rows=17", counted, read_problem<&P::n_q, 1>,
           nothing, [](const Case& c) { return fmt::format("{}", c.problem.n_q); }},
          cache_rows(64),
          renamed("kv", "storage type of the cache: f32 f16 bf16 q8_0 q4_0 q4_1 q5_0 q5_1"),
          {"order", "where they go; no two to one row", "shuffled", "order=descending", choices<kOrders>,
           [](const Token& t, Case& c) { return read_word<kOrders>(t, "order", c.problem.scatter.order); }, nothing,
           [](const Case& c) { return text_of<kOrders>(c.problem.scatter.order); }},
          {"index", "type of the indices", "i64", "index=i32", choices<kIndices>,
           [](const Token& t, Case& c) { return read_word<kIndices>(t, "index type", c.problem.scatter.index_i32); },
           nothing, [](const Case& c) { return text_of<kIndices>(c.problem.scatter.index_i32); }},
          {"source", "odd values among those to be stored, one in 37", "plain", "source=nan", choices<kSources>,
           [](const Token& t, Case& c) { return read_word<kSources>(t, "source", c.problem.scatter.source); }, nothing,
           [](const Case& c) { return text_of<kSources>(c.problem.scatter.source); }},
          renamed("data", "what is stored: normal[:A] uniform outlier integer flat huge[:A]", "data=outlier"),
          renamed("poison", "what the cache holds before", "poison=nan"),
          taken("threads"),
          taken("seed")};
}

std::vector<Key> kv_decode_keys() {
  return {
      taken("d"),
      taken("d_k"),
      taken("d_v"),
      taken("n_head"),
      taken("n_head_kv"),
      cache_rows(64),
      {"prompt", "tokens of the prompt", "1", "prompt=100", counted_from_0, read_decode<&D::prompt, 0>, nothing,
       print_decode<&D::prompt, 1>},
      {"chunk", "tokens of a prefill step", "64", "chunk=32", counted, read_decode<&D::chunk, 1>, nothing,
       print_decode<&D::chunk, 64>},
      {"steps", "tokens decoded one by one after a prompt", "1", "steps=8", counted_from_0, read_decode<&D::steps, 0>,
       nothing, print_decode<&D::steps, 1>},
      {"restart", "tokens of a second prompt on the same cache, from row 0 on; 0 is none", "0", "restart=40",
       counted_from_0, read_decode<&D::restart, 0>, nothing, print_decode<&D::restart, 0>},
      {"cache", "static: all n_ctx rows; grown: a row per token; doubling: 16, 32, 64 ...", "static", "cache=doubling",
       choices<kCaches>, [](const Token& t, Case& c) { return read_word<kCaches>(t, "cache", c.problem.decode.cache); },
       nothing, [](const Case& c) { return text_of<kCaches>(c.problem.decode.cache); }},
      taken("kv"),
      taken("k"),
      taken("v"),
      taken("scale"),
      taken("softcap"),
      taken("sinks"),
      renamed("layout", "0123: heads outermost; 0213: tokens outermost", "layout=0213"),
      taken("data"),
      renamed("poison", "what the cache holds before the first step, and in its spare part", "poison=nan"),
      taken("threads"),
      taken("prec"),
      taken("seed")};
}

}  // namespace

const std::vector<Key>& keys(Op op) {
  static const std::vector<Key> soft_max = soft_max_keys(), set_rows = set_rows_keys(), decode = kv_decode_keys();
  switch (op) {
    case Op::soft_max_ext:
      return soft_max;
    case Op::set_rows:
      return set_rows;
    case Op::kv_decode:
      return decode;
    case Op::flash_attn_ext:
      break;
  }
  return attention_keys();
}

void canonicalise_op(Case& c) {
  AttentionProblem& p = c.problem;
  switch (p.op) {
    case Op::soft_max_ext:
      p.d_k = p.d_v = 1;
      p.n_head_kv = p.n_head_v = p.n_head;
      p.n_seq_kv = p.n_seq;
      break;
    case Op::set_rows:
      p.d_v = p.d_k;
      p.v_type = p.k_type;
      p.n_head_kv = p.n_head_v = p.n_head;
      p.n_seq_kv = p.n_seq;
      p.scale = 1;
      break;
    case Op::kv_decode:
      p.n_seq = p.n_seq_kv = 1;
      p.n_head_v = p.n_head_kv;
      p.n_q = decode_tokens(p.decode);
      break;
    case Op::flash_attn_ext:
      break;
  }
  if (p.op != Op::set_rows) p.scatter = {};
  if (p.op != Op::kv_decode) p.decode = {};
}

Expected<void> check_op_values(const Case& c, std::string_view key) {
  const Op op = c.problem.op;
  if (key == "poison" && (op == Op::set_rows || op == Op::kv_decode) && c.poison.where != PoisonWhere::everywhere) {
    return input_error(fmt::format("poison of {} is the cache's old bytes: it names no place", info(op).name),
                       "e.g. poison=nan");
  }
  if (key == "poison" && op == Op::soft_max_ext && c.poison.what != PoisonWhat::none &&
      c.poison.where != PoisonWhere::everywhere && c.poison.where != PoisonWhere::hidden &&
      c.poison.where != PoisonWhere::output) {
    return input_error("soft_max_ext has no such place", "hidden or output");
  }
  if (key == "data" && op == Op::kv_decode && resolve(c.data).scores == Family::spike_last) {
    return input_error("data=spike_last means nothing to kv_decode: a flat tail has no room for a key per token",
                       "needle_last");
  }
  if (key != "data" || op == Op::kv_decode || op == Op::flash_attn_ext) return {};
  static const std::vector<std::string> stored{"normal", "uniform", "outlier", "integer", "flat", "huge"};
  for (const DataTerm& term : c.data.terms) {
    const bool fits = op == Op::soft_max_ext ? family_fits_soft_max(term.name)
                                             : std::find(stored.begin(), stored.end(), term.name) != stored.end();
    if (!fits) {
      return input_error(fmt::format("data={} means nothing to {}", term.name, info(op).name),
                         op == Op::soft_max_ext ? "normal, rising, falling, needle_last, onehot, flat, low, huge ..."
                                                : fmt::format("{}", fmt::join(stored, ", ")));
    }
  }
  return {};
}

}  // namespace attest::grammar
