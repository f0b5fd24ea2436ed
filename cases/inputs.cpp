#include "cases/inputs.h"

#include <sys/mman.h>

#include <algorithm>
#include <atomic>
#include <cstring>
#include <functional>
#include <new>
#include <thread>
#include <vector>

#include "cases/op_inputs.h"
#include "cases/poison.h"
#include "cases/random_rows.h"
#include "cases/value_rows.h"

namespace attest {
namespace {

// Buffers of one thread.
struct Scratch {
  std::vector<float> row;
  std::vector<std::byte> blocks;  // a row on its way to strided columns
};

// Fills parts of the inputs row by row; rows are independent, so any thread may take any of them.
std::uint64_t poison_key(std::uint64_t seed, Stream stream, std::int64_t row) {
  return rng_of(seed, Stream::poison).bits(static_cast<std::uint64_t>(row) * 16 + static_cast<std::uint64_t>(stream));
}

class Filler {
 public:
  Filler(const Case& c, const InputPlan& plan, const InputBuffers& buffers)
      : case_(c),
        problem_(c.problem),
        plan_(plan),
        buffers_(buffers),
        mask_(c.problem, c.seed),
        values_(c.problem, c.data, c.seed),
        hidden_values_(c.problem, c.data, seed_at(c, PoisonWhere::hidden)),
        gap_values_(c.problem, c.data, seed_at(c, PoisonWhere::heads)) {
    if (!poisons(c.poison, PoisonWhere::hidden)) return;
    hidden_k_ = hidden_rows(problem_, mask_, problem_.n_head_kv);
    if (plan.v_view_of_k && problem_.n_head_v == problem_.n_head_kv) return;
    hidden_v_ = hidden_rows(problem_, mask_, problem_.n_head_v);
  }

  void run(int threads);

 private:
  using RowTask = std::function<void(std::int64_t, Scratch&)>;
  struct Job {
    std::int64_t rows, row_values;
    RowTask fill;
  };
  struct KvTensor {
    const TensorPlan* plan;
    std::byte* memory;
    const std::vector<std::uint8_t>* hidden;
    std::int64_t parent_heads, parent_rows, row_bytes;  // row_bytes: with the pad
    Stream stream;
    std::int64_t rows() const { return parent_heads * parent_rows * plan->shape.ne[3]; }
  };

  KvTensor kv_tensor(const TensorPlan& plan, std::byte* memory, const std::vector<std::uint8_t>& hidden,
                     Stream stream) const;
  bool hides(const KvTensor& t, std::int64_t j, std::int64_t h, std::int64_t s) const;
  void kv_values(const ValueRows& values, const KvTensor& t, std::int64_t j, std::int64_t h, std::int64_t s,
                 float* row) const {
    t.stream == Stream::k ? values.k_row(j, h, s, row) : values.v_row(j, h, s, row);
  }
  void fill_kv_row(const KvTensor& t, std::int64_t index, Scratch& scratch) const;
  void fill_q_row(std::int64_t index, Scratch& scratch) const;
  void fill_mask_row(std::int64_t index, Scratch& scratch) const;
  std::int64_t mask_memory_rows() const { return problem_.n_q + (plan_.sparse ? 0 : problem_.layout.mask_rows); }
  void fill_around(const TensorPlan& plan, std::byte* memory, PoisonWhere before, Stream stream) const;
  PoisonWhat what_at(PoisonWhere place) const {
    return poisons(case_.poison, place) ? case_.poison.what : PoisonWhat::none;
  }
  std::uint64_t poison_key(Stream stream, std::int64_t row) const {
    return attest::poison_key(case_.seed, stream, row);
  }

