#include "cases/npy.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cstring>
#include <optional>

#include "cases/file_io.h"

namespace attest {
namespace {

constexpr std::array<unsigned char, 6> kMagic{0x93, 'N', 'U', 'M', 'P', 'Y'};
constexpr std::uint64_t kMaxHeader = 65536;
constexpr std::size_t kMaxPrefix = 12;  // magic, version, header length of versions 2 and 3
constexpr std::string_view kExpected = "'<f2', '<f4', '<f8', '|b1', '|u1', '<i8' and their like";

struct Descr {
  ArrayType type;
  std::string_view kind;  // "f4"
};
constexpr std::array<Descr, 13> kDescr{{{ArrayType::boolean, "b1"},
                                        {ArrayType::i8, "i1"},
                                        {ArrayType::u8, "u1"},
                                        {ArrayType::i16, "i2"},
                                        {ArrayType::u16, "u2"},
                                        {ArrayType::i32, "i4"},
                                        {ArrayType::u32, "u4"},
                                        {ArrayType::i64, "i8"},
                                        {ArrayType::u64, "u8"},
                                        {ArrayType::f16, "f2"},
                                        {ArrayType::f32, "f4"},
                                        {ArrayType::f64, "f8"},
                                        {ArrayType::u16, "V2"}}};

Unexpected flaw(const std::string& file, std::string message, std::string hint = {}) {
  auto error = input_error("not a .npy file that can be read: " + message, std::move(hint));
  error.value().file = file;
  return error;
}

struct Header {
  ArrayType type = ArrayType::f32;
  std::vector<std::int64_t> shape;
};

// Bytes that may be anything, for a message.
std::string printable(std::string_view text) {
  std::string out;
  for (const char c : text.substr(0, 24)) out += c >= 0x20 && c < 0x7f ? c : '?';
  return text.size() > 24 ? out + "..." : out;
}

// The header is a Python dictionary of three keys: {'descr': '<f4', 'fortran_order': False, 'shape': (3, 4), }
class HeaderReader {
 public:
  HeaderReader(std::string_view text, const std::string& file) : text_(text), file_(file) {}

  Expected<Header> read() {
    if (!take('{')) return expected("'{'");
    while (!take('}')) {
      auto key = word();
      if (!key) return Unexpected(key.error());
      if (!take(':')) return expected("':'");
      auto value = read_value(*key);
      if (!value) return Unexpected(value.error());
      if (!take(',') && !next_is('}')) return expected("',' or '}'");
    }
    skip_blanks();
    if (at_ < text_.size()) return expected("blanks only after '}'");
    if (!descr_ || !order_ || !shape_) return flaw(file_, "its header lacks one of 'descr', 'fortran_order', 'shape'");
    return finish();
  }

 private:
  Unexpected expected(std::string_view what) const {
    return flaw(file_, fmt::format("{} expected at byte {} of its header, there is '{}'", what, at_,
                                   printable(text_.substr(std::min(at_, text_.size())))));
  }
  void skip_blanks() {
    while (at_ < text_.size() && (text_[at_] == ' ' || text_[at_] == '\n' || text_[at_] == '\t')) ++at_;
  }
  bool next_is(char c) {
    skip_blanks();
    return at_ < text_.size() && text_[at_] == c;
  }
  bool take(char c) {
    if (!next_is(c)) return false;
    ++at_;
    return true;
  }

  Expected<std::string_view> word() {
    skip_blanks();
    const char quote = at_ < text_.size() ? text_[at_] : '\0';
    const std::size_t end = quote == '\'' || quote == '"' ? text_.find(quote, at_ + 1) : std::string_view::npos;
    if (end == std::string_view::npos) return expected("a quoted word");
    const std::string_view found = text_.substr(at_ + 1, end - at_ - 1);
    at_ = end + 1;
    return found;
  }

  Expected<void> read_value(std::string_view key) {
    if ((key == "descr" && descr_) || (key == "fortran_order" && order_) || (key == "shape" && shape_))
      return flaw(file_, fmt::format("its header has '{}' twice", key));
    if (key == "descr") {
      if (next_is('[')) return flaw(file_, "its elements are structures", "save one field of the array at a time");
      auto descr = word();
      if (!descr) return Unexpected(descr.error());
      descr_ = *descr;
      return {};
    }
    if (key == "fortran_order") return read_order();
    if (key == "shape") return read_shape();
    return flaw(file_, fmt::format("its header has the key '{}', which is not one of 'descr', 'fortran_order', 'shape'",
                                   printable(key)));
  }

