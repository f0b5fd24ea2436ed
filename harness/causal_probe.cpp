#include "harness/causal_probe.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <set>

#include "cases/masks.h"
#include "oracles/scalar_oracle.h"

namespace attest {

namespace {

constexpr float kHidden = -std::numeric_limits<float>::infinity();
constexpr std::array kAlignments{CausalAlignment::full, CausalAlignment::bottom_right, CausalAlignment::top_left,
                                 CausalAlignment::anti_causal};
constexpr double kAlike = 1e-3;  // NMSE: far above any rounding of a working kernel, far below another mask

bool is_causal(MaskKind kind) { return kind == MaskKind::causal || kind == MaskKind::causal_top_left; }

// The keys an alignment leaves to a query, all other terms aside.
KeyRange visible(const AttentionProblem& problem, CausalAlignment alignment, std::int64_t query, std::int64_t plane) {
  AttentionProblem alone = problem;
  alone.mask.terms = {
      {alignment == CausalAlignment::top_left ? MaskKind::causal_top_left : MaskKind::causal, 0, DeadRows::none}};
  const KeyRange range = visible_range(alone, query, plane);
  if (alignment == CausalAlignment::full) return {0, problem.n_kv};
  if (alignment == CausalAlignment::anti_causal) return {std::max<std::int64_t>(range.end - 1, 0), problem.n_kv};
  return range;
}

// The case's mask for one row, with another alignment in place of the one it asks for.
class OtherMasks {
 public:
  OtherMasks(const Case& c) : problem_(c.problem) {
    std::erase_if(problem_.mask.terms, [](const MaskTerm& t) { return is_causal(t.kind); });
    if (problem_.mask.terms.empty()) problem_.mask.terms = {MaskTerm{}};
    rows_.emplace(problem_, c.seed);
  }

  void row(const Row& row, CausalAlignment alignment, std::vector<float>& values) const {
    const std::int64_t h = row.head % rows_->head_planes(), s = row.seq % rows_->seq_planes();
    values.resize(static_cast<std::size_t>(problem_.n_kv));
    rows_->row(row.query, h, s, values.data());
    const KeyRange range = visible(problem_, alignment, row.query, h + rows_->head_planes() * s);
    for (std::int64_t j = 0; j < problem_.n_kv; ++j) {
      if (j < range.first || j >= range.end) values[static_cast<std::size_t>(j)] = kHidden;
    }
  }

 private:
  AttentionProblem problem_;
  std::optional<MaskRows> rows_;
};

std::vector<Row> rows_to_look_at(const AttentionProblem& p) {
  const std::int64_t q = p.n_q - 1;
  std::set<Row> rows;
  for (const std::int64_t i : {std::int64_t{0}, std::int64_t{1}, q / 4, q / 2, 3 * q / 4, q - 2, q - 1, q}) {
    const std::int64_t query = std::clamp<std::int64_t>(i, 0, q);
    rows.insert({0, 0, query});
    rows.insert({p.n_seq - 1, p.n_head - 1, query});
  }
  return {rows.begin(), rows.end()};
}

}  // namespace

std::string_view name(CausalAlignment alignment) {
  switch (alignment) {
    case CausalAlignment::full:
      return "full";
    case CausalAlignment::bottom_right:
      return "bottom-right";
    case CausalAlignment::top_left:
      return "top-left";
    case CausalAlignment::anti_causal:
      return "anti-causal";
  }
  return "";
}

bool CausalClass::as_asked() const { return std::find(like.begin(), like.end(), asked) != like.end(); }

std::string CausalClass::text() const {
  std::string out;
  for (const CausalAlignment a : like) out += fmt::format("{}{}", out.empty() ? "" : " or ", name(a));
  return out.empty() ? "none of the four" : out;
}

std::optional<CausalClass> classify_causal(const Case& c, const AttentionInputs& inputs, const TensorView& out) {
  const AttentionProblem& p = c.problem;
  const auto asked =
      std::find_if(p.mask.terms.begin(), p.mask.terms.end(), [](const MaskTerm& t) { return is_causal(t.kind); });
  if (asked == p.mask.terms.end() || p.n_kv < 1 || p.n_q < 1) return std::nullopt;
  CausalClass found;
  found.asked = asked->kind == MaskKind::causal ? CausalAlignment::bottom_right : CausalAlignment::top_left;

  const OtherMasks masks(c);
  std::vector<float> mask;
  AttentionInputs other = inputs;
  other.mask.dtype = DType::f32;
  other.mask.nb = {static_cast<std::int64_t>(sizeof(float)), 0, 0, 0};  // one row, whichever is asked for
  std::array<double, kAlignments.size()> error{}, size{};
  std::vector<double> expected(static_cast<std::size_t>(p.d_v));
  bool any = false;
  for (const Row& row : rows_to_look_at(p)) {
    const auto* got = reinterpret_cast<const float*>(out.row(row.head, row.query, row.seq));
    if (!std::all_of(got, got + p.d_v, [](float x) { return std::isfinite(x); })) continue;
    any = true;
    for (std::size_t a = 0; a < kAlignments.size(); ++a) {
      masks.row(row, kAlignments[a], mask);
      other.mask.data = reinterpret_cast<const std::byte*>(mask.data());
      scalar_oracle(other, row, expected);
      for (std::size_t e = 0; e < expected.size(); ++e) {
        const double d = static_cast<double>(got[e]) - expected[e];
        error[a] += d * d;
        size[a] += expected[e] * expected[e];
      }
    }
  }
  if (!any) return std::nullopt;
  for (std::size_t a = 0; a < kAlignments.size(); ++a) {
    if (error[a] <= kAlike * size[a]) found.like.push_back(kAlignments[a]);  // not so for NaN
  }
  return found;
}

}  // namespace attest
