// NumPy's .npy files: plain little-endian arrays in C order, read with every flaw named, and written.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "cases/error.h"
#include "cases/stored_array.h"

namespace attest {

// Versions 1 to 3 of the format; element types bool, i1..i8, u1..u8, f2, f4, f8 and two raw bytes (V2, as ml_dtypes
// saves bfloat16; read as u16). Anything else is an input error with the file's name, what is there and what was
// expected: other magic, truncated or overlong files, big-endian or structured types, Fortran order, a dimension of 0,
// a shape whose bytes overflow, a header beyond 64 KiB, a bool that is neither 0 nor 1. Memory is taken only once the
// file's size agrees with its header.
Expected<StoredArray> read_npy(const std::string& path);
// The same from memory; `name` stands for the file in messages.
Expected<StoredArray> parse_npy(std::span<const std::byte> file, const std::string& name);

// Writes version 1.0 (data aligned to 64 bytes, as NumPy does). The size of `bytes` must be that of type and shape.
// bf16 is stored as u16, since NumPy has no such type: name it beside the file. A failure to write is a harness error,
// an impossible shape an input error.
Expected<void> write_npy(const std::string& path, ArrayType type, std::span<const std::int64_t> shape,
                         std::span<const std::byte> bytes);

// Everything before the data of such a file.
std::string npy_header(ArrayType type, std::span<const std::int64_t> shape);

}  // namespace attest
