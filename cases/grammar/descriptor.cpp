#include "cases/grammar/descriptor.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <functional>
#include <optional>

#include "cases/families.h"
#include "cases/grammar/keys.h"
#include "cases/grammar/lexer.h"
#include "cases/grammar/values.h"
#include "cases/rules.h"

namespace attest::grammar {
namespace {

template <class T, class U>
Expected<void> store(Expected<T> value, U& slot) {
  if (!value) return tl::unexpected(value.error());
  slot = static_cast<U>(*value);
  return {};
}

using Size = std::int64_t AttentionProblem::*;
using Real = float AttentionProblem::*;

template <Size member, std::int64_t low, std::int64_t high>
Expected<void> read_size(const Token& value, Case& c) {
  return store(read_int(value, "the value", low, high), c.problem.*member);
}
template <Size member>
std::string print_size(const Case& c) {
  return fmt::format("{}", c.problem.*member);
}
// Left out where it equals the member it defaults to.
template <Size member, Size standard>
std::string print_unless(const Case& c) {
  return c.problem.*member == c.problem.*standard ? "" : print_size<member>(c);
}
template <Size member, Size standard>
void take(Case& c) {
  c.problem.*member = c.problem.*standard;
}
template <Real member>
Expected<void> read_real(const Token& value, Case& c) {
  return store(read_float(value, "the value"), c.problem.*member);
}
template <Real member>
std::string print_real(const Case& c) {
  return c.problem.*member == 0 ? "" : number_text(c.problem.*member);
}

void nothing(Case&) {}
std::string positive() { return "1, 2, 3 ..."; }
std::string not_negative() { return "a number from 0 on"; }

bool same_types(const Case& c) { return c.problem.k_type == c.problem.v_type; }

using P = AttentionProblem;
constexpr auto kHeads = kMaxHeads;

constexpr std::array kAttentionKeys{
    Key{"d", "head size of Q, K, V and the output", "64", "d=128", positive,
        [](const Token& v, Case& c) {
          auto read = read_size<&P::d_k, 1, kMaxHeadSize>(v, c);
          c.problem.d_v = c.problem.d_k;
          return read;
        },
        nothing, [](const Case& c) { return c.problem.d_k == c.problem.d_v ? print_size<&P::d_k>(c) : ""; }},
    Key{"d_k", "head size of Q and K", "d", "d_k=192", positive,
        [](const Token& v, Case& c) {
          auto read = read_size<&P::d_k, 1, kMaxHeadSize>(v, c);
          c.problem.d_v = c.problem.d_k;
          return read;
        },
        nothing, print_unless<&P::d_k, &P::d_v>},
    Key{"d_v", "head size of V and the output", "d_k", "d_v=128", positive, read_size<&P::d_v, 1, kMaxHeadSize>,
        nothing, print_unless<&P::d_v, &P::d_k>},
    Key{"n_head", "heads of Q", "1", "n_head=16", positive, read_size<&P::n_head, 1, kHeads>, nothing,
        print_size<&P::n_head>},
    Key{"n_head_kv", "heads of K; divides n_head", "n_head", "n_head_kv=8", positive,
        read_size<&P::n_head_kv, 1, kHeads>, take<&P::n_head_kv, &P::n_head>, print_unless<&P::n_head_kv, &P::n_head>},
    Key{"n_head_v", "heads of V; divides n_head", "n_head_kv", "n_head_v=4", positive,
        read_size<&P::n_head_v, 1, kHeads>, take<&P::n_head_v, &P::n_head_kv>,
        print_unless<&P::n_head_v, &P::n_head_kv>},
    Key{"n_q", "queries (tokens of the batch)", "1", "n_q=33", positive, read_size<&P::n_q, 1, kMaxTokens>, nothing,
        print_size<&P::n_q>},
    Key{"n_kv", "keys", "64", "n_kv=2060", []() -> std::string { return "0, 1, 2 ..."; },
        read_size<&P::n_kv, 0, kMaxTokens>, [](Case& c) { c.problem.n_kv = 64; }, print_size<&P::n_kv>},
    Key{"n_seq", "sequences of Q", "1", "n_seq=3", positive, read_size<&P::n_seq, 1, kHeads>, nothing,
        [](const Case& c) { return c.problem.n_seq == 1 ? "" : print_size<&P::n_seq>(c); }},
    Key{"n_seq_kv", "sequences of K and V; divides n_seq", "n_seq", "n_seq_kv=1", positive,
        read_size<&P::n_seq_kv, 1, kHeads>, take<&P::n_seq_kv, &P::n_seq>, print_unless<&P::n_seq_kv, &P::n_seq>},
    Key{"kv", "storage type of K and V", "f16", "kv=q8_0", dtype_values,
        [](const Token& v, Case& c) {
          auto read = store(read_dtype(v, "kv"), c.problem.k_type);
          c.problem.v_type = c.problem.k_type;
          return read;
        },
        nothing, [](const Case& c) { return same_types(c) ? std::string(info(c.problem.k_type).name) : ""; }},
    Key{"k", "storage type of K", "f16", "k=q8_0", dtype_values,
        [](const Token& v, Case& c) { return store(read_dtype(v, "k"), c.problem.k_type); }, nothing,
        [](const Case& c) { return same_types(c) ? "" : std::string(info(c.problem.k_type).name); }},
    Key{"v", "storage type of V", "f16", "v=q4_0", dtype_values,
        [](const Token& v, Case& c) { return store(read_dtype(v, "v"), c.problem.v_type); }, nothing,
        [](const Case& c) { return same_types(c) ? "" : std::string(info(c.problem.v_type).name); }},
    Key{"mask", "what is hidden and what is biased; terms joined by '+'", "none", "mask=causal+used:300", mask_values,
        [](const Token& v, Case& c) { return store(read_mask(v), c.problem.mask); }, nothing,
        [](const Case& c) { return c.problem.mask.present() ? mask_text(c.problem.mask) : ""; }},
    Key{"scale", "factor on q.k", "1/sqrt(d_k)", "scale=1/12",
        []() -> std::string { return "a number | 1/N | 1/sqrt(N)"; },
        [](const Token& v, Case& c) { return store(read_scale(v), c.problem.scale); },
        [](Case& c) { c.problem.scale = default_scale(c.problem.d_k); },
        [](const Case& c) {
          return c.problem.scale == default_scale(c.problem.d_k) ? "" : scale_text(c.problem.scale);
        }},
    Key{"softcap", "L of L tanh(x / L), before the mask; 0 is none", "0", "softcap=30", not_negative,
        read_real<&P::softcap>, nothing, print_real<&P::softcap>},
    Key{"max_bias", "ALiBi: slopes on the mask; 0 is none", "0", "max_bias=8", not_negative, read_real<&P::max_bias>,
        nothing, print_real<&P::max_bias>},
    Key{"sinks", "one more logit per head, with V = 0", "none", "sinks=uniform",
        []() -> std::string { return "none | NUMBER | -inf | uniform[:A] | normal[:S]"; },
        [](const Token& v, Case& c) { return store(read_sinks(v), c.problem.sinks); }, nothing,
        [](const Case& c) { return c.problem.sinks.kind == SinkKind::none ? "" : sinks_text(c.problem.sinks); }},
    Key{"layout", "where the tensors lie; terms joined by '+'", "0123", "layout=0213+cache:512", layout_values,
        [](const Token& v, Case& c) { return store(read_layout(v), c.problem.layout); }, nothing,
        [](const Case& c) { return c.problem.layout == LayoutSpec{} ? "" : layout_text(c.problem.layout); }},
    Key{"data", "what fills Q, K and V; one term for the scores, one for V", "normal", "data=rising+v_shift:5",
        data_values, [](const Token& v, Case& c) { return store(read_data(v), c.data); }, nothing,
        [](const Case& c) { return c.data.terms.empty() ? "" : data_text(c.data); }},
    Key{"poison", "what lies in memory that must not count", "none", "poison=hidden:nan", poison_values,
        [](const Token& v, Case& c) { return store(read_poison(v), c.poison); }, nothing,
        [](const Case& c) { return c.poison.what == PoisonWhat::none ? "" : poison_text(c.poison); }},
    Key{"threads", "threads of the backend; 0: its own option decides", "0", "threads=3",
        []() -> std::string { return "0, 1, 2 ..."; },
        [](const Token& v, Case& c) { return store(read_int(v, "threads", 0, kMaxThreads), c.problem.threads); },
        nothing, [](const Case& c) { return c.problem.threads == 0 ? "" : fmt::format("{}", c.problem.threads); }},
    Key{"prec", "precision asked for", "default", "prec=f32", []() -> std::string { return "default | f32"; },
        [](const Token& v, Case& c) -> Expected<void> {
          if (v.text != "default" && v.text != "f32") {
            return error_at(v, fmt::format("prec = '{}' is no precision", v.text), "default or f32");
          }
          c.problem.prec = v.text == "f32" ? Precision::f32 : Precision::default_;
          return {};
        },
        nothing, [](const Case& c) -> std::string { return c.problem.prec == Precision::f32 ? "f32" : ""; }},
    Key{"seed", "of every random value", "0", "seed=7", []() -> std::string { return "0, 1, 2 ..."; },
        [](const Token& v, Case& c) { return store(read_seed(v, "seed"), c.seed); }, nothing,
        [](const Case& c) { return c.seed == 0 ? "" : fmt::format("{}", c.seed); }},
};

struct Field {
  Token key, value;
};

class Fields {
 public:
  explicit Fields(Op op) : op_(op), keys_(&keys(op)), fields_(keys_->size()) {}

