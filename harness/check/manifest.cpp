#include "harness/check/manifest.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <toml++/toml.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <limits>
#include <set>
#include <type_traits>
#include <utility>

#include "cases/file_io.h"
#include "cases/grammar/lexer.h"
#include "cases/grammar/values.h"

namespace attest {

Unexpected ManifestPlace::error(std::string message, std::string hint) const {
  Error error{ErrorKind::input, std::move(message), file, line, column, source_line, std::move(hint)};
  return Unexpected(std::move(error));
}

namespace {

using Words = std::vector<std::string>;
const Words kTopKeys{"case", "defaults", "found"};
const Words kSharedKeys{"layout", "causal", "window", "scale", "softcap", "max_bias", "prec", "threads", "memory"};
const Words kOwnKeys{"name", "line", "q", "k", "v", "past_k", "past_v", "mask", "sinks", "expected", "allocations"};
const Words kArrayKeys{"file", "tensor", "dtype", "shape", "strides", "offset", "layout"};
const Words kOrders{"bhsd", "bshd", "ggml"};

Words joined(Words a, const Words& b) {
  a.insert(a.end(), b.begin(), b.end());
  return a;
}

std::string hint_for(std::string_view word, const Words& words) {
  const std::string near = did_you_mean(word, words);
  return near.empty() ? fmt::format("one of {}", fmt::join(words, ", ")) : near;
}

class Reader {
 public:
  Reader(std::string_view text, const std::string& file) : file_(file) {
    for (std::size_t at = 0; at <= text.size();) {
      const std::size_t end = std::min(text.find('\n', at), text.size());
      lines_.emplace_back(text.substr(at, end - at));
      if (lines_.back().ends_with('\r')) lines_.back().pop_back();
      at = end + 1;
    }
  }

  Expected<std::vector<ManifestCase>> read_manifest(std::string_view text) {
    toml::table root;
    try {
      root = toml::parse(text, file_);
    } catch (const toml::parse_error& e) {
      return at(e.source()).error(std::string(e.description()));
    }
    if (auto known = check_keys(root, kTopKeys, "a manifest"); !known) return Unexpected(known.error());
    if (const toml::node* node = root.get("defaults")) {
      defaults_ = node->as_table();
      if (defaults_ == nullptr) return at(*node).error("'defaults' must be a table", "[defaults]");
      if (auto known = check_keys(*defaults_, kSharedKeys, "[defaults]"); !known) return Unexpected(known.error());
    }
    const toml::node* list = root.get("case");
    if (list == nullptr) return Unexpected(Error{ErrorKind::input, "has no [[case]]", file_, 0, 0, {}, {}});
    if (!list->is_array()) return at(*list).error("'case' must be a list of tables", "[[case]]");
    std::vector<ManifestCase> cases;
    std::set<std::string> names;
    for (const toml::node& item : *list->as_array()) {
      if (!item.is_table()) return at(item).error("'case' must be a list of tables", "[[case]]");
      auto c = read_case(*item.as_table(), cases.size() + 1);
      if (!c) return Unexpected(c.error());
      if (!names.insert(c->name).second) return c->place.error(fmt::format("a second case of the name '{}'", c->name));
      cases.push_back(std::move(*c));
    }
    return cases;
  }

 private:
  ManifestPlace at(const toml::source_region& where) const {
    const auto line = static_cast<std::size_t>(where.begin.line);
    return {file_, line >= 1 && line <= lines_.size() ? lines_[line - 1] : std::string(), static_cast<int>(line),
            static_cast<int>(where.begin.column)};
  }
  ManifestPlace at(const toml::node& node) const { return at(node.source()); }

  Expected<void> check_keys(const toml::table& table, const Words& known, std::string_view where) const {
    for (const auto& [key, node] : table) {
      if (std::find(known.begin(), known.end(), key.str()) != known.end()) continue;
      return at(key.source())
          .error(fmt::format("unknown key '{}' in {}", key.str(), where), hint_for(key.str(), known));
    }
    return {};
  }

  const toml::node* get(const toml::table& table, std::string_view key) const {
    const toml::node* own = table.get(key);
    return own != nullptr || defaults_ == nullptr ? own : defaults_->get(key);
  }

