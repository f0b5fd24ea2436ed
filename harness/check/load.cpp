// What a manifest's case is made of: files read, brought into one order and held against each other.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <limits>

#include "cases/dense_array.h"
#include "cases/grammar/descriptor.h"
#include "cases/inputs.h"
#include "cases/npy.h"
#include "cases/op_inputs.h"
#include "cases/rules.h"
#include "cases/safetensors.h"
#include "harness/check/captured.h"

namespace attest {
namespace {

using Shape = std::vector<std::int64_t>;
constexpr float kHidden = -std::numeric_limits<float>::infinity();

// The file's array, and what its elements are.
struct Read {
  StoredArray array;
  DType dtype = DType::f32;
  Shape shape;  // in elements, slowest first
};

Expected<StoredArray> read_file(const FileArray& a) {
  return a.tensor.empty() ? read_npy(a.file) : read_safetensor(a.file, a.tensor);
}

std::string what(const FileArray& a) {
  return a.tensor.empty() ? fmt::format("{} ({})", a.key, a.file) : fmt::format("{} ({}:{})", a.key, a.file, a.tensor);
}

// Which tensor type the file's elements are, raw ones as the manifest says.
Expected<DType> element_type(const FileArray& a, ArrayType stored) {
  std::optional<DType> own;
  if (stored == ArrayType::f32) own = DType::f32;
  if (stored == ArrayType::f16) own = DType::f16;
  if (stored == ArrayType::bf16) own = DType::bf16;
  if (own && (!a.dtype || *a.dtype == *own)) return *own;
  if (own) return a.place.error(fmt::format("{} is {}, not {}", what(a), info(*own).name, info(*a.dtype).name));
  if (stored == ArrayType::f64)
    return a.place.error(fmt::format("{} is f64, which no kernel here takes", what(a)), "save it as float32");
  const bool raw_half = stored == ArrayType::u16 || stored == ArrayType::i16;
  const bool raw_bytes = stored == ArrayType::u8 || stored == ArrayType::i8;
  if (!a.dtype && (raw_half || raw_bytes))
    return a.place.error(fmt::format("{} is {}: raw elements of which type?", what(a), name(stored)),
                         "dtype = \"q8_0\", \"bf16\" ...");
  if (raw_bytes || (raw_half && element_bytes(storage_type(*a.dtype)) == 2)) return *a.dtype;
  return a.place.error(fmt::format("{} is {}, which cannot hold {}", what(a), name(stored),
                                   a.dtype ? info(*a.dtype).name : "the elements of a tensor"));
}

// Shape and strides of the manifest, else of the file. The bytes come out without gaps.
Expected<Read> read_tensor(const FileArray& a) {
  auto stored = read_file(a);
  if (!stored) return Unexpected(stored.error());
  const auto dtype = element_type(a, stored->type);
  if (!dtype) return Unexpected(dtype.error());
  Read read{std::move(*stored), *dtype, a.shape};
  const DTypeInfo& t = info(*dtype);
  Shape strides = a.strides;
  if (a.fastest_first) {
    std::reverse(read.shape.begin(), read.shape.end());
    std::reverse(strides.begin(), strides.end());
  }
  if (read.shape.empty()) {
    read.shape = read.array.shape;
    if (read.shape.empty()) return a.place.error(fmt::format("{} is a single number", what(a)));
    // Raw bytes: the last dimension counts bytes.
    const std::int64_t unit = element_bytes(read.array.type);
    if (read.array.type != storage_type(*dtype) || t.block > 1) {
      const std::int64_t bytes = read.shape.back() * unit;
      if (bytes % t.block_bytes != 0)
        return a.place.error(fmt::format("{}: rows of {} bytes are no whole blocks of {} ({} bytes each)", what(a),
                                         bytes, t.name, t.block_bytes));
      read.shape.back() = bytes / t.block_bytes * t.block;
    }
  }
  const std::int64_t columns = read.shape.back();
  if (columns % t.block != 0)
    return a.place.error(
        fmt::format("{}: {} columns are no multiple of {}, the block of {}", what(a), columns, t.block, t.name));
  Shape units = read.shape;  // blocks in the last dimension
  units.back() /= t.block;
  if (strides.empty()) {
    strides.assign(units.size(), 0);
    std::int64_t step = t.block_bytes;
    for (std::size_t d = units.size(); d-- > 0;) {
      strides[d] = step;
      if (step > (std::int64_t{1} << 50) / units[d])
        return a.place.error(fmt::format("{}: shape {} is too large", what(a), shape_text(read.shape)));
      step *= units[d];
    }
  }
  // The last byte that is read must be one of the file.
  const auto there = static_cast<std::int64_t>(read.array.bytes.size());
  std::int64_t last = std::min(a.offset, there) + t.block_bytes, count = t.block_bytes;
  for (std::size_t d = 0; d < units.size(); ++d) {
    const bool beyond = units[d] > 1 && strides[d] > there / (units[d] - 1);
    // A stride of 0 repeats what is there; so much of it is a mistake.
    if (last > there || beyond || units[d] > (64 * there + 4096) / count) {
      last = there + 1;
      break;
    }
    last += (units[d] - 1) * strides[d];
    count *= units[d];
  }
  if (last > there)
    return a.place.error(fmt::format("{}: shape {}, strides [{}] and offset {} reach beyond the {} bytes of the array",
                                     what(a), shape_text(read.shape), fmt::join(strides, ", "), a.offset, there));
  std::vector<std::byte> dense(static_cast<std::size_t>(count));
  Shape index(units.size(), 0);
  for (std::int64_t at = 0; at < count; at += t.block_bytes) {
    std::int64_t from = a.offset;
    for (std::size_t d = 0; d < index.size(); ++d) from += index[d] * strides[d];
    std::memcpy(dense.data() + at, read.array.bytes.data() + from, static_cast<std::size_t>(t.block_bytes));
    for (std::size_t d = index.size(); d-- > 0 && ++index[d] == units[d];) index[d] = 0;
  }
  read.array.bytes = std::move(dense);
  return read;
}

std::int64_t row_size(const Read& r) { return row_bytes(r.dtype, r.shape.back()); }

// As [sequence, head, token, column].
Expected<Read> read_4d(const FileArray& a) {
  auto read = read_tensor(a);
  if (!read) return read;
  if (read->shape.size() < 3 || read->shape.size() > 4)
    return a.place.error(fmt::format(
        "{} has shape {}, {} of 3 or 4 dimensions is expected", what(a), shape_text(read->shape),
        a.order == ArrayOrder::bshd ? "[sequence, token, head, column]" : "[sequence, head, token, column]"));
  if (read->shape.size() == 3) read->shape.insert(read->shape.begin(), 1);
  if (a.order != ArrayOrder::bshd) return read;
  const Shape from = read->shape;
  const std::int64_t row = row_size(*read);
  std::vector<std::byte> turned(read->array.bytes.size());
  std::int64_t to = 0;
  for (std::int64_t s = 0; s < from[0]; ++s)
    for (std::int64_t h = 0; h < from[2]; ++h)
      for (std::int64_t n = 0; n < from[1]; ++n, to += row)
        std::memcpy(turned.data() + to, read->array.bytes.data() + ((s * from[1] + n) * from[2] + h) * row,
                    static_cast<std::size_t>(row));
  read->array.bytes = std::move(turned);
  std::swap(read->shape[1], read->shape[2]);
  return read;
}

std::vector<float> as_f32(const Read& r) {
  const std::int64_t columns = r.shape.back(), row = row_size(r);
  const std::int64_t rows = static_cast<std::int64_t>(r.array.bytes.size()) / row;
  std::vector<float> values(static_cast<std::size_t>(rows * columns));
  for (std::int64_t i = 0; i < rows; ++i)
    decode_row(r.dtype, r.array.bytes.data() + i * row, values.data() + i * columns, columns);
  return values;
}

StoredArray stored(const std::vector<float>& values, DType type, Shape shape) {
  StoredArray array{
      storage_type(type), std::move(shape),
      std::vector<std::byte>(static_cast<std::size_t>(row_bytes(type, static_cast<std::int64_t>(values.size()))))};
  encode_row(type, values.data(), array.bytes.data(), static_cast<std::int64_t>(values.size()));
  return array;
}

// K or V with the rows of the past in front.
Expected<Read> with_past(const FileArray& now, const std::optional<FileArray>& past) {
  auto read = read_4d(now);
  if (!read || !past) return read;
  const auto before = read_4d(*past);
  if (!before) return before;
  Shape like = before->shape;
  like[2] = read->shape[2];
  if (like != read->shape || before->dtype != read->dtype)
    return past->place.error(fmt::format("{} is {} {}, {} is {} {}: they differ in more than tokens", what(*past),
                                         info(before->dtype).name, shape_text(before->shape), what(now),
                                         info(read->dtype).name, shape_text(read->shape)));
  const auto part = [](const Read& r) { return static_cast<std::size_t>(row_size(r) * r.shape[2]); };
  std::vector<std::byte> both;
  both.reserve(read->array.bytes.size() + before->array.bytes.size());
  for (std::size_t plane = 0; plane * part(*read) < read->array.bytes.size(); ++plane) {
    for (const Read* r : std::initializer_list<const Read*>{&*before, &*read}) {
      const std::byte* from = r->array.bytes.data() + plane * part(*r);
      both.insert(both.end(), from, from + part(*r));
    }
  }
  read->array.bytes = std::move(both);
  read->shape[2] += before->shape[2];
  return read;
}

class Loader {
 public:
  Loader(const ManifestCase& m, std::uint64_t seed) : m_(m), p_(c_.problem) { c_.seed = seed; }

