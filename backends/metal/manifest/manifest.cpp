#include "backends/metal/manifest/manifest.h"

#include <fmt/format.h>
#include <toml++/toml.h>

#include <algorithm>
#include <charconv>
#include <filesystem>

#include "backends/metal/manifest/names.h"
#include "cases/file_io.h"
#include "cases/toml_file.h"

namespace attest::metal {
namespace {

constexpr std::array<std::pair<std::string_view, ScalarType>, 17> kScalars{{{"bool", ScalarType::bool_},
                                                                            {"u8", ScalarType::u8},
                                                                            {"i16", ScalarType::i16},
                                                                            {"u16", ScalarType::u16},
                                                                            {"i32", ScalarType::i32},
                                                                            {"u32", ScalarType::u32},
                                                                            {"i64", ScalarType::i64},
                                                                            {"u64", ScalarType::u64},
                                                                            {"f16", ScalarType::f16},
                                                                            {"f32", ScalarType::f32},
                                                                            {"short", ScalarType::i16},
                                                                            {"ushort", ScalarType::u16},
                                                                            {"int", ScalarType::i32},
                                                                            {"uint", ScalarType::u32},
                                                                            {"long", ScalarType::i64},
                                                                            {"half", ScalarType::f16},
                                                                            {"float", ScalarType::f32}}};

// Unit roundoff and absolute floor of a type that sums or scores are kept in.
struct Kept {
  std::string_view name;
  double unit, floor;
};
constexpr std::array<Kept, 3> kKept{{{"f32", kUnitF32, 0}, {"f16", kUnitF16, 0x1p-25}, {"bf16", kUnitBf16, 0}}};

template <class Rows, class F>
std::vector<std::string> words(const Rows& rows, F&& name_of) {
  std::vector<std::string> out;
  for (const auto& row : rows) out.emplace_back(name_of(row));
  return out;
}

class ManifestReader {
 public:
  ManifestReader(std::string_view toml, const std::string& path) : file_(toml, path), text_of_file_(toml) {
    manifest_.path = path;
  }

  Expected<Manifest> read(std::string source) {
    const auto parsed = file_.parse();
    if (!parsed) return Unexpected(parsed.error());
    const toml::table& root = *parsed;
    manifest_.text = text_of_file_;
    manifest_.source = std::move(source);
    manifest_.tile = manifest_.chunks = Expression::constant(1);
    manifest_.contract.eps_exp = 0x1p-21;
    manifest_.contract.eps_tanh = 0x1.4p-21;
    manifest_.contract.order = SumOrder::unknown;
    for (const auto& step : {&ManifestReader::head, &ManifestReader::supports, &ManifestReader::function_constants,
                             &ManifestReader::buffers, &ManifestReader::dispatches, &ManifestReader::contract}) {
      if (auto fine = (this->*step)(root); !fine) return Unexpected(fine.error());
    }
    return std::move(manifest_);
  }

 private:
  using Fine = Expected<void>;

  Unexpected wrong(const toml::source_region& at, std::string message, std::string hint = {}) const {
    return file_.wrong(at, std::move(message), std::move(hint));
  }
  Fine known_keys(const toml::table& table, const std::string& where, const std::vector<std::string>& names) const {
    return file_.known_keys(table, where.empty() ? "" : where + ": ", names);
  }
  Unexpected no_such(const toml::node& at, const std::string& key, std::string_view what, std::string_view word,
                     const std::vector<std::string>& known) const {
    std::string hint = did_you_mean(word, known);
    if (hint.empty()) hint = fmt::format("one of: {}", fmt::join(known, ", "));
    return wrong(at.source(), fmt::format("{}: no {} is called '{}'", key, what, word), hint);
  }

