// Flash attention on a Mac's GPU as a plug-in of attest: one GPU thread per row, online softmax in float. For Metal
// kernels that have an engine of their own around them; see ../README.md. Only Apple machines compile it.
//
//   clang++ -O2 -std=c++17 -fobjc-arc -fPIC -shared -framework Metal -framework Foundation
//     -o metal_attention.so metal_attention.mm
#include <attest_plugin.h>

#import <Foundation/Foundation.h>
#import <Metal/Metal.h>

#include <cmath>
#include <cstdio>
#include <cstring>
#include <string>
#include <vector>

namespace {

// What the GPU is told, laid out alike on both sides.
struct Arguments {
  int64_t d_k, d_v, n_head, n_head_kv, n_head_v, n_q, n_kv, n_seq, n_seq_kv;
  int64_t q[4], k[4], v[4], mask[4], planes[2];
  float scale, softcap;
  int32_t k_f16, v_f16, mask_f16, has_mask, has_sinks, reserved;
};

const char* const kSource = R"msl(
#include <metal_stdlib>
using namespace metal;

struct Arguments {
  long d_k, d_v, n_head, n_head_kv, n_head_v, n_q, n_kv, n_seq, n_seq_kv;
  long q[4], k[4], v[4], mask[4], planes[2];
  float scale, softcap;
  int k_f16, v_f16, mask_f16, has_mask, has_sinks, reserved;
};

static float value(device const uchar* at, bool f16) {
  return f16 ? float(*(device const half*)at) : *(device const float*)at;
}

kernel void attend(constant Arguments& a [[buffer(0)]], device const uchar* q [[buffer(1)]],
                   device const uchar* k [[buffer(2)]], device const uchar* v [[buffer(3)]],
                   device const uchar* mask [[buffer(4)]], device const float* sinks [[buffer(5)]],
                   device const float* slopes [[buffer(6)]], device float* out [[buffer(7)]],
                   uint row [[thread_position_in_grid]]) {
  if (long(row) >= a.n_head * a.n_q * a.n_seq) return;
  const long h = row % a.n_head, i = row / a.n_head % a.n_q, s = row / (a.n_head * a.n_q);
  const long sk = s * a.n_seq_kv / a.n_seq;
  q += i * a.q[1] + h * a.q[2] + s * a.q[3];
  k += h * a.n_head_kv / a.n_head * a.k[2] + sk * a.k[3];
  v += h * a.n_head_v / a.n_head * a.v[2] + sk * a.v[3];
  if (a.has_mask) mask += i * a.mask[1] + h % a.planes[0] * a.mask[2] + s % a.planes[1] * a.mask[3];
  out += long(row) * a.d_v;
  float top = -INFINITY, sum = 0;
  for (long d = 0; d < a.d_v; ++d) out[d] = 0;
  for (long j = 0; j < a.n_kv; ++j) {
    const float bias = a.has_mask ? value(mask + j * a.mask[0], a.mask_f16) : 0;
    if (bias == -INFINITY) continue;
    float score = 0;
    for (long d = 0; d < a.d_k; ++d) {
      score += value(q + d * a.q[0], false) * value(k + j * a.k[1] + d * a.k[0], a.k_f16);
    }
    score *= a.scale;
    if (a.softcap > 0) score = a.softcap * tanh(score / a.softcap);
    score += slopes[h] * bias;
    if (score > top) {
      const float rescale = top == -INFINITY ? 0.0f : exp(top - score);
      for (long d = 0; d < a.d_v; ++d) out[d] *= rescale;
      sum *= rescale;
      top = score;
    }
    const float weight = exp(score - top);
    sum += weight;
    for (long d = 0; d < a.d_v; ++d) out[d] += weight * value(v + j * a.v[1] + d * a.v[0], a.v_f16);
  }
  if (top == -INFINITY) return;
  const float both = a.has_sinks ? max(top, sinks[h]) : top;
  const float rescale = exp(top - both);
  sum = sum * rescale + (a.has_sinks ? exp(sinks[h] - both) : 0.0f);
  for (long d = 0; d < a.d_v; ++d) out[d] = out[d] * rescale / sum;
}
)msl";

id<MTLDevice> g_device;
id<MTLCommandQueue> g_queue;
id<MTLComputePipelineState> g_pipeline;
std::string g_error;

int fail(NSString* why) {
  g_error = why == nil ? "unknown error" : why.UTF8String;
  return 1;
}

bool readable(int32_t dtype) { return dtype == ATTEST_F32 || dtype == ATTEST_F16; }

int supports(const attest_problem* p, char* reason, uint32_t reason_bytes) {
  const char* why = nullptr;
  if (!readable(p->k.dtype) || !readable(p->v.dtype)) why = "K and V must be f32 or f16";
  if (p->n_q * p->n_head * p->n_seq >= INT32_MAX) why = "more rows than a grid has threads";
  if (p->n_head > 1024) why = "more heads than setBytes takes slopes";
  if (why == nullptr) return 1;
  std::snprintf(reason, reason_bytes, "%s", why);
  return 0;
}

// Metal's precise exp and tanh are good to a few units in the last place.
int contract(const attest_problem*, attest_contract* c) {
  std::strcpy(c->path, "metal-row");
  c->eps_exp = c->eps_tanh = 0x1p-20;
  c->products_rounded = 1;
  return 0;
}

