// The grammar of mask=: terms of masks.def joined by '+', with per-head, per-seq and f32 as flags.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <span>

#include "cases/grammar/values.h"

namespace attest::grammar {
namespace {

enum class Arg { none, optional, required, word };

struct MaskWord {
  MaskKind kind;
  std::string_view name;
  Arg arg;
  double fallback;
  std::string_view meaning;
};

constexpr MaskWord kMasks[] = {
#define ATTEST_MASK(kind, name, arg, fallback, meaning) {MaskKind::kind, name, Arg::arg, fallback, meaning},
#include "cases/masks.def"
#undef ATTEST_MASK
};

struct DeadWord {
  std::string_view name;
  DeadRows rows;
};
constexpr DeadWord kDead[] = {{"first", DeadRows::first},
                              {"middle", DeadRows::middle},
                              {"last", DeadRows::last},
                              {"all", DeadRows::all},
                              {"every-third", DeadRows::every_third}};

const MaskWord& word_of(MaskKind kind) {
  return *std::find_if(std::begin(kMasks), std::end(kMasks), [&](const MaskWord& m) { return m.kind == kind; });
}

std::vector<std::string> mask_names() {
  std::vector<std::string> names{"none", "per-head", "per-seq", "f32"};
  for (const auto& mask : kMasks) names.emplace_back(mask.name);
  return names;
}

bool is_flag(std::string_view word) { return word == "per-head" || word == "per-seq" || word == "f32"; }

const MaskWord* find_mask(const Term& term) {
  const auto by = [&](std::string_view name) {
    const auto* found =
        std::find_if(std::begin(kMasks), std::end(kMasks), [&](const MaskWord& m) { return m.name == name; });
    return found == std::end(kMasks) ? nullptr : found;
  };
  const MaskWord* whole = by(term.whole.text);
  return whole != nullptr ? whole : by(term.name.text);
}

Expected<MaskTerm> read_term(const Term& term) {
  const MaskWord* word = find_mask(term);
  if (word == nullptr) {
    std::string hint = did_you_mean(term.name.text, mask_names());
    return error_at(term.whole, fmt::format("unknown mask '{}'", term.whole.text),
                    hint.empty() ? fmt::format("one of: {}", mask_values()) : hint);
  }
  MaskTerm out{word->kind, 0, DeadRows::none};
  const bool has_arg = term.has_arg && term.whole.text != word->name;
  if (word->arg == Arg::none && has_arg) {
    return error_at(term.whole, fmt::format("mask {} takes no argument", word->name),
                    did_you_mean(term.whole.text, mask_names()));
  }
  if ((word->arg == Arg::required || word->arg == Arg::word) && !has_arg) {
    return error_at(term.whole, fmt::format("mask {} needs an argument", word->name),
                    fmt::format("{}:{}", word->name, word->arg == Arg::word ? "all" : "N"));
  }
  if (!has_arg) return out;
  if (word->arg == Arg::word) {
    std::vector<std::string> names;
    for (const auto& dead : kDead) {
      if (dead.name == term.arg.text) out.where = dead.rows;
      names.emplace_back(dead.name);
    }
    if (out.where == DeadRows::none) {
      return error_at(term.arg, fmt::format("unknown rows '{}'", term.arg.text),
                      fmt::format("one of: {}", fmt::join(names, ", ")));
    }
    return out;
  }
  const auto number = read_double(term.arg, word->name);
  if (!number) return tl::unexpected(number.error());
  if (word->arg == Arg::optional && !(*number > 0)) {
    return error_at(term.arg, fmt::format("{} needs a positive number", word->name));
  }
  out.arg = *number;
  return out;
}

}  // namespace

Expected<MaskSpec> read_mask(const Token& value) {
  MaskSpec mask;
  if (value.text == "none") return mask;
  for (const Term& term : split_terms(value)) {
    const auto flag = term.whole.text;
    if (is_flag(flag)) {
      const bool twice = flag == "per-head"  ? mask.per_head
                         : flag == "per-seq" ? mask.per_seq
                                             : mask.type == DType::f32;
      if (twice) return error_at(term.whole, fmt::format("mask names '{}' twice", flag));
      if (flag == "per-head") mask.per_head = true;
      if (flag == "per-seq") mask.per_seq = true;
      if (flag == "f32") mask.type = DType::f32;
      continue;
    }
    if (flag == "none") return error_at(term.whole, "mask=none stands alone");
    const auto read = read_term(term);
    if (!read) return tl::unexpected(read.error());
    for (const auto& other : mask.terms) {
      if (other.kind == read->kind && (other.kind != MaskKind::dead || other.where == read->where)) {
        return error_at(term.whole, fmt::format("mask names '{}' twice", term.name.text));
      }
    }
    mask.terms.push_back(*read);
  }
  if (mask.terms.empty())
    return error_at(value, "mask has flags but no term", fmt::format("e.g. zeros+{}", value.text));
  return mask;
}

std::string mask_text(const MaskSpec& mask) {
  if (!mask.present()) return "none";
  std::vector<std::string> parts;
  for (const auto& term : mask.terms) {
    const MaskWord& word = word_of(term.kind);
    std::string part(word.name);
    if (word.arg == Arg::word) {
      const auto* dead =
          std::find_if(std::begin(kDead), std::end(kDead), [&](const DeadWord& d) { return d.rows == term.where; });
      part += fmt::format(":{}", dead == std::end(kDead) ? "none" : dead->name);
    } else if (word.arg == Arg::required || (word.arg == Arg::optional && term.arg != 0)) {
      part += fmt::format(":{}", number_text(term.arg));
    }
    parts.push_back(std::move(part));
  }
  if (mask.per_head) parts.emplace_back("per-head");
  if (mask.per_seq) parts.emplace_back("per-seq");
  if (mask.type == DType::f32) parts.emplace_back("f32");
  return fmt::format("{}", fmt::join(parts, "+"));
}

std::vector<ValueInfo> mask_terms() {
  std::vector<ValueInfo> terms;
  for (const auto& mask : kMasks) {
    constexpr std::string_view kShown[] = {"", "[:N]", ":N", ":ROWS"};
    const bool real = mask.kind >= MaskKind::finite && mask.kind <= MaskKind::finite_left;
    terms.push_back(
        {fmt::format("{}{}", mask.name, real ? ":X" : kShown[static_cast<std::size_t>(mask.arg)]), mask.meaning});
  }
  terms.push_back({"per-head", "a plane per query head, each different"});
  terms.push_back({"per-seq", "a plane per sequence, each different"});
  terms.push_back({"f32", "stored as f32 instead of f16"});
  return terms;
}

std::string mask_values() {
  std::vector<std::string> parts{"none"};
  for (const auto& term : mask_terms()) {
    if (!is_flag(term.value)) parts.push_back(term.value);
  }
  return fmt::format("{}; flags per-head per-seq f32", fmt::join(parts, " | "));
}

void canonicalise(MaskSpec& mask) {
  for (auto& term : mask.terms) {
    const MaskWord& word = word_of(term.kind);
    if (word.arg == Arg::none || word.arg == Arg::word) term.arg = 0;
    if (word.arg == Arg::optional && term.arg == word.fallback) term.arg = 0;
    if (word.arg != Arg::word) term.where = DeadRows::none;
    term.arg += 0.0;
  }
  std::stable_sort(mask.terms.begin(), mask.terms.end(), [](const MaskTerm& a, const MaskTerm& b) {
    return a.kind != b.kind ? a.kind < b.kind : a.where < b.where;
  });
}

}  // namespace attest::grammar
