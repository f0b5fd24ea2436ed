#include "cases/value_rows.h"

#include <algorithm>
#include <cmath>

#include "cases/random_fill.h"

namespace attest {
namespace {

constexpr float kMaxStoredV = 60000.0F;
constexpr double kOnehotScore = 2000;
constexpr double kOutlierScore = 3;  // deviation of the scores

using Column = std::uint32_t;

RandomRow row_of(std::uint64_t seed, Stream stream, std::int64_t i, std::int64_t h, std::int64_t s) {
  return RandomRow(rng_of(seed, stream).bits(row_id(i, h, s)));
}

// N(0,1) + N(0,100) Bernoulli(0.001): the second normal is drawn from the same words, swapped and complemented.
void fill_outlier(const RandomRow& random, const RandomRow& second, float* row, Column n) {
  constexpr std::uint32_t kOneInThousand = 4294967;
  for (Column e = 0; e < n; ++e) {
    const float far = 10.0F * RandomRow::bell(second.second_word(e), random.word(e) * 0x9e3779b9U);
    row[e] = random.normal(e) + (second.word(e) < kOneInThousand ? far : 0.0F);
  }
}

// Integers from -size to size.
void fill_integer(const RandomRow& random, std::uint32_t size, float* row, Column n) {
  for (Column e = 0; e < n; ++e) {
    const std::uint32_t drawn = ((random.word(e) >> 16) * (2 * size + 1)) >> 16;
    row[e] = static_cast<float>(static_cast<std::int32_t>(drawn) - static_cast<std::int32_t>(size));
  }
}

void fill_signs(const RandomRow& random, float size, float* row, Column n) {
  for (Column e = 0; e < n; ++e) row[e] = (random.word(e) >> 31) != 0 ? size : -size;
}

// row += length * u, u the sign direction of KV head hk and KV sequence sk, |u| = 1.
void add_direction(const RandomRow& direction, float length, float* row, Column n) {
  const float step = length / std::sqrt(static_cast<float>(n));
  for (Column e = 0; e < n; ++e) row[e] += (direction.word(e) >> 31) != 0 ? step : -step;
}

float cut(double value, double limit) { return static_cast<float>(std::clamp(value, -limit, limit)); }

}  // namespace

ValueRows::ValueRows(const AttentionProblem& problem, const DataSpec& data, std::uint64_t seed)
    : problem_(&problem), data_(resolve(data)), seed_(seed), used_(used_range(problem)) {
  const double natural = 1 / std::sqrt(static_cast<double>(problem.d_k));
  effective_scale_ = problem.scale == 0 ? natural : static_cast<double>(problem.scale);
  plan_scores();
}

void ValueRows::plan_scores() {
  const double c = effective_scale_, root_d = std::sqrt(static_cast<double>(problem_->d_k));
  if (data_.scores == Family::near_softcap && problem_->softcap == 0) {
    data_.scores = Family::normal;
    data_.scores_arg = 4;
  }
  // Q noise that alone gives scores of this deviation against K ~ N(0,1).
  const auto q_noise = [&](double deviation) { return cut(deviation / (std::abs(c) * root_d), kMaxDeviation); };
  double noise = 0, unit = 0;
  switch (data_.scores) {
    case Family::normal:
      noise_q_ = problem_->scale == 0 ? 1.0F : q_noise(data_.scores_arg);
      return;
    case Family::outlier_channel: {
      const double others = static_cast<double>(problem_->d_k - 1), size = data_.scores_arg * data_.scores_arg;
      noise_q_ = cut(kOutlierScore / (std::abs(c) * std::sqrt(others + size)), kMaxDeviation);
      return;
    }
    case Family::huge: {
      const double shared = std::sqrt(std::abs(data_.scores_arg) / (std::abs(c) * root_d));
      noise_q_ = noise_k_ = cut(shared, kMaxDeviation);
      return;
    }
    case Family::onehot: {
      // Against sign vectors; with a softcap more would saturate every score alike.
      const double score = problem_->softcap > 0 ? 2 * static_cast<double>(problem_->softcap) : kOnehotScore;
      noise_q_ = cut(score / (c * root_d * root_d), kMaxDeviation);
      return;
    }
    case Family::rising:
    case Family::falling:
      trend_ = data_.scores_arg;
      noise = unit = 0.5;
      break;
    case Family::needle_first:
    case Family::needle_last:
    case Family::needle_edge:
      trend_ = data_.scores_arg;
      noise = 0.875;
      unit = 0.5;
      break;
    case Family::spike:
      trend_ = data_.scores_arg;
      noise = unit = 0.088;
      break;
    case Family::near_softcap:
    case Family::anti_aligned:
      trend_ = problem_->softcap > 0 ? static_cast<double>(problem_->softcap) : 30;
      noise = unit = 0.5;
      break;
    case Family::low: {
      // K carries as much of the score as f16 holds to within its noise, so that the scores stay close together.
      trend_ = data_.scores_arg;
      noise = 0.05;
      unit = std::max(0.5, std::abs(trend_) / (kMaxDeviation / 2 * root_d));
      break;
    }
    case Family::spike_first:
    case Family::spike_last:
      trend_ = data_.scores_arg;
      unit = std::max(1.0 / 64, std::abs(trend_) / (kMaxDeviation / 2 * root_d));
      break;
    default:
      return;
  }
  // K must not point along u by more than f16 holds, whatever score is wanted.
  const bool own_unit =
      data_.scores == Family::low || data_.scores == Family::spike_first || data_.scores == Family::spike_last;
  if (!own_unit) unit = std::max(unit, std::abs(trend_) / 64);
  noise_q_ = q_noise(noise);
  along_q_ = cut(unit / c, kMaxDeviation * root_d);
  score_unit_ = unit;
}

std::int64_t ValueRows::needle(std::int64_t hk, std::int64_t sk) const {
  const std::int64_t n = used_.size();
  if (n == 0) return -1;
  const std::uint64_t drawn = rng_of(seed_, Stream::choice).bits(row_id(0, hk, sk)) >> 1;
  const auto draw = [&](std::int64_t count) {
    return static_cast<std::int64_t>(drawn % static_cast<std::uint64_t>(count));
  };
  switch (data_.scores) {
    case Family::needle_first:
    case Family::spike_first:
      return used_.first;
    case Family::needle_last:
    case Family::spike_last:
      return used_.end - 1;
    case Family::needle_edge: {
      const std::int64_t first = used_.first / 64 + 1, last = (used_.end - 1) / 64;
      return last < first ? used_.end - 1 : (first + draw(last - first + 1)) * 64;
    }
    default:
      return used_.first + draw(n);
  }
}

float ValueRows::along_k(std::int64_t j, std::int64_t hk, std::int64_t sk) const {
  double score = 0;
  switch (data_.scores) {
    case Family::rising:
    case Family::falling: {
      const auto steps = static_cast<double>(std::max<std::int64_t>(used_.size() - 1, 1));
      const double place = std::clamp(static_cast<double>(j - used_.first) / steps, -1.0, 2.0);
      score = trend_ * (data_.scores == Family::rising ? place : 1 - place);
      break;
    }
    case Family::low:
      score = -trend_;
      break;
    case Family::needle_first:
    case Family::needle_last:
    case Family::needle_edge:
    case Family::spike:
    case Family::spike_first:
    case Family::spike_last:
      score = j == needle(hk, sk) ? trend_ : 0;
      break;
    case Family::near_softcap:
    case Family::anti_aligned: {
      const RandomRow random = row_of(seed_, Stream::choice, j, hk, sk);
      const double size = (static_cast<double>(random.uniform(0)) + 1) / 2;
      const double sign = (random.word(1) >> 31) != 0 ? 1 : -1;
      score = data_.scores == Family::near_softcap ? trend_ * sign * (0.5 + 1.5 * size) : -trend_ * (1.5 + size);
      break;
    }
    default:
      break;
  }
  return static_cast<float>(score / score_unit_);
}

std::int64_t ValueRows::selected_key(std::int64_t i, std::int64_t h, std::int64_t s) const {
  const KeyRange range = visible_range(*problem_, i, 0);
  if (range.size() == 0) return 0;
  const std::uint64_t drawn = mix64(rng_of(seed_, Stream::choice).bits(row_id(i, h, s)));
  return range.first + static_cast<std::int64_t>((drawn >> 1) % static_cast<std::uint64_t>(range.size()));
}

void ValueRows::q_row(std::int64_t i, std::int64_t h, std::int64_t s, float* row) const {
  const auto n = static_cast<Column>(problem_->d_k);
  const std::int64_t hk = h / (problem_->n_head / problem_->n_head_kv), sk = s / (problem_->n_seq / problem_->n_seq_kv);
  const RandomRow random = row_of(seed_, Stream::q, i, h, s);
  switch (data_.scores) {
    case Family::uniform:
      return fill_uniform(random, row, n);
    case Family::outlier:
      return fill_outlier(random, RandomRow(mix64(rng_of(seed_, Stream::q).bits(row_id(i, h, s)))), row, n);
    case Family::integer:
      return fill_integer(random, 3, row, n);
    case Family::onehot:
      return fill_signs(row_of(seed_, Stream::k, selected_key(i, h, s), hk, sk), noise_q_, row, n);
    default:
      fill_normal(random, noise_q_, row, n);
      if (along_q_ != 0) add_direction(row_of(seed_, Stream::direction, 0, hk, sk), along_q_, row, n);
  }
}

void ValueRows::k_row(std::int64_t j, std::int64_t hk, std::int64_t sk, float* row) const {
  const auto n = static_cast<Column>(problem_->d_k);
  if (data_.scores == Family::flat && j < problem_->n_kv) j = 0;
  const RandomRow random = row_of(seed_, Stream::k, j, hk, sk);
  switch (data_.scores) {
    case Family::uniform:
      return fill_uniform(random, row, n);
    case Family::outlier:
      return fill_outlier(random, RandomRow(mix64(rng_of(seed_, Stream::k).bits(row_id(j, hk, sk)))), row, n);
    case Family::integer:
      return fill_integer(random, 3, row, n);
    case Family::onehot:
      return fill_signs(random, 1.0F, row, n);
    case Family::outlier_channel: {
      fill_normal(random, 1.0F, row, n);
      const std::uint64_t drawn = rng_of(seed_, Stream::outlier_channel).bits(row_id(0, hk, sk)) >> 1;
      row[drawn % n] *= static_cast<float>(data_.scores_arg);
      return;
    }
    default:
      fill_normal(random, noise_k_, row, n);
      if (along_q_ != 0) {
        const float along = along_k(j, hk, sk);
        if (along != 0) add_direction(row_of(seed_, Stream::direction, 0, hk, sk), along, row, n);
      }
  }
}

void ValueRows::v_row(std::int64_t j, std::int64_t hv, std::int64_t sk, float* row) const {
  const auto n = static_cast<Column>(problem_->d_v);
  const RandomRow random = row_of(seed_, Stream::v, j, hv, sk);
  if (!data_.has_values) {
    switch (data_.scores) {
      case Family::uniform:
        return fill_uniform(random, row, n);
      case Family::outlier:
        return fill_outlier(random, RandomRow(mix64(rng_of(seed_, Stream::v).bits(row_id(j, hv, sk)))), row, n);
      case Family::integer:
        return fill_integer(random, 8, row, n);
      default:
        return fill_normal(random, 1.0F, row, n);
    }
  }
  const auto arg = static_cast<float>(data_.values_arg);
  switch (data_.values) {
    case Family::v_const:
      std::fill(row, row + n, arg);
      break;
    case Family::v_index:
      for (Column e = 0; e < n; ++e) row[e] = (static_cast<std::uint64_t>(j) >> (e % 24) & 1) != 0 ? 1.0F : -1.0F;
      break;
    case Family::v_onehot:
      std::fill(row, row + n, 0.0F);
      row[j % problem_->d_v] = 1.0F;
      break;
    case Family::v_shift:
      fill_normal(random, 1.0F, row, n);
      for (Column e = 0; e < n; ++e) row[e] += arg;
      break;
    default:
      fill_normal(random, arg, row, n);
  }
  if (problem_->v_type == DType::f32 || problem_->v_type == DType::bf16) return;
  for (Column e = 0; e < n; ++e) row[e] = std::clamp(row[e], -kMaxStoredV, kMaxStoredV);
}

}  // namespace attest
