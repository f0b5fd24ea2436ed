/* A flash-attention kernel as a plug-in of attest: plain C, nothing but this file is needed. README.md is the guide.
 *
 * The shared library exports one function, attest_plugin_entry(). attest loads it in a process of its own, asks
 * supports() and contract() about each problem, then calls prepare(), run() and release(), always from one thread.
 *
 * Lifetime   what attest passes in is valid during the call only, except `job`, which is yours from prepare() to
 *            release(). What you return (struct attest_plugin, its strings, last_error()) stays yours; last_error()'s
 *            text need only last until the next call.
 * Ownership  attest owns tensors, output and workspace. Nothing of yours is freed by attest; nothing of attest's by you.
 * Threads    calls never overlap. run() may start up to n_threads threads; none may touch a tensor after it returns.
 * Alignment  attest_tensor.alignment says, before there is data, what the data pointer is a multiple of. f32 lies on 4
 *            bytes at least, halves and block types on 2. Strides are any multiple of the element's (block's) size.
 * Memory     inputs are read-only, and every tensor ends at (or begins after) a page that may not be touched. Gaps
 *            between rows, keys the mask hides and the output before the call hold poison: they must not matter.
 * Errors     no exception and no longjmp crosses this interface. A call that fails returns what its line says. */
#ifndef ATTEST_PLUGIN_H
#define ATTEST_PLUGIN_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define ATTEST_PLUGIN_ABI_VERSION 1u

#if defined(_WIN32)
#define ATTEST_PLUGIN_EXPORT __declspec(dllexport)
#else
#define ATTEST_PLUGIN_EXPORT __attribute__((visibility("default")))
#endif

/* attest_problem.op */
#define ATTEST_OP_FLASH_ATTN_EXT 1

/* Storage types; blocks as ggml lays them out. */
enum attest_dtype {
  ATTEST_ABSENT = 0, /* no such tensor: no mask, no sinks */
  ATTEST_F32 = 1, ATTEST_F16 = 2, ATTEST_BF16 = 3,
  ATTEST_Q8_0 = 4, ATTEST_Q4_0 = 5, ATTEST_Q4_1 = 6, ATTEST_Q5_0 = 7, ATTEST_Q5_1 = 8, ATTEST_IQ4_NL = 9,
  ATTEST_Q1_0 = 10, ATTEST_Q2_0 = 11
};

typedef struct attest_tensor {
  const void *data;  /* element (0,0,0,0); NULL where absent, and outside run() */
  int32_t dtype;     /* enum attest_dtype */
  int32_t alignment; /* bytes, a power of two up to 64 */
  int64_t ne[4];     /* extents, fastest first */
  int64_t nb[4];     /* strides in bytes; nb[0] from one element (block) to the next */
} attest_tensor;

/* O[s,i,h,:] = sum_j p_j V[s,j,h_v,:], p = softmax over j of phi(scale q.k_j) + slope_h mask[s,h,i,j], and a sink.
 * Query head h reads KV head h * n_head_kv / n_head; sequences alike. phi(x) = softcap tanh(x / softcap), or x where
 * softcap is 0. A mask of -inf hides a key; its planes are taken modulo ne[2] and ne[3]. A row without visible keys
 * is 0. A sink is one more logit with V = 0, also in the maximum. slope: n2 = 2^floor(log2 n_head); for h < n2
 * 2^(-max_bias (h+1) / n2), else 2^(-max_bias/2 (2 (h-n2) + 1) / n2); 1 where max_bias is 0. */
typedef struct attest_problem {
  uint32_t struct_size; /* of this struct in the attest that calls: later versions add fields at its end */
  uint32_t op;
  int64_t d_k, d_v, n_head, n_head_kv, n_head_v, n_q, n_kv, n_seq, n_seq_kv;
  float scale, softcap, max_bias;
  int32_t prec_f32;  /* 1: accumulators of f32 are asked for */
  int32_t n_threads; /* at least 1 */
  int32_t v_in_k;    /* 1: V is the first d_v columns of K, in K's memory */
  attest_tensor q;     /* [d_k, n_q, n_head, n_seq] f32 */
  attest_tensor k;     /* [d_k, n_kv, n_head_kv, n_seq_kv] */
  attest_tensor v;     /* [d_v, n_kv, n_head_v, n_seq_kv] */
  attest_tensor mask;  /* [n_kv, n_q, 1 or n_head, 1 or n_seq] f16 or f32 */
  attest_tensor sinks; /* [n_head] f32 */
  attest_tensor out;   /* [d_v, n_head, n_q, n_seq] f32, contiguous; its data pointer is run()'s last argument */
} attest_problem;