  Expected<std::string> text(const toml::table& table, std::string_view key, const std::string& where) const {
    const toml::node* node = table.get(key);
    if (node == nullptr) return wrong(table.source(), fmt::format("{}{} = \"...\" is missing", where, key));
    if (!node->is_string()) return wrong(node->source(), fmt::format("{}{} is a string", where, key));
    return node->as_string()->get();
  }
  // A list of strings (and numbers, where they stand for expressions); nothing where the key is missing.
  Expected<std::vector<const toml::node*>> list(const toml::table& table, std::string_view key,
                                                const std::string& where, bool numbers) const {
    std::vector<const toml::node*> out;
    const toml::node* node = table.get(key);
    if (node == nullptr) return out;
    if (!node->is_array()) return wrong(node->source(), fmt::format("{}{} is a list", where, key));
    for (const auto& item : *node->as_array()) {
      if (!item.is_string() && !(numbers && item.is_integer())) {
        return wrong(item.source(),
                     fmt::format("{}{} is a list of strings{}", where, key, numbers ? " and numbers" : ""));
      }
      out.push_back(&item);
    }
    return out;
  }

  // A number, or a string that is an expression; `skip` characters of the string are not part of it.
  Expected<Expression> expression(const toml::node& node, const std::string& key, const std::vector<std::string>& names,
                                  std::size_t skip = 0) const {
    if (node.is_integer()) return Expression::constant(node.as_integer()->get());
    if (!node.is_string()) return wrong(node.source(), fmt::format("{} is a number or an expression in quotes", key));
    auto parsed = Expression::parse(std::string_view(node.as_string()->get()).substr(skip), names);
    if (parsed) return parsed;
    return file_.wrong(node.source(), fmt::format("{}: {}", key, parsed.error().message), parsed.error().hint,
                       static_cast<int>(skip) + parsed.error().column);
  }
  // "u32 n_q * 2"
  Expected<Scalar> scalar(const toml::node& node, const std::string& key, const std::vector<std::string>& names) const {
    if (!node.is_string()) return wrong(node.source(), fmt::format("{} is a type and an expression: \"u32 n_q\"", key));
    const std::string& both = node.as_string()->get();
    const auto blank = std::min(both.find(' '), both.size());
    const auto type = std::find_if(kScalars.begin(), kScalars.end(),
                                   [&](const auto& s) { return s.first == std::string_view(both).substr(0, blank); });
    if (type == kScalars.end()) {
      return no_such(node, key, "type", both.substr(0, blank), words(kScalars, [](const auto& s) { return s.first; }));
    }
    auto value = expression(node, key, names, blank);
    if (!value) return Unexpected(value.error());
    return Scalar{type->second, std::move(*value)};
  }
  Expected<DType> dtype(const toml::node& node, const std::string& key) const {
    const std::string& name = node.as_string()->get();
    if (const auto type = dtype_from_name(name)) return *type;
    std::vector<std::string> known;
    for (int i = 0; i < kDTypeCount; ++i) known.emplace_back(info(static_cast<DType>(i)).name);
    return no_such(node, key, "type", name, known);
  }

  Fine head(const toml::table& root) {
    if (auto fine = known_keys(
            root, "",
            {"name", "description", "source", "supports", "function_constants", "buffers", "dispatch", "contract"});
        !fine)
      return fine;
    for (const auto& [key, slot] : {std::pair{"name", &manifest_.name}, {"source", &manifest_.source_name}}) {
      auto value = text(root, key, "");
      if (!value) return Unexpected(value.error());
      *slot = std::move(*value);
    }
    if (root.contains("description")) {
      auto value = text(root, "description", "");
      if (!value) return Unexpected(value.error());
      manifest_.description = std::move(*value);
    }
    return {};
  }

