/* Flash attention in plain C: one query row at a time, one key at a time, online softmax in float. A plug-in of attest
 * that states its name, what it can do and how it rounds; see ../README.md.
 *
 *   cc -O2 -std=c99 -fPIC -shared -o plain_attention.so plain_attention.c -lm */
#include <attest_plugin.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

static float bits_to_float(uint32_t bits) {
  float value;
  memcpy(&value, &bits, sizeof value);
  return value;
}

static float half_to_float(uint16_t half) {
  const uint32_t sign = (uint32_t)(half & 0x8000) << 16, rest = (uint32_t)(half & 0x7fff) << 13;
  if (rest >= 0x0f800000u) return bits_to_float(sign | 0x7f800000u | rest); /* Inf, NaN */
  return bits_to_float(sign | 0x77800000u) * bits_to_float(rest);           /* +-2^112 times: exact, subnormals too */
}

static int readable(int32_t dtype) { return dtype == ATTEST_F32 || dtype == ATTEST_F16 || dtype == ATTEST_BF16; }

/* Strides are in bytes, and elements need not lie on more than their natural alignment: memcpy reads them. */
static float element(const attest_tensor* t, int64_t i0, int64_t i1, int64_t i2, int64_t i3) {
  const char* at = (const char*)t->data + i0 * t->nb[0] + i1 * t->nb[1] + i2 * t->nb[2] + i3 * t->nb[3];
  float value;
  uint16_t half;
  if (t->dtype == ATTEST_F32) {
    memcpy(&value, at, sizeof value);
    return value;
  }
  memcpy(&half, at, sizeof half);
  return t->dtype == ATTEST_F16 ? half_to_float(half) : bits_to_float((uint32_t)half << 16);
}

static int supports(const attest_problem* p, char* reason, uint32_t reason_bytes) {
  if (readable(p->k.dtype) && readable(p->v.dtype)) return 1;
  snprintf(reason, reason_bytes, "K and V must be f32, f16 or bf16");
  return 0;
}

/* Everything is float, so what attest has filled in holds; only the names and the libm calls are ours to state. */
static int contract(const attest_problem* p, attest_contract* c) {
  (void)p;
  strcpy(c->path, "row");
  c->products_rounded = 1; /* p*v is a product and then a sum, unless the compiler contracts them */
  return 0;
}

static float alibi_slope(const attest_problem* p, int64_t h) {
  int64_t n2 = 1;
  if (!(p->max_bias > 0)) return 1.0f;
  while (2 * n2 <= p->n_head) n2 *= 2;
  if (h < n2) return (float)pow(2.0, -(double)p->max_bias * (double)(h + 1) / (double)n2);
  return (float)pow(2.0, -(double)p->max_bias / 2 * (double)(2 * (h - n2) + 1) / (double)n2);
}

static void attend(const attest_problem* p, int64_t i, int64_t h, int64_t s, float* out) {
  const int64_t hk = h * p->n_head_kv / p->n_head, hv = h * p->n_head_v / p->n_head, sk = s * p->n_seq_kv / p->n_seq;
  const float slope = alibi_slope(p, h);
  const int has_mask = p->mask.dtype != ATTEST_ABSENT;
  float max = -INFINITY, sum = 0;
  int64_t j, d;
  for (d = 0; d < p->d_v; ++d) out[d] = 0;
  for (j = 0; j < p->n_kv; ++j) {
    const float mask = has_mask ? element(&p->mask, j, i, h % p->mask.ne[2], s % p->mask.ne[3]) : 0.0f;
    float score = 0, weight;
    if (mask == -INFINITY) continue; /* a hidden key is not even looked at: its bytes may be NaN */
    for (d = 0; d < p->d_k; ++d) score += element(&p->q, d, i, h, s) * element(&p->k, d, j, hk, sk);
    score *= p->scale;
    if (p->softcap > 0) score = p->softcap * tanhf(score / p->softcap);
    if (has_mask) score += slope * mask;
    if (score > max) {
      const float rescale = max == -INFINITY ? 0.0f : expf(max - score);
      for (d = 0; d < p->d_v; ++d) out[d] *= rescale;
      sum *= rescale;
      max = score;
    }
    weight = expf(score - max);
    sum += weight;
    for (d = 0; d < p->d_v; ++d) out[d] += weight * element(&p->v, d, j, hv, sk);
  }
  if (max == -INFINITY) return; /* no visible key: 0 */
  if (p->sinks.dtype != ATTEST_ABSENT) {
    const float sink = element(&p->sinks, h, 0, 0, 0), top = sink > max ? sink : max;
    const float rescale = expf(max - top);
    for (d = 0; d < p->d_v; ++d) out[d] *= rescale;
    sum = sum * rescale + expf(sink - top);
  }
  for (d = 0; d < p->d_v; ++d) out[d] /= sum;
}

static int run(const attest_problem* p, void* job, void* workspace, void* out) {
  int64_t i, h, s;
  float* row = (float*)out; /* [d_v, n_head, n_q, n_seq] */
  (void)job;
  (void)workspace;
  for (s = 0; s < p->n_seq; ++s) {
    for (i = 0; i < p->n_q; ++i) {
      for (h = 0; h < p->n_head; ++h, row += p->d_v) attend(p, i, h, s, row);
    }
  }
  return 0;
}

static const attest_plugin plugin = {ATTEST_PLUGIN_ABI_VERSION,
                                     sizeof(attest_plugin),
                                     "plain attention",
                                     "1.0",
                                     NULL,
                                     supports,
                                     contract,
                                     NULL,
                                     run,
                                     NULL,
                                     NULL};

const attest_plugin* attest_plugin_entry(uint32_t host_abi_version) {
  return host_abi_version == ATTEST_PLUGIN_ABI_VERSION ? &plugin : NULL;
}
