// The files that carry a case's tensors to a process and its output back: .npy, or memory as it lies.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "cases/error.h"
#include "cases/problem.h"

namespace attest::process {

enum class Transfer : std::uint8_t {
  npy,     // dense arrays, slowest dimension first; block types as rows of bytes
  memory,  // the allocation itself with every gap, to be mapped
};

// A tensor as a request names it.
struct FileTensor {
  std::string name, file;
  TensorShape shape;
  std::int64_t offset = 0;  // memory: of the first element, in bytes
};

// Slowest first; sinks have one dimension.
std::vector<std::int64_t> array_shape(const FileTensor& tensor);

// What the form cannot carry: "" or the reason.
std::string cannot_carry(const AttentionProblem& problem, Transfer transfer);

// Writes the inputs (absent ones are left out) and makes room for the output, the last of the result.
// Errors (harness): no room, no such directory.
Expected<std::vector<FileTensor>> write_tensors(const AttentionInputs& inputs, const MutableTensorView& out,
                                                Transfer transfer, const std::filesystem::path& directory);

// Copies the output's file into `out`. Errors (harness): missing, or not of the type and shape that the problem has.
Expected<void> read_output(const std::string& file, Transfer transfer, const MutableTensorView& out);

}  // namespace attest::process