  Expected<void> add(const Token& word) {
    const auto equals = word.text.find('=');
    const Token key = word.first(equals);
    const auto known = std::find_if(keys_->begin(), keys_->end(), [&](const Key& k) { return k.key == key.text; });
    if (known == keys_->end()) {
      const auto& all = attention_keys();
      if (op_ != Op::flash_attn_ext && equals != std::string_view::npos &&
          std::any_of(all.begin(), all.end(), [&](const Key& k) { return k.key == key.text; })) {
        const std::string near = did_you_mean(key.text, key_names(op_));
        return error_at(key, fmt::format("'{}' means nothing to {}", key.text, info(op_).name),
                        near.empty() ? fmt::format("its keys: {}", fmt::join(key_names(op_), " ")) : near);
      }
      return error_at(key,
                      equals == std::string_view::npos ? fmt::format("expected key=value, not '{}'", word.text)
                                                       : fmt::format("unknown key '{}'", key.text),
                      did_you_mean(key.text, key_names(op_)));
    }
    if (equals == std::string_view::npos) {
      return error_at(key, fmt::format("'{}' has no value", key.text), fmt::format("e.g. {}", known->example));
    }
    const Token value = word.from(equals + 1);
    if (value.text.empty()) {
      return error_at(value, fmt::format("{}= has no value", key.text), fmt::format("e.g. {}", known->example));
    }
    auto& slot = fields_[static_cast<std::size_t>(known - keys_->begin())];
    if (slot) return error_at(key, fmt::format("'{}' is given twice", key.text));
    slot = Field{key, value};
    return {};
  }

