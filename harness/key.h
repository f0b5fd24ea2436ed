// The key of a case: which rows are judged, what both references say, and bounds of the budget, kept between runs.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "cases/case.h"
#include "cases/contract.h"
#include "harness/run/blob_store.h"
#include "oracles/blindness.h"
#include "oracles/budget_sketch.h"
#include "oracles/emulate.h"
#include "oracles/error_budget.h"
#include "oracles/oracle.h"

namespace attest {

// Of the sources that keys, and so verdicts, are worked out with.
std::string_view key_fingerprint();

struct KeyOptions {
  std::int64_t rows = 0;           // judged rows per case at most; 0: as many as key_flop allows
  double key_flop = 20e9;          // what the Eigen reference may cost per case
  bool oracle_full = false;        // the scalar oracle confirms every judged row
  double confirm_flop = 2e6;       // else a seeded sample: at most this much
  std::int64_t confirm_rows = 64;  // and at most so many rows
  bool structured = false;         // whatever the line says, roundings are not taken as independent
};

// Worked out on first use and shared by all backends of a case. Not thread-safe: one slot owns it.
class Key {
 public:
  // `inputs` and `cache` must outlive the key; cache may be nullptr. What is cached is addressed by the case, the rows,
  // the rounding or the whole contract, and a fingerprint of the sources of cases/ and oracles/.
  Key(const Case& c, const AttentionInputs& inputs, const KeyOptions& options, BlobStore* cache = nullptr);

  const Case& the_case() const { return case_; }
  const AttentionInputs& inputs() const { return inputs_; }
  const KeyOptions& options() const { return options_; }
  const std::vector<Row>& rows() const { return rows_; }      // judged, sorted
  const std::vector<Row>& sample() const { return sample_; }  // confirmed by the scalar oracle in any case
  bool generic() const { return generic_; }

  // What the references say under a declared rounding of Q.
  struct Answer {
    RowValues eigen;      // of rows(), in order
    RowValues truth;      // the scalar oracle's, of sample(), in order
    RowValues exact;      // Eigen's with exact Q, of the first kExactRows of sample(); empty without rounding
    bool agreed = false;  // the references were held against each other on the sample
  };
  static constexpr std::size_t kExactRows = 4;
  const Answer& under(QRounding rounding);
  // The references agree on the sample: from now on the answer may be kept.
  void agreed(QRounding rounding);

  const EmulatedInputs& emulated(QRounding rounding);

  // Bounds of min(det, stat8) from below, as bf16 rounded down.
  struct Bounds {
    std::vector<std::uint16_t> values;  // of rows(), d_v each; only where there is one
    std::vector<std::uint8_t> state;    // per row: kNone, kBound, kDead
  };
  static constexpr std::uint8_t kNone = 0, kBound = 1, kDead = 2;
  const Bounds& bounds(const ArithmeticContract& contract);

  // Whole budgets of the rows that needed one, by index into rows(). Those missing of `wanted` are worked out.
  const std::map<std::size_t, RowBudget>& budgets(const ArithmeticContract& contract,
                                                  const std::vector<std::size_t>& wanted);

  // Features the case claims and that an answer judged under `contract` could have got wrong unseen. A feature that is
  // absent (blindness.h) counts where the suite itself claims it.
  const std::vector<Feature>& blind_to(const ArithmeticContract& contract);

 private:
  const BudgetSketch& sketch(QRounding rounding);
  std::string address(std::string_view what, std::string_view of) const;

  Case case_;
  AttentionInputs inputs_;
  KeyOptions options_;
  BlobStore* cache_;
  std::vector<Row> rows_, sample_;
  bool generic_;
  std::map<QRounding, Answer> answers_;
  std::map<QRounding, EmulatedInputs> emulated_;
  std::map<QRounding, BudgetSketch> sketches_;
  std::map<std::string, Bounds> bounds_;  // by the contract's bytes
  std::map<std::string, std::map<std::size_t, RowBudget>> budgets_;
  std::optional<Blindness> blindness_;
  std::map<std::string, std::vector<Feature>> blind_;
};

}  // namespace attest
