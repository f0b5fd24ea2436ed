// Aligned f32 working memory that one worker reuses from call to call.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <new>
#include <vector>

namespace attest::cpu {

// Handed out in pieces; contents are whatever the last user left. 64-byte aligned pieces.
class Scratch {
 public:
  // Forgets all pieces and makes room for `floats` of them in total, each piece rounded up to 16.
  void reserve(std::int64_t floats) {
    used_ = 0;
    if (floats <= capacity_) return;
    memory_.reset(static_cast<float*>(::operator new(static_cast<std::size_t>(floats) * sizeof(float), kAlign)));
    capacity_ = floats;
  }
  void rewind() { used_ = 0; }
  float* floats(std::int64_t n) {
    float* piece = memory_.get() + used_;
    used_ += padded(n);
    return piece;
  }
  static constexpr std::int64_t padded(std::int64_t n) { return (n + 15) / 16 * 16; }

 private:
  static constexpr std::align_val_t kAlign{64};
  struct Free {
    void operator()(float* p) const { ::operator delete(p, kAlign); }
  };
  std::unique_ptr<float, Free> memory_;
  std::int64_t capacity_ = 0, used_ = 0;
};

// One per worker.
using Scratches = std::vector<Scratch>;

}  // namespace attest::cpu
