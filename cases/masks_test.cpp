#include "cases/masks.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <cmath>

#include "cases/random_problem.h"

namespace attest {
namespace {

constexpr double kInf = std::numeric_limits<double>::infinity();

std::vector<float> row_of(const MaskRows& mask, std::int64_t n_kv, std::int64_t i, std::int64_t h, std::int64_t s) {
  std::vector<float> values(static_cast<std::size_t>(n_kv));
  mask.row(i, h, s, values.data());
  return values;
}

// Terms with an edge, as problem.h and masks.h word them, key by key.
bool edge_hides(const AttentionProblem& p, const MaskTerm& term, std::int64_t i, std::int64_t j, std::int64_t plane) {
  const std::int64_t shift = plane % 8, arg = std::int64_t(term.arg);
  const auto back = [&](std::int64_t limit) {
    for (std::int64_t step = 0; step < shift && limit > 0; ++step) --limit;
    return limit;
  };
  switch (term.kind) {
    case MaskKind::causal:
      return j > back(i + p.n_kv - p.n_q);
    case MaskKind::causal_top_left:
      return j > back(i);
    case MaskKind::window:
      return j > back(i + p.n_kv - p.n_q) || j <= back(i + p.n_kv - p.n_q) - arg;
    case MaskKind::used:
      return j >= (arg <= 1 ? arg : std::max<std::int64_t>(1, arg - shift));
    case MaskKind::left:
      return arg >= p.n_kv || j < std::min(arg + shift, p.n_kv - 1);
    case MaskKind::document: {
      const auto document = [&](std::int64_t position) { return std::floor(double(position + shift) / double(arg)); };
      return document(j) != document(i + p.n_kv - p.n_q);
    }
    case MaskKind::dead:
      switch (term.where) {
        case DeadRows::first:
          return i == plane % p.n_q;
        case DeadRows::middle:
          return i == (p.n_q / 2 + plane) % p.n_q;
        case DeadRows::last:
          return i == (p.n_q - 1 + plane) % p.n_q;
        case DeadRows::every_third:
          return (i + plane) % 3 == 0;
        default:
          return term.where == DeadRows::all;
      }
    default:
      return false;
  }
}

RC_GTEST_PROP(MaskRows, EveryTermHidesWhatItsFormulaHides, ()) {
  AttentionProblem p = testing::random_case().problem;
  p.mask.terms.clear();
  double bias = 0;
  for (int terms = *rc::gen::inRange(1, 4); terms > 0; --terms) {
    const MaskTerm term = testing::random_mask_term(p.n_kv);
    if (term.kind == MaskKind::blocks || term.kind == MaskKind::random || term.kind == MaskKind::ggml ||
        term.kind == MaskKind::finite_rows || term.kind == MaskKind::finite_blocks ||
        term.kind == MaskKind::finite_left)
      continue;
    p.mask.terms.push_back(term);
    if (term.kind == MaskKind::finite) bias = std::fmax(-65504.0, bias + term.arg);
  }
  const MaskRows mask(p, 1);
  for (std::int64_t s = 0; s < mask.seq_planes(); ++s)
    for (std::int64_t h = 0; h < mask.head_planes(); ++h)
      for (std::int64_t i = 0; i < p.n_q; ++i) {
        const auto values = row_of(mask, p.n_kv, i, h, s);
        for (std::int64_t j = 0; j < p.n_kv; ++j) {
          bool hidden = false;
          for (const MaskTerm& term : p.mask.terms)
            hidden = hidden || edge_hides(p, term, i, j, h + mask.head_planes() * s);
          const double value = double(values[std::size_t(j)]);
          if (hidden) RC_ASSERT(value == -kInf);
          // Order of addition matters only where -65504 saturates an f16 mask.
          if (!hidden) RC_ASSERT(std::fabs(value - bias) <= (p.mask.type == DType::f16 ? 32 : 131008));
          if (!hidden && bias > -65000) RC_ASSERT(value == bias);
        }
      }
}

RC_GTEST_PROP(MaskRows, VisibleRangeAndVisibleKeysAgreeWithTheRows, ()) {
  AttentionProblem p = testing::random_case().problem;
  if (!p.mask.present()) p.mask.terms = {testing::random_mask_term(p.n_kv)};
  const MaskRows mask(p, 7);
  std::vector<std::uint8_t> seen(static_cast<std::size_t>(p.n_kv), 0);
  for (std::int64_t i = 0; i < p.n_q; ++i) {
    const auto values = row_of(mask, p.n_kv, i, 0, 0);
    const KeyRange range = visible_range(p, i, 0);
    for (std::int64_t j = 0; j < p.n_kv; ++j) {
      const bool visible = !std::isinf(values[std::size_t(j)]);
      if (visible) RC_ASSERT(j >= range.first && j < range.end);
      seen[std::size_t(j)] |= std::uint8_t(visible);
    }
  }
  RC_ASSERT(seen == mask.visible_keys(0, 0));
}

TEST(MaskRows, FinitePartsBiasAndHideNothing) {
  AttentionProblem p;
  p.n_q = 64;
  p.n_kv = 200;
  const auto biased = [&](MaskKind kind) {
    p.mask.terms = {{kind, -65504, DeadRows::none}};
    const MaskRows mask(p, 3);
    std::vector<std::vector<bool>> out;
    for (std::int64_t i = 0; i < p.n_q; ++i) {
      out.emplace_back();
      for (const float value : row_of(mask, p.n_kv, i, 0, 0)) {
        EXPECT_TRUE(value == 0 || value == -65504);
        out.back().push_back(value != 0);
      }
    }
    return out;
  };
  const auto rows = biased(MaskKind::finite_rows), left = biased(MaskKind::finite_left);
  const auto blocks = biased(MaskKind::finite_blocks);
  std::size_t count = 0;
  for (std::size_t i = 0; i < 64; ++i)
    for (std::size_t j = 0; j < 200; ++j) {
      EXPECT_EQ(rows[i][j], i % 3 == 0);
      EXPECT_EQ(left[i][j], j < 128);
      EXPECT_EQ(blocks[i][j], blocks[i & ~std::size_t{31}][j & ~std::size_t{31}]);
      if (blocks[i][j]) ++count;
    }
  EXPECT_GT(count, 64 * 200 / 5);
  EXPECT_LT(count, 64 * 200 * 4 / 5);
}

AttentionProblem masked(MaskTerm term, std::int64_t n_q, std::int64_t n_kv) {
  AttentionProblem p;
  p.n_q = n_q;
  p.n_kv = n_kv;
  p.n_head = 4;
  p.mask.terms = {term};
  p.mask.per_head = true;
  return p;
}

TEST(MaskRows, RandomBiasesFillTheirRangeAndAreExactInHalf) {
  for (const DType type : {DType::f16, DType::f32}) {
    AttentionProblem p = masked({MaskKind::random, 3, DeadRows::none}, 64, 256);
    p.mask.type = type;
    const MaskRows mask(p, 3);
    double sum = 0, square = 0;
    for (std::int64_t i = 0; i < p.n_q; ++i)
      for (const float value : row_of(mask, p.n_kv, i, 1, 0)) {
        ASSERT_EQ(value, f16_to_f32(f32_to_f16(value)));
        ASSERT_LE(std::abs(value), 3);
        sum += double(value);
        square += double(value) * double(value);
      }
    EXPECT_NEAR(sum / (64 * 256), 0, 0.06);
    EXPECT_NEAR(square / (64 * 256), 3, 0.1);
  }
}

TEST(MaskRows, BlocksHideAboutHalfInWholeBlocksAndLeaveNoDeadRow) {
  const AttentionProblem p = masked({MaskKind::blocks, 16, DeadRows::none}, 256, 512);
  const MaskRows mask(p, 5);
  int hidden = 0;
  for (std::int64_t i = 0; i < p.n_q; ++i) {
    const auto values = row_of(mask, p.n_kv, i, 0, 0);
    const auto head = row_of(mask, p.n_kv, i / 16 * 16, 0, 0);
    int row_hidden = 0;
    for (std::size_t j = 0; j < values.size(); ++j) {
      ASSERT_EQ(values[j], head[j / 16 * 16]);
      row_hidden += std::isinf(values[j]);
    }
    ASSERT_LT(row_hidden, 512);
    hidden += row_hidden;
  }
  EXPECT_NEAR(hidden / (256.0 * 512), 0.5, 0.06);
}

TEST(MaskRows, GgmlMaskIsUniformWithBlocksOfHiddenAndOfZero) {
  const AttentionProblem p = masked({MaskKind::ggml, 0, DeadRows::none}, 512, 1024);
  const MaskRows mask(p, 9);
  int hidden = 0, zero = 0;
  double square = 0;
  for (std::int64_t i = 0; i < 4 * p.n_q; ++i) {
    for (const float value : row_of(mask, p.n_kv, i / 4, i % 4, 0)) {
      hidden += std::isinf(value);
      zero += value == 0;
      if (!std::isinf(value)) square += double(value) * double(value);
    }
  }
  const double all = 4 * 512.0 * 1024;
  // 51 blocks over the four planes, cut at the edges and overlapping: about 8 % of the mask each.
  EXPECT_NEAR(hidden / all, 0.08, 0.03);
  EXPECT_NEAR(zero / all, 0.08, 0.03);
  EXPECT_NEAR(square / (all - hidden - zero), 1.0 / 3, 0.01);
  EXPECT_TRUE(MaskRows(masked({MaskKind::ggml, 0, DeadRows::none}, 8, 113), 9).visible_keys(0, 0) ==
              std::vector<std::uint8_t>(113, 1));
}

TEST(MaskRows, EveryPlaneDiffersWhereATermAllowsIt) {
  for (const MaskTerm term :
       {MaskTerm{MaskKind::causal, 0, DeadRows::none}, MaskTerm{MaskKind::causal_top_left, 0, DeadRows::none},
        MaskTerm{MaskKind::window, 20, DeadRows::none}, MaskTerm{MaskKind::used, 50, DeadRows::none},
        MaskTerm{MaskKind::left, 9, DeadRows::none}, MaskTerm{MaskKind::document, 16, DeadRows::none},
        MaskTerm{MaskKind::dead, 0, DeadRows::middle}, MaskTerm{MaskKind::dead, 0, DeadRows::every_third},
        MaskTerm{MaskKind::blocks, 4, DeadRows::none}, MaskTerm{MaskKind::random, 1, DeadRows::none},
        MaskTerm{MaskKind::ggml, 0, DeadRows::none}}) {
    const AttentionProblem p = masked(term, 64, 96);
    const MaskRows mask(p, 2);
    // every_third repeats after three planes.
    const std::int64_t planes = term.where == DeadRows::every_third ? 3 : 4;
    for (std::int64_t a = 0; a < planes; ++a)
      for (std::int64_t b = 0; b < a; ++b) {
        bool differ = false;
        for (std::int64_t i = 0; i < p.n_q && !differ; ++i)
          differ = row_of(mask, p.n_kv, i, a, 0) != row_of(mask, p.n_kv, i, b, 0);
        EXPECT_TRUE(differ) << "term " << static_cast<int>(term.kind) << ", planes " << a << " and " << b;
      }
  }
}

TEST(MaskRows, SumsOfLargeBiasesStayFinite) {
  for (const DType type : {DType::f16, DType::f32}) {
    AttentionProblem p = masked({MaskKind::finite, -65504, DeadRows::none}, 1, 8);
    p.mask.type = type;
    if (type == DType::f32) p.mask.terms[0].arg = -3e38;
    p.mask.terms.push_back(p.mask.terms[0]);
    for (const float value : row_of(MaskRows(p, 0), 8, 0, 0, 0)) EXPECT_TRUE(std::isfinite(value));
  }
}

}  // namespace
}  // namespace attest