  Expected<LoadedCase> load() {
    const auto step = m_.line ? &Loader::load_line : &Loader::load_capture;
    if (auto done = (this->*step)(); !done) return Unexpected(done.error());
    if (m_.expected && !m_.expected->some_rows) {
      if (auto done = load_expected(); !done) return Unexpected(done.error());
    }
    out_.the_case = c_;
    return std::move(out_);
  }

 private:
  // A bundle: what the line's plan asks for, byte for byte.
  Expected<void> load_line() {
    c_ = *m_.line;
    const InputPlan plan = plan_inputs(p_);
    struct Part {
      const std::optional<FileArray>& from;
      const TensorPlan& plan;
      StoredArray& to;
      const char* key;
    };
    const std::optional<FileArray> mask = m_.mask ? std::optional(m_.mask->array) : std::nullopt;
    for (const auto& [from, at, to, key] : {Part{m_.q, plan.q, out_.q, "q"},
                                            {m_.k, plan.k, out_.k, "k"},
                                            {m_.v, plan.v, out_.v, "v"},
                                            {mask, plan.mask, out_.mask, "mask"},
                                            {m_.sinks, plan.sinks, out_.sinks, "sinks"}}) {
      const bool wanted = at.bytes > 0 && (m_.allocations || at.shape.elements() > 0);
      if (wanted != from.has_value())
        return m_.place.error(fmt::format("case '{}' {} '{}', which its line {}", m_.name, wanted ? "lacks" : "has",
                                          key, wanted ? "asks for" : "does not"));
      if (!wanted) continue;
      auto array = read_file(*from);
      if (!array) return Unexpected(array.error());
      if (m_.allocations) {
        if (static_cast<std::int64_t>(array->bytes.size()) != at.bytes)
          return from->place.error(
              fmt::format("{} has {} bytes, its line asks for {}", what(*from), array->bytes.size(), at.bytes));
      } else {
        if (key == std::string_view("sinks")) array->shape.insert(array->shape.begin(), {1, 1, 1});
        const bool bf16 = array->type == ArrayType::u16 && at.shape.dtype == DType::bf16;
        if ((array->type != storage_type(at.shape.dtype) && !bf16) || array->shape != dense_shape(at.shape))
          return from->place.error(fmt::format("{} is {} {}, its line asks for {} {}", what(*from), name(array->type),
                                               shape_text(array->shape), name(storage_type(at.shape.dtype)),
                                               shape_text(dense_shape(at.shape))));
      }
      to = std::move(*array);
    }
    return {};
  }

