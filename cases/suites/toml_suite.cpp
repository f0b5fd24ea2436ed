#include <fmt/format.h>
#include <toml++/toml.h>

#include <algorithm>
#include <optional>
#include <type_traits>
#include <vector>

#include "cases/features.h"
#include "cases/generate/covering.h"
#include "cases/grammar/lexer.h"
#include "cases/suites/suite_parser.h"
#include "cases/toml_file.h"

namespace attest {
namespace {

struct Place {
  int line = 0, column = 0;
};

Place place_of(const toml::source_region& region) {
  return {static_cast<int>(region.begin.line), static_cast<int>(region.begin.column)};
}

// key=value of a line, and where in the file the two come from.
struct Word {
  std::string key, value;
  Place key_place, value_place;

  std::string text() const { return value.empty() ? key : fmt::format("{}={}", key, value); }
};

using Alternative = std::vector<Word>;       // keys that change together
using Dimension = std::vector<Alternative>;  // the cases of a group run through each

class TomlSuite {
 public:
  TomlSuite(std::string_view toml, const std::string& path, const FileReader& read) : file_(toml, path), read_(read) {}

  Expected<Suite> parse() {
    const auto parsed = file_.parse();
    if (!parsed) return tl::unexpected(parsed.error());
    const toml::table& root = *parsed;
    if (auto fine = known_keys(root, {"name", "description", "claims", "relations", "relations_per_case", "group",
                                      "covering", "unexpressed"});
        !fine)
      return tl::unexpected(fine.error());
    for (const auto& [key, slot] :
         {std::pair{"name", &builder_.suite().name}, std::pair{"description", &builder_.suite().description}}) {
      const auto value = root[key].value_exact<std::string>();
      if (!value)
        return wrong(root[key].node() ? place_of(root[key].node()->source()) : Place{1, 1},
                     fmt::format("a suite needs {} = \"...\"", key));
      *slot = *value;
    }
    auto claims = read_claims(root);
    if (!claims) return tl::unexpected(claims.error());
    claims_ = std::move(*claims);
    if (auto read = read_relations(root); !read) return tl::unexpected(read.error());
    if (root.get("group") == nullptr && root.get("covering") == nullptr) {
      return wrong({1, 1}, "a suite needs at least one [[group]] or [[covering]]");
    }
    for (const auto& [key, add] : {std::pair{"group", &TomlSuite::add_group}, {"covering", &TomlSuite::add_covering}}) {
      const toml::node* groups = root.get(key);
      if (groups == nullptr) continue;
      if (!groups->is_array() || groups->as_array()->empty())
        return wrong(place_of(groups->source()), fmt::format("{0} is a list: [[{0}]]", key));
      for (const auto& node : *groups->as_array()) {
        if (!node.is_table()) return wrong(place_of(node.source()), fmt::format("{0} is a table: [[{0}]]", key));
        if (auto added = (this->*add)(*node.as_table()); !added) return tl::unexpected(added.error());
      }
    }
    if (auto added = add_unexpressed(root); !added) return tl::unexpected(added.error());
    return std::move(builder_.suite());
  }

 private:
  Unexpected wrong(Place place, std::string message, std::string hint = {}) const {
    return file_.wrong_at(place.line, place.column, std::move(message), std::move(hint));
  }

  static bool filled_list(const toml::node& node) { return node.is_array() && !node.as_array()->empty(); }
  static bool filled_table(const toml::node& node) { return node.is_table() && !node.as_table()->empty(); }

  // A number from 0 on; the slot stays where the key is missing.
  template <class T>
  Expected<void> read_number(const toml::table& table, std::string_view key, std::string_view expected, T& slot) const {
    const toml::node* node = table.get(key);
    if (node == nullptr) return {};
    const bool fits = std::is_floating_point_v<T> ? node->is_number() : node->is_integer();
    const auto number =
        fits ? node->value<std::conditional_t<std::is_floating_point_v<T>, double, std::int64_t>>() : std::nullopt;
    if (!number || !(*number >= 0)) return wrong(place_of(node->source()), fmt::format("{} is {}", key, expected));
    slot = static_cast<T>(*number);
    return {};
  }

  Expected<void> known_keys(const toml::table& table, const std::vector<std::string>& names) const {
    return file_.known_keys(table, "", names);
  }

