// The manifest of captured tensors: which arrays of which files make a case, and how they are to be read.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "cases/case.h"
#include "cases/error.h"

namespace attest {

// A place in a manifest, for messages.
struct ManifestPlace {
  std::string file, source_line;
  int line = 0, column = 0;
  Unexpected error(std::string message, std::string hint = {}) const;
};

// Order of an array's dimensions, slowest first: bhsd [sequence, head, token, column], bshd [sequence, token, head,
// column]. ggml: a file as ggml dumps a permuted tensor is in bhsd order (a result in bshd order), but `shape` and
// `strides` in the manifest are ne and nb, fastest first.
enum class ArrayOrder : std::uint8_t { bhsd, bshd, ggml };

struct FileArray {
  std::string key;                           // "q", "past_k"
  std::string file, tensor;                  // tensor: of a .safetensors file
  std::optional<DType> dtype;                // what raw integers stand for
  std::vector<std::int64_t> shape, strides;  // in elements and bytes; empty: as the file says, without gaps
  std::int64_t offset = 0;                   // bytes
  ArrayOrder order = ArrayOrder::bhsd;       // of the file: never ggml
  bool fastest_first = false;                // shape and strides
  ManifestPlace place;
};

struct ManifestMask {
  FileArray array;
  bool true_is_visible = true;  // of a bool mask
  std::optional<DType> as;      // f16 or f32: what the backend gets
};

struct ManifestExpected {
  FileArray array;
  std::optional<double> rtol, atol;  // its own tolerance; neither: what arithmetic of its element type may be off
  bool some_rows = false;            // of a bundle of which not all rows were judged
};

struct ManifestCase {
  ManifestPlace place;
  std::string name;
  std::optional<Case> line;  // of a bundle: everything but the values
  bool allocations = false;  // of a bundle: arrays are the bytes of whole allocations
  std::optional<FileArray> q, k, v, past_k, past_v, sinks;
  std::optional<ManifestMask> mask;
  std::optional<ManifestExpected> expected;
  std::vector<double> sink_values;
  std::optional<MaskKind> causal;  // causal or causal_top_left
  std::int64_t window = 0;
  std::optional<float> scale;
  float softcap = 0, max_bias = 0;
  std::optional<LayoutSpec> memory;  // what the backend gets
  int threads = 0;
  Precision prec = Precision::default_;
};

// The format is in harness/check/README.md. Errors are input errors with file, line, column, and the nearest valid
// word. `file` is for messages; names of arrays are relative to its directory.
Expected<std::vector<ManifestCase>> parse_manifest(std::string_view toml, const std::string& file);
Expected<std::vector<ManifestCase>> load_manifest(const std::string& path);

}  // namespace attest