  Fine supports(const toml::table& root) {
    const toml::node* node = root.get("supports");
    if (node == nullptr || !node->is_table()) return wrong(root.source(), "a manifest needs [supports]");
    const toml::table& table = *node->as_table();
    if (auto fine = known_keys(table, "supports", {"kv", "k", "v", "features", "where"}); !fine) return fine;
    for (const auto& [key, for_k, for_v] :
         {std::tuple{"kv", true, true}, std::tuple{"k", true, false}, std::tuple{"v", false, true}}) {
      const auto names = list(table, key, "supports.", false);
      if (!names) return Unexpected(names.error());
      for (const toml::node* name : *names) {
        const auto type = dtype(*name, fmt::format("supports.{}", key));
        if (!type) return Unexpected(type.error());
        if (for_k) manifest_.k_types.push_back(*type);
        if (for_v) manifest_.v_types.push_back(*type);
      }
    }
    if (manifest_.k_types.empty() || manifest_.v_types.empty()) {
      return wrong(table.source(), "supports: the types of K and V are missing", "kv = [\"f16\"], or k and v");
    }
    const auto features = list(table, "features", "supports.", false);
    if (!features) return Unexpected(features.error());
    for (const toml::node* feature : *features) {
      const std::string& name = feature->as_string()->get();
      const auto known = words(manifest_features(), [](const ManifestFeature& f) { return f.name; });
      if (std::find(known.begin(), known.end(), name) == known.end())
        return no_such(*feature, "supports.features", "feature", name, known);
      manifest_.features.push_back(name);
    }
    const auto where = list(table, "where", "supports.", false);
    if (!where) return Unexpected(where.error());
    for (const toml::node* condition : *where) {
      auto e = expression(*condition, "supports.where", problem_names());
      if (!e) return Unexpected(e.error());
      manifest_.where.push_back(std::move(*e));
    }
    return {};
  }

  Fine function_constants(const toml::table& root) {
    const toml::node* node = root.get("function_constants");
    if (node == nullptr) return {};
    if (!node->is_table()) return wrong(node->source(), "function_constants is a table: 0 = \"int d_k\"");
    for (const auto& [key, value] : *node->as_table()) {
      int index = 0;
      const char* end = key.str().data() + key.str().size();
      const auto [stop, error] = std::from_chars(key.str().data(), end, index);
      if (error != std::errc() || stop != end || index < 0 || index > 65535) {
        return wrong(key.source(), fmt::format("function_constants: '{}' is no index from 0 to 65535", key.str()));
      }
      auto read = scalar(value, fmt::format("function_constants.{}", key.str()), problem_names());
      if (!read) return Unexpected(read.error());
      manifest_.function_constants.emplace_back(index, std::move(*read));
    }
    return {};
  }

  Fine buffers(const toml::table& root) {
    const toml::node* node = root.get("buffers");
    if (node == nullptr || !node->is_table()) return wrong(root.source(), "a manifest needs [buffers.NAME] tables");
    bool has_out = false;
    for (const auto& [key, value] : *node->as_table()) {
      const std::string name(key.str());
      if (!value.is_table()) return wrong(value.source(), fmt::format("buffers.{0} is a table: [buffers.{0}]", name));
      auto buffer = read_buffer(name, *value.as_table());
      if (!buffer) return Unexpected(buffer.error());
      has_out = has_out || (buffer->kind == ManifestBuffer::Kind::tensor && buffer->tensor.role == TensorRole::out);
      manifest_.buffers.push_back(std::move(*buffer));
    }
    if (!has_out) return wrong(node->source(), "no buffer takes the output", "tensor = \"out\"");
    return {};
  }