  // A string or a list of strings.
  Expected<std::vector<const toml::node*>> strings(const toml::table& group, std::string_view key) const {
    std::vector<const toml::node*> out;
    const toml::node* node = group.get(key);
    if (node == nullptr) return out;
    if (node->is_array()) {
      for (const auto& item : *node->as_array()) out.push_back(&item);
    } else {
      out.push_back(node);
    }
    for (const auto* item : out) {
      if (!item->is_string()) return wrong(place_of(item->source()), fmt::format("{} must be a string", key));
    }
    return out;
  }

  Expected<void> open_group(const toml::table& table) {
    SuiteGroup group;
    for (const auto* key : {"tag", "tags"}) {
      const auto tags = strings(table, key);
      if (!tags) return tl::unexpected(tags.error());
      for (const auto* tag : *tags) group.tags.push_back(tag->as_string()->get());
    }
    const auto why = table["why"].value_exact<std::string>();
    if (!why) return wrong(place_of(table.source()), "a group needs why = \"...\", one line for people");
    group.why = *why;
    auto claims = read_claims(table);
    if (!claims) return tl::unexpected(claims.error());
    group.claims = *claims ? std::move(*claims) : claims_;
    builder_.open(std::move(group));
    return {};
  }

  // claims = ["sinks"]: nothing where the key is missing.
  Expected<std::optional<std::vector<Feature>>> read_claims(const toml::table& table) const {
    const toml::node* node = table.get("claims");
    if (node == nullptr) return std::nullopt;
    if (!node->is_array()) return wrong(place_of(node->source()), "claims is a list of features: [\"sinks\"]");
    const auto names = strings(table, "claims");
    if (!names) return tl::unexpected(names.error());
    std::vector<Feature> out;
    for (const auto* name : *names) {
      const auto feature = feature_from_name(name->as_string()->get());
      if (!feature) return wrong(place_of(name->source()), feature.error().message, feature.error().hint);
      out.push_back(*feature);
    }
    return out;
  }

  Expected<void> add_group(const toml::table& table) {
    if (auto fine = known_keys(table, {"tag", "tags", "why", "claims", "line", "lines", "file", "axes", "zip"}); !fine)
      return fine;
    if (auto opened = open_group(table); !opened) return opened;
    const auto dimensions = read_dimensions(table);
    if (!dimensions) return tl::unexpected(dimensions.error());
    std::size_t sources = 0;
    for (const auto* key : {"line", "lines"}) {
      const auto lines = strings(table, key);
      if (!lines) return tl::unexpected(lines.error());
      sources += lines->size();
      for (const auto* line : *lines) {
        if (auto added = add_line(*line, *dimensions); !added) return added;
      }
    }
    const auto files = strings(table, "file");
    if (!files) return tl::unexpected(files.error());
    for (const auto* file : *files) {
      if (!dimensions->empty()) return wrong(place_of(file->source()), "file and axes exclude each other");
      const auto given = cases_given();
      if (auto added = add_file(*file); !added) return added;
      if (cases_given() == given)
        return wrong(place_of(file->source()), fmt::format("'{}' holds no case", file->as_string()->get()));
    }
    if (sources + files->size() == 0) return wrong(place_of(table.source()), "a group needs line, lines or file");
    return {};
  }

  Expected<void> read_relations(const toml::table& root) {
    RelationChoice& choice = builder_.suite().relations;
    const toml::node* names = root.get("relations");
    const toml::node* limit = root.get("relations_per_case");
    if (names != nullptr) {
      const auto list = names->value_exact<std::string>();
      if (!list) return wrong(place_of(names->source()), "relations is a text: \"all\", \"none\" or \"gqa,hidden\"");
      const auto parsed = parse_relations(*list);
      if (!parsed) return wrong(place_of(names->source()), parsed.error().message, parsed.error().hint);
      choice.relations = *parsed;
    }
    if (limit == nullptr) return {};
    const auto count = limit->value_exact<std::int64_t>();
    if (!count || *count < 1 || *count > 1000 || names == nullptr) {
      return wrong(place_of(limit->source()), "relations_per_case is a number from 1, beside relations");
    }
    choice.per_case = static_cast<int>(*count);
    return {};
  }

