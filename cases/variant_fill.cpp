#include <algorithm>
#include <cstring>
#include <vector>

#include "cases/relations.h"

namespace attest {
namespace {

template <class T>
T load(const std::byte* at) {
  T value;
  std::memcpy(&value, at, sizeof value);
  return value;
}

template <class T>
void store(std::byte* at, T value) {
  std::memcpy(at, &value, sizeof value);
}

void store_as(DType type, std::byte* at, float value) { encode_row(type, &value, at, 1); }

// One block (or element) times a power of two: in block types the scale and, where there is one, the minimum.
void scale_block(DType type, std::byte* block, float factor) {
  if (type == DType::f32) return store(block, load<float>(block) * factor);
  if (type == DType::bf16) return store(block, f32_to_bf16(bf16_to_f32(load<std::uint16_t>(block)) * factor));
  const int halves = type == DType::q4_1 || type == DType::q5_1 ? 2 : 1;
  for (int i = 0; i < halves; ++i, block += 2)
    store(block, f32_to_f16(f16_to_f32(load<std::uint16_t>(block)) * factor));
}

class VariantFiller {
 public:
  VariantFiller(const Variant& variant, const AttentionInputs& base, const InputPlan& plan, const InputBuffers& to)
      : variant_(variant), base_(base), problem_(variant.the_case.problem), plan_(plan), to_(to) {}

  void run() const {
    for (const auto& [plan, memory] : {std::pair{&plan_.q, to_.q},
                                       {&plan_.k, to_.k},
                                       {&plan_.v, to_.v},
                                       {&plan_.mask, to_.mask},
                                       {&plan_.sinks, to_.sinks}}) {
      if (plan->bytes > 0) std::memset(memory, 0, static_cast<std::size_t>(plan->bytes));
    }
    fill_q();
    fill_kv(plan_.k, to_.k, base_.k, false);
    if (!plan_.v_view_of_k) fill_kv(plan_.v, to_.v, base_.v, true);
    if (plan_.mask.bytes > 0) fill_mask();
    if (plan_.sinks.bytes > 0) fill_sinks();
  }

 private:
  std::int64_t key(std::int64_t j) const {
    return variant_.keys.empty() ? j : variant_.keys[static_cast<std::size_t>(j)];
  }
  std::int64_t query(std::int64_t i) const { return variant_.query >= 0 ? variant_.query : i; }
  bool has_values(std::int64_t base_key) const {
    if (variant_.values == Variant::ValuesOf::all_keys) return true;
    return (base_key % 2 == 0) == (variant_.values == Variant::ValuesOf::even_keys);
  }

  void fill_q() const {
    const TensorShape& shape = plan_.q.shape;
    for (std::int64_t s = 0; s < shape.ne[3]; ++s) {
      for (std::int64_t h = 0; h < shape.ne[2]; ++h) {
        for (std::int64_t i = 0; i < shape.ne[1]; ++i) {
          std::byte* to = to_.q + plan_.q.offset + shape.offset(i, h, s);
          const std::byte* from = base_.q.row(query(i), h, s);
          for (std::int64_t e = 0; e < shape.ne[0]; ++e)
            store(to + 4 * e, load<float>(from + 4 * e) * variant_.q_factor);
        }
      }
    }
  }

  void fill_kv(const TensorPlan& plan, std::byte* memory, const TensorView& from, bool values) const {
    const TensorShape& shape = plan.shape;
    const auto unit = static_cast<std::size_t>(info(shape.dtype).block_bytes);
    const std::int64_t blocks = shape.ne[0] / info(shape.dtype).block;
    const bool whole = shape.contiguous_rows() && from.contiguous_rows();
    for (std::int64_t s = 0; s < shape.ne[3]; ++s) {
      for (std::int64_t h = 0; h < shape.ne[2]; ++h) {
        // Where heads or sequences are repeated, each takes the one it used to read.
        const std::int64_t from_h = h * from.ne[2] / shape.ne[2], from_s = s * from.ne[3] / shape.ne[3];
        for (std::int64_t j = 0; j < shape.ne[1]; ++j) {
          const std::int64_t from_j = key(j);
          if (from_j == Variant::kNewKey || (values && !has_values(from_j))) continue;
          std::byte* to = memory + plan.offset + shape.offset(j, h, s);
          const std::byte* source = from.row(from_j, from_h, from_s);
          if (whole) std::memcpy(to, source, unit * static_cast<std::size_t>(blocks));
          for (std::int64_t b = 0; b < blocks; ++b) {
            if (!whole) std::memcpy(to + b * shape.nb[0], source + b * from.nb[0], unit);
            if (values && variant_.v_factor != 1) scale_block(shape.dtype, to + b * shape.nb[0], variant_.v_factor);
          }
        }
      }
    }
  }

  void fill_mask() const {
    const TensorShape& shape = plan_.mask.shape;
    const TensorView& from = base_.mask;
    const auto unit = static_cast<std::size_t>(info(shape.dtype).block_bytes);
    for (std::int64_t s = 0; s < shape.ne[3]; ++s) {
      for (std::int64_t h = 0; h < shape.ne[2]; ++h) {
        for (std::int64_t i = 0; i < shape.ne[1]; ++i) {
          std::byte* to = to_.mask + plan_.mask.offset + shape.offset(i, h, s);
          for (std::int64_t j = 0; j < shape.ne[0]; ++j, to += unit) {
            if (key(j) == Variant::kNewKey) {
              store_as(shape.dtype, to, element(base_.sinks, h, 0, 0, 0));
            } else if (from.present()) {
              std::memcpy(to, from.row(query(i), h % from.ne[2], s % from.ne[3]) + key(j) * from.nb[0], unit);
            }
          }
        }
      }
    }
  }

  void fill_sinks() const {
    for (std::int64_t h = 0; h < problem_.n_head; ++h) {
      const float sink =
          base_.sinks.present() ? element(base_.sinks, h, 0, 0, 0) : static_cast<float>(problem_.sinks.arg);
      store(to_.sinks + plan_.sinks.offset + 4 * h, sink);
    }
  }

  const Variant& variant_;
  const AttentionInputs& base_;
  const AttentionProblem& problem_;
  const InputPlan& plan_;
  const InputBuffers& to_;
};

}  // namespace

void fill_variant(const Variant& variant, const AttentionInputs& base, const InputPlan& plan,
                  const InputBuffers& buffers) {
  if (variant.generated) return fill_inputs(variant.the_case, plan, buffers);
  VariantFiller(variant, base, plan, buffers).run();
  fill_output(variant.the_case, plan, buffers);
}

}  // namespace attest