  Expected<void> read_order() {
    skip_blanks();
    for (const auto& [text, value] : {std::pair{std::string_view("True"), true}, {std::string_view("False"), false}}) {
      if (text_.substr(at_).substr(0, text.size()) != text) continue;
      at_ += text.size();
      order_ = value;
      return {};
    }
    return expected("True or False");
  }

  Expected<void> read_shape() {
    if (!take('(')) return expected("'('");
    shape_.emplace();
    while (!take(')')) {
      skip_blanks();
      std::int64_t extent = 0;
      const char* begin = text_.data() + at_;
      const auto [end, failed] = std::from_chars(begin, text_.data() + text_.size(), extent);
      if (failed == std::errc::result_out_of_range) return flaw(file_, "a dimension of its shape is beyond 2^63");
      if (failed != std::errc{}) return expected("a dimension");
      at_ += static_cast<std::size_t>(end - begin);
      if (at_ < text_.size() && text_[at_] == 'L') ++at_;  // Python 2 wrote 3L
      shape_->push_back(extent);
      if (!take(',') && !next_is(')')) return expected("',' or ')'");
    }
    return {};
  }

  Expected<Header> finish() const {
    const std::string_view descr = *descr_;
    const char order = descr.empty() ? '\0' : descr.front();
    const auto* known = std::find_if(kDescr.begin(), kDescr.end(),
                                     [&](const Descr& d) { return !descr.empty() && descr.substr(1) == d.kind; });
    if (known == kDescr.end() || std::string_view("<|>").find(order) == std::string_view::npos)
      return flaw(file_, fmt::format("element type '{}'", printable(descr)), fmt::format("read are {}", kExpected));
    const bool one_byte = element_bytes(known->type) == 1;
    if (order == '>' && !one_byte)
      return flaw(file_, fmt::format("element type '{}' is big-endian", descr),
                  fmt::format("save it little-endian: array.astype('<{}')", known->kind));
    if (order == '|' && !one_byte && known->kind != "V2")
      return flaw(file_, fmt::format("element type '{}' does not say its byte order", descr),
                  fmt::format("'<{}' is little-endian", known->kind));
    if (*order_) return flaw(file_, "it is in Fortran order", "save it in C order: numpy.ascontiguousarray(array)");
    return Header{known->type, *shape_};
  }