  Expected<void> add_unexpressed(const toml::table& root) {
    const toml::node* list = root.get("unexpressed");
    if (list == nullptr) return {};
    if (!list->is_array_of_tables()) return wrong(place_of(list->source()), "unexpressed is a table: [[unexpressed]]");
    for (const auto& node : *list->as_array()) {
      const toml::table& table = *node.as_table();
      if (auto fine = known_keys(table, {"ref", "reason"}); !fine) return fine;
      const auto ref = table["ref"].value_exact<std::string>(), reason = table["reason"].value_exact<std::string>();
      if (!ref || !reason)
        return wrong(place_of(table.source()), "unexpressed needs ref = \"...\" and reason = \"...\"");
      builder_.suite().unexpressed.push_back({*ref, *reason});
    }
    return {};
  }

  // Those that came before count as well: they are said, as duplicates.
  std::size_t cases_given() { return builder_.suite().cases.size() + builder_.suite().duplicates; }

  Expected<void> add_file(const toml::node& node) {
    const std::string& name = node.as_string()->get();
    const auto lines = read_(name);
    if (!lines) return wrong(place_of(node.source()), lines.error().message);
    return builder_.add_lines(*lines, name);
  }

  Expected<Word> read_override(const toml::key& key, const toml::node& value) const {
    Word word{std::string(key.str()), {}, place_of(key.source()), place_of(value.source())};
    if (const auto* text = value.as_string()) {
      word.value = text->get();
      ++word.value_place.column;
    } else if (const auto* whole = value.as_integer()) {
      word.value = fmt::format("{}", whole->get());
    } else if (const auto* real = value.as_floating_point()) {
      word.value = grammar::number_text(real->get());
    }
    if (word.value.empty()) return wrong(place_of(value.source()), "an axis value is a number or a word");
    return word;
  }

  // zip first, then the axes in the order of the file.
  Expected<std::vector<Dimension>> read_dimensions(const toml::table& table) const {
    std::vector<Dimension> out;
    if (const toml::node* zip = table.get("zip")) {
      const std::string_view expected = "zip is a list of tables: [{d_k=192, d_v=128}, ...]";
      if (!filled_list(*zip)) return wrong(place_of(zip->source()), std::string(expected));
      Dimension dimension;
      for (const auto& row : *zip->as_array()) {
        if (!filled_table(row)) return wrong(place_of(row.source()), std::string(expected));
        Alternative together;
        for (const auto& [key, value] : *row.as_table()) {
          auto word = read_override(key, value);
          if (!word) return tl::unexpected(word.error());
          together.push_back(std::move(*word));
        }
        dimension.push_back(std::move(together));
      }
      out.push_back(std::move(dimension));
    }
    const toml::node* axes = table.get("axes");
    if (axes == nullptr) return out;
    if (!filled_table(*axes)) return wrong(place_of(axes->source()), "axes is a table of lists: {n_q = [1, 33]}");
    std::vector<std::pair<Place, Dimension>> ordered;
    for (const auto& [key, values] : *axes->as_table()) {
      if (!filled_list(values)) {
        return wrong(place_of(values.source()), fmt::format("axis {} is a list of values", key.str()));
      }
      Dimension dimension;
      for (const auto& value : *values.as_array()) {
        auto word = read_override(key, value);
        if (!word) return tl::unexpected(word.error());
        dimension.push_back({std::move(*word)});
      }
      ordered.emplace_back(place_of(key.source()), std::move(dimension));
    }
    std::sort(ordered.begin(), ordered.end(), [](const auto& a, const auto& b) {
      return a.first.line != b.first.line ? a.first.line < b.first.line : a.first.column < b.first.column;
    });
    for (auto& [place, dimension] : ordered) out.push_back(std::move(dimension));
    return out;
  }

  // A value of a covering axis: a number or a word, or a table of keys that change together.
  Expected<AxisValue> read_axis_value(const toml::key& key, const toml::node& node) const {
    AxisValue out;
    const auto add = [&](const toml::key& name, const toml::node& value) -> Expected<void> {
      const auto word = read_override(name, value);
      if (!word) return tl::unexpected(word.error());
      out.words.push_back({word->key, word->value});
      return {};
    };
    if (!node.is_table()) {
      if (auto added = add(key, node); !added) return tl::unexpected(added.error());
      return out;
    }
    if (!filled_table(node))
      return wrong(place_of(node.source()), "an axis value is a number, a word or {key = value}");
    for (const auto& [name, value] : *node.as_table()) {
      if (auto added = add(name, value); !added) return tl::unexpected(added.error());
    }
    return out;
  }

