// K or V of one head, decoded to f32 block by block; only the keys somebody sees are read.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "oracles/budget_kernels.h"
#include "oracles/value_budget.h"

namespace attest {

class DecodedKeys {
 public:
  static constexpr std::int64_t kBlock = 256;

  DecodedKeys(const TensorView& tensor, std::int64_t head, std::int64_t seq, const std::vector<std::uint8_t>& needed)
      : tensor_(tensor),
        head_(head),
        seq_(seq),
        needed_(needed),
        stride_(budget_padded(static_cast<std::size_t>(tensor.ne[0]))) {
    const auto keys = static_cast<std::int64_t>(needed.size());
    keep_all_ = keys * static_cast<std::int64_t>(stride_) <= kKeep;
    done_.assign(static_cast<std::size_t>((keys + kBlock - 1) / kBlock), 0);
    data_.assign(static_cast<std::size_t>(keep_all_ ? keys : kBlock) * stride_, 0.0F);
  }

  std::int64_t blocks() const { return static_cast<std::int64_t>(done_.size()); }

  // From here on the values come multiplied by a power of two.
  void multiply(double unit) {
    if (unit == unit_) return;
    unit_ = unit;
    std::fill(done_.begin(), done_.end(), std::uint8_t{0});
    current_ = -1;
  }

  DecodedBlock block(std::int64_t b) {
    const std::int64_t first = b * kBlock, end = std::min(first + kBlock, static_cast<std::int64_t>(needed_.size()));
    float* data = data_.data() + (keep_all_ ? static_cast<std::size_t>(first) * stride_ : 0);
    if (keep_all_ ? !done_[static_cast<std::size_t>(b)] : current_ != b) {
      for (std::int64_t j = first; j < end; ++j)
        if (needed_[static_cast<std::size_t>(j)]) decode(j, data + static_cast<std::size_t>(j - first) * stride_);
      done_[static_cast<std::size_t>(b)] = 1;
      current_ = b;
    }
    return {data, stride_, first, end};
  }

 private:
  static constexpr std::int64_t kKeep = 1 << 18;  // floats: 1 MiB stays in the second-level cache

  void decode(std::int64_t j, float* to) const {
    const std::int64_t d = tensor_.ne[0];
    if (tensor_.contiguous_rows())
      decode_row(tensor_.dtype, tensor_.row(j, head_, seq_), to, d);
    else
      for (std::int64_t e = 0; e < d; ++e) to[e] = attest::element(tensor_, e, j, head_, seq_);
    if (unit_ != 1)
      for (std::int64_t e = 0; e < d; ++e) to[e] = static_cast<float>(static_cast<double>(to[e]) * unit_);
  }

  const TensorView& tensor_;
  std::int64_t head_, seq_;
  const std::vector<std::uint8_t>& needed_;
  std::size_t stride_;
  bool keep_all_ = false;
  double unit_ = 1;
  std::int64_t current_ = -1;
  std::vector<std::uint8_t> done_;
  AlignedVector<float> data_;
};

}  // namespace attest