  const Field* find(std::string_view key) const {
    for (std::size_t i = 0; i < fields_.size(); ++i) {
      if ((*keys_)[i].key == key && fields_[i]) return &*fields_[i];
    }
    return nullptr;
  }

  // d and d_k, kv and k exclude each other.
  Expected<void> check_conflicts() const {
    constexpr std::array<std::array<std::string_view, 2>, 4> kPairs{
        {{"d", "d_k"}, {"d", "d_v"}, {"kv", "k"}, {"kv", "v"}}};
    for (const auto& [whole, part] : kPairs) {
      const Field *first = find(whole), *second = find(part);
      if (first == nullptr || second == nullptr) continue;
      const Field* later = first->key.column > second->key.column ? first : second;
      return error_at(later->key, fmt::format("{} and {} exclude each other", whole, part),
                      whole == "d" ? "d=N or d_k=N d_v=M" : "kv=TYPE or k=TYPE v=TYPE");
    }
    return {};
  }

  Expected<void> apply(Case& c) const {
    for (std::size_t i = 0; i < fields_.size(); ++i) {
      const Key& key = (*keys_)[i];
      if (!fields_[i]) {
        key.fallback(c);
        continue;
      }
      if (auto read = key.read(fields_[i]->value, c); !read) {
        Error error = read.error();
        constexpr std::string_view kGeneric = "the value";
        if (error.message.starts_with(kGeneric)) error.message.replace(0, kGeneric.size(), key.key);
        return tl::unexpected(std::move(error));
      }
      if (auto fits = check_op_values(c, key.key); !fits) {
        return error_at(fields_[i]->value, fits.error().message, fits.error().hint);
      }
    }
    return {};
  }

