// Flash attention in C++ as a plug-in of attest: tiles of keys, threads over rows, workspace lent by attest, an option.
// See ../README.md.
//
//   c++ -O2 -std=c++17 -fPIC -shared -pthread -o tiled_attention.so tiled_attention.cpp
#include <attest_plugin.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <string>
#include <thread>
#include <vector>

namespace {

constexpr float kHidden = -std::numeric_limits<float>::infinity();
constexpr int kLongestTile = 4096, kBlock = 32;  // q8_0: an f16 scale, then 32 signed bytes

int g_tile = 32;
std::string g_error;

float bits_to_float(std::uint32_t bits) {
  float value;
  std::memcpy(&value, &bits, sizeof value);
  return value;
}

float half_to_float(std::uint16_t half) {
  const std::uint32_t sign = std::uint32_t{half & 0x8000U} << 16, rest = std::uint32_t{half & 0x7fffU} << 13;
  if (rest >= 0x0f800000U) return bits_to_float(sign | 0x7f800000U | rest);  // Inf, NaN
  return bits_to_float(sign | 0x77800000U) * bits_to_float(rest);            // +-2^112 times: exact, subnormals too
}

template <class T>
T load(const char* at) {
  T value;
  std::memcpy(&value, at, sizeof value);
  return value;
}

const char* place(const attest_tensor& t, int64_t i1, int64_t i2, int64_t i3) {
  return static_cast<const char*>(t.data) + i1 * t.nb[1] + i2 * t.nb[2] + i3 * t.nb[3];
}

float value(int32_t dtype, const char* at) {
  return dtype == ATTEST_F32 ? load<float>(at) : half_to_float(load<std::uint16_t>(at));
}

// A row of `n` elements as floats.
void read_row(const attest_tensor& t, const char* row, int64_t n, float* to) {
  if (t.dtype != ATTEST_Q8_0) {
    for (int64_t d = 0; d < n; ++d) to[d] = value(t.dtype, row + d * t.nb[0]);
    return;
  }
  for (int64_t d = 0; d < n; d += kBlock, row += t.nb[0]) {
    const float scale = half_to_float(load<std::uint16_t>(row));
    for (int64_t b = 0; b < kBlock; ++b) to[d + b] = scale * static_cast<float>(load<signed char>(row + 2 + b));
  }
}

bool readable(int32_t dtype) { return dtype == ATTEST_F32 || dtype == ATTEST_F16 || dtype == ATTEST_Q8_0; }

// Per thread: the query, a row of K or V, and a tile's scores.
int64_t scratch_floats(const attest_problem& p) { return p.d_k + std::max(p.d_k, p.d_v) + g_tile; }

float alibi_slope(const attest_problem& p, int64_t h) {
  if (!(p.max_bias > 0)) return 1;
  int64_t n2 = 1;
  while (2 * n2 <= p.n_head) n2 *= 2;
  const double exponent = h < n2 ? double(h + 1) / double(n2) : double(2 * (h - n2) + 1) / double(2 * n2);
  return static_cast<float>(std::exp2(-double(p.max_bias) * exponent));
}

class Row {
 public:
  Row(const attest_problem& p, int64_t i, int64_t h, int64_t s, float* scratch, float* out)
      : p_(p), i_(i), h_(h), s_(s), slope_(alibi_slope(p, h)), out_(out) {
    query_ = scratch;
    row_ = query_ + p.d_k;
    scores_ = row_ + std::max(p.d_k, p.d_v);
    read_row(p.q, place(p.q, i, h, s), p.d_k, query_);
  }

  void attend() {
    std::fill_n(out_, p_.d_v, 0.0F);
    for (int64_t first = 0; first < p_.n_kv; first += g_tile)
      add_tile(first, std::min<int64_t>(g_tile, p_.n_kv - first));
    if (max_ == kHidden) return;  // no visible key: 0
    if (p_.sinks.dtype != ATTEST_ABSENT) {
      const float sink = load<float>(static_cast<const char*>(p_.sinks.data) + h_ * p_.sinks.nb[0]);
      raise_to(sink);
      sum_ += std::exp(sink - max_);
    }
    for (int64_t d = 0; d < p_.d_v; ++d) out_[d] /= sum_;
  }

 private:
  void raise_to(float top) {
    if (!(top > max_)) return;
    const float rescale = max_ == kHidden ? 0.0F : std::exp(max_ - top);
    for (int64_t d = 0; d < p_.d_v; ++d) out_[d] *= rescale;
    sum_ *= rescale;
    max_ = top;
  }

