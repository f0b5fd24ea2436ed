// What a manifest says about a Metal kernel that is not ours: its file, what it takes, and how a dispatch follows from
// the problem. manifest.md is the user's page.
#pragma once

#include <array>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "backends/metal/manifest/expression.h"
#include "backends/metal/manifest/tensors.h"
#include "cases/contract.h"
#include "cases/dtype.h"
#include "cases/error.h"

namespace attest::metal {

// A scalar of a struct of constants, or of a function constant.
enum class ScalarType : std::uint8_t { bool_, u8, i16, u16, i32, u32, i64, u64, f16, f32 };
std::size_t bytes_of(ScalarType type);
struct Scalar {
  ScalarType type = ScalarType::i32;
  Expression value;
};

struct ManifestBuffer {
  enum class Kind : std::uint8_t { tensor, constants, scratch };
  std::string name;
  Kind kind = Kind::tensor;
  TensorWish tensor;
  std::vector<Scalar> constants;  // a struct, every field at a multiple of its size
  Expression bytes;               // scratch memory: NaN before the first dispatch of a run
};

struct ManifestDispatch {
  std::string kernel;  // {k_type} and {d_k} stand for the problem's
  std::optional<Expression> when;
  std::array<Expression, 3> threadgroups, threads;
  std::vector<Expression> threadgroup_memory;  // bytes of [[threadgroup(i)]]
  std::vector<int> buffers;                    // [[buffer(i)]]: index into Manifest::buffers, -1 for none
};

struct Manifest {
  std::string path, name, description;
  std::string source_name, source;  // the .metal file and its text
  std::vector<DType> k_types, v_types;
  std::vector<std::string> features;  // of manifest_features()
  std::vector<Expression> where;
  std::vector<std::pair<int, Scalar>> function_constants;
  std::vector<ManifestBuffer> buffers;
  std::vector<ManifestDispatch> dispatches;
  ArithmeticContract contract;
  Expression tile, chunks;  // of the contract
  std::string text;         // of the manifest, for its build id
};

// Reads FILE.toml and the .metal file beside it. Errors (input) name file, line, key and the nearest valid word.
Expected<Manifest> load_manifest(const std::string& path);
Expected<Manifest> parse_manifest(std::string_view toml, const std::string& path, std::string source);

}  // namespace attest::metal
