#include "backends/metal/manifest/tensors.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>

#include "backends/metal/packing.h"

namespace attest::metal {
namespace {

constexpr std::size_t kAlignment = 64;

// Extents in units: blocks along dimension 0 of quantised types.
std::array<std::int64_t, 4> units(const TensorShape& t) {
  std::array<std::int64_t, 4> n = t.ne;
  n[0] /= info(t.dtype).block;
  return n;
}

// Dense strides in the order given, slowest first; dimensions that are not named have one element.
TensorShape dense(const TensorShape& t, DType type, const std::vector<int>& order) {
  TensorShape out;
  out.dtype = type;
  out.ne = t.ne;
  std::int64_t stride = info(type).block_bytes;
  const auto n = units(out);
  for (auto it = order.rbegin(); it != order.rend(); ++it) {
    const auto dimension = static_cast<std::size_t>(*it);
    out.nb[dimension] = stride;
    stride *= n[dimension];
  }
  for (std::size_t i = 0; i < 4; ++i) {
    if (out.nb[i] == 0) out.nb[i] = stride;
  }
  return out;
}

const std::vector<int>& usual_order() {
  static const std::vector<int> order{3, 2, 1, 0};
  return order;
}

bool same_place(const TensorShape& a, const TensorShape& b) {
  const auto n = units(a);
  for (std::size_t i = 0; i < 4; ++i) {
    if (n[i] > 1 && a.nb[i] != b.nb[i]) return false;
  }
  return a.dtype == b.dtype;
}

std::size_t bytes_of(const TensorShape& t) {
  if (t.elements() == 0) return 0;
  const auto n = units(t);
  std::int64_t bytes = info(t.dtype).block_bytes;
  for (std::size_t i = 0; i < 4; ++i) bytes += (n[i] - 1) * t.nb[i];
  return static_cast<std::size_t>(bytes);
}

// Calls f(offset in a, offset in b) for every unit of a.
template <class F>
void each_unit(const TensorShape& a, const TensorShape& b, F&& f) {
  const auto n = units(a);
  for (std::int64_t i3 = 0; i3 < n[3]; ++i3) {
    for (std::int64_t i2 = 0; i2 < n[2]; ++i2) {
      for (std::int64_t i1 = 0; i1 < n[1]; ++i1) {
        const std::int64_t from = a.offset(i1, i2, i3), to = b.offset(i1, i2, i3);
        for (std::int64_t i0 = 0; i0 < n[0]; ++i0) f(from + i0 * a.nb[0], to + i0 * b.nb[0]);
      }
    }
  }
}

float load(DType type, const std::byte* at) {
  float value = 0;
  decode_row(type, at, &value, 1);
  return value;
}

void store(DType type, float value, std::byte* at) { encode_row(type, &value, at, 1); }

void copy(const TensorShape& from, const std::byte* source, const TensorShape& to, std::byte* target) {
  if (from.dtype == to.dtype) {
    const auto unit = static_cast<std::size_t>(info(from.dtype).block_bytes);
    each_unit(from, to, [&](std::int64_t a, std::int64_t b) { std::memcpy(target + b, source + a, unit); });
    return;
  }
  if (is_quantised(from.dtype)) {  // to f32: block by block
    const auto block = static_cast<std::size_t>(info(from.dtype).block);
    std::vector<float> values(block);
    TensorShape wide = to;
    wide.ne[0] = from.ne[0];
    wide.nb[0] = to.nb[0] * static_cast<std::int64_t>(block);
    each_unit(from, wide, [&](std::int64_t a, std::int64_t b) {
      decode_row(from.dtype, source + a, values.data(), static_cast<std::int64_t>(block));
      for (std::size_t i = 0; i < block; ++i) {
        store(to.dtype, values[i], target + b + static_cast<std::int64_t>(i) * to.nb[0]);
      }
    });
    return;
  }
  each_unit(from, to,
            [&](std::int64_t a, std::int64_t b) { store(to.dtype, load(from.dtype, source + a), target + b); });
}

}  // namespace

const std::array<std::string_view, 4>& axes_of(TensorRole role) {
  static const std::array<std::string_view, 4> q{"d_k", "n_q", "n_head", "n_seq"},
      k{"d_k", "n_kv", "n_head_kv", "n_seq_kv"}, v{"d_v", "n_kv", "n_head_v", "n_seq_kv"},
      mask{"n_kv", "n_q", "mask_heads", "mask_seqs"}, out{"d_v", "n_head", "n_q", "n_seq"}, row{"n_head", "", "", ""};
  switch (role) {
    case TensorRole::q:
      return q;
    case TensorRole::k:
      return k;
    case TensorRole::v:
      return v;
    case TensorRole::mask:
      return mask;
    case TensorRole::out:
      return out;
    default:
      return row;
  }
}

std::optional<std::string> flaw_of(const TensorWish& wish) {
  if (!wish.type) return std::nullopt;
  const DType type = *wish.type;
  switch (wish.role) {
    case TensorRole::q:
    case TensorRole::out:
      if (type == DType::f32 || type == DType::f16 || type == DType::bf16) return std::nullopt;
      return "Q and the output can be f32, f16 or bf16";
    case TensorRole::mask:
      if (type == DType::f32 || type == DType::f16) return std::nullopt;
      return "a mask can be f32 or f16";
    case TensorRole::k:
    case TensorRole::v:
      if (type == DType::f32) return std::nullopt;
      return "K and V come as they are stored, or widened to f32";
    default:
      if (type == DType::f32) return std::nullopt;
      return "sinks and slopes are f32";
  }
}

Support fits(const TensorWish& wish, const InputPlan& plan) {
  const TensorPlan* tensors[] = {&plan.q, &plan.k, &plan.v, &plan.mask, nullptr, nullptr, &plan.out};
  const TensorPlan* tensor = tensors[static_cast<std::size_t>(wish.role)];
  if (tensor == nullptr || (wish.role == TensorRole::mask && tensor->bytes == 0)) return {};
  const std::string_view name = kTensorNames[static_cast<std::size_t>(wish.role)];
  if (wish.role == TensorRole::mask && wish.type == DType::f16 && tensor->shape.dtype == DType::f32) {
    return Support::no("the kernel takes a mask of f16");
  }
  if (wish.order.empty()) return {};
  for (int i = 0; i < 4; ++i) {
    const bool named = std::find(wish.order.begin(), wish.order.end(), i) != wish.order.end();
    const std::int64_t n = tensor->shape.ne[static_cast<std::size_t>(i)];
    if (named || n == 1) continue;
    return Support::no(fmt::format("the kernel's layout of {} has no {}, which is {}", name,
                                   axes_of(wish.role)[static_cast<std::size_t>(i)], n));
  }
  return {};
}

Expected<void> make_ready(const TensorWish& wish, const TensorView& bare, ReadyTensor& ready) {
  ready.view = bare;
  ready.packed = false;
  ready.strides = {};
  ready.bytes = 0;
  if (!bare.present()) return {};
  const DType type = wish.type.value_or(bare.dtype);
  const bool as_it_lies = wish.order.empty() && type == bare.dtype;
  // Strides of dimensions of one element are the layout's.
  const TensorShape wanted =
      as_it_lies ? static_cast<TensorShape>(bare) : dense(bare, type, wish.order.empty() ? usual_order() : wish.order);
  ready.bytes = bytes_of(wanted);
  static_cast<TensorShape&>(ready.view) = wanted;
  for (std::size_t i = 0; i < 4; ++i) ready.strides[i] = wanted.nb[i] / info(type).block_bytes;
  if (same_place(bare, wanted)) return {};
  ready.memory.rename(fmt::format("the packed {}", kTensorNames[static_cast<std::size_t>(wish.role)]));
  if (auto room = ready.memory.prepare(ready.bytes, kAlignment); !room) return room;
  copy(bare, bare.data, wanted, ready.memory.data());
  if (wish.role != TensorRole::out) ready.memory.forbid_writing();
  ready.view.data = ready.memory.data();
  ready.packed = true;
  return {};
}

Expected<void> make_ready(const TensorWish& wish, const MutableTensorView& out, ReadyTensor& ready) {
  TensorWish own = wish;
  if (!own.type) own.type = out.dtype;
  return make_ready(own, out.view(), ready);
}

void give_back(const ReadyTensor& ready, const MutableTensorView& out) {
  if (ready.packed) copy(ready.view, ready.view.data, out, out.data);
}

}  // namespace attest::metal
