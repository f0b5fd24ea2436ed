/* Does one thing wrong, for tests: at load time what ATTEST_TEST_PLUGIN names, in a case what the option bug=NAME does.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "backends/plugin/attest_plugin.h"

static char bug[32];
static int live_jobs;
static volatile int* volatile nowhere;

static int is(const char* name) { return strcmp(bug, name) == 0; }

static int configure(const char* key, const char* value) {
  if (strcmp(key, "bug") != 0) return 1;
  snprintf(bug, sizeof bug, "%s", value);
  return 0;
}

static int supports(const attest_problem* p, char* reason, uint32_t reason_bytes) {
  if (is("answers-7")) return 7;
  if (is("no-reason")) return 0;
  if (is("reason-unended")) {
    memset(reason, 'x', reason_bytes);
    return 0;
  }
  if (p->n_q == 3) {
    snprintf(reason, reason_bytes, "three queries\nare too many");
    return 0;
  }
  return 1;
}

static int contract(const attest_problem* p, attest_contract* c) {
  (void)p;
  strcpy(c->path, "wrong");
  if (is("contract-fails")) return 5;
  if (is("u-acc")) c->u_acc = -1;
  if (is("rounds-and-says-so")) c->u_out = 0.00048828125; /* 2^-11 */
  if (is("narrow")) c->u_acc = 0.00048828125, c->omega_acc = 0.000000029802322387695312; /* f16 */
  if (is("eps-nan")) c->eps_exp = strtod("nan", NULL);
  if (is("tile-0")) c->tile = 0;
  if (is("chunks-0")) c->chunks = 0;
  if (is("q-rounding")) c->q_rounding = 99;
  if (is("flag-2")) c->truncating = 2;
  if (is("path")) memset(c->path, 'p', sizeof c->path);
  return 0;
}

static int prepare(const attest_problem* p, attest_job* job) {
  const uint64_t out = (uint64_t)(p->d_v * p->n_head * p->n_q * p->n_seq) * 4;
  if (p->q.data != NULL) return 8; /* shapes only */
  if (is("prepare-fails")) return 4;
  if (is("output-too-small")) job->output_bytes = out - 4;
  if (is("workspace-huge")) job->workspace_bytes = (uint64_t)1 << 62;
  if (is("alignment")) job->workspace_alignment = 48;
  if (is("workspace-past") || is("workspace-before") || is("workspace-far") || is("workspace-stale")) {
    job->workspace_bytes = 100;
  }
  job->job = malloc(1);
  ++live_jobs;
  return 0;
}

static int run(const attest_problem* p, void* job, void* workspace, void* out) {
  const int64_t n = p->d_v * p->n_head * p->n_q * p->n_seq;
  volatile char *o = (volatile char*)out, *w = (volatile char*)workspace;
  volatile char sink;
  (void)job;
  memset(out, 0, (size_t)n * 4);                  /* right where every row's keys are hidden */
  if (is("rounds") || is("rounds-and-says-so")) { /* one key: the output is its row of V, here kept to 11 bits */
    const char* v = (const char*)p->v.data;
    int64_t d;
    for (d = 0; d < p->d_v; ++d) {
      uint32_t bits;
      memcpy(&bits, v + d * p->v.nb[0], 4);
      bits = (bits + 0x1000u) & 0xffffe000u;
      memcpy((char*)out + 4 * d, &bits, 4);
    }
  }
  if (is("run-fails") || live_jobs != 1) return 6;
  if (is("crash")) *nowhere = 1;
  if (is("over-read")) sink = *((const volatile char*)p->k.data + p->k.nb[3] * p->k.ne[3] + 256);
  if (is("write-out")) o[n * 4 + 256] = 1;
  if (is("write-input")) *(volatile char*)(size_t)p->q.data = 1;
  if (is("loop")) {
    for (;;) sink = 0;
  }
  if (is("workspace-past")) w[100] = 1;
  if (is("workspace-before")) w[-5] = 1;
  if (is("workspace-far")) w[5000] = 1;
  if (is("workspace-stale")) memcpy(out, workspace, 4); /* what attest left there: not a number */
  (void)sink;
  return 0;
}

static void release(void* job) {
  free(job);
  --live_jobs;
}

static const char* last_error(void) { return "it was told to"; }

const attest_plugin* attest_plugin_entry(uint32_t host_abi_version) {
  static attest_plugin plugin = {ATTEST_PLUGIN_ABI_VERSION,
                                 sizeof(attest_plugin),
                                 "misbehaving",
                                 "\tbuild 7\n",
                                 configure,
                                 supports,
                                 contract,
                                 prepare,
                                 run,
                                 release,
                                 last_error};
  const char* how = getenv("ATTEST_TEST_PLUGIN");
  (void)host_abi_version;
  if (how == NULL) return &plugin;
  if (strcmp(how, "null") == 0) return NULL;
  if (strcmp(how, "version") == 0) plugin.abi_version = 99;
  if (strcmp(how, "size") == 0) plugin.struct_size = 24;
  if (strcmp(how, "name") == 0) plugin.name = "";
  if (strcmp(how, "supports") == 0) plugin.supports = NULL;
  if (strcmp(how, "run") == 0) plugin.run = NULL;
  if (strcmp(how, "optional") == 0) {
    plugin.contract = NULL;
    plugin.prepare = NULL;
    plugin.release = NULL;
    plugin.last_error = NULL;
    plugin.configure = NULL;
    plugin.build = NULL;
    live_jobs = 1;
  }
  if (strcmp(how, "crash") == 0) abort();
  return &plugin;
}
