// Operations between the lanes of a simdgroup or quadgroup: reductions, scans, votes, shuffles.
// Each lane hands over its operand; the last to arrive rules for all.
#pragma once

#include "backends/metal/sim/msl/common.h"

namespace msl {

using attest::msl::kSimdWidth;

template <class T>
struct Exchange {
  T value, result;
  int source;  // of a shuffle: a lane, or out of range
};

inline const char* const kUndefinedSource = "reads a lane that takes no part: the value is undefined";

template <class F, class T>
MSL_INLINE T collect(const char* what, T value, int source, F, int line) {
  Exchange<T> mine{value, value, source};
  g_runtime->collective(what, &mine, &F::template combine<T>, false, line);
  return mine.result;
}

template <class T>
inline Exchange<T>& at(void* const* slots, unsigned lane) {
  return *static_cast<Exchange<T>*>(slots[lane]);
}

// Reduction over groups of Width lanes.
template <class Op, unsigned Width>
struct Reduce {
  template <class T>
  MSL_UNWATCHED static const char* combine(void* const* slots, unsigned lanes) {
    for (unsigned first = 0; first < kSimdWidth; first += Width) {
      bool any = false;
      T total{};
      for (unsigned l = first; l < first + Width; ++l) {
        if (!(lanes >> l & 1)) continue;
        total = any ? Op::of(total, at<T>(slots, l).value) : at<T>(slots, l).value;
        any = true;
      }
      for (unsigned l = first; l < first + Width; ++l) {
        if (lanes >> l & 1) at<T>(slots, l).result = total;
      }
    }
    return nullptr;
  }
};

template <class Op, bool Inclusive, unsigned Width>
struct Scan {
  template <class T>
  MSL_UNWATCHED static const char* combine(void* const* slots, unsigned lanes) {
    T total = Op::template neutral<T>();
    for (unsigned l = 0; l < kSimdWidth; ++l) {
      if (l % Width == 0) total = Op::template neutral<T>();
      if (!(lanes >> l & 1)) continue;
      const T next = Op::of(total, at<T>(slots, l).value);
      at<T>(slots, l).result = Inclusive ? next : total;
      total = next;
    }
    return nullptr;
  }
};

// A shuffle with a source outside the group gives the lane its own value: the specification leaves it undefined.
template <unsigned Width>
struct Shuffle {
  template <class T>
  MSL_UNWATCHED static const char* combine(void* const* slots, unsigned lanes) {
    const char* complaint = nullptr;
    for (unsigned l = 0; l < kSimdWidth; ++l) {
      if (!(lanes >> l & 1)) continue;
      const int source = at<T>(slots, l).source;
      if (source < 0 || source >= static_cast<int>(Width)) continue;
      const unsigned from = l / Width * Width + static_cast<unsigned>(source);
      if (!(lanes >> from & 1)) {
        complaint = kUndefinedSource;
        continue;
      }
      at<T>(slots, l).result = at<T>(slots, from).value;
    }
    return complaint;
  }
};

struct Sum {
  template <class T>
  static T of(T a, T b) {
    return static_cast<T>(a + b);
  }
  template <class T>
  static T neutral() {
    return T(0);
  }
};
struct Product {
  template <class T>
  static T of(T a, T b) {
    return static_cast<T>(a * b);
  }
  template <class T>
  static T neutral() {
    return T(1);
  }
};
struct Largest {
  template <class T>
  static T of(T a, T b) {
    return metal::max(a, b);
  }
};
struct Smallest {
  template <class T>
  static T of(T a, T b) {
    return metal::min(a, b);
  }
};
struct And {
  template <class T>
  static T of(T a, T b) {
    return static_cast<T>(a & b);
  }
};
struct Or {
  template <class T>
  static T of(T a, T b) {
    return static_cast<T>(a | b);
  }
};
struct Xor {
  template <class T>
  static T of(T a, T b) {
    return static_cast<T>(a ^ b);
  }
};

}  // namespace msl