  const Case& case_;
  const AttentionProblem& problem_;
  const InputPlan& plan_;
  InputBuffers buffers_;
  MaskRows mask_;
  ValueRows values_, hidden_values_, gap_values_;
  std::vector<std::uint8_t> hidden_k_, hidden_v_;
};

Filler::KvTensor Filler::kv_tensor(const TensorPlan& plan, std::byte* memory, const std::vector<std::uint8_t>& hidden,
                                   Stream stream) const {
  const auto& shape = plan.shape;
  const auto& storage = info(shape.dtype);
  KvTensor t{&plan, memory + plan.offset, &hidden, shape.ne[2], shape.ne[1], 0, stream};
  if (plan_.sparse) {
    t.row_bytes = row_bytes(shape.dtype, shape.ne[0]);
    return t;
  }
  t.parent_heads = t.parent_rows = 0;
  const bool transposed = stream == Stream::k && problem_.layout.k_transposed;
  if (shape.nb[2] == 0 || shape.nb[3] == 0) return t;
  if (transposed) {
    t.parent_rows = shape.nb[0] / shape.nb[1];
    t.parent_heads = shape.nb[3] / shape.nb[2];
    t.row_bytes = shape.nb[2] / shape.nb[0] * storage.block_bytes;
  } else if (problem_.layout.permuted) {
    t.parent_heads = shape.nb[1] / shape.nb[2];
    t.parent_rows = shape.nb[3] / shape.nb[1];
    t.row_bytes = shape.nb[2];
  } else {
    t.parent_rows = shape.nb[2] / shape.nb[1];
    t.parent_heads = shape.nb[3] / shape.nb[2];
    t.row_bytes = shape.nb[1];
  }
  return t;
}

bool Filler::hides(const KvTensor& t, std::int64_t j, std::int64_t h, std::int64_t s) const {
  if (t.hidden->empty()) return false;
  const std::int64_t heads = t.plan->shape.ne[2], n = problem_.n_kv;
  if ((*t.hidden)[static_cast<std::size_t>((s * heads + h) * n + j)] == 0) return false;
  // A V view of K reads these rows under its own heads as well.
  if (t.stream != Stream::k || hidden_v_.empty() || !plan_.v_view_of_k || h >= problem_.n_head_v) return true;
  return hidden_v_[static_cast<std::size_t>((s * problem_.n_head_v + h) * n + j)] != 0;
}

void Filler::fill_kv_row(const KvTensor& t, std::int64_t index, Scratch& scratch) const {
  const auto& shape = t.plan->shape;
  const std::int64_t j = index % t.parent_rows, h = index / t.parent_rows % t.parent_heads;
  const std::int64_t s = index / t.parent_rows / t.parent_heads;
  std::byte* const place = t.memory + shape.offset(j, h, s);
  const std::int64_t used_bytes = row_bytes(shape.dtype, shape.ne[0]), unit = info(shape.dtype).block_bytes;
  scratch.blocks.resize(static_cast<std::size_t>(t.row_bytes));
  std::byte* const row = shape.contiguous_rows() ? place : scratch.blocks.data();
  const bool inside = j < shape.ne[1] && h < shape.ne[2];
  const bool hidden = inside && hides(t, j, h, s);
  const PoisonWhat what = hidden ? case_.poison.what : inside ? PoisonWhat::none : what_at(PoisonWhere::heads);
  const std::uint64_t key = poison_key(t.stream, index);
  if (what == PoisonWhat::none || what == PoisonWhat::previous) {
    kv_values(hidden ? hidden_values_ : inside ? values_ : gap_values_, t, j, h, s, scratch.row.data());
    encode_row(shape.dtype, scratch.row.data(), row, shape.ne[0]);
  } else {
    fill_poison(what, shape.dtype, row, used_bytes, key);
  }
  fill_poison(what_at(PoisonWhere::rows), shape.dtype, row + used_bytes, t.row_bytes - used_bytes, ~key);
  if (shape.contiguous_rows()) return;
  for (std::int64_t b = 0; b * unit < t.row_bytes; ++b) {
    std::memcpy(place + b * shape.nb[0], row + b * unit, static_cast<std::size_t>(unit));
  }
}

void Filler::fill_q_row(std::int64_t index, Scratch& scratch) const {
  const auto& shape = plan_.q.shape;
  const std::int64_t i = index % shape.ne[1], h = index / shape.ne[1] % shape.ne[2];
  const std::int64_t s = index / shape.ne[1] / shape.ne[2];
  values_.q_row(i, h, s, scratch.row.data());
  encode_row(DType::f32, scratch.row.data(), buffers_.q + plan_.q.offset + shape.offset(i, h, s), shape.ne[0]);
}

void Filler::fill_mask_row(std::int64_t index, Scratch& scratch) const {
  const auto& shape = plan_.mask.shape;
  const std::int64_t parent_rows = mask_memory_rows();
  const std::int64_t i = index % parent_rows, h = index / parent_rows % shape.ne[2];
  const std::int64_t s = index / parent_rows / shape.ne[2];
  std::byte* memory = buffers_.mask + plan_.mask.offset + shape.offset(i, h, s);
  const std::int64_t used_bytes = row_bytes(shape.dtype, shape.ne[0]);
  const std::uint64_t key = poison_key(Stream::mask, index);
  if (i >= shape.ne[1]) return fill_poison(what_at(PoisonWhere::mask_rows), shape.dtype, memory, shape.nb[1], key);
  mask_.row(i, h, s, scratch.row.data());
  encode_row(shape.dtype, scratch.row.data(), memory, shape.ne[0]);
  if (plan_.sparse) return;
  fill_poison(what_at(PoisonWhere::mask_cols), shape.dtype, memory + used_bytes, shape.nb[1] - used_bytes, key);
}

// Bytes in front of the first element and after the last. Offsets are multiples of 2, so block types take the pattern
// of a half there.
void Filler::fill_around(const TensorPlan& plan, std::byte* memory, PoisonWhere before, Stream stream) const {
  const DType type = is_quantised(plan.shape.dtype) ? DType::f16 : plan.shape.dtype;
  fill_poison(what_at(before), type, memory, plan.offset, poison_key(stream, -1));
  const std::int64_t rows = std::max<std::int64_t>(plan.shape.nb[3] * plan.shape.ne[3], 0);
  const std::int64_t block = rows > 0 ? 0 : info(plan.shape.dtype).block_bytes;
  // An empty tensor's placeholder block, see plan_inputs.
  std::memset(memory + plan.offset, 0, static_cast<std::size_t>(block));
  const std::int64_t end = plan.offset + rows + block;
  fill_poison(what_at(PoisonWhere::end), type, memory + end, plan.bytes - end, poison_key(stream, -2));
}

void Filler::run(int threads) {
  std::vector<Job> jobs;
  const auto add_kv = [&](const TensorPlan& plan, std::byte* memory, const std::vector<std::uint8_t>& hidden,
                          Stream stream) {
    const KvTensor t = kv_tensor(plan, memory, hidden, stream);
    jobs.push_back({t.rows(), plan.shape.ne[0],
                    [this, t](std::int64_t index, Scratch& scratch) { fill_kv_row(t, index, scratch); }});
    fill_around(plan, memory, PoisonWhere::gaps, stream);
  };
  const auto rows_of = [](const TensorPlan& plan) { return plan.shape.ne[1] * plan.shape.ne[2] * plan.shape.ne[3]; };
  fill_around(plan_.q, buffers_.q, PoisonWhere::gaps, Stream::q);
  jobs.push_back({rows_of(plan_.q), problem_.d_k, [this](std::int64_t i, Scratch& s) { fill_q_row(i, s); }});
  add_kv(plan_.k, buffers_.k, hidden_k_, Stream::k);
  if (!plan_.v_view_of_k) add_kv(plan_.v, buffers_.v, hidden_v_, Stream::v);
  if (problem_.mask.present()) {
    fill_around(plan_.mask, buffers_.mask, PoisonWhere::mask_padding, Stream::mask);
    const std::int64_t rows = mask_memory_rows() * plan_.mask.shape.ne[2] * plan_.mask.shape.ne[3];
    jobs.push_back({rows, problem_.n_kv, [this](std::int64_t i, Scratch& s) { fill_mask_row(i, s); }});
  }
  if (problem_.sinks.kind != SinkKind::none) fill_sinks(case_, plan_, buffers_);

  // Pieces of about kPiece values; a thread takes the next one that is free.
  constexpr std::int64_t kPiece = 1 << 16;
  struct Piece {
    const Job* job;
    std::int64_t first, end;
  };
  std::vector<Piece> pieces;
  std::int64_t longest = 1;
  for (const Job& job : jobs) {
    longest = std::max(longest, job.row_values);
    const std::int64_t step = std::max<std::int64_t>(kPiece / std::max<std::int64_t>(job.row_values, 1), 1);
    for (std::int64_t first = 0; first < job.rows; first += step) {
      pieces.push_back({&job, first, std::min(first + step, job.rows)});
    }
  }
  std::atomic<std::size_t> next{0};
  const auto work = [&] {
    Scratch scratch{std::vector<float>(static_cast<std::size_t>(longest)), {}};
    for (std::size_t p = next++; p < pieces.size(); p = next++) {
      for (std::int64_t row = pieces[p].first; row < pieces[p].end; ++row) pieces[p].job->fill(row, scratch);
    }
  };
  const auto helpers = std::min<std::int64_t>(threads, static_cast<std::int64_t>(pieces.size())) - 1;
  std::vector<std::thread> crew;
  for (std::int64_t t = 0; t < helpers; ++t) crew.emplace_back(work);
  work();
  for (std::thread& thread : crew) thread.join();
}

TensorView view_of(const TensorPlan& plan, const std::byte* memory) {
  TensorView view;
  static_cast<TensorShape&>(view) = plan.shape;
  view.data = memory + plan.offset;
  return view;
}

constexpr std::int64_t kAlign = 64;
std::int64_t aligned(std::int64_t bytes) { return (bytes + kAlign - 1) / kAlign * kAlign; }

using Memory = std::unique_ptr<std::byte[], std::function<void(std::byte*)>>;

Memory allocate(std::int64_t bytes) {
  return {static_cast<std::byte*>(::operator new[](static_cast<std::size_t>(bytes), std::align_val_t{kAlign})),
          [](std::byte* memory) { ::operator delete[](memory, std::align_val_t{kAlign}); }};
}

// Zeros that take memory where they are written.
Memory reserve(std::int64_t bytes) {
  const auto size = static_cast<std::size_t>(bytes);
  void* memory = mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory == MAP_FAILED) throw std::bad_alloc();
  return {static_cast<std::byte*>(memory), [size](std::byte* at) { munmap(at, size); }};
}

}  // namespace

