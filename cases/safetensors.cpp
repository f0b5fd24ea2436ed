#include "cases/safetensors.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>
#include <numeric>
#include <set>

#include "cases/file_io.h"

namespace attest {
namespace {

constexpr std::uint64_t kMaxHeader = 100'000'000;  // the format's own limit
constexpr std::size_t kLengthBytes = 8;

struct Format {
  std::string_view dtype;
  int bytes;
  std::optional<ArrayType> type;
};
constexpr std::array<Format, 15> kFormats{{{"BOOL", 1, ArrayType::boolean},
                                           {"U8", 1, ArrayType::u8},
                                           {"I8", 1, ArrayType::i8},
                                           {"F8_E5M2", 1, std::nullopt},
                                           {"F8_E4M3", 1, std::nullopt},
                                           {"U16", 2, ArrayType::u16},
                                           {"I16", 2, ArrayType::i16},
                                           {"F16", 2, ArrayType::f16},
                                           {"BF16", 2, ArrayType::bf16},
                                           {"U32", 4, ArrayType::u32},
                                           {"I32", 4, ArrayType::i32},
                                           {"F32", 4, ArrayType::f32},
                                           {"U64", 8, ArrayType::u64},
                                           {"I64", 8, ArrayType::i64},
                                           {"F64", 8, ArrayType::f64}}};

// Text that a file may have filled with anything, for a message.
std::string printable(std::string_view text) {
  std::string out;
  for (const char c : text.substr(0, 40)) out += c >= 0x20 && c < 0x7f ? c : '?';
  return text.size() > 40 ? out + "..." : out;
}

// {"name": {"dtype": "F16", "shape": [2, 3], "data_offsets": [0, 12]}, ..., "__metadata__": {"key": "value"}}
// As events, so that nothing is built of what is not wanted, and a name given twice is seen.
class HeaderEvents : public nlohmann::json_sax<nlohmann::json> {
 public:
  std::vector<SafetensorsEntry> entries;  // begin and end count from the start of the data
  std::string wrong;

  bool start_object(std::size_t) override {
    if (depth_ >= 2 || list_ != nullptr || (depth_ == 1 && field_ != Field::tensor)) return fail("an object");
    ++depth_;
    fields_.clear();
    return true;
  }
  bool end_object() override {
    if (--depth_ == 1 && !metadata_) {
      if (fields_.size() != 3) return says("lacks one of dtype, shape and data_offsets");
      if (offsets_.size() != 2) return says("has data_offsets that are not two numbers");
      entries.back().begin = offsets_[0];
      entries.back().end = offsets_[1];
    }
    field_ = Field::none;
    return true;
  }
  bool key(string_t& name) override {
    if (depth_ == 1) {
      metadata_ = name == "__metadata__";
      if (!names_.insert(name).second) {
        wrong = fmt::format("the name '{}' is there twice", printable(name));
        return false;
      }
      if (!metadata_) entries.push_back({name, {}, {}, {}, 0, 0});
      field_ = Field::tensor;
      return true;
    }
    if (metadata_) return true;
    field_ = name == "dtype" ? Field::dtype : name == "shape" ? Field::shape : Field::offsets;
    if (field_ == Field::offsets && name != "data_offsets")
      return says(fmt::format("has the key '{}'", printable(name)));
    if (!fields_.insert(name).second) return says(fmt::format("has '{}' twice", name));
    return true;
  }
  bool start_array(std::size_t) override {
    if (depth_ != 2 || metadata_ || list_ != nullptr || (field_ != Field::shape && field_ != Field::offsets))
      return fail("a list");
    list_ = &numbers_;
    numbers_.clear();
    return true;
  }
  bool end_array() override {
    list_ = nullptr;
    if (field_ == Field::offsets) offsets_ = numbers_;
    if (field_ == Field::shape) {
      for (const std::uint64_t n : numbers_) {
        if (n > std::uint64_t{1} << 62) return says("has a dimension beyond 2^62");
        entries.back().shape.push_back(static_cast<std::int64_t>(n));
      }
    }
    field_ = Field::none;
    return true;
  }
  bool number_unsigned(number_unsigned_t value) override {
    if (list_ == nullptr || list_->size() >= 64) return fail("a number");
    list_->push_back(value);
    return true;
  }
  bool string(string_t& value) override {
    if (depth_ == 2 && metadata_) return true;
    if (depth_ != 2 || field_ != Field::dtype) return fail("a string");
    entries.back().dtype = value;
    field_ = Field::none;
    return true;
  }
  bool null() override { return fail("null"); }
  bool boolean(bool) override { return fail("true or false"); }
  bool number_integer(number_integer_t) override { return fail("a negative number"); }
  bool number_float(number_float_t, const string_t&) override { return fail("a number that is no size"); }
  bool binary(binary_t&) override { return fail("binary"); }
  bool parse_error(std::size_t position, const std::string&, const nlohmann::detail::exception&) override {
    wrong = fmt::format("its header is not JSON from byte {} on", kLengthBytes + position - 1);
    return false;
  }