  // {axis = value or [values], ...} of seeds and forbid, as indices into the axes.
  Expected<AxisSpace::Forbidden> read_choice(const toml::node& node, const std::vector<Axis>& axes) const {
    if (!filled_table(node)) return wrong(place_of(node.source()), "expected a table: {axis = value, ...}");
    AxisSpace::Forbidden out;
    std::vector<std::string> names;
    for (const auto& axis : axes) names.push_back(axis.name);
    for (const auto& [key, values] : *node.as_table()) {
      const auto at = std::find(names.begin(), names.end(), key.str());
      if (at == names.end()) {
        return wrong(place_of(key.source()), fmt::format("'{}' is no axis of this group", key.str()),
                     did_you_mean(key.str(), names));
      }
      const auto index = static_cast<std::size_t>(at - names.begin());
      const auto& known = axes[index].values;
      std::vector<int> chosen;
      const auto choose = [&](const toml::node& value) -> Expected<void> {
        const auto read = read_axis_value(key, value);
        if (!read) return tl::unexpected(read.error());
        const auto same =
            std::find_if(known.begin(), known.end(), [&](const AxisValue& v) { return v.words == read->words; });
        if (same == known.end()) {
          return wrong(place_of(value.source()), fmt::format("'{}' is no value of axis {}", read->label(), key.str()));
        }
        chosen.push_back(static_cast<int>(same - known.begin()));
        return {};
      };
      if (values.is_array()) {
        if (values.as_array()->empty())
          return wrong(place_of(values.source()), fmt::format("axis {} has no value", key.str()), "a value or a list");
        for (const auto& value : *values.as_array()) {
          if (auto added = choose(value); !added) return tl::unexpected(added.error());
        }
      } else if (auto added = choose(values); !added) {
        return tl::unexpected(added.error());
      }
      out.values.emplace_back(index, std::move(chosen));
    }
    return out;
  }

  Expected<std::vector<AxisSpace::Forbidden>> read_choices(const toml::table& table, std::string_view key,
                                                           const std::vector<Axis>& axes, bool one_each) const {
    std::vector<AxisSpace::Forbidden> out;
    const toml::node* list = table.get(key);
    if (list == nullptr) return out;
    if (!list->is_array()) return wrong(place_of(list->source()), fmt::format("{} is a list of tables", key));
    for (const auto& node : *list->as_array()) {
      auto choice = read_choice(node, axes);
      if (!choice) return tl::unexpected(choice.error());
      for (const auto& [axis, values] : choice->values) {
        if (one_each && values.size() > 1) {
          return wrong(place_of(node.source()), fmt::format("{}: a row has one value per axis, and {} has {}", key,
                                                            axes[axis].name, values.size()));
        }
      }
      out.push_back(std::move(*choice));
    }
    return out;
  }

  Expected<std::vector<Axis>> read_axes(const toml::table& table) const {
    std::vector<std::pair<Place, Axis>> ordered;
    const toml::node* axes = table.get("axes");
    if (axes == nullptr || !axes->is_table()) {
      return wrong(place_of(axes != nullptr ? axes->source() : table.source()), "axes is a table: [covering.axes]");
    }
    for (const auto& [key, values] : *axes->as_table()) {
      if (!filled_list(values)) {
        return wrong(place_of(values.source()), fmt::format("axis {} is a list of values", key.str()));
      }
      Axis axis{std::string(key.str()), {}};
      for (const auto& value : *values.as_array()) {
        auto read = read_axis_value(key, value);
        if (!read) return tl::unexpected(read.error());
        axis.values.push_back(std::move(*read));
      }
      ordered.emplace_back(place_of(key.source()), std::move(axis));
    }
    std::sort(ordered.begin(), ordered.end(), [](const auto& a, const auto& b) {
      return a.first.line != b.first.line ? a.first.line < b.first.line : a.first.column < b.first.column;
    });
    std::vector<Axis> out;
    for (auto& [place, axis] : ordered) out.push_back(std::move(axis));
    return out;
  }

