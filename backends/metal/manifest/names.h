// The words a manifest may use for a problem: names of numbers in its expressions, and features a kernel may have.
#pragma once

#include <array>
#include <string>
#include <string_view>
#include <vector>

#include "backends/metal/manifest/expression.h"
#include "backends/metal/manifest/tensors.h"
#include "cases/problem.h"

namespace attest::metal {

// Words of `features`: what a problem may have beyond plain attention.
struct ManifestFeature {
  std::string_view name, says;  // says: "ALiBi", for UNSUPPORTED
  bool (*has)(const AttentionProblem&);
};
const std::vector<ManifestFeature>& manifest_features();

// Names in expressions: of the problem, and strides "k_stride_n_kv" of the tensors as the kernel gets them, in
// elements.
std::vector<std::string> problem_names();
std::vector<std::string> all_names();
Numbers problem_numbers(const AttentionProblem& problem);
void add_strides(const TensorWish& wish, const std::array<std::int64_t, 4>& strides, Numbers& numbers);

}  // namespace attest::metal
