// Error measures of one output over its judged rows, gathered row by row.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "reports/record.h"

namespace attest {

class Measures {
 public:
  // `elements`: how many will be added; all of them count, but percentiles are taken over an even choice of many.
  explicit Measures(std::int64_t elements);

  // Elements of `got` that are not finite must not be there.
  void add(std::span<const float> got, std::span<const double> expected);
  // NMSE, cosine, largest error, allclose, ULP percentiles; nothing without an element.
  void report(VerdictRecord& record);

 private:
  double percentile(double p);

  std::int64_t step_, next_ = 0, count_ = 0;
  double squared_error_ = 0, squared_ = 0, got_squared_ = 0, dot_ = 0, max_ = 0, close_ = 0, max_ulp_ = 0;
  std::vector<float> ulps_;
};

// Whether every error is at most share * bound, and the largest error / bound (0/0 = 0). Elements of `got` that are
// not finite are not within anything.
struct BoundCheck {
  bool within = true;
  double worst = 0;
};
BoundCheck check_bound(std::span<const float> got, std::span<const double> expected, std::span<const float> bound,
                       double share);

}  // namespace attest
