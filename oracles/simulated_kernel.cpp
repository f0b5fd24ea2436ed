#include "oracles/simulated_kernel.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>

#include "cases/rng.h"

namespace attest {
namespace {

constexpr float kMinusInfinity = -std::numeric_limits<float>::infinity();

float add_truncated(float a, float b) {
  const double sum = static_cast<double>(a) + static_cast<double>(b);
  const float near = static_cast<float>(sum);
  return std::abs(static_cast<double>(near)) > std::abs(sum) ? std::nextafter(near, 0.0F) : near;
}

struct State {
  float m = kMinusInfinity, l = 0;
  std::vector<float> acc;
};

class RowRun {
 public:
  RowRun(const SimulatedKernel& kernel, const AttentionInputs& in, const Row& row) : k_(kernel), in_(in), row_(row) {
    const AttentionProblem& p = *in.problem;
    seq_ = row.seq / (p.n_seq / p.n_seq_kv);
    head_k_ = row.head / (p.n_head / p.n_head_kv);
    head_v_ = row.head / (p.n_head / p.n_head_v);
    d_v_ = static_cast<std::size_t>(p.d_v);
    scale_ = p.scale * (k_.bug == PlantedBug::scale ? 1.005F : 1.0F);
    slope_ = static_cast<float>(alibi_slope(p, row.head));
    for (std::int64_t e = 0; e < p.d_k; ++e) q_.push_back(k_.round_q(element(in.q, e, row.query, row.head, row.seq)));
    if (in.sinks.present() && k_.bug != PlantedBug::sink_omitted) sink_ = element(in.sinks, row.head, 0, 0, 0);
    last_ = -1;
    for (std::int64_t j = 0; j < p.n_kv; ++j)
      if (mask(j) != kMinusInfinity) last_ = j;
  }

  std::vector<float> run();

 private:
  float mask(std::int64_t j) const {
    if (!in_.mask.present()) return 0;
    return slope_ * element(in_.mask, j, row_.query, row_.head % in_.mask.ne[2], row_.seq % in_.mask.ne[3]);
  }
  float score(std::int64_t j, float mask_value);
  float weight(float z) {
    float p = std::exp(z);
    if (k_.exp_error > 0) p *= 1 + k_.exp_error * noise_.uniform(draws_++);
    return p;
  }
  void tile(State& s, std::int64_t begin, std::int64_t end);
  void rescale(State& s, float m);
  float add(float a, float b) const { return k_.truncate ? add_truncated(a, b) : a + b; }

