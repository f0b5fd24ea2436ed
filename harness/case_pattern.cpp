#include "harness/case_pattern.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <optional>

#include "cases/grammar/lexer.h"
#include "cases/grammar/values.h"

namespace attest {

namespace {

using grammar::Token;
using P = AttentionProblem;

struct Key {
  std::string_view name;
  std::optional<double> (*number)(const Case&);  // nullptr: a text key. No value: only != holds.
  std::optional<std::string> (*text)(const Case&);
  bool single_precision = false;
};

template <auto member>
std::optional<double> field(const Case& c) {
  return static_cast<double>(c.problem.*member);
}
std::string dtype(DType type) { return std::string(info(type).name); }

constexpr std::array kKeys{
    Key{"d",
        [](const Case& c) -> std::optional<double> {
          if (c.problem.d_k != c.problem.d_v) return std::nullopt;
          return static_cast<double>(c.problem.d_k);
        },
        nullptr},
    Key{"d_k", field<&P::d_k>, nullptr},
    Key{"d_v", field<&P::d_v>, nullptr},
    Key{"n_head", field<&P::n_head>, nullptr},
    Key{"n_head_kv", field<&P::n_head_kv>, nullptr},
    Key{"n_head_v", field<&P::n_head_v>, nullptr},
    Key{"n_q", field<&P::n_q>, nullptr},
    Key{"n_kv", field<&P::n_kv>, nullptr},
    Key{"n_seq", field<&P::n_seq>, nullptr},
    Key{"n_seq_kv", field<&P::n_seq_kv>, nullptr},
    Key{"scale", field<&P::scale>, nullptr, true},
    Key{"softcap", field<&P::softcap>, nullptr, true},
    Key{"max_bias", field<&P::max_bias>, nullptr, true},
    Key{"prompt", [](const Case& c) -> std::optional<double> { return static_cast<double>(c.problem.decode.prompt); },
        nullptr},
    Key{"chunk", [](const Case& c) -> std::optional<double> { return static_cast<double>(c.problem.decode.chunk); },
        nullptr},
    Key{"threads", field<&P::threads>, nullptr},
    Key{"seed", [](const Case& c) -> std::optional<double> { return static_cast<double>(c.seed); }, nullptr},
    Key{"op", nullptr, [](const Case& c) -> std::optional<std::string> { return c.op; }},
    Key{"kv", nullptr,
        [](const Case& c) -> std::optional<std::string> {
          if (c.problem.k_type != c.problem.v_type) return std::nullopt;
          return dtype(c.problem.k_type);
        }},
    Key{"k", nullptr, [](const Case& c) -> std::optional<std::string> { return dtype(c.problem.k_type); }},
    Key{"v", nullptr, [](const Case& c) -> std::optional<std::string> { return dtype(c.problem.v_type); }},
    Key{"mask", nullptr,
        [](const Case& c) -> std::optional<std::string> { return grammar::mask_text(c.problem.mask); }},
    Key{"sinks", nullptr,
        [](const Case& c) -> std::optional<std::string> {
          return c.problem.sinks.kind == SinkKind::none ? "none" : grammar::sinks_text(c.problem.sinks);
        }},
    Key{"layout", nullptr,
        [](const Case& c) -> std::optional<std::string> { return grammar::layout_text(c.problem.layout); }},
    Key{"data", nullptr,
        [](const Case& c) -> std::optional<std::string> {
          return c.data.terms.empty() ? "normal" : grammar::data_text(c.data);
        }},
    Key{"poison", nullptr,
        [](const Case& c) -> std::optional<std::string> {
          return c.poison.what == PoisonWhat::none ? "none" : grammar::poison_text(c.poison);
        }},
    Key{"prec", nullptr,
        [](const Case& c) -> std::optional<std::string> {
          return c.problem.prec == Precision::f32 ? "f32" : "default";
        }},
};

std::vector<Token> alternatives(const Token& value) {
  std::vector<Token> out;
  Token rest = value;
  for (auto bar = rest.text.find('|'); bar != std::string_view::npos; bar = rest.text.find('|')) {
    out.push_back(rest.first(bar));
    rest = rest.from(bar + 1);
  }
  out.push_back(rest);
  return out;
}

constexpr std::string_view kRelations = "=, !=, >=, <=, ~ or !~";

}  // namespace

CasePattern::Relation CasePattern::relation_named(std::string_view name) {
  if (name == "!=") return Relation::not_equal;
  if (name == ">=") return Relation::at_least;
  if (name == "<=") return Relation::at_most;
  if (name == "~") return Relation::contains;
  return name == "!~" ? Relation::lacks : Relation::equal;
}

Expected<CasePattern> CasePattern::parse(std::string_view text) {
  CasePattern pattern;
  pattern.text_ = text;
  const auto fail = [&](const Token& token, std::string message, std::string hint = {}) {
    Error error = grammar::error_at(token, std::move(message), std::move(hint)).value();
    error.source_line = text;
    return Unexpected(std::move(error));
  };
  for (const Token& word : grammar::split_words({text, 1})) {
    const std::size_t key_end = std::min(word.text.find_first_of("=!<>~"), word.text.size());
    const Token key = word.first(key_end), behind = word.from(key_end);
    std::size_t length = 0;
    for (const std::string_view name : {"!=", ">=", "<=", "!~", "=", "~"}) {
      if (length == 0 && behind.text.starts_with(name)) length = name.size();
    }
    Constraint constraint;
    constraint.written = word.text;
    const auto* known = std::find_if(kKeys.begin(), kKeys.end(), [&](const Key& k) { return k.name == key.text; });
    if (known == kKeys.end()) {
      std::vector<std::string> names;
      for (const Key& k : kKeys) names.emplace_back(k.name);
      return fail(key, fmt::format("unknown key '{}'", key.text), did_you_mean(key.text, names));
    }
    if (length == 0) {
      return fail(behind, fmt::format("'{}' is no constraint", word.text),
                  fmt::format("write {}{}value with {}", key.text, "=", kRelations));
    }
    constraint.key = static_cast<std::size_t>(known - kKeys.begin());
    constraint.relation = relation_named(behind.text.substr(0, length));
    const bool ordered = constraint.relation == Relation::at_least || constraint.relation == Relation::at_most;
    const bool textual = constraint.relation == Relation::contains || constraint.relation == Relation::lacks;
    const bool numeric = known->number != nullptr;
    if (ordered && !numeric)
      return fail(behind, fmt::format("{} is a text: it has no order", key.text), "=, !=, ~ or !~");
    if (textual && numeric)
      return fail(behind, fmt::format("{} is a number: it contains nothing", key.text), "=, !=, >= or <=");
    const Token value = behind.from(length);
    for (const Token& part : ordered ? std::vector<Token>{value} : alternatives(value)) {
      if (part.text.empty()) return fail(part, fmt::format("'{}' lacks a value", word.text));
      constraint.words.emplace_back(part.text);
      if (!numeric) continue;
      const auto number = grammar::read_double(part, key.text);
      if (!number) return fail(part, number.error().message, number.error().hint);
      constraint.numbers.push_back(known->single_precision ? static_cast<double>(static_cast<float>(*number))
                                                           : *number);
    }
    pattern.constraints_.push_back(std::move(constraint));
  }
  if (pattern.constraints_.empty()) {
    return fail({text, 1}, "an empty pattern would match every case", "e.g. \"v=f16 n_q>=64\"");
  }
  return pattern;
}

bool CasePattern::Constraint::holds(const Case& c) const {
  const Key& k = kKeys[key];
  if (k.number != nullptr) {
    const auto value = k.number(c);
    const auto is = [&](double number) { return value && *value == number; };
    switch (relation) {
      case Relation::at_least:
        return value && *value >= numbers.front();
      case Relation::at_most:
        return value && *value <= numbers.front();
      case Relation::not_equal:
        return std::none_of(numbers.begin(), numbers.end(), is);
      default:
        return std::any_of(numbers.begin(), numbers.end(), is);
    }
  }
  const auto value = k.text(c);
  const auto is = [&](const std::string& word) { return value && *value == word; };
  const auto has = [&](const std::string& word) { return value && value->find(word) != std::string::npos; };
  switch (relation) {
    case Relation::contains:
      return std::any_of(words.begin(), words.end(), has);
    case Relation::lacks:
      return std::none_of(words.begin(), words.end(), has);
    case Relation::not_equal:
      return std::none_of(words.begin(), words.end(), is);
    default:
      return std::any_of(words.begin(), words.end(), is);
  }
}

std::string_view CasePattern::first_broken(const Case& c) const {
  for (const Constraint& constraint : constraints_) {
    if (!constraint.holds(c)) return constraint.written;
  }
  return {};
}

bool glob_matches(std::string_view glob, std::string_view text) {
  std::size_t g = 0, t = 0, star = std::string_view::npos, resume = 0;
  while (t < text.size()) {
    if (g < glob.size() && glob[g] == '*') {
      star = g++;
      resume = t;
    } else if (g < glob.size() && (glob[g] == '?' || glob[g] == text[t])) {
      ++g;
      ++t;
    } else if (star != std::string_view::npos) {
      g = star + 1;
      t = ++resume;
    } else {
      return false;
    }
  }
  while (g < glob.size() && glob[g] == '*') ++g;
  return g == glob.size();
}

}  // namespace attest
