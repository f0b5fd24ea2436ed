// Cases whose tensors come from the files a manifest names: bundles, and what was captured from a real model.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "cases/contract.h"
#include "cases/stored_array.h"
#include "harness/check/manifest.h"
#include "harness/run/tensor_source.h"

namespace attest {

// The arrays of one case, dense as [sequence, head, token, column], and the problem they make.
struct LoadedCase {
  Case the_case;
  StoredArray q, k, v, mask, sinks;  // in the problem's types; mask [M3, M2, n_q, n_kv]
  StoredArray expected;              // f32 in O's order; no bytes: none
};
// Reads every file of the case and holds it against the manifest: shapes that do not go together, types, strides beyond
// the file, values of a mask that are NaN. The case's text is made different from others by `seed`.
Expected<LoadedCase> load(const ManifestCase& c, std::uint64_t seed);

class CapturedCases : public TensorSource {
 public:
  // Manifests, and directories below which every manifest.toml is one. Every case is loaded once and let go again, so
  // that what is wrong with it is said before anything runs. `names`: globs over names of cases; empty: all.
  static Expected<std::unique_ptr<CapturedCases>> open(const std::vector<std::string>& paths,
                                                       const std::vector<std::string>& names);

  const std::vector<Case>& cases() const { return cases_; }
  bool any_expected() const;
  std::int64_t duplicates() const { return duplicates_; }  // bundles of one line alike in tensors and expected output

  bool has(const Case& c) const override;
  Expected<void> fill(const Case& c, const InputPlan& plan, const InputBuffers& buffers) const override;
  bool generates(const Case& c) const override;
  bool generic(const Case& c) const override;
  std::string name(const Case& c) const override;

  // The expected output of a case, O [d_v, n_head, n_q, n_seq] in f32, and the arithmetic it may be off by: its
  // own tolerance, or what its element type says: f32 throughout, or weights and output in f16 or bf16.
  struct Expectation {
    StoredArray output;
    ArithmeticContract contract;
  };
  // An input error where the case names none, or of some rows only, and for an altered case, as triage runs it.
  Expected<Expectation> expectation(const Case& c) const;

 private:
  struct Entry {
    ManifestCase manifest;
    std::uint64_t seed = 0;
    Case the_case;
  };
  const Entry* find(const Case& c) const;

  std::vector<Entry> entries_;
  std::vector<Case> cases_;
  std::map<std::string, std::size_t> by_tag_;  // Case::tags.front(), which alterations leave alone
  std::int64_t duplicates_ = 0;
};

}  // namespace attest