  Expected<std::string> word(const toml::node& node, std::string_view key) const {
    if (!node.is_string() || node.as_string()->get().empty())
      return at(node).error(fmt::format("'{}' must be a text", key));
    return node.as_string()->get();
  }
  Expected<double> number(const toml::node& node, std::string_view key, double low) const {
    const auto value = node.value<double>();
    if (!node.is_number() || !value || !(*value >= low) || !std::isfinite(*value))
      return at(node).error(fmt::format("'{}' must be a finite number from {} on", key, low));
    return *value;
  }
  Expected<std::int64_t> integer(const toml::node& node, std::string_view key, std::int64_t low) const {
    if (!node.is_integer() || node.as_integer()->get() < low)
      return at(node).error(fmt::format("'{}' must be a whole number from {} on", key, low));
    return node.as_integer()->get();
  }
  Expected<bool> flag(const toml::node& node, std::string_view key) const {
    if (!node.is_boolean()) return at(node).error(fmt::format("'{}' must be true or false", key));
    return node.as_boolean()->get();
  }
  Expected<std::vector<std::int64_t>> sizes(const toml::node& node, std::string_view key, std::int64_t low) const {
    std::vector<std::int64_t> values;
    if (!node.is_array()) return at(node).error(fmt::format("'{}' must be a list of numbers", key));
    for (const toml::node& item : *node.as_array()) {
      const auto value = integer(item, key, low);
      if (!value) return Unexpected(value.error());
      values.push_back(*value);
    }
    if (values.empty() || values.size() > 4)
      return at(node).error(fmt::format("'{}' has {} numbers, of 1 to 4", key, values.size()));
    return values;
  }
  // One of `words`, as its index.
  Expected<std::size_t> choice(const toml::node& node, std::string_view key, const Words& words) const {
    const auto given = word(node, key);
    if (!given) return Unexpected(given.error());
    const auto found = std::find(words.begin(), words.end(), *given);
    if (found == words.end()) return at(node).error(fmt::format("'{}' is no {}", *given, key), hint_for(*given, words));
    return static_cast<std::size_t>(found - words.begin());
  }

  // The value of the key where it is there, read by a member function of this.
  template <class Read, class Slot, class... More>
  Expected<void> take(const toml::table& table, std::string_view key, Read how, Slot& slot, const More&... more) const {
    const toml::node* node = get(table, key);
    if (node == nullptr) return {};
    auto value = (this->*how)(*node, key, more...);
    if (!value) return Unexpected(value.error());
    if (!fits<Slot>(*value))
      return at(*node).error(fmt::format("'{}' must be a number up to {}", key, std::numeric_limits<Slot>::max()));
    slot = static_cast<Slot>(std::move(*value));
    return {};
  }

  // A number must not become another one in a smaller type.
  template <class Slot, class Value>
  static bool fits(const Value& value) {
    if constexpr (std::is_same_v<Value, std::int64_t>) return std::in_range<Slot>(value);
    if constexpr (std::is_same_v<Value, double>) return std::fabs(value) <= std::numeric_limits<Slot>::max();
    return true;
  }

  // "file.npy", "file.safetensors:tensor", or a table.
  Expected<FileArray> array(const toml::node& node, std::string_view key, ArrayOrder order,
                            const Words& more = {}) const {
    FileArray a;
    a.key = key;
    a.place = at(node);
    a.order = order;
    std::string file;
    if (const toml::table* table = node.as_table()) {
      if (auto known = check_keys(*table, joined(kArrayKeys, more), fmt::format("'{}'", key)); !known)
        return Unexpected(known.error());
      const toml::node* name = table->get("file");
      if (name == nullptr) return a.place.error(fmt::format("'{}' names no file", key), "file = \"...\"");
      auto given = word(*name, "file");
      if (!given) return Unexpected(given.error());
      file = *given;
      if (const toml::node* tensor = table->get("tensor")) {
        auto text = word(*tensor, "tensor");
        if (!text) return Unexpected(text.error());
        a.tensor = *text;
      }
      if (auto read = array_details(*table, a); !read) return Unexpected(read.error());
    } else {
      auto given = word(node, key);
      if (!given) return Unexpected(given.error());
      file = *given;
    }
    a.fastest_first = a.order == ArrayOrder::ggml;
    if (a.fastest_first) a.order = ArrayOrder::bhsd;
    constexpr std::string_view kEnding = ".safetensors";
    const std::size_t colon = file.find(std::string(kEnding) + ":");
    if (colon != std::string::npos && a.tensor.empty()) {
      a.tensor = file.substr(colon + kEnding.size() + 1);
      file.resize(colon + kEnding.size());
    }
    const bool holds_many = file.ends_with(kEnding);
    if (!holds_many && !file.ends_with(".npy"))
      return a.place.error(fmt::format("'{}' is neither a .npy nor a .safetensors file", file));
    if (holds_many && a.tensor.empty())
      return a.place.error("which tensor of the file?", fmt::format("\"{}:NAME\"", file));
    if (!holds_many && !a.tensor.empty()) return a.place.error("a .npy file holds one array without a name");
    a.file = (std::filesystem::path(file_).parent_path() / file).string();
    return a;
  }

