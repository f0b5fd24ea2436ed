// A compiled program as a backend of attest: process:mapped_attention. It maps the tensors as they lie in memory,
// strides and all, and writes its answer into the file it is given. The protocol is in ../README.md.
//
//   c++ -O2 -std=c++17 -o mapped_attention mapped_attention.cpp
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmath>
#include <cstdint>
#include <cstring>
#include <iostream>
#include <limits>
#include <nlohmann/json.hpp>
#include <stdexcept>
#include <string>
#include <vector>

namespace {

using Json = nlohmann::json;
constexpr float kHidden = -std::numeric_limits<float>::infinity();

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

class Tensor {
 public:
  Tensor(const Json& entry, bool writable) : type_(entry["dtype"]) {
    const std::string file = entry["file"];
    const int fd = open(file.c_str(), writable ? O_RDWR : O_RDONLY);
    struct stat status {};
    if (fd < 0 || fstat(fd, &status) != 0) throw std::runtime_error(file + ": " + std::strerror(errno));
    bytes_ = static_cast<std::size_t>(status.st_size);
    const int access = writable ? PROT_READ | PROT_WRITE : PROT_READ;
    base_ = bytes_ == 0 ? nullptr : static_cast<char*>(mmap(nullptr, bytes_, access, MAP_SHARED, fd, 0));
    close(fd);
    if (base_ == MAP_FAILED) throw std::runtime_error(file + ": " + std::strerror(errno));
    data_ = base_ + entry["offset"].get<std::int64_t>();
    for (std::size_t i = 0; i < 4; ++i) {
      ne[i] = entry["ne"][i];
      nb[i] = entry["nb"][i];
    }
  }
  Tensor(const Tensor&) = delete;
  Tensor& operator=(const Tensor&) = delete;
  ~Tensor() {
    if (base_ != nullptr) munmap(base_, bytes_);
  }

  float at(std::int64_t i0, std::int64_t i1, std::int64_t i2, std::int64_t i3) const {
    const char* from = data_ + i0 * nb[0] + i1 * nb[1] + i2 * nb[2] + i3 * nb[3];
    if (type_ == "f16") {
      std::uint16_t half;
      std::memcpy(&half, from, sizeof half);
      return half_to_float(half);
    }
    float value;
    std::memcpy(&value, from, sizeof value);
    return value;
  }
  float* floats() { return reinterpret_cast<float*>(data_); }

  std::int64_t ne[4], nb[4];

 private:
  std::string type_;
  std::size_t bytes_ = 0;
  char *base_ = nullptr, *data_ = nullptr;
};

float alibi_slope(float max_bias, std::int64_t n_head, std::int64_t h) {
  if (!(max_bias > 0)) return 1;
  std::int64_t n2 = 1;
  while (2 * n2 <= n_head) n2 *= 2;
  const double exponent = h < n2 ? double(h + 1) / double(n2) : double(2 * (h - n2) + 1) / double(2 * n2);
  return static_cast<float>(std::exp2(-double(max_bias) * exponent));
}

// Two passes per row: all scores, then softmax and the weighted sum.
void run(const Json& request) {
  const Json &p = request["problem"], &in = request["inputs"];
  const Tensor q(in["q"], false), k(in["k"], false), v(in["v"], false);
  const std::unique_ptr<Tensor> mask(in.contains("mask") ? new Tensor(in["mask"], false) : nullptr);
  const std::unique_ptr<Tensor> sinks(in.contains("sinks") ? new Tensor(in["sinks"], false) : nullptr);
  Tensor output(request["output"], true);
  const float scale = p["scale"], softcap = p["softcap"], max_bias = p["max_bias"];
  const std::int64_t n_head = q.ne[2], n_seq = q.ne[3], d_k = k.ne[0], d_v = v.ne[0], n_kv = k.ne[1];
  std::vector<float> scores(static_cast<std::size_t>(n_kv));
  float* out = output.floats();
  for (std::int64_t s = 0; s < n_seq; ++s) {
    const std::int64_t sk = s * k.ne[3] / n_seq;
    for (std::int64_t i = 0; i < q.ne[1]; ++i) {
      for (std::int64_t h = 0; h < n_head; ++h, out += d_v) {
        const std::int64_t hk = h * k.ne[2] / n_head, hv = h * v.ne[2] / n_head;
        const float slope = alibi_slope(max_bias, n_head, h);
        const float sink = sinks ? sinks->at(h, 0, 0, 0) : kHidden;
        float top = sink;
        bool any = false;
        for (std::int64_t j = 0; j < n_kv; ++j) {
          const float bias = mask ? mask->at(j, i, h % mask->ne[2], s % mask->ne[3]) : 0;
          float& score = scores[static_cast<std::size_t>(j)] = kHidden;
          if (bias == kHidden) continue;
          score = 0;
          any = true;
          for (std::int64_t d = 0; d < d_k; ++d) score += q.at(d, i, h, s) * k.at(d, j, hk, sk);
          score *= scale;
          if (softcap > 0) score = softcap * std::tanh(score / softcap);
          score += slope * bias;
          top = std::max(top, score);
        }
        std::fill_n(out, d_v, 0.0F);
        if (!any) continue;
        float sum = std::exp(sink - top);
        for (std::int64_t j = 0; j < n_kv; ++j) {
          if (scores[static_cast<std::size_t>(j)] == kHidden) continue;
          const float weight = std::exp(scores[static_cast<std::size_t>(j)] - top);
          sum += weight;
          for (std::int64_t d = 0; d < d_v; ++d) out[d] += weight * v.at(d, j, hv, sk);
        }
        for (std::int64_t d = 0; d < d_v; ++d) out[d] /= sum;
      }
    }
  }
}

Json capabilities() {
  return {
      {"attest", 1},
      {"name", "mapped attention"},
      {"build", "1.0"},
      {"ops", {"flash_attn_ext"}},
      {"dtypes", {{"k", {"f32", "f16"}}, {"v", {"f32", "f16"}}, {"mask", {"f16", "f32"}}}},
      {"features",
       {"mask", "alibi", "softcap", "sinks", "gqa", "v-heads", "d_v", "sequences", "broadcast", "strides", "empty"}},
      {"transfer", "memory"},
      {"asks_supports", true},
      {"contract", {{"path", "two-pass"}, {"products_rounded", true}}}};
}

}  // namespace

int main() {
  for (std::string line; std::getline(std::cin, line);) {
    Json reply;
    try {
      const Json request = Json::parse(line);
      const std::string ask = request["ask"];
      if (ask == "capabilities") {
        reply = capabilities();
      } else if (ask == "supports") {
        const bool small = request["problem"]["d_k"] <= 512;
        reply = {
            {"id", request["id"]}, {"supports", small}, {"reason", small ? "" : "heads of more than 512 elements"}};
      } else {
        reply = {{"id", request["id"]}};
        run(request);
      }
    } catch (const std::exception& e) {
      reply["error"] = e.what();
    }
    std::cout << reply.dump() << std::endl;
  }
}
