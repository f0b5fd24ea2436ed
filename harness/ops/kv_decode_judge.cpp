// kv_decode: every token's row is attention over the rows stored so far, whatever the cache looked like on the way.
#include <fmt/format.h>

#include <cmath>

#include "cases/decode.h"
#include "harness/error_picture.h"
#include "harness/ops/op_judge.h"

namespace attest {
namespace {

class KvDecodeJudge final : public OpJudge {
 public:
  // No cache of keys: its addresses are lines, and the plain question's line is somebody else's case.
  KvDecodeJudge(const Case& c, const AttentionInputs& inputs, const KeyOptions& options)
      : case_(c), plain_(c, inputs), key_(plain_.the_case(), plain_.inputs(), options) {}

  void prepare(const ArithmeticContract& contract) override { key_.under(contract.q_rounding); }

  Ruling rule(const ArithmeticContract& contract, const TensorView& out, VerdictRecord& record) override {
    const Ruling ruling = compare(key_, contract, out, record);
    if (ruling.verdict == Verdict::PASS || ruling.verdict == Verdict::ORACLE) return ruling;
    const std::string where = first_wrong(contract, out);
    record.maps = error_pictures(map_errors(key_, contract, out), plain_.the_case().problem, kSmallPicture);
    if (!where.empty()) record.detail += (record.detail.empty() ? "" : "; ") + where;
    return ruling;
  }

 private:
  std::string first_wrong(const ArithmeticContract& contract, const TensorView& out);

  const Case& case_;
  PlainDecode plain_;
  Key key_;
};

// Later steps inherit what an earlier one stored: the first wrong one is where to look.
std::string KvDecodeJudge::first_wrong(const ArithmeticContract& contract, const TensorView& out) {
  const std::vector<Row>& rows = key_.rows();
  std::vector<std::size_t> all(rows.size());
  for (std::size_t i = 0; i < all.size(); ++i) all[i] = i;
  const auto& budgets = key_.budgets(contract, all);
  const RowValues& expected = key_.under(contract.q_rounding).eigen;
  const auto d_v = static_cast<std::size_t>(case_.problem.d_v);
  const auto wrong = [&](std::size_t i) {
    const auto* got = reinterpret_cast<const float*>(out.row(rows[i].head, rows[i].query, rows[i].seq));
    const RowBudget& budget = budgets.at(i);
    for (std::size_t e = 0; e < d_v && !budget.range; ++e) {
      if (!(std::abs(static_cast<double>(got[e]) - expected[i * d_v + e]) <= budget.fail[e])) return true;
    }
    return false;
  };
  const Row* first = nullptr;
  for (std::size_t i = 0; i < rows.size(); ++i) {
    if ((first == nullptr || rows[i].query < first->query) && wrong(i)) first = &rows[i];
  }
  if (first == nullptr) return {};
  const std::vector<DecodeStep> steps = decode_steps(case_.problem);
  for (std::size_t i = 0; i < steps.size(); ++i) {
    const DecodeStep& step = steps[i];
    if (first->query < step.first || first->query >= step.first + step.n) continue;
    return fmt::format("first wrong in step {} of {}{}: {}, cache rows {} to {} of {}, head {}", i + 1, steps.size(),
                       step.pass > 0 ? ", after the restart" : "",
                       step.n > 1 ? fmt::format("prefill of {} tokens", step.n) : std::string("one token"),
                       step.position, step.position + step.n - 1, step.rows, first->head);
  }
  return {};
}

}  // namespace

std::unique_ptr<OpJudge> judge_kv_decode(const Case& c, const AttentionInputs& inputs, const KeyOptions& options) {
  return std::make_unique<KvDecodeJudge>(c, inputs, options);
}

}  // namespace attest
