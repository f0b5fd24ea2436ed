// Files of named tensors in the safetensors format: the header read and checked in full before any data is.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "cases/error.h"
#include "cases/stored_array.h"

namespace attest {

struct SafetensorsEntry {
  std::string name;
  std::string dtype;              // as the file has it: "F16", "BF16", "F8_E4M3"
  std::optional<ArrayType> type;  // nothing: a type whose values attest does not read
  std::vector<std::int64_t> shape;
  std::uint64_t begin = 0, end = 0;  // bytes of the file
};

// Every flaw is an input error that names the file, and the tensor where it is one's: a header longer than the file or
// than 100 MB, text that is not JSON, nested deeper than the format is, names or keys given twice, unknown dtypes,
// shapes whose bytes overflow or do not fit their offsets, tensors that overlap, leave holes or end beyond the file.
Expected<std::vector<SafetensorsEntry>> read_safetensors_header(const std::string& path);
// The same from memory: `name` stands for the file in messages.
Expected<std::vector<SafetensorsEntry>> parse_safetensors(std::span<const std::byte> file, const std::string& name);

// One tensor of the file. Errors also where there is none of that name (with the nearest), where its dtype is not read
// or where it has no elements.
Expected<StoredArray> read_safetensor(const std::string& path, std::string_view tensor);

}  // namespace attest