  Expected<void> load_capture() {
    auto q = read_4d(*m_.q);
    if (!q) return Unexpected(q.error());
    auto k = with_past(*m_.k, m_.past_k);
    if (!k) return Unexpected(k.error());
    auto v = with_past(*m_.v, m_.past_v);
    if (!v) return Unexpected(v.error());
    if (is_quantised(q->dtype))
      return m_.q->place.error(fmt::format("{} is {}: Q is f32, f16 or bf16", what(*m_.q), info(q->dtype).name));
    p_.n_seq = q->shape[0];
    p_.n_head = q->shape[1];
    p_.n_q = q->shape[2];
    p_.d_k = q->shape[3];
    p_.n_seq_kv = k->shape[0];
    p_.n_head_kv = k->shape[1];
    p_.n_kv = k->shape[2];
    p_.n_head_v = v->shape[1];
    p_.d_v = v->shape[3];
    p_.k_type = k->dtype;
    p_.v_type = v->dtype;
    const auto differ = [&](const char* words, std::int64_t a, std::int64_t b) {
      return m_.k->place.error(fmt::format("{}: {} and {} (q {}, k {}, v {})", words, a, b, shape_text(q->shape),
                                           shape_text(k->shape), shape_text(v->shape)),
                               "is the layout right? bhsd is [sequence, head, token, column]");
    };
    if (k->shape[3] != p_.d_k) return differ("q and k have rows of different length", p_.d_k, k->shape[3]);
    if (v->shape[2] != p_.n_kv) return differ("k and v have different numbers of tokens", p_.n_kv, v->shape[2]);
    if (v->shape[0] != p_.n_seq_kv)
      return differ("k and v have different numbers of sequences", p_.n_seq_kv, v->shape[0]);
    p_.scale = m_.scale.value_or(grammar::default_scale(p_.d_k));
    p_.softcap = m_.softcap;
    p_.max_bias = m_.max_bias;
    p_.prec = m_.prec;
    p_.threads = m_.threads;
    p_.layout = m_.memory.value_or(LayoutSpec{.permuted = m_.q->order == ArrayOrder::bshd});
    if (p_.layout.v_view_of_k) return m_.place.error("memory = 'v-in-k': captured K and V are two arrays");
    out_.q = stored(as_f32(*q), DType::f32, q->shape);
    out_.k = std::move(k->array);
    out_.v = std::move(v->array);
    for (const auto& step : {&Loader::load_mask, &Loader::load_sinks}) {
      if (auto done = (this->*step)(); !done) return done;
    }
    if (const auto broken = find_violation(p_))
      return m_.place.error(fmt::format("{} {}", broken->key, broken->what), broken->hint);
    c_ = grammar::canonical(c_);
    const InputPlan plan = plan_inputs(p_);
    out_.k.type = storage_type(p_.k_type);
    out_.v.type = storage_type(p_.v_type);
    out_.k.shape = dense_shape(plan.k.shape);
    out_.v.shape = dense_shape(plan.v.shape);
    return {};
  }