  Expected<ManifestBuffer> read_buffer(const std::string& name, const toml::table& table) {
    const std::string where = fmt::format("buffers.{}", name);
    if (auto fine = known_keys(table, where, {"tensor", "type", "layout", "constants", "scratch"}); !fine)
      return Unexpected(fine.error());
    const int kinds = int{table.contains("tensor")} + int{table.contains("constants")} + int{table.contains("scratch")};
    if (kinds != 1) return wrong(table.source(), where + " needs one of tensor, constants and scratch");
    ManifestBuffer out;
    out.name = name;
    if (const toml::node* scratch = table.get("scratch")) {
      out.kind = ManifestBuffer::Kind::scratch;
      auto bytes = expression(*scratch, where + ".scratch", all_names());
      if (!bytes) return Unexpected(bytes.error());
      out.bytes = std::move(*bytes);
      return out;
    }
    if (table.contains("constants")) {
      out.kind = ManifestBuffer::Kind::constants;
      const auto fields = list(table, "constants", where + ".", false);
      if (!fields) return Unexpected(fields.error());
      if (fields->empty()) return wrong(table.source(), where + ".constants is empty");
      for (const toml::node* field : *fields) {
        auto read = scalar(*field, where + ".constants", all_names());
        if (!read) return Unexpected(read.error());
        out.constants.push_back(std::move(*read));
      }
      return out;
    }
    if (auto fine = read_tensor(table, where, out.tensor); !fine) return Unexpected(fine.error());
    return out;
  }

  Fine read_tensor(const toml::table& table, const std::string& where, TensorWish& wish) {
    const auto tensor = text(table, "tensor", where + ".");
    if (!tensor) return Unexpected(tensor.error());
    const auto role = std::find(kTensorNames.begin(), kTensorNames.end(), *tensor);
    if (role == kTensorNames.end()) {
      return no_such(*table.get("tensor"), where, "tensor", *tensor, words(kTensorNames, [](auto n) { return n; }));
    }
    wish.role = static_cast<TensorRole>(role - kTensorNames.begin());
    if (const toml::node* type = table.get("type")) {
      if (!type->is_string()) return wrong(type->source(), where + ".type is a string");
      const auto read = dtype(*type, where + ".type");
      if (!read) return Unexpected(read.error());
      wish.type = *read;
      if (const auto flaw = flaw_of(wish)) return wrong(type->source(), fmt::format("{}.type: {}", where, *flaw));
    }
    const auto layout = list(table, "layout", where + ".", false);
    if (!layout) return Unexpected(layout.error());
    std::vector<std::string> axes;
    for (const auto axis : axes_of(wish.role)) {
      if (!axis.empty()) axes.emplace_back(axis);
    }
    for (const toml::node* item : *layout) {
      const std::string& axis = item->as_string()->get();
      const auto found = std::find(axes.begin(), axes.end(), axis);
      if (found == axes.end()) return no_such(*item, where + ".layout", "axis of " + *tensor, axis, axes);
      const int dimension = static_cast<int>(found - axes.begin());
      if (std::find(wish.order.begin(), wish.order.end(), dimension) != wish.order.end())
        return wrong(item->source(), fmt::format("{}.layout names {} twice", where, axis));
      wish.order.push_back(dimension);
    }
    return {};
  }

  Fine dispatches(const toml::table& root) {
    const toml::node* node = root.get("dispatch");
    if (node == nullptr || !node->is_array()) return wrong(root.source(), "a manifest needs at least one [[dispatch]]");
    for (const auto& item : *node->as_array()) {
      if (!item.is_table()) return wrong(item.source(), "dispatch is a table: [[dispatch]]");
      if (auto fine = read_dispatch(*item.as_table()); !fine) return fine;
    }
    return {};
  }

