#include "cases/npy.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <numeric>
#include <string>

#include "cases/file_io.h"

namespace attest {
namespace {

using ::testing::HasSubstr;
namespace fs = std::filesystem;

std::span<const std::byte> bytes_of(const std::string& text) { return std::as_bytes(std::span(text)); }

// A version 1 file with this header and `data` bytes of zeros behind it.
std::string npy(const std::string& header, std::size_t data, char major = 1) {
  std::string file = "\x93NUMPY";
  file += {major, '\0', static_cast<char>(header.size() & 0xff), static_cast<char>(header.size() >> 8)};
  if (major > 1) file += {'\0', '\0'};
  return file + header + std::string(data, '\0');
}

std::string parse_error(const std::string& file) {
  const auto array = parse_npy(bytes_of(file), "x.npy");
  return array ? "accepted" : array.error().text();
}

class NpyFile : public ::testing::Test {
 protected:
  NpyFile() : dir_(fs::path(::testing::TempDir()) / ("npy_test." + std::to_string(getpid()))) {
    fs::create_directories(dir_);
  }
  ~NpyFile() override { fs::remove_all(dir_); }
  std::string path(const char* name) const { return (dir_ / name).string(); }

 private:
  fs::path dir_;
};

// The bytes that numpy.save(file, numpy.arange(6, dtype='<f4').reshape(2, 3)) writes.
TEST(Npy, ReadsWhatNumPyWrites) {
  std::string header = "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }";
  header += std::string(118 - header.size() - 1, ' ') + '\n';
  std::string file = npy(header, 0);
  for (float v = 0; v < 6; ++v) file.append(reinterpret_cast<const char*>(&v), sizeof v);
  const auto array = parse_npy(bytes_of(file), "x.npy");
  ASSERT_TRUE(array) << array.error().text();
  EXPECT_EQ(array->type, ArrayType::f32);
  EXPECT_EQ(array->shape, (std::vector<std::int64_t>{2, 3}));
  for (int i = 0; i < 6; ++i) EXPECT_EQ(array_value(*array, i), i);
}

TEST(Npy, ReadsEveryVersionAndSpelling) {
  for (const char major : {'\1', '\2', '\3'})
    EXPECT_EQ(parse_error(npy("{'descr': '<f2', 'fortran_order': False, 'shape': (3,), }\n", 6, major)), "accepted");
  EXPECT_EQ(parse_error(npy("{\"shape\":(3L,2L),\"fortran_order\":False,\"descr\":\"|u1\"}", 6)), "accepted");
  EXPECT_EQ(parse_error(npy("{'descr': '<f8', 'fortran_order': False, 'shape': ()}", 8)), "accepted");
  EXPECT_EQ(parse_error(npy("{'descr': '|V2', 'fortran_order': False, 'shape': (4,)}", 8)), "accepted");
}

TEST_F(NpyFile, EveryTypeComesBackBitForBit) {
  for (int i = 0; i < kArrayTypeCount; ++i) {
    const auto type = static_cast<ArrayType>(i);
    StoredArray array{type, {2, 1, 5}, std::vector<std::byte>(static_cast<std::size_t>(10 * element_bytes(type)))};
    for (std::size_t b = 0; b < array.bytes.size(); ++b)
      array.bytes[b] = static_cast<std::byte>(type == ArrayType::boolean ? b % 2 : 7 * b + 129);
    ASSERT_TRUE(write_npy(path("a.npy"), type, array.shape, array.bytes));
    auto read = read_npy(path("a.npy"));
    ASSERT_TRUE(read) << read.error().text();
    EXPECT_EQ(read->type, type == ArrayType::bf16 ? ArrayType::u16 : type);
    EXPECT_EQ(read->shape, array.shape);
    EXPECT_EQ(read->bytes, array.bytes) << name(type);
    const auto text = read_text_file(path("a.npy"));
    ASSERT_TRUE(text);
    EXPECT_EQ(*parse_npy(bytes_of(*text), "x"), *read);
    EXPECT_EQ((text->size() - array.bytes.size()) % 64, 0U) << "data is not aligned";
  }
}

TEST(Npy, EveryFlawIsNamedWithTheFile) {
  const std::string good = "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3)}";
  const auto with = [&](const std::string& from, const std::string& to, std::size_t data = 24) {
    std::string header = good;
    header.replace(header.find(from), from.size(), to);
    return parse_error(npy(header, data));
  };
  ASSERT_EQ(parse_error(npy(good, 24)), "accepted");
  EXPECT_THAT(with("<f4", ">f4"), HasSubstr("x.npy: not a .npy file that can be read: element type '>f4' is big-endian "
                                            "(save it little-endian: array.astype('<f4'))"));
  EXPECT_THAT(with("False", "True"), HasSubstr("Fortran order (save it in C order"));
  EXPECT_THAT(with("2, 3", "0, 3", 0), HasSubstr("shape [0, 3]: every dimension must be at least 1"));
  EXPECT_THAT(with("2, 3", "-2, -3"), HasSubstr("every dimension must be at least 1"));
  EXPECT_THAT(with("2, 3", "4294967296, 4294967296"), HasSubstr("more than 2^62 bytes"));
  EXPECT_THAT(with("2, 3", "99999999999999999999"), HasSubstr("beyond 2^63"));
  EXPECT_THAT(with("(2, 3)", "(2, 3"), HasSubstr("',' or ')' expected"));
  EXPECT_THAT(with("2, 3", "2 3"), HasSubstr("',' or ')' expected"));
  EXPECT_THAT(with("2, 3", "two"), HasSubstr("a dimension expected"));
  EXPECT_THAT(with("'<f4'", "[('a', '<f4')]"), HasSubstr("structures"));
  EXPECT_THAT(with("<f4", "<c8"), HasSubstr("element type '<c8'"));
  EXPECT_THAT(with("<f4", ""), HasSubstr("element type ''"));
  EXPECT_THAT(with("<f4", "|f4"), HasSubstr("does not say its byte order"));
  EXPECT_THAT(with("False", "Maybe"), HasSubstr("True or False expected"));
  EXPECT_THAT(with("'fortran_order': False, ", ""), HasSubstr("lacks one of"));
  EXPECT_THAT(with("'fortran_order'", "'descr'"), HasSubstr("'descr' twice"));
  EXPECT_THAT(with("'shape'", "'form'"), HasSubstr("key 'form'"));
  EXPECT_THAT(with("3)}", "3)} x"), HasSubstr("blanks only"));
  EXPECT_THAT(parse_error(npy(good, 23)), HasSubstr("cut short, with 23 bytes of data: shape [2, 3] of f32 takes 24"));
  EXPECT_THAT(parse_error(npy(good, 25)), HasSubstr("has 25 bytes of data"));
  EXPECT_THAT(parse_error(npy(good, 24, 4)), HasSubstr("version 4.0"));
  EXPECT_THAT(parse_error(""), HasSubstr("it is empty"));
  EXPECT_THAT(parse_error("PK\3\4 a zip"), HasSubstr("does not begin with"));
  std::string oversized = npy(good, 24, 2);
  oversized[10] = '\x7f';
  EXPECT_THAT(parse_error(oversized), HasSubstr("at most 65536 are read"));
  EXPECT_THAT(parse_error(npy("{'descr': '|b1', 'fortran_order': False, 'shape': (1,)}", 0) + '\7'),
              HasSubstr("a bool is 0 or 1"));
}

TEST(Npy, EveryCutAndEveryFlippedHeaderByteIsAnErrorOrAnArray) {
  const std::string file = npy("{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3)}", 24);
  for (std::size_t length = 0; length < file.size(); ++length)
    EXPECT_FALSE(parse_npy(bytes_of(file.substr(0, length)), "x")) << length;
  for (std::size_t at = 0; at < file.size() - 24; ++at)
    for (int value = 0; value < 256; ++value) {
      std::string changed = file;
      changed[at] = static_cast<char>(value);
      const auto array = parse_npy(bytes_of(changed), "x");
      ASSERT_EQ(array ? array->bytes.size() : 24U, 24U) << at << ' ' << value;
    }
}

TEST_F(NpyFile, MissingFilesAndFullDisksAreErrors) {
  ASSERT_TRUE(write_file(path("keys.npy"), "x"));
  const auto missing = read_npy(path("kesy.npy"));
  ASSERT_FALSE(missing);
  EXPECT_EQ(missing.error().kind, ErrorKind::input);
  EXPECT_THAT(missing.error().text(),
              HasSubstr("kesy.npy: cannot be read: No such file or directory (did you mean 'keys.npy'?)"));
  EXPECT_THAT(read_npy(path("")).error().text(), HasSubstr("is not a regular file"));
  const std::vector<std::byte> data(4);
  const std::vector<std::int64_t> one{1}, two{2};
  EXPECT_THAT(write_npy(path("a.npy"), ArrayType::f32, two, data).error().text(),
              HasSubstr("4 bytes for an array of f32 [2], which has 8"));
  EXPECT_EQ(write_npy(path("no/a.npy"), ArrayType::f32, one, data).error().kind, ErrorKind::harness);
  if (fs::exists("/dev/full")) {
    const auto full = write_npy("/dev/full", ArrayType::f32, one, data);
    ASSERT_FALSE(full);
    EXPECT_EQ(full.error().kind, ErrorKind::harness);
    EXPECT_THAT(full.error().text(), HasSubstr("No space left"));
  }
}

}  // namespace
}  // namespace attest