 private:
  enum class Field { none, tensor, dtype, shape, offsets };
  bool fail(std::string_view what) {
    wrong = fmt::format("its header has {} where the format has none", what);
    if (!entries.empty()) wrong += fmt::format(", at or after tensor '{}'", printable(entries.back().name));
    return false;
  }
  bool says(std::string_view what) {
    wrong = fmt::format("tensor '{}' {}", printable(entries.back().name), what);
    return false;
  }

  std::set<std::string> names_, fields_;
  std::vector<std::uint64_t> numbers_, offsets_;
  std::vector<std::uint64_t>* list_ = nullptr;
  Field field_ = Field::none;
  int depth_ = 0;
  bool metadata_ = false;
};

Unexpected flaw(const std::string& file, std::string message, std::string hint = {}) {
  auto error = input_error("not a safetensors file that can be read: " + message, std::move(hint));
  error.value().file = file;
  return error;
}

std::vector<std::string> dtype_names() {
  std::vector<std::string> names;
  for (const Format& f : kFormats) names.emplace_back(f.dtype);
  return names;
}

// Bytes that shape and dtype ask for, or an error.
Expected<std::uint64_t> bytes_of(SafetensorsEntry& entry, const std::string& file) {
  const auto* format =
      std::find_if(kFormats.begin(), kFormats.end(), [&](const Format& f) { return f.dtype == entry.dtype; });
  const std::string who = fmt::format("tensor '{}'", printable(entry.name));
  if (format == kFormats.end())
    return flaw(file, fmt::format("{} has the dtype '{}'", who, printable(entry.dtype)),
                did_you_mean(entry.dtype, dtype_names()));
  entry.type = format->type;
  if (std::find(entry.shape.begin(), entry.shape.end(), 0) != entry.shape.end()) return std::uint64_t{0};
  constexpr std::array<ArrayType, 4> kOfSize{ArrayType::u8, ArrayType::u16, ArrayType::u32, ArrayType::u64};
  const ArrayType alike = kOfSize[format->bytes == 1 ? 0 : format->bytes == 2 ? 1 : format->bytes == 4 ? 2 : 3];
  const auto bytes = array_bytes(alike, entry.shape, who);
  if (!bytes) return flaw(file, bytes.error().message);
  return static_cast<std::uint64_t>(*bytes);
}

// The tensors cover the data without overlap or hole, each as large as its shape says.
Expected<void> place(std::vector<SafetensorsEntry>& entries, std::uint64_t data, std::uint64_t size,
                     const std::string& file) {
  for (SafetensorsEntry& entry : entries) {
    const auto bytes = bytes_of(entry, file);
    if (!bytes) return Unexpected(bytes.error());
    const std::string who = fmt::format("tensor '{}'", printable(entry.name));
    if (entry.end < entry.begin || entry.end > size - data)
      return flaw(
          file, fmt::format("{} lies at bytes {} to {} of {} bytes of data", who, entry.begin, entry.end, size - data));
    if (entry.end - entry.begin != *bytes)
      return flaw(file, fmt::format("{} has {} bytes: {} of {} takes {}", who, entry.end - entry.begin,
                                    shape_text(entry.shape), entry.dtype, *bytes));
  }
  std::vector<std::size_t> order(entries.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) {
    return std::pair(entries[a].begin, entries[a].end) < std::pair(entries[b].begin, entries[b].end);
  });
  std::uint64_t reached = 0;
  for (const std::size_t i : order) {
    if (entries[i].begin != reached)
      return flaw(file, fmt::format("tensor '{}' {}", printable(entries[i].name),
                                    entries[i].begin < reached ? "overlaps another" : "leaves a hole before it"));
    reached = entries[i].end;
  }
  if (reached != size - data)
    return flaw(file, fmt::format("{} bytes of data belong to no tensor", size - data - reached));
  for (SafetensorsEntry& entry : entries) {
    entry.begin += data;
    entry.end += data;
  }
  return {};
}

Expected<std::uint64_t> header_bytes(std::span<const std::byte> prefix, std::uint64_t size, const std::string& file) {
  if (prefix.size() < kLengthBytes) return flaw(file, fmt::format("it has {} bytes", size));
  std::uint64_t length = 0;
  for (std::size_t i = 0; i < kLengthBytes; ++i) length |= std::to_integer<std::uint64_t>(prefix[i]) << (8 * i);
  if (length > kMaxHeader)
    return flaw(file, fmt::format("a header of {} bytes, at most {} are read", length, kMaxHeader));
  if (length > size - kLengthBytes)
    return flaw(file, fmt::format("its header should end at byte {}, the file has {}", kLengthBytes + length, size));
  return length;
}

Expected<std::vector<SafetensorsEntry>> read_header(std::string_view text, std::uint64_t size,
                                                    const std::string& file) {
  HeaderEvents events;
  if (!nlohmann::json::sax_parse(text.begin(), text.end(), &events)) return flaw(file, events.wrong);
  if (auto placed = place(events.entries, kLengthBytes + text.size(), size, file); !placed)
    return Unexpected(placed.error());
  return std::move(events.entries);
}

}  // namespace