  // Additive values of the file's mask, [M3, M2, rows, keys] with dimensions of 1 left as they are, or none.
  Expected<void> read_mask(std::vector<float>& values, Shape& shape, DType& type) {
    const FileArray& a = m_.mask->array;
    auto raw = read_file(a);
    if (!raw) return Unexpected(raw.error());
    const bool flags = raw->type == ArrayType::boolean || (raw->type == ArrayType::u8 && !a.dtype);
    if (flags || raw->type == ArrayType::f64) {
      if (!a.shape.empty()) return a.place.error("a mask of bool or f64 takes its shape from the file");
      shape = raw->shape;
      for (std::int64_t i = 0; i < raw->elements(); ++i) {
        const double x = array_value(*raw, i);
        values.push_back(flags ? ((x != 0) == m_.mask->true_is_visible ? 0.0F : kHidden) : static_cast<float>(x));
      }
      type = flags ? DType::f16 : DType::f32;
    } else {
      auto read = read_tensor(a);
      if (!read) return Unexpected(read.error());
      shape = read->shape;
      values = as_f32(*read);
      type = read->dtype == DType::f16 ? DType::f16 : DType::f32;
    }
    if (shape.size() < 2 || shape.size() > 4)
      return a.place.error(fmt::format(
          "{} has shape {}, expected is [sequence, head, query, key], with the first one or two left out or 1", what(a),
          shape_text(shape)));
    shape.insert(shape.begin(), 4 - shape.size(), 1);
    const std::array<std::int64_t, 4> full{p_.n_seq, p_.n_head, p_.n_q, p_.n_kv};
    for (std::size_t d = 0; d < 4; ++d) {
      const bool padded = d == 2 && a.fastest_first && shape[d] >= full[d];  // ggml pads the queries of a mask
      const bool one = shape[d] == 1 && d != 3;
      if (!(shape[d] == full[d] || one || padded))
        return a.place.error(fmt::format("{} has shape {}, which does not go with [{}] ([sequence, head, query, key])",
                                         what(a), shape_text(shape), fmt::join(full, ", ")));
    }
    for (const float x : values) {
      if (std::isnan(x) || x == -kHidden)
        return a.place.error(fmt::format("{} holds {}", what(a), std::isnan(x) ? "NaN" : "+infinity"));
    }
    return {};
  }

