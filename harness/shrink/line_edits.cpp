#include "harness/shrink/line_edits.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <map>
#include <optional>

#include "cases/grammar/lexer.h"

namespace attest {
namespace {

struct Word {
  std::string key, value;
};

struct Line {
  std::string op;
  std::vector<Word> words;

  std::string text() const {
    std::string out = op;
    for (const Word& w : words) out += fmt::format(" {}={}", w.key, w.value);
    return out;
  }
};

Line split(const Case& c) {
  Line line;
  const std::string whole = text(c);
  for (const auto& token : grammar::split_words({whole, 1})) {
    const std::string word(token.text);
    const auto equals = word.find('=');
    if (equals == std::string::npos) {
      line.op = word;
    } else {
      line.words.push_back({word.substr(0, equals), word.substr(equals + 1)});
    }
  }
  return line;
}

std::vector<std::string> terms_of(const std::string& value) {
  std::vector<std::string> terms;
  for (const auto& term : grammar::split_terms({value, 1})) terms.emplace_back(term.whole.text);
  return terms;
}

// Tags stay with the case, the text says the rest.
std::optional<Case> read(const Line& line, const Case& of) {
  auto parsed = parse_case(line.text());
  if (!parsed) return std::nullopt;
  parsed->tags = of.tags;
  return std::move(*parsed);
}

std::optional<double> number(std::string_view text) {
  double value = 0;
  const auto [end, failed] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (failed != std::errc{} || end != text.data() + text.size() || !std::isfinite(value)) return std::nullopt;
  return value;
}

// Words that are not numbers although they look like them: layout=0213, poison=60000.
bool has_words(std::string_view key) { return key == "layout" || key == "mask" || key == "data" || key == "poison"; }

// Keys that only go together: heads divide each other, ALiBi needs a mask, head sizes fit the blocks of types.
const std::vector<std::vector<std::string>>& groups() {
  static const std::vector<std::vector<std::string>> all{{"poison", "layout", "prec", "threads", "seed"},
                                                         {"softcap", "sinks", "max_bias", "mask"},
                                                         {"n_head", "n_head_kv", "n_head_v", "n_seq", "n_seq_kv"},
                                                         {"d", "d_k", "d_v", "kv", "k", "v", "scale"},
                                                         {"n_head", "n_head_kv", "n_head_v"},
                                                         {"n_head_kv", "n_head_v"},
                                                         {"n_seq", "n_seq_kv"},
                                                         {"mask", "max_bias"},
                                                         {"d", "d_k", "d_v", "scale"},
                                                         {"d", "d_k", "d_v"},
                                                         {"kv", "k", "v"},
                                                         {"poison", "layout"}};
  return all;
}

// Plainer words for those that stand there, the plainest first.
std::vector<std::string> plainer(const std::string& key) {
  if (key == "kv" || key == "k" || key == "v") return {"f32", "f16", "q8_0"};
  if (key == "data") return {"normal", "uniform", "flat"};
  if (key == "poison") return {"zero", "nan"};
  if (key == "mask") return {"zeros", "causal", "random", "dead:first"};
  if (key == "sinks") return {"0", "-inf", "uniform"};
  return {};
}

}  // namespace

std::vector<std::string> non_default_keys(const Case& c) {
  const Line line = split(c);
  std::vector<std::string> keys;
  for (std::size_t w = 0; w < line.words.size(); ++w) {
    Line without = line;
    without.words.erase(without.words.begin() + static_cast<std::ptrdiff_t>(w));
    const auto parsed = read(without, c);
    if (!parsed || text(*parsed) != text(c)) keys.push_back(line.words[w].key);
  }
  return keys;
}

LineRank rank_of(const Case& c) {
  std::string line = text(c);
  const std::size_t length = line.size();
  return {non_default_keys(c).size(), length, std::move(line)};
}

std::vector<NumberSlot> number_slots(const Case& c) {
  std::vector<NumberSlot> slots;
  const auto add = [&](const std::string& key, const std::string& term, std::string_view digits) {
    const auto value = number(digits);
    if (!value) return;
    slots.push_back({key, term, *value, *value >= 0 && *value == std::floor(*value) && *value < 0x1p53});
  };
  for (const Word& w : split(c).words) {
    if (w.key == "seed") continue;
    for (const std::string& term : terms_of(w.value)) {
      const auto colon = term.find(':');
      if (colon != std::string::npos) {
        add(w.key, term.substr(0, colon), std::string_view(term).substr(colon + 1));
      } else if (!has_words(w.key)) {
        add(w.key, "", term);
      }
    }
  }
  return slots;
}

std::vector<Case> with_number(const Case& c, const NumberSlot& slot, double value) {
  Line line = split(c);
  for (Word& w : line.words) {
    if (w.key != slot.key) continue;
    std::vector<std::string> terms = terms_of(w.value);
    for (std::string& term : terms) {
      const bool here = slot.term.empty() ? terms.size() == 1 : term.starts_with(slot.term + ":");
      if (!here) continue;
      term = (slot.term.empty() ? "" : slot.term + ":") + grammar::number_text(value);
      break;
    }
    w.value = fmt::format("{}", fmt::join(terms, "+"));
  }
  auto read_back = read(line, c);
  return read_back ? std::vector<Case>{std::move(*read_back)} : std::vector<Case>{};
}

std::vector<Edit> plainer_lines(const Case& c) {
  const LineRank own = rank_of(c);
  const Line line = split(c);
  std::vector<Edit> edits;
  std::map<std::string, std::size_t> seen;
  const auto add = [&](std::string what, std::string key, const Line& changed) {
    auto parsed = read(changed, c);
    if (!parsed || !(rank_of(*parsed) < own)) return;
    const auto [at, fresh] = seen.try_emplace(text(*parsed), edits.size());
    if (fresh) {
      edits.push_back({std::move(what), std::move(key), std::move(*parsed)});
    } else if (Edit& known = edits[at->second]; known.key.empty()) {
      known.what = std::move(what);  // a group of which one key is there
      known.key = std::move(key);
    }
  };
  const auto without = [&](const std::vector<std::string>& keys) {
    Line less = line;
    std::erase_if(less.words, [&](const Word& w) { return std::find(keys.begin(), keys.end(), w.key) != keys.end(); });
    return less;
  };
  for (const auto& group : groups()) add(fmt::format("without {}", fmt::join(group, ", ")), "", without(group));
  for (const Word& w : line.words) add("without " + w.key, w.key, without({w.key}));
  for (std::size_t i = 0; i < line.words.size(); ++i) {
    const Word& w = line.words[i];
    const std::vector<std::string> terms = terms_of(w.value);
    const auto with = [&](std::vector<std::string> changed, std::string what) {
      Line other = line;
      other.words[i].value = fmt::format("{}", fmt::join(changed, "+"));
      add(std::move(what), w.key, other);
    };
    for (std::size_t t = 0; t < terms.size(); ++t) {
      if (terms.size() > 1) {
        auto fewer = terms;
        fewer.erase(fewer.begin() + static_cast<std::ptrdiff_t>(t));
        with(fewer, fmt::format("{} without {}", w.key, terms[t]));
      }
      const auto colon = terms[t].find(':');
      if (colon != std::string::npos) {
        auto bare = terms;
        bare[t].resize(colon);
        with(bare, fmt::format("{} with a plain {}", w.key, bare[t]));
        auto what = terms;  // poison=hidden:nan -> nan
        what[t] = terms[t].substr(colon + 1);
        with(what, fmt::format("{}={}", w.key, what[t]));
      }
    }
    for (const std::string& word : plainer(w.key)) {
      with({word}, fmt::format("{}={}", w.key, word));
      for (std::size_t t = 0; t < terms.size() && terms.size() > 1; ++t) {
        auto swapped = terms;
        swapped[t] = word;
        with(swapped, fmt::format("{} with {} for {}", w.key, word, terms[t]));
      }
    }
  }
  // K and V of one type, in either's.
  for (const char* type : {"k", "v"}) {
    const auto found = std::find_if(line.words.begin(), line.words.end(), [&](const Word& w) { return w.key == type; });
    if (found == line.words.end()) continue;
    Line one = without({"k", "v"});
    one.words.push_back({"kv", found->value});
    add("K and V in " + found->value, "", one);
  }
  return edits;
}

}  // namespace attest