namespace metal {

#define MSL_REDUCTION(name, Op)                                                 \
  template <class T>                                                            \
  MSL_INLINE T simd_##name(T v, MSL_LINE) {                                     \
    return msl::collect("simd_" #name, v, 0, msl::Reduce<msl::Op, 32>(), line); \
  }                                                                             \
  template <class T>                                                            \
  MSL_INLINE T quad_##name(T v, MSL_LINE) {                                     \
    return msl::collect("quad_" #name, v, 0, msl::Reduce<msl::Op, 4>(), line);  \
  }
MSL_REDUCTION(sum, Sum)
MSL_REDUCTION(product, Product)
MSL_REDUCTION(max, Largest)
MSL_REDUCTION(min, Smallest)
MSL_REDUCTION(and, And)
MSL_REDUCTION(or, Or)
MSL_REDUCTION(xor, Xor)

#define MSL_SCAN(group, width, name, Op)                                                                    \
  template <class T>                                                                                        \
  MSL_INLINE T group##_prefix_inclusive_##name(T v, MSL_LINE) {                                             \
    return msl::collect(#group "_prefix_inclusive_" #name, v, 0, msl::Scan<msl::Op, true, width>(), line);  \
  }                                                                                                         \
  template <class T>                                                                                        \
  MSL_INLINE T group##_prefix_exclusive_##name(T v, MSL_LINE) {                                             \
    return msl::collect(#group "_prefix_exclusive_" #name, v, 0, msl::Scan<msl::Op, false, width>(), line); \
  }
MSL_SCAN(simd, 32, sum, Sum)
MSL_SCAN(simd, 32, product, Product)
MSL_SCAN(quad, 4, sum, Sum)
MSL_SCAN(quad, 4, product, Product)

#define MSL_SHUFFLES(group, width, own)                                                                          \
  template <class T>                                                                                             \
  MSL_INLINE T group##_shuffle(T v, ushort lane, MSL_LINE) {                                                     \
    return msl::collect(#group "_shuffle", v, lane, msl::Shuffle<width>(), line);                                \
  }                                                                                                              \
  template <class T>                                                                                             \
  MSL_INLINE T group##_broadcast(T v, ushort lane, MSL_LINE) {                                                   \
    return msl::collect(#group "_broadcast", v, lane, msl::Shuffle<width>(), line);                              \
  }                                                                                                              \
  template <class T>                                                                                             \
  MSL_INLINE T group##_shuffle_xor(T v, ushort mask, MSL_LINE) {                                                 \
    return msl::collect(#group "_shuffle_xor", v, static_cast<int>(own ^ mask), msl::Shuffle<width>(), line);    \
  }                                                                                                              \
  template <class T>                                                                                             \
  MSL_INLINE T group##_shuffle_up(T v, ushort delta, MSL_LINE) {                                                 \
    return msl::collect(#group "_shuffle_up", v, static_cast<int>(own) - delta, msl::Shuffle<width>(), line);    \
  }                                                                                                              \
  template <class T>                                                                                             \
  MSL_INLINE T group##_shuffle_down(T v, ushort delta, MSL_LINE) {                                               \
    return msl::collect(#group "_shuffle_down", v, static_cast<int>(own) + delta, msl::Shuffle<width>(), line);  \
  }                                                                                                              \
  template <class T>                                                                                             \
  MSL_INLINE T group##_shuffle_rotate_up(T v, ushort delta, MSL_LINE) {                                          \
    return msl::collect(#group "_shuffle_rotate_up", v, static_cast<int>((own + width - delta % width) % width), \
                        msl::Shuffle<width>(), line);                                                            \
  }                                                                                                              \
  template <class T>                                                                                             \
  MSL_INLINE T group##_shuffle_rotate_down(T v, ushort delta, MSL_LINE) {                                        \
    return msl::collect(#group "_shuffle_rotate_down", v, static_cast<int>((own + delta) % width),               \
                        msl::Shuffle<width>(), line);                                                            \
  }
MSL_SHUFFLES(simd, 32, msl::self().lane)
MSL_SHUFFLES(quad, 4, (msl::self().lane % 4))