  Fine read_dispatch(const toml::table& table) {
    if (auto fine = known_keys(table, "dispatch",
                               {"kernel", "when", "threadgroups", "threads", "threadgroup_memory", "buffers"});
        !fine)
      return fine;
    ManifestDispatch d;
    auto kernel = text(table, "kernel", "dispatch.");
    if (!kernel) return Unexpected(kernel.error());
    if (auto fine = check_placeholders(*table.get("kernel"), *kernel); !fine) return fine;
    d.kernel = std::move(*kernel);
    if (const toml::node* when = table.get("when")) {
      auto e = expression(*when, "dispatch.when", problem_names());
      if (!e) return Unexpected(e.error());
      d.when = std::move(*e);
    }
    for (const auto& [key, slot] : {std::pair{"threadgroups", &d.threadgroups}, {"threads", &d.threads}}) {
      const auto sizes = list(table, key, "dispatch.", true);
      if (!sizes) return Unexpected(sizes.error());
      if (sizes->empty() || sizes->size() > 3) {
        return wrong(table.contains(key) ? table.get(key)->source() : table.source(),
                     fmt::format("dispatch.{} is a list of one to three sizes", key));
      }
      slot->fill(Expression::constant(1));
      for (std::size_t i = 0; i < sizes->size(); ++i) {
        auto e = expression(*(*sizes)[i], fmt::format("dispatch.{}", key), all_names());
        if (!e) return Unexpected(e.error());
        (*slot)[i] = std::move(*e);
      }
    }
    const auto memory = list(table, "threadgroup_memory", "dispatch.", true);
    if (!memory) return Unexpected(memory.error());
    for (const toml::node* item : *memory) {
      auto e = expression(*item, "dispatch.threadgroup_memory", all_names());
      if (!e) return Unexpected(e.error());
      d.threadgroup_memory.push_back(std::move(*e));
    }
    const auto names = list(table, "buffers", "dispatch.", false);
    if (!names) return Unexpected(names.error());
    if (names->empty())
      return wrong(table.source(), "dispatch.buffers is missing: names in the order of [[buffer(0)]]");
    for (const toml::node* item : *names) {
      const std::string& name = item->as_string()->get();
      const auto& known = manifest_.buffers;
      const auto found = std::find_if(known.begin(), known.end(), [&](const auto& b) { return b.name == name; });
      if (found == known.end() && !name.empty()) {
        return no_such(*item, "dispatch.buffers", "buffer", name,
                       words(known, [](const ManifestBuffer& b) { return b.name; }));
      }
      d.buffers.push_back(name.empty() ? -1 : static_cast<int>(found - known.begin()));
    }
    manifest_.dispatches.push_back(std::move(d));
    return {};
  }

  Fine check_placeholders(const toml::node& node, const std::string& kernel) const {
    for (std::size_t at = kernel.find('{'); at != std::string::npos; at = kernel.find('{', at + 1)) {
      const auto close = kernel.find('}', at);
      if (close == std::string::npos) return wrong(node.source(), "dispatch.kernel: '{' is not closed");
      const std::string name = kernel.substr(at + 1, close - at - 1);
      const auto names = problem_names();
      if (std::find(names.begin(), names.end(), name) == names.end())
        return no_such(node, "dispatch.kernel", "number of the problem", name, names);
      if (problem_numbers(AttentionProblem{}).at(name).real)
        return wrong(node.source(), fmt::format("dispatch.kernel: {{{}}} is no whole number", name));
    }
    return {};
  }