  std::string_view text_;
  const std::string& file_;
  std::size_t at_ = 0;
  std::optional<std::string_view> descr_;
  std::optional<bool> order_;
  std::optional<std::vector<std::int64_t>> shape_;
};

struct Place {
  std::uint64_t header = 0, header_bytes = 0;
  std::uint64_t data() const { return header + header_bytes; }
};

// `prefix`: the first kMaxPrefix bytes, or fewer where the file ends before.
Expected<Place> find_header(std::span<const std::byte> prefix, std::uint64_t size, const std::string& file) {
  if (size == 0) return flaw(file, "it is empty");
  if (prefix.size() < kMagic.size() || std::memcmp(prefix.data(), kMagic.data(), kMagic.size()) != 0)
    return flaw(file, R"(it does not begin with "\x93NUMPY")");
  if (prefix.size() < 10) return flaw(file, fmt::format("it ends after {} bytes, within its preamble", size));
  const int major = std::to_integer<int>(prefix[6]), minor = std::to_integer<int>(prefix[7]);
  if (major < 1 || major > 3 || minor != 0)
    return flaw(file, fmt::format("version {}.{}", major, minor), "read are 1.0, 2.0 and 3.0");
  const std::size_t length_bytes = major == 1 ? 2 : 4;
  if (prefix.size() < 8 + length_bytes)
    return flaw(file, fmt::format("it ends after {} bytes, within its preamble", size));
  Place place{8 + length_bytes, 0};
  for (std::size_t i = 0; i < length_bytes; ++i)
    place.header_bytes |= std::to_integer<std::uint64_t>(prefix[8 + i]) << (8 * i);
  if (place.header_bytes > kMaxHeader)
    return flaw(file, fmt::format("a header of {} bytes, at most {} are read", place.header_bytes, kMaxHeader));
  if (place.data() > size)
    return flaw(file, fmt::format("its header should end at byte {}, the file has {}", place.data(), size));
  return place;
}

Expected<Header> read_header(std::span<const std::byte> text, const Place& place, std::uint64_t size,
                             const std::string& file) {
  auto header = HeaderReader({reinterpret_cast<const char*>(text.data()), text.size()}, file).read();
  if (!header) return header;
  const auto bytes = array_bytes(header->type, header->shape, "its header");
  if (!bytes) return flaw(file, bytes.error().message);
  const std::uint64_t there = size - place.data();
  if (static_cast<std::uint64_t>(*bytes) != there)
    return flaw(file, fmt::format("{} {} bytes of data: shape {} of {} takes {}",
                                  there < static_cast<std::uint64_t>(*bytes) ? "it is cut short, with" : "it has",
                                  there, shape_text(header->shape), name(header->type), *bytes));
  return header;
}

Expected<StoredArray> checked(StoredArray array, const std::string& file) {
  if (array.type == ArrayType::boolean)
    for (std::size_t i = 0; i < array.bytes.size(); ++i)
      if (std::to_integer<int>(array.bytes[i]) > 1)
        return flaw(
            file, fmt::format("element {} is the byte {}, a bool is 0 or 1", i, std::to_integer<int>(array.bytes[i])));
  return array;
}

}  // namespace

Expected<StoredArray> parse_npy(std::span<const std::byte> file, const std::string& name) {
  const auto place = find_header(file.first(std::min(file.size(), kMaxPrefix)), file.size(), name);
  if (!place) return Unexpected(place.error());
  auto header = read_header(file.subspan(place->header, place->header_bytes), *place, file.size(), name);
  if (!header) return Unexpected(header.error());
  const auto data = file.subspan(place->data());
  return checked({header->type, std::move(header->shape), {data.begin(), data.end()}}, name);
}

Expected<StoredArray> read_npy(const std::string& path) {
  const auto file = InputFile::open(path);
  if (!file) return Unexpected(file.error());
  std::vector<std::byte> text(std::min<std::uint64_t>(file->size(), kMaxPrefix));
  if (auto read = file->read(0, text); !read) return Unexpected(read.error());
  const auto place = find_header(text, file->size(), path);
  if (!place) return Unexpected(place.error());
  text.resize(place->header_bytes);
  if (auto read = file->read(place->header, text); !read) return Unexpected(read.error());
  auto header = read_header(text, *place, file->size(), path);
  if (!header) return Unexpected(header.error());
  StoredArray array{header->type, std::move(header->shape), std::vector<std::byte>(file->size() - place->data())};
  if (auto read = file->read(place->data(), array.bytes); !read) return Unexpected(read.error());
  return checked(std::move(array), path);
}

std::string npy_header(ArrayType type, std::span<const std::int64_t> shape) {
  const ArrayType stored = type == ArrayType::bf16 ? ArrayType::u16 : type;
  const auto* descr = std::find_if(kDescr.begin(), kDescr.end(), [&](const Descr& d) { return d.type == stored; });
  std::string text = fmt::format("{{'descr': '{}{}', 'fortran_order': False, 'shape': (",
                                 element_bytes(stored) == 1 ? '|' : '<', descr->kind);
  for (std::size_t i = 0; i < shape.size(); ++i) text += fmt::format("{}{}", i == 0 ? "" : ", ", shape[i]);
  text += shape.size() == 1 ? ",), }" : "), }";
  while ((10 + text.size() + 1) % 64 != 0) text += ' ';
  text += '\n';
  std::string header(kMagic.begin(), kMagic.end());
  header += {'\x01', '\0', static_cast<char>(text.size() & 0xff), static_cast<char>(text.size() >> 8)};
  return header + text;
}

Expected<void> write_npy(const std::string& path, ArrayType type, std::span<const std::int64_t> shape,
                         std::span<const std::byte> bytes) {
  const auto size = array_bytes(type, shape, "the array");
  if (!size || static_cast<std::size_t>(*size) != bytes.size()) {
    auto error = size ? input_error(fmt::format("{} bytes for an array of {} {}, which has {}", bytes.size(),
                                                name(type), shape_text(shape), *size))
                      : Unexpected(size.error());
    error.value().file = path;
    return error;
  }
  const std::string header = npy_header(type, shape);
  return write_file(path, {std::as_bytes(std::span(header)), bytes});
}

}  // namespace attest