// Once per process: what is compiled here is not timed.
int prepare(const attest_problem*, attest_job*) {
  if (g_pipeline != nil) return 0;
  @autoreleasepool {
    g_device = MTLCreateSystemDefaultDevice();
    if (g_device == nil) return fail(@"no Metal device");
    g_queue = [g_device newCommandQueue];
    MTLCompileOptions* options = [MTLCompileOptions new];
    options.fastMathEnabled = NO;
    NSError* error = nil;
    id<MTLLibrary> library = [g_device newLibraryWithSource:@(kSource) options:options error:&error];
    if (library == nil) return fail(error.localizedDescription);
    g_pipeline = [g_device newComputePipelineStateWithFunction:[library newFunctionWithName:@"attend"] error:&error];
    return g_pipeline == nil ? fail(error.localizedDescription) : 0;
  }
}

// From the first element to the end of the last one, copied: the GPU cannot see attest's guard pages.
id<MTLBuffer> copied(const attest_tensor& t) {
  if (t.dtype == ATTEST_ABSENT) return [g_device newBufferWithLength:16 options:MTLResourceStorageModeShared];
  int64_t bytes = t.dtype == ATTEST_F32 ? 4 : 2;
  for (int i = 0; i < 4; ++i) {
    if (t.ne[i] == 0) return [g_device newBufferWithLength:16 options:MTLResourceStorageModeShared];
    bytes += (t.ne[i] - 1) * t.nb[i];
  }
  return [g_device newBufferWithBytes:t.data length:NSUInteger(bytes) options:MTLResourceStorageModeShared];
}

float alibi_slope(const attest_problem& p, int64_t h) {
  if (!(p.max_bias > 0)) return 1;
  int64_t n2 = 1;
  while (2 * n2 <= p.n_head) n2 *= 2;
  const double exponent = h < n2 ? double(h + 1) / double(n2) : double(2 * (h - n2) + 1) / double(2 * n2);
  return float(std::exp2(-double(p.max_bias) * exponent));
}

int run(const attest_problem* p, void*, void*, void* out) {
  Arguments a{};
  a.d_k = p->d_k;
  a.d_v = p->d_v;
  a.n_head = p->n_head;
  a.n_head_kv = p->n_head_kv;
  a.n_head_v = p->n_head_v;
  a.n_q = p->n_q;
  a.n_kv = p->n_kv;
  a.n_seq = p->n_seq;
  a.n_seq_kv = p->n_seq_kv;
  std::memcpy(a.q, p->q.nb, sizeof a.q);
  std::memcpy(a.k, p->k.nb, sizeof a.k);
  std::memcpy(a.v, p->v.nb, sizeof a.v);
  std::memcpy(a.mask, p->mask.nb, sizeof a.mask);
  std::memcpy(a.planes, p->mask.ne + 2, sizeof a.planes);
  a.scale = p->scale;
  a.softcap = p->softcap;
  a.k_f16 = p->k.dtype == ATTEST_F16;
  a.v_f16 = p->v.dtype == ATTEST_F16;
  a.mask_f16 = p->mask.dtype == ATTEST_F16;
  a.has_mask = p->mask.dtype != ATTEST_ABSENT;
  a.has_sinks = p->sinks.dtype != ATTEST_ABSENT;
  const NSUInteger rows = NSUInteger(p->n_head * p->n_q * p->n_seq), bytes = rows * NSUInteger(p->d_v) * sizeof(float);
  if (bytes == 0) return 0;
  std::vector<float> slopes;
  for (int64_t h = 0; h < p->n_head; ++h) slopes.push_back(alibi_slope(*p, h));
  @autoreleasepool {
    id<MTLBuffer> result = [g_device newBufferWithLength:bytes options:MTLResourceStorageModeShared];
    id<MTLBuffer> inputs[] = {copied(p->q), copied(p->k), copied(p->v), copied(p->mask), copied(p->sinks)};
    bool complete = result != nil;
    for (id<MTLBuffer> buffer : inputs) complete = complete && buffer != nil;
    if (!complete) return fail(@"no memory for the tensors");
    id<MTLCommandBuffer> commands = [g_queue commandBuffer];
    id<MTLComputeCommandEncoder> encoder = [commands computeCommandEncoder];
    [encoder setComputePipelineState:g_pipeline];
    [encoder setBytes:&a length:sizeof a atIndex:0];
    for (NSUInteger i = 0; i < 5; ++i) [encoder setBuffer:inputs[i] offset:0 atIndex:1 + i];
    [encoder setBytes:slopes.data() length:slopes.size() * sizeof(float) atIndex:6];
    [encoder setBuffer:result offset:0 atIndex:7];
    [encoder dispatchThreads:MTLSizeMake(rows, 1, 1) threadsPerThreadgroup:MTLSizeMake(32, 1, 1)];
    [encoder endEncoding];
    [commands commit];
    [commands waitUntilCompleted];
    if (commands.status == MTLCommandBufferStatusError) return fail(commands.error.localizedDescription);
    std::memcpy(out, result.contents, bytes);
  }
  return 0;
}

const char* last_error() { return g_error.c_str(); }

const attest_plugin kPlugin{ATTEST_PLUGIN_ABI_VERSION, sizeof(attest_plugin), "Metal attention, one thread per row", "1.0",
                            nullptr, supports, contract, prepare, run, nullptr, last_error};

}  // namespace

extern "C" const attest_plugin* attest_plugin_entry(uint32_t host_abi_version) {
  return host_abi_version == ATTEST_PLUGIN_ABI_VERSION ? &kPlugin : nullptr;
}