  bool causally_hidden(std::int64_t i, std::int64_t j) const {
    const std::int64_t shift = m_.causal == MaskKind::causal_top_left ? 0 : p_.n_kv - p_.n_q;
    if (m_.causal && j > i + shift) return true;
    return m_.window > 0 && j <= i + shift - m_.window;
  }

  Expected<void> load_mask() {
    if (m_.window > 0 && !m_.causal) return m_.place.error("'window' without 'causal'", "causal = true");
    if (!m_.mask && !m_.causal) return {};
    std::vector<float> values;
    Shape shape{1, 1, 1, p_.n_kv};
    DType type = DType::f16;
    if (m_.mask) {
      if (auto read = read_mask(values, shape, type); !read) return read;
      if (m_.mask->as) type = *m_.mask->as;
    } else {
      values.assign(static_cast<std::size_t>(p_.n_kv), 0.0F);
    }
    p_.mask.type = type;
    p_.mask.per_seq = shape[0] > 1;
    p_.mask.per_head = shape[1] > 1;
    p_.mask.terms = {MaskTerm{}};
    // A mask that is causal and nothing else says so, for those who ask which alignment was applied.
    if (!m_.mask && m_.window == 0) p_.mask.terms = {{*m_.causal, 0, DeadRows::none}};
    std::vector<float> whole;
    whole.reserve(static_cast<std::size_t>(shape[0] * shape[1] * p_.n_q * p_.n_kv));
    for (std::int64_t plane = 0; plane < shape[0] * shape[1]; ++plane) {
      for (std::int64_t i = 0; i < p_.n_q; ++i) {
        const float* row = values.data() + (plane * shape[2] + (shape[2] == 1 ? 0 : i)) * p_.n_kv;
        for (std::int64_t j = 0; j < p_.n_kv; ++j) whole.push_back(causally_hidden(i, j) ? kHidden : row[j]);
      }
    }
    out_.mask = stored(whole, type, {shape[0], shape[1], p_.n_q, p_.n_kv});
    if (type == DType::f32) return {};
    for (std::size_t i = 0; i < whole.size(); ++i) {
      if (array_value(out_.mask, static_cast<std::int64_t>(i)) == static_cast<double>(whole[i])) continue;
      return m_.mask->array.place.error(
          fmt::format("{} holds {:.9g}, which f16 does not", what(m_.mask->array), whole[i]), "leave out as = \"f16\"");
    }
    return {};
  }

