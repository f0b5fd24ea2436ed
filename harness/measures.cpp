#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "harness/measures.cpp"
#include "harness/measures.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "hwy/foreach_target.h"  // must come before highway.h
#include "hwy/highway.h"

#ifndef ATTEST_ROW_ERRORS
#define ATTEST_ROW_ERRORS
namespace attest {
struct RowErrors {
  double squared_error = 0, squared = 0, got_squared = 0, dot = 0, max = 0, close = 0, max_ulp = 0;
};
}  // namespace attest
#endif

HWY_BEFORE_NAMESPACE();
namespace attest::HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;
using F64 = hn::ScalableTag<double>;
using F32 = hn::Rebind<float, F64>;
constexpr F64 f64;
constexpr F32 f32;

// Error in units of the last place of the expected value as f32.
template <class V>
V ulps_of(V error, V expected) {
  const auto nearest = hn::PromoteTo(f64, hn::DemoteTo(f32, hn::Abs(expected)));
  const auto power = hn::And(nearest, hn::BitCast(f64, hn::Set(hn::RebindToUnsigned<F64>(), 0x7ff0000000000000ULL)));
  return hn::Div(error, hn::Mul(hn::Max(power, hn::Set(f64, 0x1p-126)), hn::Set(f64, 0x1p-23)));
}

RowErrors row_errors(const float* got, const double* expected, std::size_t n) {
  const std::size_t lanes = hn::Lanes(f64);
  auto error2 = hn::Zero(f64), square = error2, got2 = error2, dot = error2, most = error2, close = error2,
       ulps = error2;
  const auto add = [&](auto g, auto x) {
    const auto error = hn::Abs(hn::Sub(g, x));
    error2 = hn::MulAdd(error, error, error2);
    square = hn::MulAdd(x, x, square);
    got2 = hn::MulAdd(g, g, got2);
    dot = hn::MulAdd(g, x, dot);
    most = hn::Max(most, error);
    close = hn::Max(close, hn::Div(error, hn::Add(hn::Abs(x), hn::Set(f64, 1.0))));
    ulps = hn::Max(ulps, ulps_of(error, x));
  };
  std::size_t e = 0;
  for (; e + lanes <= n; e += lanes) add(hn::PromoteTo(f64, hn::LoadU(f32, got + e)), hn::LoadU(f64, expected + e));
  if (e < n) {
    HWY_ALIGN double g[HWY_MAX_BYTES / sizeof(double)] = {}, x[HWY_MAX_BYTES / sizeof(double)] = {};
    for (std::size_t i = 0; e + i < n; ++i) {
      g[i] = static_cast<double>(got[e + i]);
      x[i] = expected[e + i];
    }
    add(hn::Load(f64, g), hn::Load(f64, x));
  }
  const auto sum = [](auto v) { return hn::GetLane(hn::SumOfLanes(f64, v)); };
  const auto largest = [](auto v) { return hn::GetLane(hn::MaxOfLanes(f64, v)); };
  return {sum(error2), sum(square), sum(got2), sum(dot), largest(most), largest(close), largest(ulps)};
}

BoundCheck bound_check(const float* got, const double* expected, const float* bound, std::size_t n, double share) {
  const std::size_t lanes = hn::Lanes(f64);
  const auto part = hn::Set(f64, share);
  auto worst = hn::Zero(f64);
  bool within = true;
  std::size_t e = 0;
  for (; e + lanes <= n; e += lanes) {
    const auto error = hn::Abs(hn::Sub(hn::PromoteTo(f64, hn::LoadU(f32, got + e)), hn::LoadU(f64, expected + e)));
    const auto most = hn::PromoteTo(f64, hn::LoadU(f32, bound + e));
    within = within && hn::AllTrue(f64, hn::Le(error, hn::Mul(part, most)));
    worst = hn::Max(worst, hn::IfThenElseZero(hn::Gt(error, hn::Zero(f64)), hn::Div(error, most)));
  }
  BoundCheck check{within, hn::GetLane(hn::MaxOfLanes(f64, worst))};
  for (; e < n; ++e) {
    const double error = std::abs(static_cast<double>(got[e]) - expected[e]), most = static_cast<double>(bound[e]);
    check.within = check.within && error <= share * most;
    if (error > 0) check.worst = std::max(check.worst, error / most);
  }
  return check;
}

}  // namespace attest::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace attest {

HWY_EXPORT(row_errors);
HWY_EXPORT(bound_check);

namespace {

constexpr std::int64_t kMostUlps = 1 << 14;

float ulps(float got, double expected) {
  const float reference = std::max(static_cast<float>(std::abs(expected)), 0x1p-126F);
  const float next = std::nextafter(reference, std::numeric_limits<float>::infinity());
  const double error = std::abs(static_cast<double>(got) - expected);
  return static_cast<float>(error / (static_cast<double>(next) - static_cast<double>(reference)));
}

}  // namespace

// Odd, so that the choice does not stay in the same columns.
Measures::Measures(std::int64_t elements) : step_(std::max<std::int64_t>(elements / kMostUlps, 1) | 1) {}

void Measures::add(std::span<const float> got, std::span<const double> expected) {
  const RowErrors row = HWY_DYNAMIC_DISPATCH(row_errors)(got.data(), expected.data(), got.size());
  squared_error_ += row.squared_error;
  squared_ += row.squared;
  got_squared_ += row.got_squared;
  dot_ += row.dot;
  max_ = std::max(max_, row.max);
  close_ = std::max(close_, row.close);
  max_ulp_ = std::max(max_ulp_, row.max_ulp);
  const auto n = static_cast<std::int64_t>(got.size());
  for (; next_ < n; next_ += step_)
    ulps_.push_back(ulps(got[static_cast<std::size_t>(next_)], expected[static_cast<std::size_t>(next_)]));
  next_ -= n;
  count_ += n;
}

void Measures::report(VerdictRecord& record) {
  if (count_ == 0) return;
  // The floor keeps NMSE from being noise where a dominant sink makes the reference vanish.
  record.nmse = squared_error_ / std::max(squared_, 1e-30 * static_cast<double>(count_));
  record.max_abs = max_;
  record.cosine = squared_ > 0 && got_squared_ > 0 ? dot_ / std::sqrt(squared_ * got_squared_) : 1.0;
  record.allclose = close_;
  record.ulp_max = max_ulp_;
  if (ulps_.empty()) return;
  record.ulp_p50 = percentile(0.50);
  record.ulp_p99 = percentile(0.99);
}

double Measures::percentile(double p) {
  const auto at = ulps_.begin() + static_cast<std::ptrdiff_t>(p * static_cast<double>(ulps_.size() - 1));
  std::nth_element(ulps_.begin(), at, ulps_.end());
  return *at;
}

BoundCheck check_bound(std::span<const float> got, std::span<const double> expected, std::span<const float> bound,
                       double share) {
  return HWY_DYNAMIC_DISPATCH(bound_check)(got.data(), expected.data(), bound.data(), got.size(), share);
}

}  // namespace attest
#endif
