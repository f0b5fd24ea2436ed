// The C functions of ggml that attest calls, by name and signature: looked up with dlsym, never linked, no ggml header.
#pragma once

#include <cstddef>
#include <cstdint>

namespace attest::ggml {

// Opaque on purpose: no field of these is ever touched, so their layout may change between releases.
struct Context;
struct Tensor;
struct Graph;
struct Buffer;
struct Engine;    // ggml_backend_t: a device that computes
struct Device;    // ggml_backend_dev_t
struct Registry;  // ggml_backend_reg_t

struct InitParams {  // struct ggml_init_params, passed by value
  std::size_t mem_size;
  void* mem_buffer;
  bool no_alloc;
};

struct TypeTraits {  // the head of struct ggml_type_traits
  const char* type_name;
  std::int64_t block, block_interleave;
  std::size_t type_size;
  bool is_quantized;
  void (*to_float)(const void*, float*, std::int64_t);
  void (*from_float_ref)(const float*, void*, std::int64_t);
};

struct Feature {  // struct ggml_backend_feature; an array ends with name == nullptr
  const char* name;
  const char* value;
};

using LogCallback = void (*)(int level, const char* text, void* user);
using i64 = std::int64_t;

}  // namespace attest::ggml

// X(return type, name, (arguments)): every build must have these.
#define ATTEST_GGML_REQUIRED(X)                                                                        \
  X(Context*, ggml_init, (InitParams))                                                                 \
  X(void, ggml_free, (Context*))                                                                       \
  X(std::size_t, ggml_tensor_overhead, ())                                                             \
  X(std::size_t, ggml_graph_overhead_custom, (std::size_t, bool))                                      \
  X(Tensor*, ggml_new_tensor_4d, (Context*, int, i64, i64, i64, i64))                                  \
  X(Tensor*, ggml_new_tensor_1d, (Context*, int, i64))                                                 \
  X(Tensor*, ggml_view_4d,                                                                             \
    (Context*, Tensor*, i64, i64, i64, i64, std::size_t, std::size_t, std::size_t, std::size_t))       \
  X(Tensor*, ggml_permute, (Context*, Tensor*, int, int, int, int))                                    \
  X(Tensor*, ggml_transpose, (Context*, Tensor*))                                                      \
  X(Tensor*, ggml_cont, (Context*, Tensor*))                                                           \
  X(Tensor*, ggml_cast, (Context*, Tensor*, int))                                                      \
  X(Tensor*, ggml_scale, (Context*, Tensor*, float))                                                   \
  X(Tensor*, ggml_tanh, (Context*, Tensor*))                                                           \
  X(Tensor*, ggml_mul_mat, (Context*, Tensor*, Tensor*))                                               \
  X(void, ggml_mul_mat_set_prec, (Tensor*, int))                                                       \
  X(Tensor*, ggml_soft_max_ext, (Context*, Tensor*, Tensor*, float, float))                            \
  X(Tensor*, ggml_flash_attn_ext, (Context*, Tensor*, Tensor*, Tensor*, Tensor*, float, float, float)) \
  X(void, ggml_flash_attn_ext_set_prec, (Tensor*, int))                                                \
  X(Graph*, ggml_new_graph_custom, (Context*, std::size_t, bool))                                      \
  X(void, ggml_build_forward_expand, (Graph*, Tensor*))                                                \
  X(std::size_t, ggml_nbytes, (const Tensor*))                                                         \
  X(const char*, ggml_type_name, (int))                                                                \
  X(std::size_t, ggml_quantize_chunk, (int, const float*, void*, i64, i64, i64, const float*))         \
  X(void, ggml_log_set, (LogCallback, void*))                                                          \
  X(Buffer*, ggml_backend_alloc_ctx_tensors, (Context*, Engine*))                                      \
  X(void, ggml_backend_buffer_free, (Buffer*))                                                         \
  X(Buffer*, ggml_backend_cpu_buffer_from_ptr, (void*, std::size_t))                                   \
  X(int, ggml_backend_view_init, (Tensor*))                                                            \
  X(void, ggml_backend_tensor_set, (Tensor*, const void*, std::size_t, std::size_t))                   \
  X(void, ggml_backend_tensor_get, (const Tensor*, void*, std::size_t, std::size_t))                   \
  X(int, ggml_backend_graph_compute, (Engine*, Graph*))                                                \
  X(void, ggml_backend_free, (Engine*))                                                                \
  X(bool, ggml_backend_dev_supports_op, (Device*, const Tensor*))                                      \
  X(Engine*, ggml_backend_dev_init, (Device*, const char*))                                            \
  X(const char*, ggml_backend_dev_name, (Device*))                                                     \
  X(const char*, ggml_backend_dev_description, (Device*))                                              \
  X(Registry*, ggml_backend_dev_backend_reg, (Device*))                                                \
  X(const char*, ggml_backend_reg_name, (Registry*))                                                   \
  X(std::size_t, ggml_backend_reg_dev_count, (Registry*))                                              \
  X(Device*, ggml_backend_reg_dev_get, (Registry*, std::size_t))                                       \
  X(void*, ggml_backend_reg_get_proc_address, (Registry*, const char*))

// Absent in some releases, or in the registry library alone: nullptr then. ggml_backend_tensor_alloc returned void
// once; its result is ignored. ggml_set_rows tells the age of a build as well, ggml_conv_2d_dw_direct nothing else.
#define ATTEST_GGML_OPTIONAL(X)                                    \
  X(const TypeTraits*, ggml_get_type_traits, (int))                \
  X(void, ggml_backend_tensor_alloc, (Buffer*, Tensor*, void*))    \
  X(void, ggml_flash_attn_ext_add_sinks, (Tensor*, Tensor*))       \
  X(void, ggml_soft_max_add_sinks, (Tensor*, Tensor*))             \
  X(const char*, ggml_version, ())                                 \
  X(const char*, ggml_commit, ())                                  \
  X(std::size_t, ggml_backend_dev_count, ())                       \
  X(Device*, ggml_backend_dev_get, (std::size_t))                  \
  X(void, ggml_backend_load_all_from_path, (const char*))          \
  X(void, ggml_backend_cpu_set_n_threads, (Engine*, int))          \
  X(Tensor*, ggml_set_rows, (Context*, Tensor*, Tensor*, Tensor*)) \
  X(void, ggml_conv_2d_dw_direct, ())

namespace attest::ggml {

// The functions of one loaded build.
struct Api {
#define ATTEST_GGML_POINTER(ret, name, args) ret(*name) args = nullptr;
  ATTEST_GGML_REQUIRED(ATTEST_GGML_POINTER)
  ATTEST_GGML_OPTIONAL(ATTEST_GGML_POINTER)
#undef ATTEST_GGML_POINTER
};

}  // namespace attest::ggml