void fill_sinks(const Case& c, const InputPlan& plan, const InputBuffers& buffers) {
  const SinkSpec& spec = c.problem.sinks;
  const RandomRow random(rng_of(c.seed, Stream::sinks).bits(0));
  const auto arg = static_cast<float>(spec.arg);
  for (std::int64_t h = 0; h < c.problem.n_head; ++h) {
    const auto column = static_cast<std::uint32_t>(h);
    const float sink = spec.kind == SinkKind::value     ? arg
                       : spec.kind == SinkKind::uniform ? arg * random.uniform(column)
                                                        : arg * random.normal(column);
    std::memcpy(buffers.sinks + plan.sinks.offset + 4 * h, &sink, sizeof sink);
  }
}

void fill_inputs(const Case& c, const InputPlan& plan, const InputBuffers& buffers, int threads) {
  if (c.problem.op != Op::flash_attn_ext) {
    fill_op_inputs(c, plan, buffers);
    return fill_output(c, plan, buffers);
  }
  Filler(c, plan, buffers).run(threads);
  fill_output(c, plan, buffers);
}

void fill_output(const Case& c, const InputPlan& plan, const InputBuffers& buffers) {
  if (c.problem.op == Op::set_rows) return fill_old_rows(c, plan, buffers);
  const TensorShape& shape = plan.out.shape;
  std::byte* memory = buffers.out + plan.out.offset;
  const std::int64_t rows = shape.ne[1] * shape.ne[2] * shape.ne[3];
  if (!poisons(c.poison, PoisonWhere::output)) {
    auto* bits = reinterpret_cast<std::uint32_t*>(memory);
    std::fill(bits, bits + shape.elements(), kOutputPrefill);
    return;
  }
  for (std::int64_t row = 0; row < rows; ++row, memory += shape.nb[1]) {
    if (c.poison.what == PoisonWhat::previous) {
      // Plausible values: what an earlier call would have left is not known here.
      const RandomRow random(rng_of(c.poison.seed, Stream::output).bits(static_cast<std::uint64_t>(row)));
      auto* values = reinterpret_cast<float*>(memory);
      for (std::int64_t e = 0; e < shape.ne[0]; ++e) values[e] = random.normal(static_cast<std::uint32_t>(e));
    } else {
      fill_poison(c.poison.what, DType::f32, memory, shape.nb[1], poison_key(c.seed, Stream::output, row));
    }
  }
}