  Expected<void> load_sinks() {
    std::vector<float> values(m_.sink_values.begin(), m_.sink_values.end());
    if (m_.sinks) {
      auto read = read_tensor(*m_.sinks);
      if (!read) return Unexpected(read.error());
      values = as_f32(*read);
    }
    if (values.empty()) return {};
    const ManifestPlace& place = m_.sinks ? m_.sinks->place : m_.place;
    if (static_cast<std::int64_t>(values.size()) != p_.n_head)
      return place.error(fmt::format("{} sinks for {} heads", values.size(), p_.n_head));
    for (const float x : values) {
      if (std::isnan(x) || x == -kHidden) return place.error("a sink is NaN or +infinity");
    }
    p_.sinks = {SinkKind::value, 0};
    out_.sinks = stored(values, DType::f32, {1, 1, 1, p_.n_head});
    return {};
  }

  // f32 as [sequence, token, head, column], which is how O lies.
  Expected<void> load_expected() {
    const FileArray& a = m_.expected->array;
    auto raw = read_file(a);
    if (!raw) return Unexpected(raw.error());
    Read read;
    if (raw->type == ArrayType::f64) {
      if (!a.shape.empty()) return a.place.error("an expected output in f64 takes its shape from the file");
      std::vector<float> values;
      for (std::int64_t i = 0; i < raw->elements(); ++i) values.push_back(static_cast<float>(array_value(*raw, i)));
      read = {stored(values, DType::f32, raw->shape), DType::f32, raw->shape};
    } else {
      auto whole = read_tensor(a);
      if (!whole) return Unexpected(whole.error());
      read = std::move(*whole);
    }
    if (read.shape.size() == 3) read.shape.insert(read.shape.begin(), 1);
    const bool heads_inside = a.order == ArrayOrder::bshd;
    const Shape wanted =
        heads_inside ? Shape{p_.n_seq, p_.n_q, p_.n_head, p_.d_v} : Shape{p_.n_seq, p_.n_head, p_.n_q, p_.d_v};
    if (read.shape != wanted)
      return a.place.error(fmt::format("{} has shape {}, the case's output is {} ({})", what(a), shape_text(read.shape),
                                       shape_text(wanted), heads_inside ? "bshd" : "bhsd"));
    const std::vector<float> values = as_f32(read);
    std::vector<float> ordered;
    ordered.reserve(values.size());
    for (std::int64_t s = 0; s < p_.n_seq; ++s)
      for (std::int64_t i = 0; i < p_.n_q; ++i)
        for (std::int64_t h = 0; h < p_.n_head; ++h) {
          const std::int64_t row = heads_inside ? (s * p_.n_q + i) * p_.n_head + h : (s * p_.n_head + h) * p_.n_q + i;
          ordered.insert(ordered.end(), values.begin() + row * p_.d_v, values.begin() + (row + 1) * p_.d_v);
        }
    out_.expected = stored(ordered, DType::f32, {p_.n_seq, p_.n_q, p_.n_head, p_.d_v});
    return {};
  }

  const ManifestCase& m_;
  Case c_;
  AttentionProblem& p_;
  LoadedCase out_;
};

}  // namespace

Expected<LoadedCase> load(const ManifestCase& c, std::uint64_t seed) { return Loader(c, seed).load(); }

}  // namespace attest
