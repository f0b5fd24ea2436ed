#include "cases/safetensors.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <string>

#include "cases/file_io.h"

namespace attest {
namespace {

using ::testing::HasSubstr;

std::string file_of(const std::string& header, std::size_t data, std::uint64_t length) {
  std::string file(8, '\0');
  for (std::size_t i = 0; i < 8; ++i) file[i] = static_cast<char>(length >> (8 * i) & 0xff);
  return file + header + std::string(data, '\1');
}
std::string file_of(const std::string& header, std::size_t data) { return file_of(header, data, header.size()); }

std::string parse_error(const std::string& file) {
  const auto entries = parse_safetensors(std::as_bytes(std::span(file)), "m.safetensors");
  return entries ? "accepted" : entries.error().text();
}

std::string tensor(const std::string& name, const std::string& dtype, const std::string& shape, const std::string& at) {
  return "\"" + name + R"(":{"dtype":")" + dtype + R"(","shape":[)" + shape + R"(],"data_offsets":[)" + at + "]}";
}

TEST(Safetensors, ReadsNamesTypesAndBytes) {
  const std::string path =
      (std::filesystem::path(::testing::TempDir()) / ("attest_test." + std::to_string(getpid()) + ".safetensors"))
          .string();
  const std::string header = R"({"__metadata__":{"format":"pt"},)" + tensor("k", "BF16", "2,3", "4,16") + "," +
                             tensor("q", "F32", "", "0,4") + "," + tensor("none", "F32", "0,3", "16,16") + "," +
                             tensor("p", "F8_E4M3", "2", "16,18") + "}  ";
  ASSERT_TRUE(write_file(path, file_of(header, 18)));
  const auto k = read_safetensor(path, "k");
  ASSERT_TRUE(k) << k.error().text();
  EXPECT_EQ(k->type, ArrayType::bf16);
  EXPECT_EQ(k->shape, (std::vector<std::int64_t>{2, 3}));
  EXPECT_EQ(k->bytes, std::vector<std::byte>(12, std::byte{1}));
  EXPECT_TRUE(read_safetensor(path, "q"));
  EXPECT_THAT(read_safetensor(path, "p").error().text(), HasSubstr("'p' is F8_E4M3, whose values are not read"));
  EXPECT_THAT(read_safetensor(path, "none").error().text(), HasSubstr("'none' has no elements"));
  EXPECT_THAT(read_safetensor(path, "nome").error().text(), HasSubstr("has no tensor 'nome' (did you mean 'none'?)"));
  std::filesystem::remove(path);
  EXPECT_THAT(read_safetensor(path, "k").error().text(), HasSubstr("No such file"));
}

TEST(Safetensors, EveryFlawOfAHeaderIsNamedWithTheFile) {
  const auto one = [](const std::string& shape, const std::string& at, std::size_t data,
                      const std::string& dtype = "F32") {
    return parse_error(file_of("{" + tensor("a", dtype, shape, at) + "}", data));
  };
  ASSERT_EQ(one("2,3", "0,24", 24), "accepted");
  EXPECT_EQ(parse_error(file_of("{}", 0)), "accepted");
  EXPECT_THAT(parse_error(""), HasSubstr("m.safetensors: not a safetensors file that can be read: it has 0 bytes"));
  EXPECT_THAT(parse_error(file_of("{}", 0, 3)), HasSubstr("should end at byte 11, the file has 10"));
  EXPECT_THAT(parse_error(file_of("{}", 0, ~std::uint64_t{0})), HasSubstr("at most 100000000"));
  EXPECT_THAT(parse_error(file_of("{]", 0)), HasSubstr("not JSON from byte"));
  EXPECT_THAT(parse_error(file_of("", 0)), HasSubstr("not JSON"));
  EXPECT_THAT(parse_error(file_of(std::string(200000, '['), 0)), HasSubstr("a list where the format has none"));
  std::string deep;
  for (int i = 0; i < 50000; ++i) deep += "{\"a\":";
  EXPECT_THAT(parse_error(file_of(deep, 0)), HasSubstr("'a' has the key 'a'"));
  EXPECT_THAT(one("2,3", "0,20", 24), HasSubstr("tensor 'a' has 20 bytes: [2, 3] of F32 takes 24"));
  EXPECT_THAT(one("2,3", "0,24", 23), HasSubstr("bytes 0 to 24 of 23 bytes of data"));
  EXPECT_THAT(one("2,3", "24,0", 24), HasSubstr("bytes 24 to 0"));
  EXPECT_THAT(one("2,3", "18446744073709551600,18446744073709551614", 24), HasSubstr("of 24 bytes"));
  EXPECT_THAT(one("4294967296,4294967296", "0,24", 24), HasSubstr("more than 2^62 bytes"));
  EXPECT_THAT(one("9223372036854775807", "0,24", 24), HasSubstr("beyond 2^62"));
  EXPECT_THAT(one("99999999999999999999999", "0,24", 24), HasSubstr("a number that is no size"));
  EXPECT_THAT(one("-2,-3", "0,24", 24), HasSubstr("a negative number"));
  EXPECT_THAT(one("2,3", "0", 24), HasSubstr("not two numbers"));
  EXPECT_THAT(one("2,3", "0,24", 30), HasSubstr("6 bytes of data belong to no tensor"));
  EXPECT_THAT(one("2,3", "0,24", 24, "F33"), HasSubstr("dtype 'F33' (did you mean 'F32'?)"));
  const auto two = [](const std::string& a, const std::string& b) {
    return parse_error(file_of("{" + a + "," + b + "}", 8));
  };
  EXPECT_THAT(two(tensor("a", "F32", "2", "0,8"), tensor("b", "F32", "1", "4,8")), HasSubstr("'b' overlaps another"));
  EXPECT_THAT(two(tensor("a", "F16", "1", "0,2"), tensor("b", "F32", "1", "4,8")), HasSubstr("'b' leaves a hole"));
  EXPECT_THAT(two(tensor("a", "F32", "1", "0,4"), tensor("a", "F32", "1", "4,8")), HasSubstr("'a' is there twice"));
  EXPECT_THAT(parse_error(file_of(R"({"a":{"dtype":"F32","dtype":"F32"}})", 0)), HasSubstr("'a' has 'dtype' twice"));
  EXPECT_THAT(parse_error(file_of(R"({"a":{"dtype":"F32","shape":[1]}})", 0)), HasSubstr("lacks one of"));
  EXPECT_THAT(parse_error(file_of(R"({"a":{"size":1}})", 0)), HasSubstr("has the key 'size'"));
  EXPECT_THAT(parse_error(file_of(R"({"a":3})", 0)), HasSubstr("a number where"));
  EXPECT_THAT(parse_error(file_of(R"([])", 0)), HasSubstr("a list where"));
  EXPECT_THAT(parse_error(file_of(R"(7)", 0)), HasSubstr("a number where"));
  EXPECT_THAT(parse_error(file_of(R"({"a":{"dtype":{"b":1}}})", 0)), HasSubstr("an object where"));
}

}  // namespace
}  // namespace attest