  Expected<void> add_covering(const toml::table& table) {
    if (auto fine = known_keys(table, {"tag", "tags", "why", "claims", "line", "strength", "seed", "max_rows",
                                       "max_flop", "seeds", "forbid", "axes"});
        !fine)
      return fine;
    if (auto opened = open_group(table); !opened) return opened;
    const auto line = table["line"].value_exact<std::string>();
    if (!line) return wrong(place_of(table.source()), "a covering group needs line = \"...\", which its axes change");
    auto axes = read_axes(table);
    if (!axes) return tl::unexpected(axes.error());
    auto forbidden = read_choices(table, "forbid", *axes, false);
    if (!forbidden) return tl::unexpected(forbidden.error());
    const auto seeds = read_choices(table, "seeds", *axes, true);
    if (!seeds) return tl::unexpected(seeds.error());

    CoveringOptions options;
    std::int64_t strength = 2;
    double max_flop = 0;
    if (auto read = read_number(table, "strength", "1, 2 or 3", strength); !read) return read;
    if (auto read = read_number(table, "seed", "a whole number from 0 on", options.seed); !read) return read;
    if (auto read = read_number(table, "max_rows", "a whole number from 0 on", options.max_rows); !read) return read;
    if (auto read = read_number(table, "max_flop", "a number from 0 on; 0 is no limit", max_flop); !read) return read;
    if (strength < 1 || strength > 3 || static_cast<std::size_t>(strength) > axes->size()) {
      const toml::node* given = table.get("strength");
      return wrong(place_of(given != nullptr ? given->source() : table.source()),
                   "strength is 1, 2 or 3, and not more than there are axes");
    }
    options.strength = static_cast<int>(strength);
    for (const auto& seed : *seeds) {
      CoveringRow row(axes->size(), kFree);
      for (const auto& [axis, values] : seed.values) row[axis] = values.front();
      options.seeds.push_back(std::move(row));
    }
    AxisSpace space(*line, std::move(*axes), std::move(*forbidden), max_flop);
    if (auto added = builder_.add_covering(std::move(space), options); !added) {
      return wrong(place_of(table.source()), added.error().message, added.error().hint);
    }
    return {};
  }

  Expected<void> add_line(const toml::node& node, const std::vector<Dimension>& dimensions) {
    const std::string& line = node.as_string()->get();
    Place start = place_of(node.source());
    ++start.column;
    if (dimensions.empty()) {
      auto parsed = parse_case(line);
      if (!parsed) {
        const Error& error = parsed.error();
        return wrong({start.line, start.column + error.column - 1}, error.message, error.hint);
      }
      builder_.add(std::move(*parsed));
      return {};
    }
    std::vector<Word> words;
    for (const auto& token : grammar::split_words({line, start.column})) {
      const auto equals = std::min(token.text.find('='), token.text.size());
      const auto value = token.text.substr(std::min(equals + 1, token.text.size()));
      words.push_back({std::string(token.text.substr(0, equals)),
                       std::string(value),
                       {start.line, token.column},
                       {start.line, token.column + static_cast<int>(equals) + 1}});
    }
    return expand(words, dimensions, 0);
  }

  Expected<void> expand(const std::vector<Word>& words, const std::vector<Dimension>& dimensions, std::size_t depth) {
    if (depth == dimensions.size()) return add_words(words);
    for (const auto& alternative : dimensions[depth]) {
      std::vector<Word> changed = words;
      for (const auto& word : alternative) override_word(changed, word);
      if (auto added = expand(changed, dimensions, depth + 1); !added) return added;
    }
    return {};
  }

  Expected<void> add_words(const std::vector<Word>& words) {
    std::string line;
    std::vector<std::size_t> starts;
    for (const auto& word : words) {
      if (!line.empty()) line += ' ';
      starts.push_back(line.size());
      line += word.text();
    }
    auto parsed = parse_case(line);
    if (parsed) {
      builder_.add(std::move(*parsed));
      return {};
    }
    const auto offset = static_cast<std::size_t>(std::max(parsed.error().column - 1, 0));
    std::size_t index = 0;
    while (index + 1 < words.size() && starts[index + 1] <= offset) ++index;
    const Word& blamed = words[index];
    const std::size_t inside = offset - starts[index], value = blamed.key.size() + 1;
    Place place = inside < value ? blamed.key_place : blamed.value_place;
    if (inside >= value) place.column += static_cast<int>(inside - value);
    return wrong(place, fmt::format("{}, in '{}'", parsed.error().message, line), parsed.error().hint);
  }

  TomlFile file_;
  const FileReader& read_;
  std::optional<std::vector<Feature>> claims_;  // of the whole suite, where a group has none of its own
  SuiteBuilder builder_;
};

}  // namespace

Expected<Suite> parse_toml_suite(std::string_view toml, const std::string& path, const FileReader& read) {
  return TomlSuite(toml, path, read).parse();
}

}  // namespace attest