  const SimulatedKernel& k_;
  const AttentionInputs& in_;
  Row row_;
  std::int64_t seq_, head_k_, head_v_, last_;
  std::size_t d_v_;
  float scale_, slope_, sink_ = kMinusInfinity;
  std::vector<float> q_, key_, value_, z_, tile_acc_;
  Rng noise_{11, 5};
  std::uint64_t draws_ = 0;
};

float RowRun::score(std::int64_t j, float mask_value) {
  key_.resize(q_.size());
  decode_row(in_.k.dtype, in_.k.row(j, head_k_, seq_), key_.data(), static_cast<std::int64_t>(key_.size()));
  float lane[16] = {};
  for (std::size_t e = 0; e < q_.size(); ++e) {
    float& sum = lane[e % static_cast<std::size_t>(k_.lanes)];
    sum = sum + q_[e] * key_[e];
  }
  float dot = lane[0];
  for (int i = 1; i < k_.lanes; ++i) dot += lane[i];
  float s = k_.round_s(dot * scale_);
  const float softcap = in_.problem->softcap;
  if (softcap > 0) s = softcap * std::tanh(s / softcap);
  return k_.round_z(s + mask_value);
}

void RowRun::rescale(State& s, float m) {
  if (s.m != kMinusInfinity) {
    const float factor = weight(s.m - m);
    s.l *= factor;
    for (float& a : s.acc) a = k_.round_acc(a * factor);
  }
  s.m = m;
}

void RowRun::tile(State& s, std::int64_t begin, std::int64_t end) {
  z_.assign(static_cast<std::size_t>(end - begin), kMinusInfinity);
  float top = kMinusInfinity;
  for (std::int64_t j = begin; j < end; ++j) {
    const float m = mask(j);
    if (m == kMinusInfinity || (k_.bug == PlantedBug::last_key_dropped && j == last_)) continue;
    top = std::max(top, z_[static_cast<std::size_t>(j - begin)] = score(j, m));
  }
  if (top == kMinusInfinity) return;
  const float lead = k_.contract.lazy_rescale ? 5.5F : 0.0F;
  if (top > s.m + lead) rescale(s, top);
  std::vector<float>& acc = k_.tile_product ? tile_acc_ : s.acc;
  if (k_.tile_product) tile_acc_.assign(d_v_, 0.0F);
  value_.resize(d_v_);
  for (std::int64_t j = begin; j < end; ++j) {
    const float z = z_[static_cast<std::size_t>(j - begin)];
    if (z == kMinusInfinity) continue;
    float p = weight(z - s.m);
    if (k_.bug == PlantedBug::exp_error) p *= 1 + 1e-3F * noise_.uniform(draws_++);
    s.l += p;
    p = k_.round_p(p);
    decode_row(in_.v.dtype, in_.v.row(j, head_v_, seq_), value_.data(), static_cast<std::int64_t>(d_v_));
    for (std::size_t e = 0; e < d_v_; ++e) {
      const float product = k_.contract.products_rounded ? k_.round_acc(p * value_[e]) : p * value_[e];
      acc[e] = k_.round_acc(add(acc[e], product));
    }
  }
  if (k_.tile_product)
    for (std::size_t e = 0; e < d_v_; ++e) s.acc[e] = k_.round_acc(add(s.acc[e], tile_acc_[e]));
}

std::vector<float> RowRun::run() {
  const std::int64_t n = in_.problem->n_kv, chunks = k_.contract.chunks;
  std::vector<float> out(d_v_, 0.0F);
  if (last_ < 0) return out;
  const std::int64_t length = std::max<std::int64_t>((n + chunks - 1) / chunks, 1);
  State total;
  total.acc.assign(d_v_, 0.0F);
  for (std::int64_t begin = 0; begin < n; begin += length) {
    const std::int64_t end = std::min(begin + length, n);
    State s;
    s.acc.assign(d_v_, 0.0F);
    if (k_.sink_first && begin == 0 && sink_ != kMinusInfinity) {
      s.m = sink_;
      s.l = 1;
    }
    const std::int64_t tiles = (end - begin + k_.contract.tile - 1) / k_.contract.tile;
    for (std::int64_t t = 0; t < tiles; ++t) {
      const std::int64_t at = begin + (k_.descending ? tiles - 1 - t : t) * k_.contract.tile;
      tile(s, at, std::min(at + k_.contract.tile, end));
    }
    if (chunks == 1) {
      total = std::move(s);
    } else if (s.m != kMinusInfinity) {
      const float m = std::max(total.m, s.m), mine = std::exp(s.m - m);
      const float factor = total.m == kMinusInfinity ? 0.0F : std::exp(total.m - m);  // partial results are f32
      total.l = total.l * factor + s.l * mine;
      for (std::size_t e = 0; e < d_v_; ++e) total.acc[e] = total.acc[e] * factor + s.acc[e] * mine;
      total.m = m;
    }
  }
  if (!k_.sink_first && sink_ != kMinusInfinity) {
    if (sink_ > total.m) rescale(total, sink_);
    total.l += weight(sink_ - total.m);
  }
  const float inverse = 1 / total.l;
  for (std::size_t e = 0; e < d_v_; ++e) out[e] = k_.round_out(total.acc[e] * inverse);
  if (k_.bug == PlantedBug::one_element) out[d_v_ / 3] *= 1.01F;
  return out;
}

}  // namespace

float to_f32(float value) { return value; }
float to_f16(float value) { return f16_to_f32(f32_to_f16(value)); }
float to_bf16(float value) { return bf16_to_f32(f32_to_bf16(value)); }

std::vector<float> SimulatedKernel::row(const AttentionInputs& inputs, const Row& row) const {
  return RowRun(*this, inputs, row).run();
}

}  // namespace attest