  Fine contract(const toml::table& root) {
    const toml::node* node = root.get("contract");
    if (node == nullptr) return q_and_output();
    if (!node->is_table()) return wrong(node->source(), "contract is a table: [contract]");
    const toml::table& table = *node->as_table();
    if (auto fine = known_keys(table, "contract",
                               {"dot", "scores", "weights", "accumulator", "sum", "exp_error", "tanh_error", "tile",
                                "chunks", "needs_finite_hidden"});
        !fine)
      return fine;
    ArithmeticContract& c = manifest_.contract;
    double ignored = 0;
    struct Slot {
      const char* key;
      double *unit, *floor;
      bool f32_is_exact;  // nothing is rounded there in f32
    };
    for (const Slot& slot :
         {Slot{"dot", &c.u_qk, &ignored, false}, Slot{"scores", &c.u_s, &ignored, true},
          Slot{"weights", &c.u_p, &c.omega, true}, Slot{"accumulator", &c.u_acc, &c.omega_acc, false},
          Slot{"sum", &c.u_l, &ignored, false}}) {
      const toml::node* value = table.get(slot.key);
      if (value == nullptr) continue;
      const std::string key = fmt::format("contract.{}", slot.key);
      if (!value->is_string()) return wrong(value->source(), key + " is a type: \"f32\"");
      const auto kept =
          std::find_if(kKept.begin(), kKept.end(), [&](const Kept& k) { return k.name == value->as_string()->get(); });
      if (kept == kKept.end())
        return no_such(*value, key, "type", value->as_string()->get(),
                       words(kKept, [](const Kept& k) { return k.name; }));
      *slot.unit = slot.f32_is_exact && kept->unit == kUnitF32 ? 0 : kept->unit;
      *slot.floor = std::max(*slot.floor, kept->floor);
    }
    c.honours_prec_f32 = c.u_qk <= kUnitF32 && c.u_acc <= kUnitF32;
    for (const auto& [key, slot] : {std::pair{"exp_error", &c.eps_exp}, {"tanh_error", &c.eps_tanh}}) {
      const toml::node* value = table.get(key);
      if (value == nullptr) continue;
      const auto number = value->value<double>();
      if (!number || !(*number > 0 && *number < 1))
        return wrong(value->source(), fmt::format("contract.{} is a relative error between 0 and 1", key));
      *slot = *number;
    }
    for (const auto& [key, slot] : {std::pair{"tile", &manifest_.tile}, {"chunks", &manifest_.chunks}}) {
      const toml::node* value = table.get(key);
      if (value == nullptr) continue;
      auto e = expression(*value, fmt::format("contract.{}", key), problem_names());
      if (!e) return Unexpected(e.error());
      if (value->is_integer() && value->as_integer()->get() < 1)
        return wrong(value->source(), fmt::format("contract.{} is at least 1", key));
      *slot = std::move(*e);
    }
    if (const toml::node* value = table.get("needs_finite_hidden")) {
      if (!value->is_boolean()) return wrong(value->source(), "contract.needs_finite_hidden is true or false");
      c.needs_finite_hidden = value->as_boolean()->get();
    }
    return q_and_output();
  }

  // What the types of the buffers promise.
  Fine q_and_output() {
    ArithmeticContract& c = manifest_.contract;
    for (const ManifestBuffer& b : manifest_.buffers) {
      if (b.kind != ManifestBuffer::Kind::tensor || !b.tensor.type) continue;
      const DType type = *b.tensor.type;
      if (b.tensor.role == TensorRole::q && type == DType::f16) c.q_rounding = QRounding::f16;
      if (b.tensor.role == TensorRole::q && type == DType::bf16) c.q_rounding = QRounding::bf16;
      if (b.tensor.role == TensorRole::out && type != DType::f32) {
        c.u_out = info(type).unit_roundoff;
        if (type == DType::f16) c.omega_out = 0x1p-25;
      }
    }
    return {};
  }

  TomlFile file_;
  std::string_view text_of_file_;
  Manifest manifest_;
};

}  // namespace

std::size_t bytes_of(ScalarType type) {
  constexpr std::array<std::size_t, 10> bytes{1, 1, 2, 2, 4, 4, 8, 8, 2, 4};
  return bytes[static_cast<std::size_t>(type)];
}

Expected<Manifest> parse_manifest(std::string_view toml, const std::string& path, std::string source) {
  return ManifestReader(toml, path).read(std::move(source));
}

Expected<Manifest> load_manifest(const std::string& path) {
  const auto toml = read_text_file(path);
  if (!toml) return Unexpected(toml.error());
  auto manifest = parse_manifest(*toml, path, {});
  if (!manifest) return manifest;
  auto source = read_text_file((std::filesystem::path(path).parent_path() / manifest->source_name).string());
  if (!source) {
    source.error().hint = fmt::format("source = \"{}\" in {}", manifest->source_name, path);
    return Unexpected(source.error());
  }
  manifest->source = std::move(*source);
  return manifest;
}

}  // namespace attest::metal