  // The key of the line to blame for a broken rule: the key itself or the one it takes its value from.
  Unexpected blame(const Violation& broken, const Token& op) const {
    const auto sources = [&]() -> std::vector<std::string_view> {
      if (broken.key == "d_k" || broken.key == "d_v")
        return {broken.key, "d", "d_k", broken.key == "d_k" ? "k" : "v", "kv"};
      if (broken.key == "n_head_v") return {"n_head_v", "n_head_kv", "n_head"};
      if (broken.key == "n_head_kv") return {"n_head_kv", "n_head"};
      if (broken.key == "n_seq_kv") return {"n_seq_kv", "n_seq"};
      return {broken.key};
    }();
    for (const auto key : sources) {
      const Field* field = find(key);
      if (field == nullptr) continue;
      const bool renamed = key == "d";
      return error_at(field->key, fmt::format("{} {}", renamed ? key : broken.key, broken.what), broken.hint);
    }
    return error_at(op, fmt::format("{} {}", broken.key, broken.what), broken.hint);
  }

 private:
  Op op_;
  const std::vector<Key>* keys_;
  std::vector<std::optional<Field>> fields_;
};

std::vector<ValueInfo> terms_of(std::string_view key) {
  if (key == "mask") return mask_terms();
  if (key == "layout") return layout_terms();
  if (key == "data") return data_terms();
  if (key == "poison") return poison_terms();
  return {};
}

}  // namespace

float default_scale(std::int64_t d_k) { return 1.0F / std::sqrt(static_cast<float>(d_k)); }

const std::vector<Key>& attention_keys() {
  static const std::vector<Key> table(kAttentionKeys.begin(), kAttentionKeys.end());
  return table;
}

std::vector<AxisInfo> axes(Op op) {
  std::vector<AxisInfo> out;
  for (const auto& key : keys(op)) {
    out.push_back({key.key, key.meaning, key.values(), key.standard, key.example, terms_of(key.key)});
  }
  return out;
}

const std::vector<AxisInfo>& axes() {
  static const std::vector<AxisInfo> table = axes(Op::flash_attn_ext);
  return table;
}

std::vector<std::string> key_names(Op op) {
  std::vector<std::string> names;
  for (const auto& key : keys(op)) names.emplace_back(key.key);
  return names;
}

namespace {

struct Reading {
  Fields fields;
  Token op;
  Case c;
};

// All lower or all upper case.
std::optional<Op> spelt_op(std::string_view word) {
  for (const OpInfo& op : all_ops()) {
    if (word == op.name || word == op.upper) return op.op;
  }
  return std::nullopt;
}

std::string hint_of_op(std::string_view name) {
  const std::string near = did_you_mean(name, op_names());
  return near.empty() ? fmt::format("the ops are {}", fmt::join(op_names(), ", ")) : near;
}

Expected<Reading> read_words(std::string_view line) {
  const auto words = split_words(Token{line, 1});
  if (words.empty()) return error_at(Token{line, 1}, "empty line", "e.g. flash_attn_ext d=128 n_q=1 n_kv=512");
  const auto op = spelt_op(words.front().text);
  if (!op) {
    const auto name = words.front().text;
    return error_at(words.front(),
                    name.find('=') == std::string_view::npos ? fmt::format("unknown op '{}'", name)
                                                             : std::string("a case starts with the name of its op"),
                    hint_of_op(name));
  }
  Reading out{Fields(*op), words.front(), {}};
  out.c.problem.op = *op;
  for (std::size_t i = 1; i < words.size(); ++i) {
    if (auto added = out.fields.add(words[i]); !added) return tl::unexpected(added.error());
  }
  if (auto fine = out.fields.check_conflicts(); !fine) return tl::unexpected(fine.error());
  if (auto fine = out.fields.apply(out.c); !fine) return tl::unexpected(fine.error());
  // Sizes that the op's keys do not name follow from those they do, before any rule looks at them.
  canonicalise_op(out.c);
  return out;
}

}  // namespace

Expected<Case> read_descriptor(std::string_view line) {
  auto reading = read_words(line);
  if (!reading) return tl::unexpected(reading.error());
  return std::move(reading->c);
}

Expected<Case> parse_descriptor(std::string_view line) {
  auto reading = read_words(line);
  if (!reading) return tl::unexpected(reading.error());
  if (const auto broken = find_violation(reading->c.problem)) return reading->fields.blame(*broken, reading->op);
  return canonical(std::move(reading->c));
}

std::string print_descriptor(const Case& given) {
  const Case c = canonical(given);
  std::string out(info(c.problem.op).name);
  for (const auto& key : keys(c.problem.op)) {
    const std::string value = key.print(c);
    if (!value.empty()) out += fmt::format(" {}={}", key.key, value);
  }
  return out;
}

Case canonical(Case c) {
  AttentionProblem& p = c.problem;
  c.op = info(p.op).name;
  canonicalise_op(c);
  for (float* number : {&p.scale, &p.softcap, &p.max_bias}) *number += 0.0F;  // no -0
  canonicalise(p.mask);
  p.mask.per_head = p.mask.per_head && p.n_head > 1;
  p.mask.per_seq = p.mask.per_seq && p.n_seq > 1;
  if (p.sinks.kind == SinkKind::none) p.sinks.arg = 0;
  if (p.sinks.kind == SinkKind::uniform && p.sinks.arg == 0) p.sinks.arg = 10;
  if (p.sinks.kind == SinkKind::normal && p.sinks.arg == 0) p.sinks.arg = 1;
  p.sinks.arg += 0.0;
  if (p.layout.cache == p.n_kv) p.layout.cache = 0;
  if (p.layout.parent_heads == p.n_head_kv && p.n_head_v == p.n_head_kv) p.layout.parent_heads = 0;
  if (c.poison.what == PoisonWhat::none) c.poison.where = PoisonWhere::everywhere;
  if (c.poison.what != PoisonWhat::previous) c.poison.seed = 0;
  canonicalise(c.data);
  // V is K there: a family of its own fills nothing.
  if (p.layout.v_view_of_k) {
    std::erase_if(c.data.terms, [](const DataTerm& term) {
      const FamilyInfo* family = find_family(term.name);
      return family != nullptr && !family->shapes_qk;
    });
  }
  return c;
}

}  // namespace attest::grammar