  Expected<void> array_details(const toml::table& table, FileArray& a) const {
    if (const toml::node* node = table.get("dtype")) {
      auto given = word(*node, "dtype");
      if (!given) return Unexpected(given.error());
      a.dtype = dtype_from_name(*given);
      if (!a.dtype) {
        Words names;
        for (int i = 0; i < kDTypeCount; ++i) names.emplace_back(info(static_cast<DType>(i)).name);
        return at(*node).error(fmt::format("'{}' is no dtype", *given), hint_for(*given, names));
      }
    }
    if (const toml::node* node = table.get("layout")) {
      auto order = choice(*node, "layout", kOrders);
      if (!order) return Unexpected(order.error());
      a.order = static_cast<ArrayOrder>(*order);
    }
    for (const auto& [key, slot, low] :
         {std::tuple{"shape", &a.shape, std::int64_t{1}}, {"strides", &a.strides, std::int64_t{0}}}) {
      const toml::node* node = table.get(key);
      if (node == nullptr) continue;
      auto values = sizes(*node, key, low);
      if (!values) return Unexpected(values.error());
      *slot = std::move(*values);
    }
    if (!a.strides.empty() && a.strides.size() != a.shape.size())
      return at(*table.get("strides")).error("'strides' needs a 'shape' of as many numbers");
    if (const toml::node* node = table.get("offset")) {
      auto value = integer(*node, "offset", 0);
      if (!value) return Unexpected(value.error());
      a.offset = *value;
    }
    return {};
  }

  Expected<ManifestMask> mask(const toml::node& node, ArrayOrder order) const {
    auto a = array(node, "mask", order, {"true_is", "as"});
    if (!a) return Unexpected(a.error());
    ManifestMask mask{std::move(*a), true, {}};
    const toml::table* table = node.as_table();
    if (table == nullptr) return mask;
    if (const toml::node* means = table->get("true_is")) {
      auto word = choice(*means, "true_is", {"visible", "hidden"});
      if (!word) return Unexpected(word.error());
      mask.true_is_visible = *word == 0;
    }
    if (const toml::node* as = table->get("as")) {
      auto word = choice(*as, "as", {"f16", "f32"});
      if (!word) return Unexpected(word.error());
      mask.as = *word == 0 ? DType::f16 : DType::f32;
    }
    return mask;
  }

  Expected<ManifestExpected> expected(const toml::node& node, ArrayOrder order) const {
    auto a = array(node, "expected", order, {"rtol", "atol", "rows"});
    if (!a) return Unexpected(a.error());
    // ggml's result is [column, head, token, sequence].
    if (a->fastest_first) a->order = ArrayOrder::bshd;
    ManifestExpected expected{std::move(*a), {}, {}, false};
    const toml::table* table = node.as_table();
    if (table == nullptr) return expected;
    for (const auto& [key, slot] : {std::pair{"rtol", &expected.rtol}, {"atol", &expected.atol}}) {
      const toml::node* value = table->get(key);
      if (value == nullptr) continue;
      auto tolerance = number(*value, key, 0);
      if (!tolerance) return Unexpected(tolerance.error());
      *slot = *tolerance;
    }
    expected.some_rows = table->contains("rows");
    return expected;
  }

  Expected<void> read_causal(const toml::node& node, ManifestCase& c) const {
    if (const auto* yes = node.as_boolean()) {
      if (yes->get()) c.causal = MaskKind::causal;
      return {};
    }
    auto which = choice(node, "causal", {"bottom-right", "top-left"});
    if (!which)
      return at(node).error("'causal' must be true, false, \"bottom-right\" or \"top-left\"", which.error().hint);
    c.causal = *which == 0 ? MaskKind::causal : MaskKind::causal_top_left;
    return {};
  }

  // A value with a grammar of its own, as in a descriptor; a number may stand without quotes.
  template <class Slot, class Read>
  Expected<void> in_grammar(const toml::table& table, std::string_view key, Read how, Slot& slot) const {
    const toml::node* node = get(table, key);
    if (node == nullptr) return {};
    std::string text;
    if (const auto value = node->value<double>(); node->is_number() && value) {
      text = grammar::number_text(*value);
    } else {
      auto given = word(*node, key);
      if (!given) return Unexpected(given.error());
      text = *given;
    }
    auto value = how(grammar::Token{text, 1});
    if (!value) return at(*node).error(value.error().message, value.error().hint);
    slot = *value;
    return {};
  }

