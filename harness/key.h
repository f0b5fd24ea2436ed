// The key of a case: which rows are judged, and what both references say, per declared rounding of Q.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <vector>

#include "cases/case.h"
#include "oracles/budget_sketch.h"
#include "oracles/emulate.h"
#include "oracles/oracle.h"

namespace attest {

struct KeyOptions {
  std::int64_t rows = 0;           // judged rows per case at most; 0: as many as key_flop allows
  double key_flop = 20e9;          // what the Eigen reference may cost per case
  bool oracle_full = false;        // the scalar oracle confirms every judged row
  double confirm_flop = 2e6;       // else a seeded sample: at most this much
  std::int64_t confirm_rows = 64;  // and at most so many rows
};

// Worked out on first use and shared by all backends of a case. Not thread-safe: one slot owns it.
class Key {
 public:
  // `inputs` must outlive the key.
  Key(const Case& c, const AttentionInputs& inputs, const KeyOptions& options);

  const Case& the_case() const { return case_; }
  const AttentionInputs& inputs() const { return inputs_; }
  const KeyOptions& options() const { return options_; }
  const std::vector<Row>& rows() const { return rows_; }      // judged, sorted
  const std::vector<Row>& sample() const { return sample_; }  // confirmed by the scalar oracle in any case
  bool generic() const { return generic_; }

  struct Answer {
    std::unique_ptr<EmulatedInputs> inputs;
    RowValues eigen;      // of rows(), in order
    BudgetSketch sketch;  // of the same rows
  };
  const Answer& under(QRounding rounding);

 private:
  Case case_;
  AttentionInputs inputs_;
  KeyOptions options_;
  std::vector<Row> rows_, sample_;
  bool generic_;
  std::map<QRounding, Answer> answers_;
};

}  // namespace attest