  float score(int64_t j) {
    float bias = 0;
    if (p_.mask.dtype != ATTEST_ABSENT) {
      const attest_tensor& m = p_.mask;
      bias = value(m.dtype, place(m, i_, h_ % m.ne[2], s_ % m.ne[3]) + j * m.nb[0]);
      if (bias == kHidden) return kHidden;  // a hidden key's bytes may be anything: they are not read
    }
    read_row(p_.k, place(p_.k, j, h_ * p_.n_head_kv / p_.n_head, kv_seq()), p_.d_k, row_);
    float dot = 0;
    for (int64_t d = 0; d < p_.d_k; ++d) dot += query_[d] * row_[d];
    dot *= p_.scale;
    if (p_.softcap > 0) dot = p_.softcap * std::tanh(dot / p_.softcap);
    return dot + slope_ * bias;
  }

  void add_tile(int64_t first, int64_t n) {
    float top = kHidden;
    for (int64_t j = 0; j < n; ++j) top = std::max(top, scores_[j] = score(first + j));
    raise_to(top);
    for (int64_t j = 0; j < n; ++j) {
      if (scores_[j] == kHidden) continue;
      const float weight = std::exp(scores_[j] - max_);
      sum_ += weight;
      read_row(p_.v, place(p_.v, first + j, h_ * p_.n_head_v / p_.n_head, kv_seq()), p_.d_v, row_);
      for (int64_t d = 0; d < p_.d_v; ++d) out_[d] += weight * row_[d];
    }
  }

  int64_t kv_seq() const { return s_ * p_.n_seq_kv / p_.n_seq; }

  const attest_problem& p_;
  int64_t i_, h_, s_;
  float slope_, max_ = kHidden, sum_ = 0;
  float *query_, *row_, *scores_, *out_;
};

int fail(const char* why) {
  g_error = why;
  return 1;
}

int configure(const char* key, const char* text) {
  char* end = nullptr;
  const long tile = std::strtol(text, &end, 10);
  if (std::strcmp(key, "tile") != 0) return fail("the only option is tile=N");
  if (end == text || *end != '\0' || tile < 1 || tile > kLongestTile) return fail("tile is 1 to 4096 keys");
  g_tile = static_cast<int>(tile);
  return 0;
}

int supports(const attest_problem* p, char* reason, std::uint32_t reason_bytes) {
  if (readable(p->k.dtype) && readable(p->v.dtype)) return 1;
  std::snprintf(reason, reason_bytes, "K and V must be f32, f16 or q8_0");
  return 0;
}

// f32 throughout, one rescale per tile: the rest is as attest has filled it in.
int contract(const attest_problem*, attest_contract* c) {
  std::strcpy(c->path, "tiled");
  c->tile = g_tile;
  c->products_rounded = 1;
  return 0;
}

int prepare(const attest_problem* p, attest_job* job) {
  const auto floats = static_cast<std::uint64_t>(scratch_floats(*p)) * static_cast<std::uint64_t>(p->n_threads);
  job->workspace_bytes = floats * sizeof(float);
  job->output_bytes = static_cast<std::uint64_t>(p->d_v * p->n_head * p->n_q * p->n_seq) * sizeof(float);
  return 0;
}

int run(const attest_problem* p, void*, void* workspace, void* out) {
  std::atomic<int64_t> next{0};
  const auto work = [&](int64_t thread) {
    float* scratch = static_cast<float*>(workspace) + thread * scratch_floats(*p);
    for (int64_t row = next++; row < p->n_head * p->n_q * p->n_seq; row = next++) {
      const int64_t h = row % p->n_head, i = row / p->n_head % p->n_q, s = row / p->n_head / p->n_q;
      Row(*p, i, h, s, scratch, static_cast<float*>(out) + row * p->d_v).attend();
    }
  };
  try {
    std::vector<std::thread> threads;
    for (int64_t t = 1; t < p->n_threads; ++t) threads.emplace_back(work, t);
    work(0);
    for (std::thread& t : threads) t.join();
  } catch (const std::exception& e) {  // nothing may leave through a C interface
    return fail(e.what());
  }
  return 0;
}

const char* last_error() { return g_error.c_str(); }

const attest_plugin kPlugin{ATTEST_PLUGIN_ABI_VERSION,
                            sizeof(attest_plugin),
                            "tiled attention",
                            "1.0",
                            configure,
                            supports,
                            contract,
                            prepare,
                            run,
                            nullptr,
                            last_error};

}  // namespace

extern "C" const attest_plugin* attest_plugin_entry(std::uint32_t host_abi_version) {
  return host_abi_version == ATTEST_PLUGIN_ABI_VERSION ? &kPlugin : nullptr;
}