/* What the kernel promises about its arithmetic for this problem: the error budget is derived from it. attest fills it
 * in with a kernel in f32 throughout (the values on the right) and contract() changes what is different. A unit roundoff
 * is 2^-24 for f32, 2^-11 for f16, 2^-8 for bf16, 0 where nothing is rounded. */
enum attest_q_rounding { ATTEST_Q_AS_IT_IS, ATTEST_Q_TO_F16, ATTEST_Q_TO_BF16, ATTEST_Q_TO_Q8_0, ATTEST_Q_TO_Q8_1 };

typedef struct attest_contract {
  uint32_t struct_size;
  int32_t q_rounding;   /* a documented rounding of Q before the dot product: ATTEST_Q_AS_IT_IS */
  char path[32];        /* which code path, for people; ends with a 0: "" */
  double u_q;           /* other rounding of Q: 0 */
  double u_qk;          /* accumulator of q.k: 2^-24 */
  double u_s, u_z;      /* score stored before (after) softcap and mask: 0 */
  double u_m;           /* slope, or slope times mask: 2^-24 */
  double eps_tanh;      /* relative error of tanh: 2^-22 */
  double eps_exp;       /* relative error of exp: 2^-22 */
  double u_p;           /* weight stored before PV: 0 */
  double drop;          /* weights below this part of the largest so far are left out of PV: 0 */
  double omega;         /* smallest weight that is not flushed: 2^-126 (f16: 2^-25) */
  double u_acc;         /* accumulator of PV: 2^-24 */
  double omega_acc;     /* its smallest value: 0 (f16: 2^-25) */
  double u_l;           /* row sum: 2^-24 */
  double u_out;         /* output stored: 2^-24 */
  double omega_out;     /* its smallest value: 2^-149 (f16: 2^-25) */
  int64_t tile;         /* keys per online-softmax step: 1 */
  int64_t chunks;       /* split-KV: chunks of ceil(n_kv / chunks) keys: 1 */
  int32_t any_order;    /* 1: keys are not added up in ascending order: 0 */
  int32_t products_rounded;    /* 1: p*v is rounded before it is added (no FMA): 0 */
  int32_t p_normalised;        /* 1: weights are divided by the row sum before they are stored: 0 */
  int32_t truncating;          /* 1: accumulators truncate: 0 */
  int32_t lazy_rescale;        /* 1: the accumulator may run 2^8 ahead of the maximum: 0 */
  int32_t needs_finite_hidden; /* 1: hidden keys must hold finite bytes: 0 */
  int32_t narrow_under_prec;   /* 1: accumulators stay narrower than f32 where prec_f32 is asked for: 0 */
} attest_contract;

/* What prepare() answers. */
typedef struct attest_job {
  uint32_t struct_size;
  uint32_t reserved;
  uint64_t workspace_bytes;     /* memory run() wants from attest, which guards it and fills it with NaN: 0 */
  uint64_t workspace_alignment; /* a power of two up to 4096: 64 */
  uint64_t output_bytes;        /* what run() is going to write, 4 d_v n_head n_q n_seq; 0: not stated */
  void *job;                    /* yours */
} attest_job;

typedef struct attest_plugin {
  uint32_t abi_version; /* ATTEST_PLUGIN_ABI_VERSION */
  uint32_t struct_size; /* sizeof(attest_plugin) */
  const char *name;     /* one line */
  const char *build;    /* version of the code under test, one line, kept in every record; may be NULL */
  /* An option of plugin:FILE,key=value ("" where it has no value), before anything else. 0: taken. NULL: no options. */
  int (*configure)(const char *key, const char *value);
  /* 1: yes. 0: no, with the reason in `reason` (room for reason_bytes, its 0 included). */
  int (*supports)(const attest_problem *problem, char *reason, uint32_t reason_bytes);
  int (*contract)(const attest_problem *problem, attest_contract *contract); /* 0: done. NULL: f32 throughout */
  int (*prepare)(const attest_problem *problem, attest_job *job);            /* 0: done; not timed. May be NULL */
  int (*run)(const attest_problem *problem, void *job, void *workspace, void *out); /* 0: done */
  void (*release)(void *job);       /* after each prepare() that succeeded. May be NULL */
  const char *(*last_error)(void);  /* why the last call failed. May be NULL */
} attest_plugin;

/* Returns NULL where the plug-in cannot serve an attest of that version. */
typedef const attest_plugin *(*attest_plugin_entry_fn)(uint32_t host_abi_version);
ATTEST_PLUGIN_EXPORT const attest_plugin *attest_plugin_entry(uint32_t host_abi_version);

#ifdef __cplusplus
}
#endif
#endif