  Expected<void> read_arrays(const toml::table& table, ArrayOrder order, ManifestCase& c) const {
    for (const auto& [key, slot] :
         {std::pair{"q", &c.q}, {"k", &c.k}, {"v", &c.v}, {"past_k", &c.past_k}, {"past_v", &c.past_v}}) {
      if (const toml::node* node = table.get(key)) {
        auto read = array(*node, key, order);
        if (!read) return Unexpected(read.error());
        *slot = std::move(*read);
      }
    }
    if (const toml::node* node = table.get("mask")) {
      auto read = mask(*node, order);
      if (!read) return Unexpected(read.error());
      c.mask = std::move(*read);
    }
    if (const toml::node* node = table.get("expected")) {
      auto read = expected(*node, c.line ? ArrayOrder::bshd : order);
      if (!read) return Unexpected(read.error());
      c.expected = std::move(*read);
    }
    const toml::node* sinks = table.get("sinks");
    if (sinks == nullptr) return {};
    if (!sinks->is_array()) {
      auto read = array(*sinks, "sinks", order);
      if (!read) return Unexpected(read.error());
      c.sinks = std::move(*read);
      return {};
    }
    for (const toml::node& item : *sinks->as_array()) {
      const auto value = item.value<double>();
      if (!item.is_number() || !value) return at(item).error("'sinks' must be a file or a list of numbers");
      c.sink_values.push_back(*value);
    }
    if (c.sink_values.empty()) return at(*sinks).error("'sinks' is an empty list");
    return {};
  }

  Expected<ManifestCase> read_case(const toml::table& table, std::size_t number_of) const {
    ManifestCase c;
    c.place = at(table);
    c.name = fmt::format("case {}", number_of);
    if (auto known = check_keys(table, joined(kOwnKeys, kSharedKeys), "a case"); !known)
      return Unexpected(known.error());
    if (auto read = take(table, "name", &Reader::word, c.name); !read) return Unexpected(read.error());
    if (const toml::node* node = table.get("line")) {
      auto given = word(*node, "line");
      if (!given) return Unexpected(given.error());
      auto parsed = parse_case(*given);
      if (!parsed) return at(*node).error(fmt::format("line: {}", parsed.error().message), parsed.error().hint);
      c.line = std::move(*parsed);
      for (const std::string& key : joined(kSharedKeys, {"past_k", "past_v"})) {
        if (const toml::node* other = table.get(key))
          return at(*other).error(fmt::format("'{}' beside 'line', which says it", key));
      }
    }
    std::size_t order = 0;
    if (!c.line) {
      if (auto read = take(table, "layout", &Reader::choice, order, kOrders); !read) return Unexpected(read.error());
    }
    if (auto read = read_arrays(table, static_cast<ArrayOrder>(order), c); !read) return Unexpected(read.error());
    if (auto read = take(table, "allocations", &Reader::flag, c.allocations); !read) return Unexpected(read.error());
    if (c.line) return c;
    for (const auto& [key, slot] : {std::pair{"q", &c.q}, {"k", &c.k}, {"v", &c.v}}) {
      if (!*slot) return c.place.error(fmt::format("case '{}' has no '{}'", c.name, key));
    }
    if (c.past_k.has_value() != c.past_v.has_value())
      return c.place.error(fmt::format("case '{}' has one of 'past_k' and 'past_v'", c.name));
    if (const toml::node* node = get(table, "causal")) {
      if (auto read = read_causal(*node, c); !read) return Unexpected(read.error());
    }
    if (auto read = take(table, "window", &Reader::integer, c.window, std::int64_t{1}); !read)
      return Unexpected(read.error());
    for (const auto& [key, slot] : {std::pair{"softcap", &c.softcap}, {"max_bias", &c.max_bias}}) {
      if (auto read = take(table, key, &Reader::number, *slot, 0.0); !read) return Unexpected(read.error());
    }
    if (auto read = take(table, "threads", &Reader::integer, c.threads, std::int64_t{0}); !read)
      return Unexpected(read.error());
    std::size_t prec = 0;
    if (auto read = take(table, "prec", &Reader::choice, prec, Words{"default", "f32"}); !read)
      return Unexpected(read.error());
    c.prec = prec == 1 ? Precision::f32 : Precision::default_;
    if (auto read = in_grammar(table, "scale", grammar::read_scale, c.scale); !read) return Unexpected(read.error());
    if (auto read = in_grammar(table, "memory", grammar::read_layout, c.memory); !read) return Unexpected(read.error());
    return c;
  }

  const std::string& file_;
  std::vector<std::string> lines_;
  const toml::table* defaults_ = nullptr;
};

}  // namespace

Expected<std::vector<ManifestCase>> parse_manifest(std::string_view toml, const std::string& file) {
  return Reader(toml, file).read_manifest(toml);
}

Expected<std::vector<ManifestCase>> load_manifest(const std::string& path) {
  const auto text = read_text_file(path);
  if (!text) return Unexpected(text.error());
  return parse_manifest(*text, path);
}

}  // namespace attest
