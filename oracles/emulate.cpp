#include "oracles/emulate.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <stdexcept>

namespace attest {
namespace {

constexpr std::int64_t kBlock = 32;

// These types begin with the scale and the minimum, both f16.
constexpr std::int64_t kMinimumOffset = 2;
bool has_minimum(DType type) { return type == DType::q4_1 || type == DType::q5_1; }

// 127 / amax against 1 / (amax / 127), each then rounded with the product: five roundings of 2^-24 between two
// kernels, each at most one ulp of the scaled value.
constexpr double kTieUlps = 5;

double nearest_f16(double value) { return static_cast<double>(f16_to_f32(f32_to_f16(static_cast<float>(value)))); }

bool near_tie(float scaled) {
  const double magnitude = std::abs(static_cast<double>(scaled));
  const double tie = std::floor(magnitude) + 0.5;
  const auto above = static_cast<double>(std::nextafter(std::abs(scaled), std::numeric_limits<float>::infinity()));
  return std::abs(magnitude - tie) <= kTieUlps * (above - magnitude);
}

float half_to_even(float scaled) {
  const float down = std::floor(scaled);
  const float rest = scaled - down;
  const bool up = rest > 0.5F || (rest == 0.5F && std::fmod(down, 2.0F) != 0.0F);
  return up ? down + 1.0F : down;
}

float q_value(const TensorView& q, const std::byte* row, std::int64_t i) {
  float value;
  std::memcpy(&value, row + i * q.nb[0], sizeof value);
  return value;
}

}  // namespace

EmulatedInputs::EmulatedInputs(const AttentionInputs& inputs, QRounding rounding)
    : inputs_(inputs), rounding_(rounding) {
  if (rounding == QRounding::none) return;
  const TensorView& q = inputs.q;
  const bool blocks = rounding == QRounding::q8_0 || rounding == QRounding::q8_1;
  if (q.dtype != DType::f32) throw std::invalid_argument("only a Q of type f32 can be rounded");
  if (blocks && q.ne[0] % kBlock != 0) throw std::invalid_argument("d_k is not a multiple of 32");

  const std::int64_t d_k = q.ne[0];
  q_.resize(static_cast<std::size_t>(q.elements()));
  tie_steps_.resize(q_.size());
  if (rounding == QRounding::q8_1) sum_corrections_.resize(q_.size() / kBlock);
  std::vector<float> x(static_cast<std::size_t>(d_k));
  std::int64_t row = 0;
  for (std::int64_t s = 0; s < q.ne[3]; ++s)
    for (std::int64_t h = 0; h < q.ne[2]; ++h)
      for (std::int64_t i = 0; i < q.ne[1]; ++i, ++row) {
        const std::byte* source = q.row(i, h, s);
        float* rounded = q_.data() + row * d_k;
        for (std::int64_t e = 0; e < d_k; ++e) x[static_cast<std::size_t>(e)] = q_value(q, source, e);
        if (blocks) {
          round_blocks(x.data(), row);
        } else {
          for (std::int64_t e = 0; e < d_k; ++e) {
            const float value = x[static_cast<std::size_t>(e)];
            rounded[e] = rounding == QRounding::f16 ? f16_to_f32(f32_to_f16(value)) : bf16_to_f32(f32_to_bf16(value));
          }
        }
      }

  if (has_minimum(inputs.k.dtype)) {
    for (const SumCorrection& correction : sum_corrections_) deltas_.push_back(static_cast<float>(correction.delta));
  }
  inputs_.q.data = reinterpret_cast<const std::byte*>(q_.data());
  std::int64_t stride = sizeof(float);
  for (std::size_t dim = 0; dim < 4; ++dim) {
    inputs_.q.nb[dim] = stride;
    stride *= q.ne[dim];
  }
}

void EmulatedInputs::round_blocks(const float* x, std::int64_t row) {
  const std::int64_t d_k = inputs_.q.ne[0];
  for (std::int64_t b = 0; b < d_k / kBlock; ++b) {
    const float* block = x + b * kBlock;
    float* rounded = q_.data() + row * d_k + b * kBlock;
    float* steps = tie_steps_.data() + row * d_k + b * kBlock;
    float amax = 0;
    bool finite = true;
    for (std::int64_t e = 0; e < kBlock; ++e) {
      amax = std::max(amax, std::abs(block[e]));
      finite = finite && std::isfinite(block[e]);
    }
    if (!finite) {
      std::fill(rounded, rounded + kBlock, std::numeric_limits<float>::quiet_NaN());
      continue;
    }
    const float d = amax / 127.0F;
    const float stored_d = f16_to_f32(f32_to_f16(d));
    // Below 2^-100 the scale and the sum are 0 in f16 whatever the codes are, and 127 / amax may overflow.
    const float inverse = amax < 0x1p-100F ? 0.0F : 127.0F / amax;
    double sum = 0, ties = 0;
    for (std::int64_t e = 0; e < kBlock; ++e) {
      const float scaled = block[e] * inverse;
      const float code = half_to_even(scaled);
      const bool tie = near_tie(scaled);
      rounded[e] = stored_d * code;
      steps[e] = tie ? stored_d : 0.0F;
      sum += static_cast<double>(code);
      ties += tie ? 1 : 0;
    }
    if (rounding_ != QRounding::q8_1) continue;
    const auto exact_d = static_cast<double>(d), used_d = static_cast<double>(stored_d);
    const double s = nearest_f16(static_cast<double>(d * static_cast<float>(sum)));
    SumCorrection& correction = sum_corrections_[static_cast<std::size_t>(row * (d_k / kBlock) + b)];
    correction.delta = s - used_d * sum;
    correction.sum = s;
    // delta = (rounding of s) + (d - f16(d)) sum: the first moves by a step of f16 at most, the second by one each.
    if (ties > 0)
      correction.slack = ties * std::abs(exact_d - used_d) + (std::abs(s) + ties * exact_d) * 2 * kUnitF16 + 0x1p-24;
  }
}

EmulatedInputs::DotCorrection EmulatedInputs::dot_correction(const Row& row, std::int64_t key) const {
  const TensorView& k = inputs_.k;
  const TensorView& q = inputs_.q;
  if (rounding_ != QRounding::q8_1 || !has_minimum(k.dtype)) return {};
  const std::int64_t blocks = q.ne[0] / kBlock;
  const std::int64_t first = ((row.seq * q.ne[2] + row.head) * q.ne[1] + row.query) * blocks;
  const std::byte* k_row = k.row(key, row.head / (q.ne[2] / k.ne[2]), row.seq / (q.ne[3] / k.ne[3]));
  DotCorrection total;
  for (std::int64_t b = 0; b < blocks; ++b) {
    std::uint16_t minimum;
    std::memcpy(&minimum, k_row + b * k.nb[0] + kMinimumOffset, sizeof minimum);
    const auto m = static_cast<double>(f16_to_f32(minimum));
    const SumCorrection& correction = sum_corrections_[static_cast<std::size_t>(first + b)];
    total.value += m * correction.delta;
    total.slack += std::abs(m) * correction.slack;
    const double size = std::abs(m * correction.sum);
    total.size += size;
    total.size2 += size * size;
  }
  return total;
}

ScoreCorrection EmulatedInputs::score_correction() const {
  if (deltas_.empty()) return {};
  ScoreCorrection correction;
  const TensorView& q = inputs_.q;
  const std::int64_t blocks = q.ne[0] / kBlock;
  correction.q.dtype = DType::f32;
  correction.q.ne = {blocks, q.ne[1], q.ne[2], q.ne[3]};
  std::int64_t stride = sizeof(float);
  for (std::size_t dim = 0; dim < 4; ++dim) {
    correction.q.nb[dim] = stride;
    stride *= correction.q.ne[dim];
  }
  correction.q.data = reinterpret_cast<const std::byte*>(deltas_.data());
  correction.k = inputs_.k;
  correction.k.dtype = DType::f16;
  correction.k.ne[0] = blocks;
  correction.k.data += kMinimumOffset;
  return correction;
}

}  // namespace attest
