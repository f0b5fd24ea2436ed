// set_rows: rows nobody asked for keep every bit; stored ones are exact, or within what any correct quantiser may do.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "cases/inputs.h"
#include "cases/op_inputs.h"
#include "harness/ops/op_judge.h"
#include "oracles/stored_rows.h"

namespace attest {
namespace {

class SetRowsJudge final : public OpJudge {
 public:
  SetRowsJudge(const Case& c, const AttentionInputs& inputs) : case_(c), inputs_(inputs) {}

  void prepare(const ArithmeticContract&) override {
    if (!before_.empty()) return;
    const InputPlan plan = plan_inputs(case_.problem);
    before_.resize(static_cast<std::size_t>(plan.out.bytes));
    InputBuffers buffers;
    buffers.out = before_.data();
    fill_old_rows(case_, plan, buffers);
  }

  Ruling rule(const ArithmeticContract& contract, const TensorView& out, VerdictRecord& record) override;

 private:
  struct Found {
    std::int64_t untouched = 0, wrong = 0, not_stored = 0, other_bits = 0, blocks = 0, range = 0;
    std::string first;
  };
  void judge_row(const TensorView& out, std::int64_t r, std::int64_t to, std::int64_t h, std::int64_t s, Found& found,
                 VerdictRecord& record) const;
  bool halves_agree(const float* row, const std::byte* expected) const;

  const Case& case_;
  AttentionInputs inputs_;
  std::vector<std::byte> before_;
  mutable bool references_differ_ = false;
};

// encode_row against the exact rule: a difference is a bug of attest.
bool SetRowsJudge::halves_agree(const float* row, const std::byte* expected) const {
  const AttentionProblem& p = case_.problem;
  if (p.k_type != DType::f16 && p.k_type != DType::bf16) return true;
  for (std::int64_t e = 0; e < p.d_k; ++e) {
    std::uint16_t half = 0;
    std::memcpy(&half, expected + 2 * e, sizeof half);
    if (!std::isnan(row[e]) && half != nearest_half(p.k_type, row[e])) return false;
  }
  return true;
}

void SetRowsJudge::judge_row(const TensorView& out, std::int64_t r, std::int64_t to, std::int64_t h, std::int64_t s,
                             Found& found, VerdictRecord& record) const {
  const AttentionProblem& p = case_.problem;
  const DTypeInfo& type = info(p.k_type);
  const auto* source = reinterpret_cast<const float*>(inputs_.q.row(r, h, s));
  const std::byte* stored = out.row(to, h, s);
  const auto bytes = static_cast<std::size_t>(row_bytes(p.k_type, p.d_k));
  std::vector<std::byte> expected(bytes);
  encode_row(p.k_type, source, expected.data(), p.d_k);
  if (!halves_agree(source, expected.data())) references_differ_ = true;
  std::vector<float> got(static_cast<std::size_t>(p.d_k)), wanted(got);
  decode_row(p.k_type, stored, got.data(), p.d_k);
  decode_row(p.k_type, expected.data(), wanted.data(), p.d_k);
  std::int64_t wrong = 0;
  for (std::int64_t b = 0; b < p.d_k / type.block; ++b) {
    const auto at = static_cast<std::size_t>(b * type.block);
    const std::span<const float> block(source + at, static_cast<std::size_t>(type.block));
    const bool same = std::memcmp(stored + b * type.block_bytes, expected.data() + b * type.block_bytes,
                                  static_cast<std::size_t>(type.block_bytes)) == 0;
    ++found.blocks;
    found.other_bits += same ? 0 : 1;
    if (same && !is_quantised(p.k_type)) continue;  // encode_row was held against the exact rule
    std::vector<double> bounds(block.size(), 0);
    if (is_quantised(p.k_type)) bounds = stored_bounds(p.k_type, block);
    if (bounds.empty()) {
      ++found.range;
      continue;
    }
    for (std::size_t e = 0; e < block.size(); ++e) {
      if (std::isnan(block[e]) && std::isnan(got[at + e])) continue;
      const auto x = static_cast<double>(is_quantised(p.k_type) ? block[e] : wanted[at + e]);
      const auto value = static_cast<double>(got[at + e]);
      const double error = value == x && std::signbit(value) == std::signbit(x) ? 0 : std::abs(value - x);
      const double ratio = error == 0           ? 0
                           : error <= bounds[e] ? error / bounds[e]
                                                : std::numeric_limits<double>::infinity();
      if (ratio > record.err_over_b) {
        record.err_over_b = ratio;
        record.worst = {s, h, to, static_cast<std::int64_t>(at + e), value, x, bounds[e], "store"};
      }
      if (!(error <= bounds[e])) ++wrong;
    }
  }
  record.bad_elements += wrong;
  if (wrong == 0) return;
  ++found.wrong;
  const bool old = std::memcmp(stored, before_.data() + out.offset(to, h, s), bytes) == 0;
  found.not_stored += old ? 1 : 0;
  if (found.first.empty()) {
    found.first = fmt::format("source row {} of head {}, sequence {} {} row {} of the cache", r, h, s,
                              old ? "never reached" : "is not what lies in", to);
  }
}

Ruling SetRowsJudge::rule(const ArithmeticContract& contract, const TensorView& out, VerdictRecord& record) {
  prepare(contract);
  const AttentionProblem& p = case_.problem;
  record.path = contract.path_name();
  record.rows = record.rows_judged = record.rows_confirmed = p.n_seq * p.n_head * p.n_q;
  Found found;
  const auto bytes = static_cast<std::size_t>(row_bytes(p.k_type, p.d_k));
  for (std::int64_t s = 0; s < p.n_seq; ++s) {
    std::vector<std::int64_t> source(static_cast<std::size_t>(p.n_kv), -1);
    for (std::int64_t r = 0; r < p.n_q; ++r) source[static_cast<std::size_t>(row_index(inputs_, r, s))] = r;
    for (std::int64_t h = 0; h < p.n_head; ++h) {
      for (std::int64_t j = 0; j < p.n_kv; ++j) {
        const std::int64_t r = source[static_cast<std::size_t>(j)];
        if (r >= 0) {
          judge_row(out, r, j, h, s, found, record);
          continue;
        }
        if (std::memcmp(out.row(j, h, s), before_.data() + out.offset(j, h, s), bytes) == 0) continue;
        ++found.untouched;
        if (found.first.empty()) {
          found.first = fmt::format("row {} of head {}, sequence {} was not to be written", j, h, s);
          record.worst = {s, h, j, 0, 0, 0, 0, "untouched row"};
        }
      }
    }
  }
  record.rows_range = found.range;
  if (references_differ_) {
    record.detail = "attest's two conversions to halves disagree";
    return {Verdict::ORACLE, false};
  }
  if (is_quantised(p.k_type) && found.blocks > 0) {
    // Information: a correct quantiser may break ties, and round its scale's inverse, another way.
    record.parties.push_back({"blocks unlike ggml's reference",
                              static_cast<double>(found.other_bits) / static_cast<double>(found.blocks), 0});
  }
  if (found.untouched + found.wrong == 0) return {Verdict::PASS, false};
  record.bad_elements += found.untouched * p.d_k;
  record.detail = fmt::format("{}; in all {} rows wrong ({} still hold their old bytes), {} others overwritten",
                              found.first, found.wrong, found.not_stored, found.untouched);
  return {Verdict::FAIL, false};
}

}  // namespace

std::unique_ptr<OpJudge> judge_set_rows(const Case& c, const AttentionInputs& inputs) {
  return std::make_unique<SetRowsJudge>(c, inputs);
}

}  // namespace attest