AttentionInputs input_views(const Case& c, const InputPlan& plan, const InputBuffers& buffers) {
  AttentionInputs inputs;
  inputs.problem = &c.problem;
  inputs.q = view_of(plan.q, buffers.q);
  inputs.k = view_of(plan.k, buffers.k);
  inputs.v = view_of(plan.v, plan.v_view_of_k ? buffers.k : buffers.v);
  if (plan.mask.bytes > 0) inputs.mask = view_of(plan.mask, buffers.mask);
  if (plan.sinks.bytes > 0) inputs.sinks = view_of(plan.sinks, buffers.sinks);
  return inputs;
}

MutableTensorView output_view(const InputPlan& plan, const InputBuffers& buffers) {
  MutableTensorView view;
  static_cast<TensorShape&>(view) = plan.out.shape;
  view.data = buffers.out + plan.out.offset;
  return view;
}

OwnedInputs::OwnedInputs(const Case& c, int threads)
    : case_(std::make_unique<Case>(c)), plan_(plan_inputs(case_->problem)) {
  const std::pair<const TensorPlan*, std::byte**> parts[] = {
      {&plan_.q, &buffers_.q},       {&plan_.k, &buffers_.k},         {&plan_.v, &buffers_.v},
      {&plan_.mask, &buffers_.mask}, {&plan_.sinks, &buffers_.sinks}, {&plan_.out, &buffers_.out}};
  std::int64_t total = 0;
  for (const auto& [plan, memory] : parts) total += aligned(plan->bytes);
  memory_ = plan_.sparse ? reserve(total) : allocate(total);
  std::byte* next = memory_.get();
  for (const auto& [plan, memory] : parts) {
    if (plan->bytes > 0) *memory = next;
    next += aligned(plan->bytes);
  }
  fill_inputs(*case_, plan_, buffers_, threads);
  inputs_ = input_views(*case_, plan_, buffers_);
  output_ = output_view(plan_, buffers_);
}

}  // namespace attest
