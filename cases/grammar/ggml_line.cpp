#include "cases/grammar/ggml_line.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <optional>
#include <vector>

#include "cases/grammar/descriptor.h"
#include "cases/grammar/lexer.h"
#include "cases/grammar/values.h"
#include "cases/rules.h"

namespace attest::grammar {
namespace {

// What test_flash_attn_ext has when a key is left out.
struct Arguments {
  std::int64_t hsk = 128, hsv = 128, nh = 32, nr2 = 1, nr3 = 1, kv = 96, nb = 8;
  bool mask = true, sinks = false, kv_view = true, v_is_view_of_k = false, permuted = false;
  float max_bias = 0, softcap = 0;
  Precision prec = Precision::f32;
  DType type_k = DType::f16, type_v = DType::f16;
};

template <class T, class U>
Expected<void> store(Expected<T> value, U& slot) {
  if (!value) return tl::unexpected(value.error());
  slot = static_cast<U>(*value);
  return {};
}

Expected<void> read_flag(const Token& value, std::string_view what, bool& slot) {
  return store(read_int(value, what, 0, 1), slot);
}

Token trimmed(Token token) {
  while (!token.text.empty() && std::isspace(static_cast<unsigned char>(token.text.front())) != 0)
    token = token.from(1);
  while (!token.text.empty() && std::isspace(static_cast<unsigned char>(token.text.back())) != 0) {
    token.text.remove_suffix(1);
  }
  return token;
}

// Pieces between commas that stand in no bracket.
std::vector<Token> split_arguments(const Token& body) {
  std::vector<Token> parts;
  int depth = 0;
  std::size_t begin = 0;
  for (std::size_t i = 0; i <= body.text.size(); ++i) {
    const char c = i < body.text.size() ? body.text[i] : ',';
    if (c == '[') ++depth;
    if (c == ']') --depth;
    if (i < body.text.size() && (c != ',' || depth > 0)) continue;
    parts.push_back(trimmed(body.from(begin).first(i - begin)));
    begin = i + 1;
  }
  return parts;
}

// [a,b,...] with exactly N numbers.
template <std::size_t N>
Expected<std::array<std::int64_t, N>> read_list(const Token& value, std::string_view what, std::int64_t high) {
  const auto text = value.text;
  if (text.size() < 2 || text.front() != '[' || text.back() != ']') {
    return error_at(value, fmt::format("{} must be a list of {} numbers, not '{}'", what, N, text));
  }
  const auto parts = split_arguments(value.from(1).first(text.size() - 2));
  if (parts.size() != N) return error_at(value, fmt::format("{} must be a list of {} numbers", what, N));
  std::array<std::int64_t, N> out{};
  for (std::size_t i = 0; i < N; ++i) {
    const auto number = read_int(parts[i], what, 0, high);
    if (!number) return tl::unexpected(number.error());
    out[i] = *number;
  }
  return out;
}

Expected<void> read_permute(const Token& value, Arguments& a) {
  const auto order = read_list<4>(value, "permute", 3);
  if (!order) return tl::unexpected(order.error());
  constexpr std::array<std::int64_t, 4> kPlain{0, 1, 2, 3}, kHeadsFirst{0, 2, 1, 3};
  if (*order != kPlain && *order != kHeadsFirst) {
    return error_at(value, "permute is neither [0,1,2,3] nor [0,2,1,3]");
  }
  a.permuted = *order == kHeadsFirst;
  return {};
}

Expected<void> read_prec(const Token& value, Arguments& a) {
  if (value.text != "f32" && value.text != "def") {
    return error_at(value, fmt::format("prec = '{}' is no precision", value.text), "f32 or def");
  }
  a.prec = value.text == "f32" ? Precision::f32 : Precision::default_;
  return {};
}

struct GgmlKey {
  std::string_view name;
  Expected<void> (*read)(const Token& value, Arguments& a);
};

constexpr std::array kGgmlKeys{
    GgmlKey{"hsk", [](const Token& v, Arguments& a) { return store(read_int(v, "hsk", 1, kMaxHeadSize), a.hsk); }},
    GgmlKey{"hsv", [](const Token& v, Arguments& a) { return store(read_int(v, "hsv", 1, kMaxHeadSize), a.hsv); }},
    GgmlKey{"hs",
            [](const Token& v, Arguments& a) {
              auto read = store(read_int(v, "hs", 1, kMaxHeadSize), a.hsk);
              a.hsv = a.hsk;
              return read;
            }},
    GgmlKey{"nh", [](const Token& v, Arguments& a) { return store(read_int(v, "nh", 1, kMaxHeads), a.nh); }},
    GgmlKey{"nr23",
            [](const Token& v, Arguments& a) -> Expected<void> {
              const auto repeats = read_list<2>(v, "nr23", kMaxHeads);
              if (!repeats) return tl::unexpected(repeats.error());
              a.nr2 = (*repeats)[0];
              a.nr3 = (*repeats)[1];
              return {};
            }},
    GgmlKey{"nr", [](const Token& v, Arguments& a) { return store(read_int(v, "nr", 1, kMaxHeads), a.nr2); }},
    GgmlKey{"kv", [](const Token& v, Arguments& a) { return store(read_int(v, "kv", 0, kMaxTokens), a.kv); }},
    GgmlKey{"nb", [](const Token& v, Arguments& a) { return store(read_int(v, "nb", 1, kMaxTokens), a.nb); }},
    GgmlKey{"mask", [](const Token& v, Arguments& a) { return read_flag(v, "mask", a.mask); }},
    GgmlKey{"sinks", [](const Token& v, Arguments& a) { return read_flag(v, "sinks", a.sinks); }},
    GgmlKey{"max_bias", [](const Token& v, Arguments& a) { return store(read_float(v, "max_bias"), a.max_bias); }},
    GgmlKey{"logit_softcap",
            [](const Token& v, Arguments& a) { return store(read_float(v, "logit_softcap"), a.softcap); }},
    GgmlKey{"prec", read_prec},
    GgmlKey{"type_K", [](const Token& v, Arguments& a) { return store(read_dtype(v, "type_K"), a.type_k); }},
    GgmlKey{"type_V", [](const Token& v, Arguments& a) { return store(read_dtype(v, "type_V"), a.type_v); }},
    GgmlKey{"type_KV",
            [](const Token& v, Arguments& a) {
              auto read = store(read_dtype(v, "type_KV"), a.type_k);
              a.type_v = a.type_k;
              return read;
            }},
    GgmlKey{"permute", read_permute},
    GgmlKey{"kv_view", [](const Token& v, Arguments& a) { return read_flag(v, "kv_view", a.kv_view); }},
    GgmlKey{"v_is_view_of_k",
            [](const Token& v, Arguments& a) { return read_flag(v, "v_is_view_of_k", a.v_is_view_of_k); }},
};

std::int64_t padded(std::int64_t d, DType type) {
  const std::int64_t block = info(type).block;
  return (d + block - 1) / block * block;
}

Case to_case(const Arguments& a) {
  Case c;
  AttentionProblem& p = c.problem;
  p.d_k = padded(a.hsk, a.type_k);
  p.d_v = padded(a.hsv, a.type_v);
  p.n_head = a.nh * a.nr2;
  p.n_head_kv = p.n_head_v = a.nh;
  p.n_q = a.nb;
  p.n_kv = a.kv;
  p.n_seq = p.n_seq_kv = a.nr3;
  p.k_type = a.type_k;
  p.v_type = a.type_v;
  p.scale = default_scale(a.hsk);
  p.softcap = a.softcap;
  p.max_bias = a.max_bias;
  if (a.mask) {
    p.mask.terms = {MaskTerm{MaskKind::ggml, 0, DeadRows::none}};
    p.mask.per_seq = true;
  }
  if (a.sinks) p.sinks = SinkSpec{SinkKind::uniform, 10};
  p.layout.permuted = a.permuted;
  p.layout.v_view_of_k = a.v_is_view_of_k;
  if (a.kv_view) (a.permuted ? p.layout.parent_heads : p.layout.cache) = 2 * (a.permuted ? a.nh : a.kv);
  p.prec = a.prec;
  c.data.terms = {DataTerm{"uniform", 0, false}};
  return canonical(std::move(c));
}

// The argument of that tool which a broken rule is about.
std::string_view ggml_key(std::string_view key) {
  constexpr std::array<std::array<std::string_view, 2>, 10> kNames{{{"d_k", "hsk"},
                                                                    {"d_v", "hsv"},
                                                                    {"n_head", "nr23"},
                                                                    {"n_head_kv", "nh"},
                                                                    {"n_seq", "nr23"},
                                                                    {"n_q", "nb"},
                                                                    {"n_kv", "kv"},
                                                                    {"softcap", "logit_softcap"},
                                                                    {"layout", "v_is_view_of_k"},
                                                                    {"max_bias", "max_bias"}}};
  for (const auto& [ours, theirs] : kNames) {
    if (ours == key) return theirs;
  }
  return key;
}

struct Seen {
  std::string_view name;
  Token token;
};

const Seen* find(const std::vector<Seen>& seen, std::string_view name) {
  for (const auto& one : seen) {
    if (one.name == name) return &one;
  }
  return nullptr;
}

// An older or shorter spelling and what it stands for.
constexpr std::array<std::array<std::string_view, 2>, 5> kAliases{
    {{"hs", "hsk"}, {"hs", "hsv"}, {"nr", "nr23"}, {"type_KV", "type_K"}, {"type_KV", "type_V"}}};

const Seen* same_under_another_name(const std::vector<Seen>& seen, std::string_view name) {
  for (const auto& [alias, field] : kAliases) {
    const Seen* other = name == alias ? find(seen, field) : name == field ? find(seen, alias) : nullptr;
    if (other != nullptr) return other;
  }
  return nullptr;
}

// What that tool prints behind the colon is a verdict: OK, numbers, "CPU=nan" with a backend's name. A word that could
// be meant for us would do nothing there.
Expected<void> check_verdict(const Token& verdict) {
  for (const Token& word : split_words(verdict)) {
    const auto equals = word.text.find('=');
    if (equals == std::string_view::npos || equals == 0) continue;
    const auto key = word.text.substr(0, equals);
    const bool argument = std::any_of(kGgmlKeys.begin(), kGgmlKeys.end(), [&](const auto& k) { return k.name == key; });
    const bool lower = key.find_first_not_of("abcdefghijklmnopqrstuvwxyz0123456789_") == std::string_view::npos;
    if (!argument && !lower) continue;
    return error_at(word, fmt::format("'{}' stands behind the case and changes nothing", word.text),
                    argument ? "between the brackets" : "write the case as a descriptor, as 'attest show' prints it");
  }
  return {};
}

Expected<void> read_argument(const Token& argument, std::vector<Seen>& seen, Arguments& out) {
  const auto equals = argument.text.find('=');
  const Token name = trimmed(argument.first(equals));
  for (const auto& key : kGgmlKeys) {
    if (key.name != name.text) continue;
    if (equals == std::string_view::npos) return error_at(name, fmt::format("'{}' has no value", name.text));
    if (find(seen, key.name) != nullptr) return error_at(name, fmt::format("'{}' is given twice", name.text));
    if (const Seen* other = same_under_another_name(seen, key.name)) {
      return error_at(name, fmt::format("{} and {} exclude each other", other->name, name.text));
    }
    seen.push_back({key.name, name});
    return key.read(trimmed(argument.from(equals + 1)), out);
  }
  std::vector<std::string> names;
  for (const auto& key : kGgmlKeys) names.emplace_back(key.name);
  return error_at(name, fmt::format("unknown argument '{}'", name.text), did_you_mean(name.text, names));
}

}  // namespace

bool looks_like_ggml_line(std::string_view line) {
  const auto open = line.find('(');
  return open != std::string_view::npos && line.substr(0, open).find('=') == std::string_view::npos;
}

Expected<Case> parse_ggml_line(std::string_view line) {
  const Token whole{line, 1};
  const auto open = line.find('(');
  const Token op = trimmed(whole.first(open));
  if (op.text != "FLASH_ATTN_EXT" && op.text != "flash_attn_ext") {
    return error_at(op, fmt::format("unknown op '{}'", op.text), "the op is FLASH_ATTN_EXT");
  }
  const auto close = line.find(')', open);
  if (close == std::string_view::npos) return error_at(whole.from(line.size()), "no closing ')'");
  const Token rest = trimmed(whole.from(close + 1));
  if (!rest.text.empty() && rest.text.front() != ':') {
    return error_at(rest, fmt::format("unexpected '{}' after ')'", rest.text));
  }
  if (auto fine = check_verdict(rest.text.empty() ? rest : rest.from(1)); !fine) return tl::unexpected(fine.error());
  Arguments arguments;
  std::vector<Seen> seen;
  for (const Token& argument : split_arguments(whole.from(open + 1).first(close - open - 1))) {
    if (auto read = read_argument(argument, seen, arguments); !read) return tl::unexpected(read.error());
  }
  for (const std::string_view needed : {"hsk", "nh", "kv", "nb"}) {
    if (find(seen, needed) == nullptr && !(needed == "hsk" && find(seen, "hs") != nullptr)) {
      return error_at(op, fmt::format("'{}' is missing", needed));
    }
  }
  if (find(seen, "hsv") == nullptr) arguments.hsv = arguments.hsk;
  Case c = to_case(arguments);
  if (const auto broken = find_violation(c.problem)) {
    const Seen* blamed = find(seen, ggml_key(broken->key));
    return error_at(blamed != nullptr ? blamed->token : op, fmt::format("{} {}", broken->key, broken->what),
                    broken->hint);
  }
  return c;
}

}  // namespace attest::grammar
