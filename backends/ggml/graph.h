// One attention problem as a ggml graph: tensors on the caller's memory where the device can read it, else copied.
#pragma once

#include <cstddef>
#include <vector>

#include "backends/decode_loop.h"
#include "backends/ggml/symbols.h"
#include "cases/error.h"
#include "cases/problem.h"
#include "cases/tensor.h"

namespace attest::ggml {

struct GraphOptions {
  bool unfused = false;        // mul_mat, soft_max_ext, mul_mat instead of flash_attn_ext
  int prec_f32 = 10;           // the build's value of GGML_PREC_F32
  std::int64_t mask_rows = 1;  // mask rows are padded to a multiple of this (old builds: 64)
};

// Used for one call at a time: build, upload, compute, download, clear. Keeps its context memory between calls.
// Only problems that backend.cpp's supports() lets through may come here: ggml asserts on the rest.
class AttentionGraph {
 public:
  // `any_memory`: a CPU buffer that spans the whole address space, or nullptr when the device has memory of its own.
  AttentionGraph(const Api& api, Engine* engine, Buffer* any_memory) : api_(api), engine_(engine), any_(any_memory) {}
  AttentionGraph(const AttentionGraph&) = delete;
  AttentionGraph& operator=(const AttentionGraph&) = delete;
  ~AttentionGraph() { clear(); }

  // Error (harness): the device has no memory left.
  Expected<void> build(const AttentionInputs& inputs, const MutableTensorView& out, const GraphOptions& options);
  // The ops beside flash_attn_ext; tensors as cases/op_inputs.h has them. set_rows works in the memory of `out`.
  Expected<void> build_soft_max(const AttentionInputs& inputs, const MutableTensorView& out,
                                const GraphOptions& options);
  Expected<void> build_set_rows(const AttentionInputs& inputs, const MutableTensorView& out);
  // One graph: both set_rows into the caches, then attention over them.
  Expected<void> build_decode_step(const DecodeCall& call, const GraphOptions& options);
  // Would `device` take every node of the graph?
  bool supported(Device* device) const;
  void upload();
  int compute() { return api_.ggml_backend_graph_compute(engine_, graph_); }
  void download(const MutableTensorView& out);
  void clear();

 private:
  struct Copy {
    Tensor* tensor;
    const std::byte* from;
    std::size_t bytes;
  };

  Tensor* place(const TensorView& view);
  Tensor* place_mask(const TensorView& mask, std::int64_t rows_multiple);
  Expected<void> open();
  // Gives the result its memory, and the graph its nodes, in order of `nodes` where some are given.
  Expected<void> finish(const MutableTensorView& out, bool intermediates, const std::vector<Tensor*>& before = {});
  Tensor* attention(const AttentionInputs& inputs, Tensor* k, Tensor* v, const GraphOptions& options);
  Tensor* place_index(const std::byte* data, bool i32, std::int64_t n, std::int64_t seqs);
  // A tensor that the graph writes to.
  Tensor* place_written(const MutableTensorView& view);
  Tensor* scatter(Tensor* cache, const TensorView& rows, Tensor* index);
  void put(Tensor* tensor, const std::byte* data, std::size_t bytes);
  Tensor* fused(const AttentionProblem& p, Tensor* q, Tensor* k, Tensor* v, Tensor* mask, Tensor* sinks,
                const GraphOptions& options);
  Tensor* unfused(const AttentionProblem& p, Tensor* q, Tensor* k, Tensor* v, Tensor* mask, Tensor* sinks,
                  const GraphOptions& options);
  Tensor* node(Tensor* tensor) { return nodes_.emplace_back(tensor); }

  const Api& api_;
  Engine* engine_;
  Buffer* any_;
  std::vector<std::byte> memory_;  // of the ggml context: tensor and graph headers, no data
  std::vector<std::byte> mask_;    // padded or compacted copy of the mask
  std::vector<std::int64_t> index_;
  std::vector<Copy> uploads_;
  struct Back {
    Tensor* tensor;
    std::byte* to;
    std::size_t bytes;
  };
  std::vector<Back> downloads_;  // written tensors that are not the result
  std::vector<Tensor*> nodes_;
  Context* context_ = nullptr;
  Graph* graph_ = nullptr;
  Buffer* owned_ = nullptr;  // what the caller's memory does not hold
  Tensor* result_ = nullptr;
  bool result_in_place_ = false;
};

}  // namespace attest::ggml