// As shuffle_up and _down, but what comes from outside the group of `modulo` lanes is taken from `fill`.
template <class T>
MSL_INLINE T simd_shuffle_and_fill_up(T v, T fill, ushort delta, ushort modulo = 32, MSL_LINE) {
  const uint own = msl::self().lane % modulo, first = msl::self().lane - own;
  const bool outside = own < delta;
  const T inner = msl::collect("simd_shuffle_and_fill_up", v, static_cast<int>(first + (own + modulo - delta) % modulo),
                               msl::Shuffle<32>(), line);
  const T outer = msl::collect("simd_shuffle_and_fill_up", fill,
                               static_cast<int>(first + (own + modulo - delta) % modulo), msl::Shuffle<32>(), line);
  return outside ? outer : inner;
}
template <class T>
MSL_INLINE T simd_shuffle_and_fill_down(T v, T fill, ushort delta, ushort modulo = 32, MSL_LINE) {
  const uint own = msl::self().lane % modulo, first = msl::self().lane - own;
  const bool outside = own + delta >= modulo;
  const T inner = msl::collect("simd_shuffle_and_fill_down", v, static_cast<int>(first + (own + delta) % modulo),
                               msl::Shuffle<32>(), line);
  const T outer = msl::collect("simd_shuffle_and_fill_down", fill, static_cast<int>(first + (own + delta) % modulo),
                               msl::Shuffle<32>(), line);
  return outside ? outer : inner;
}

class simd_vote {
 public:
  typedef ulong vote_t;
  explicit constexpr simd_vote(vote_t v = 0) : v_(v) {}
  explicit constexpr operator vote_t() const { return v_; }
  constexpr bool all() const { return v_ == 0xffffffffUL; }
  constexpr bool any() const { return v_ != 0; }

 private:
  vote_t v_;
};
MSL_INLINE simd_vote simd_ballot(bool v, MSL_LINE) {
  return simd_vote(msl::collect("simd_ballot", v ? 1UL << msl::self().lane : 0UL, 0, msl::Reduce<msl::Or, 32>(), line));
}
MSL_INLINE bool simd_all(bool v, MSL_LINE) {
  return msl::collect("simd_all", v ? 1u : 0u, 0, msl::Reduce<msl::And, 32>(), line) != 0;
}
MSL_INLINE bool simd_any(bool v, MSL_LINE) {
  return msl::collect("simd_any", v ? 1u : 0u, 0, msl::Reduce<msl::Or, 32>(), line) != 0;
}
MSL_INLINE bool simd_is_first(MSL_LINE) {
  const uint lane = msl::self().lane;
  return msl::collect("simd_is_first", lane, 0, msl::Reduce<msl::Smallest, 32>(), line) == lane;
}
template <class T>
MSL_INLINE T simd_broadcast_first(T v, MSL_LINE) {
  const uint lane = msl::self().lane;
  const uint first = msl::collect("simd_broadcast_first", lane, 0, msl::Reduce<msl::Smallest, 32>(), line);
  return msl::collect("simd_broadcast_first", v, static_cast<int>(first), msl::Shuffle<32>(), line);
}

MSL_INLINE simd_vote simd_active_threads_mask(MSL_LINE) { return simd_ballot(true, line); }

class quad_vote {
 public:
  typedef uint vote_t;
  explicit constexpr quad_vote(vote_t v = 0) : v_(v) {}
  explicit constexpr operator vote_t() const { return v_; }
  constexpr bool all() const { return v_ == 0xf; }
  constexpr bool any() const { return v_ != 0; }

 private:
  vote_t v_;
};
MSL_INLINE quad_vote quad_ballot(bool v, MSL_LINE) {
  const uint own = v ? 1u << (msl::self().lane % 4) : 0u;
  return quad_vote(msl::collect("quad_ballot", own, 0, msl::Reduce<msl::Or, 4>(), line));
}
MSL_INLINE bool quad_all(bool v, MSL_LINE) {
  return msl::collect("quad_all", v ? 1u : 0u, 0, msl::Reduce<msl::And, 4>(), line) != 0;
}
MSL_INLINE bool quad_any(bool v, MSL_LINE) {
  return msl::collect("quad_any", v ? 1u : 0u, 0, msl::Reduce<msl::Or, 4>(), line) != 0;
}
MSL_INLINE bool quad_is_first(MSL_LINE) {
  const uint lane = msl::self().lane;
  return msl::collect("quad_is_first", lane, 0, msl::Reduce<msl::Smallest, 4>(), line) == lane;
}
template <class T>
MSL_INLINE T quad_broadcast_first(T v, MSL_LINE) {
  const uint lane = msl::self().lane;
  const uint first = msl::collect("quad_broadcast_first", lane, 0, msl::Reduce<msl::Smallest, 4>(), line);
  return msl::collect("quad_broadcast_first", v, static_cast<int>(first % 4), msl::Shuffle<4>(), line);
}

}  // namespace metal