Expected<std::vector<SafetensorsEntry>> parse_safetensors(std::span<const std::byte> file, const std::string& name) {
  const auto length = header_bytes(file.first(std::min(file.size(), kLengthBytes)), file.size(), name);
  if (!length) return Unexpected(length.error());
  const auto text = file.subspan(kLengthBytes, *length);
  return read_header({reinterpret_cast<const char*>(text.data()), text.size()}, file.size(), name);
}

Expected<std::vector<SafetensorsEntry>> read_safetensors_header(const std::string& path) {
  const auto file = InputFile::open(path);
  if (!file) return Unexpected(file.error());
  std::vector<std::byte> prefix(std::min<std::uint64_t>(file->size(), kLengthBytes));
  if (auto read = file->read(0, prefix); !read) return Unexpected(read.error());
  const auto length = header_bytes(prefix, file->size(), path);
  if (!length) return Unexpected(length.error());
  std::string text(*length, '\0');
  if (auto read = file->read(kLengthBytes, std::as_writable_bytes(std::span(text))); !read)
    return Unexpected(read.error());
  return read_header(text, file->size(), path);
}

Expected<StoredArray> read_safetensor(const std::string& path, std::string_view tensor) {
  auto entries = read_safetensors_header(path);
  if (!entries) return Unexpected(entries.error());
  const auto found = std::find_if(entries->begin(), entries->end(), [&](const auto& e) { return e.name == tensor; });
  const auto error = [&](std::string message, std::string hint = {}) {
    auto e = input_error(std::move(message), std::move(hint));
    e.value().file = path;
    return e;
  };
  if (found == entries->end()) {
    std::vector<std::string> names;
    for (const auto& e : *entries) names.push_back(e.name);
    return error(fmt::format("has no tensor '{}'", tensor), did_you_mean(tensor, names));
  }
  if (!found->type) return error(fmt::format("tensor '{}' is {}, whose values are not read", tensor, found->dtype));
  if (found->begin == found->end) return error(fmt::format("tensor '{}' has no elements", tensor));
  const auto file = InputFile::open(path);
  if (!file) return Unexpected(file.error());
  StoredArray array{*found->type, found->shape, std::vector<std::byte>(found->end - found->begin)};
  if (auto read = file->read(found->begin, array.bytes); !read) return Unexpected(read.error());
  return array;
}

}  // namespace attest
