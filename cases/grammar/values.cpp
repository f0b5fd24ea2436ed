#include "cases/grammar/values.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <optional>

#include "cases/rules.h"

namespace attest::grammar {
namespace {

template <class T>
struct Word {
  std::string_view name;
  T value;
  std::string_view meaning;
};

constexpr std::array<Word<PoisonWhere>, 10> kPoisonWhere{{
    {"everywhere", PoisonWhere::everywhere, "all places; the same as no place"},
    {"hidden", PoisonWhere::hidden, "keys below n_kv that the mask hides from whoever reads them: beyond n_used"},
    {"gaps", PoisonWhere::gaps, "rows, heads, end and the bytes before Q, K and V"},
    {"rows", PoisonWhere::rows, "between rows of K and V (layout=pad:N)"},
    {"heads", PoisonWhere::heads, "between heads of K and V (layout=cache:N, heads:N)"},
    {"end", PoisonWhere::end, "after the last element of Q, K, V and the mask (layout=tail:BYTES)"},
    {"mask-padding", PoisonWhere::mask_padding, "mask-rows, mask-cols and the bytes before the mask"},
    {"mask-rows", PoisonWhere::mask_rows, "rows of the mask beyond n_q (layout=mask-rows:N)"},
    {"mask-cols", PoisonWhere::mask_cols, "columns of the mask beyond n_kv (layout=mask-cols:N)"},
    {"output", PoisonWhere::output, "the output before the call"},
}};
constexpr std::array<Word<PoisonWhat>, 8> kPoisonWhat{{
    {"none", PoisonWhat::none, "ordinary values and zeros"},
    {"zero", PoisonWhat::zero, "zeros"},
    {"60000", PoisonWhat::plus_60000, "large and finite, in every type"},
    {"-60000", PoisonWhat::minus_60000, "large, finite and negative"},
    {"nan", PoisonWhat::nan, "NaN"},
    {"inf", PoisonWhat::inf, "+infinity"},
    {"random", PoisonWhat::random, "random bytes"},
    {"previous", PoisonWhat::previous, "previous:SEED, what the same problem holds there under that seed"},
}};

struct LayoutWord {
  std::string_view name, argument, meaning;
  std::int64_t LayoutSpec::*count = nullptr;
  bool LayoutSpec::*flag = nullptr;
};
constexpr std::array<LayoutWord, 13> kLayouts{{
    {"0123", "", "every tensor contiguous as [d, n, heads, sequences]", nullptr, nullptr},
    {"0213", "", "Q, K and V lie as [d, heads, n, sequences] and are permuted", nullptr, &LayoutSpec::permuted},
    {"kt", "", "K transposed: keys of one column side by side", nullptr, &LayoutSpec::k_transposed},
    {"cache", ":N", "K and V are the first n_kv rows of a cache of N", &LayoutSpec::cache, nullptr},
    {"heads", ":N", "K and V are the first heads of a parent with N", &LayoutSpec::parent_heads, nullptr},
    {"pad", ":N", "N elements at the end of every row of K and V", &LayoutSpec::pad, nullptr},
    {"offset", ":BYTES", "bytes before the first element of Q, K, V and the mask", &LayoutSpec::offset, nullptr},
    {"tail", ":BYTES", "bytes after the last element of Q, K, V and the mask", &LayoutSpec::tail, nullptr},
    {"mask-rows", ":N", "N rows of memory beyond n_q in every plane of the mask", &LayoutSpec::mask_rows, nullptr},
    {"mask-cols", ":N", "N columns of memory beyond n_kv in every row of the mask", &LayoutSpec::mask_cols, nullptr},
    {"v-in-k", "", "V is the first d_v columns of K", nullptr, &LayoutSpec::v_view_of_k},
    {"left", "", "allocations begin, not end, at a guard page", nullptr, &LayoutSpec::left_aligned},
    {"sparse", "",
     "nothing written outside the views: offsets beyond 2^32 in little memory, e.g. cache:40000000+sparse", nullptr,
     &LayoutSpec::sparse},
}};

template <class T, std::size_t N>
std::vector<std::string> names_of(const std::array<T, N>& words) {
  std::vector<std::string> names;
  for (const auto& word : words) names.emplace_back(word.name);
  return names;
}

template <class T, std::size_t N>
std::optional<T> value_of(const std::array<Word<T>, N>& words, std::string_view name) {
  for (const auto& word : words) {
    if (word.name == name) return word.value;
  }
  return {};
}

template <class T, std::size_t N>
std::string_view name_of(const std::array<Word<T>, N>& words, T value) {
  for (const auto& word : words) {
    if (word.value == value) return word.name;
  }
  return "?";
}

std::string hint_for(std::string_view word, const std::vector<std::string>& names) {
  std::string hint = did_you_mean(word, names);
  return hint.empty() ? fmt::format("one of: {}", fmt::join(names, ", ")) : hint;
}

}  // namespace

Expected<float> read_scale(const Token& value) {
  constexpr std::string_view kRoot = "1/sqrt(", kFraction = "1/";
  const auto positive = [](const Token& token) -> Expected<float> {
    auto n = read_float(token, "N in scale = 1/N");
    if (n && !(*n > 0)) return error_at(token, "scale = 1/N needs a positive N");
    return n;
  };
  if (value.text.starts_with(kRoot)) {
    if (!value.text.ends_with(")")) return error_at(value, "scale has no closing ')'", "e.g. scale=1/sqrt(72)");
    const auto n = positive(value.from(kRoot.size()).first(value.text.size() - kRoot.size() - 1));
    if (!n) return tl::unexpected(n.error());
    return 1.0F / std::sqrt(*n);
  }
  if (value.text.starts_with(kFraction)) {
    const auto n = positive(value.from(kFraction.size()));
    if (!n) return tl::unexpected(n.error());
    return 1.0F / *n;
  }
  auto number = read_float(value, "scale");
  if (!number && number.error().hint.empty()) number.error().hint = "a number, 1/N or 1/sqrt(N)";
  return number;
}

std::string scale_text(float scale) {
  std::string decimal = number_text(scale);
  constexpr std::size_t kShort = 5;
  if (decimal.size() <= kShort || !(scale > 0x1p-20F && scale < 1)) return decimal;
  const float whole = std::round(1.0F / scale);
  if (1.0F / whole == scale) return fmt::format("1/{}", std::lround(whole));
  const float square = std::round(1.0F / (scale * scale));
  if (square < 0x1p24F && 1.0F / std::sqrt(square) == scale) return fmt::format("1/sqrt({})", std::lround(square));
  return decimal;
}

Expected<SinkSpec> read_sinks(const Token& value) {
  if (value.text == "none") return SinkSpec{};
  if (value.text == "-inf") return SinkSpec{SinkKind::value, -std::numeric_limits<double>::infinity()};
  const auto terms = split_terms(value);
  if (terms.size() > 1)
    return error_at(terms[1].whole, "sinks is one term", "none, NUMBER, -inf, uniform[:A], normal[:S]");
  const Term& term = terms.front();
  if (term.name.text == "uniform" || term.name.text == "normal") {
    const bool uniform = term.name.text == "uniform";
    SinkSpec sinks{uniform ? SinkKind::uniform : SinkKind::normal, uniform ? 10.0 : 1.0};
    if (!term.has_arg) return sinks;
    const auto spread = read_double(term.arg, fmt::format("the spread of sinks={}", term.name.text));
    if (!spread) return tl::unexpected(spread.error());
    if (!(*spread > 0)) return error_at(term.arg, "sinks need a positive spread");
    sinks.arg = *spread;
    return sinks;
  }
  const auto logit = read_double(value, "sinks");
  if (!logit) {
    return error_at(value, fmt::format("'{}' is no kind of sinks", value.text),
                    "none, NUMBER, -inf, uniform[:A], normal[:S]");
  }
  return SinkSpec{SinkKind::value, *logit};
}

std::string sinks_text(const SinkSpec& sinks) {
  switch (sinks.kind) {
    case SinkKind::none:
      return "none";
    case SinkKind::value:
      return std::isinf(sinks.arg) ? "-inf" : number_text(sinks.arg);
    case SinkKind::uniform:
      return sinks.arg == 10 ? "uniform" : fmt::format("uniform:{}", number_text(sinks.arg));
    case SinkKind::normal:
      return sinks.arg == 1 ? "normal" : fmt::format("normal:{}", number_text(sinks.arg));
  }
  return "none";
}

Expected<LayoutSpec> read_layout(const Token& value) {
  LayoutSpec layout;
  std::vector<std::string_view> seen;
  for (const Term& term : split_terms(value)) {
    const auto name = term.name.text;
    const auto* const word =
        std::find_if(kLayouts.begin(), kLayouts.end(), [&](const LayoutWord& w) { return w.name == name; });
    if (word == kLayouts.end()) {
      return error_at(term.whole, fmt::format("unknown layout '{}'", term.whole.text),
                      hint_for(name, names_of(kLayouts)));
    }
    const std::string_view slot = name == "0123" ? "0213" : name;
    if (std::find(seen.begin(), seen.end(), slot) != seen.end()) {
      return error_at(term.whole, fmt::format("layout names '{}' twice", name));
    }
    seen.push_back(slot);
    const bool counted = word->count != nullptr;
    if (counted != term.has_arg) {
      return error_at(term.whole, fmt::format("{} takes {} number", name, counted ? "a" : "no"),
                      counted ? fmt::format("{}:N", name) : std::string{});
    }
    if (word->flag != nullptr) layout.*word->flag = true;
    if (!counted) continue;
    const auto number = read_int(term.arg, name, 0, kMaxTokens);
    if (!number) return tl::unexpected(number.error());
    layout.*word->count = *number;
  }
  return layout;
}

std::string layout_text(const LayoutSpec& layout) {
  std::vector<std::string> terms;
  for (const LayoutWord& word : kLayouts) {
    if (word.flag != nullptr && layout.*word.flag) terms.emplace_back(word.name);
    if (word.count != nullptr && layout.*word.count != 0) {
      terms.push_back(fmt::format("{}:{}", word.name, layout.*word.count));
    }
  }
  return terms.empty() ? "0123" : fmt::format("{}", fmt::join(terms, "+"));
}

std::vector<ValueInfo> layout_terms() {
  std::vector<ValueInfo> terms;
  for (const LayoutWord& word : kLayouts)
    terms.push_back({fmt::format("{}{}", word.name, word.argument), word.meaning});
  return terms;
}

std::string layout_values() {
  std::vector<std::string> values;
  for (const auto& term : layout_terms()) values.push_back(term.value);
  return fmt::format("{}", fmt::join(values, " | "));
}

Expected<PoisonSpec> read_poison(const Token& value) {
  PoisonSpec poison;
  Token rest = value;
  const auto colon = value.text.find(':');
  if (const auto where = value_of(kPoisonWhere, value.text.substr(0, colon))) {
    if (colon == std::string_view::npos) {
      return error_at(value, fmt::format("poison={} does not say what lies there", value.text),
                      fmt::format("e.g. {}:nan", value.text));
    }
    poison.where = *where;
    rest = value.from(colon + 1);
  }
  const auto terms = split_terms(rest);
  if (terms.size() > 1) {
    return error_at(terms[1].whole, "poison is one thing in one place, or everywhere",
                    "e.g. hidden:nan, gaps:nan or nan");
  }
  const Term& term = terms.front();
  const auto what = value_of(kPoisonWhat, term.name.text);
  if (!what) {
    auto names = names_of(kPoisonWhat);
    const auto places = names_of(kPoisonWhere);
    names.insert(names.end(), places.begin(), places.end());
    return error_at(rest, fmt::format("unknown poison '{}'", rest.text), hint_for(term.name.text, names));
  }
  poison.what = *what;
  if ((poison.what == PoisonWhat::previous) != term.has_arg) {
    return error_at(rest,
                    term.has_arg ? fmt::format("poison {} takes no argument", term.name.text)
                                 : "poison previous needs the seed of the bytes before",
                    term.has_arg ? "" : "e.g. previous:7");
  }
  if (term.has_arg) {
    const auto seed = read_seed(term.arg, "previous");
    if (!seed) return tl::unexpected(seed.error());
    poison.seed = *seed;
  }
  return poison;
}

std::string poison_text(const PoisonSpec& poison) {
  std::string out;
  if (poison.where != PoisonWhere::everywhere) out = fmt::format("{}:", name_of(kPoisonWhere, poison.where));
  out += name_of(kPoisonWhat, poison.what);
  if (poison.what == PoisonWhat::previous) out += fmt::format(":{}", poison.seed);
  return out;
}

std::string poison_values() {
  return fmt::format("none | [WHERE:]WHAT; {}; {}", fmt::join(names_of(kPoisonWhere), " "),
                     fmt::join(names_of(kPoisonWhat), " "));
}

std::vector<ValueInfo> poison_terms() {
  std::vector<ValueInfo> terms;
  for (const auto& where : kPoisonWhere) terms.push_back({std::string(where.name), where.meaning});
  for (const auto& what : kPoisonWhat) terms.push_back({std::string(what.name), what.meaning});
  return terms;
}

Expected<DType> read_dtype(const Token& value, std::string_view what) {
  if (const auto type = dtype_from_name(value.text)) return *type;
  std::vector<std::string> names;
  for (int i = 0; i < kDTypeCount; ++i) names.emplace_back(info(static_cast<DType>(i)).name);
  return error_at(value, fmt::format("{} = '{}' is no type", what, value.text), hint_for(value.text, names));
}

std::string dtype_values() {
  std::vector<std::string_view> names;
  for (int i = 0; i < kDTypeCount; ++i) names.push_back(info(static_cast<DType>(i)).name);
  return fmt::format("{}", fmt::join(names, " | "));
}

}  // namespace attest::grammar
