// libFuzzer entry of the .npy and safetensors readers: every input goes through both.
#include <array>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <string>
#include <vector>

#include "cases/file_io.h"
#include "cases/npy.h"
#include "cases/safetensors.h"

namespace {

// Small sound files of both formats, and some with a flaw that the format allows for.
std::vector<std::string> seeds() {
  std::vector<std::string> files;
  const std::array<std::vector<std::int64_t>, 3> shapes{{{}, {3}, {1, 2, 3}}};
  for (int t = 0; t < attest::kArrayTypeCount; ++t) {
    const auto type = static_cast<attest::ArrayType>(t);
    for (const auto& shape : shapes) {
      std::int64_t bytes = attest::element_bytes(type);
      for (const std::int64_t n : shape) bytes *= n;
      files.push_back(attest::npy_header(type, shape) + std::string(static_cast<std::size_t>(bytes), '\1'));
    }
  }
  for (const std::string descr : {">f4", "<c8", "|V2"}) {
    std::string file = attest::npy_header(attest::ArrayType::f32, shapes[1]) + std::string(12, '\0');
    file.replace(file.find("<f4"), 3, descr);
    files.push_back(file);
  }
  for (
      const std::string header :
      {R"({})", R"({"a":{"dtype":"F16","shape":[2,3],"data_offsets":[0,12]}})",
       R"({"__metadata__":{"format":"pt"},"q":{"dtype":"BF16","shape":[],"data_offsets":[0,2]},)"
       R"("k":{"dtype":"F8_E4M3","shape":[4,1],"data_offsets":[2,6]}})",
       R"({"b":{"data_offsets":[0,8],"shape":[1],"dtype":"I64"},"a":{"dtype":"BOOL","shape":[0],"data_offsets":[8,8]}})"}) {
    std::string file(8, '\0');
    file[0] = static_cast<char>(header.size());
    files.push_back(file + header +
                    std::string(header.find("BF16") != std::string::npos ? 6
                                : header.size() > 60                     ? 8
                                : header.size() > 2                      ? 12
                                                                         : 0,
                                '\1'));
  }
  return files;
}

}  // namespace

// Fills a corpus directory that is empty.
extern "C" int LLVMFuzzerInitialize(int* argc, char*** argv) {
  for (int i = 1; i < *argc; ++i) {
    const std::filesystem::path dir((*argv)[i]);
    if (!std::filesystem::is_directory(dir) || !std::filesystem::is_empty(dir)) continue;
    int n = 0;
    for (const std::string& file : seeds()) {
      if (!attest::write_file((dir / ("seed-" + std::to_string(n++))).string(), file)) std::abort();
    }
  }
  return 0;
}

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::span<const std::byte> file(reinterpret_cast<const std::byte*>(data), size);
  if (const auto array = attest::parse_npy(file, "fuzz.npy")) {
    // What is accepted agrees with itself.
    const auto bytes = attest::array_bytes(array->type, array->shape, "it");
    if (!bytes || static_cast<std::size_t>(*bytes) != array->bytes.size()) std::abort();
    for (std::int64_t i = 0; i < array->elements(); ++i) static_cast<void>(attest::array_value(*array, i));
  } else if (array.error().text().empty()) {
    std::abort();
  }
  if (const auto entries = attest::parse_safetensors(file, "fuzz.safetensors")) {
    for (const auto& e : *entries) {
      if (e.begin > e.end || e.end > size) std::abort();
    }
  } else if (entries.error().text().empty()) {
    std::abort();
  }
  return 0;
}
