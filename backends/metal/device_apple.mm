// Metal.framework behind device.h. Thin: what is dispatched, with which arguments and in which memory, is decided in
// code that all machines share.
#import <Foundation/Foundation.h>
#import <Metal/Metal.h>

#include <bit>
#include <cstdint>
#include <cstring>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "backends/metal/device_apple.h"

namespace attest::metal {
namespace {

constexpr std::size_t kMostBytes = 4096;  // what setBytes takes

NSString* ns(std::string_view text) {
  return [[NSString alloc] initWithBytes:text.data() length:text.size() encoding:NSUTF8StringEncoding];
}

std::string text_of(NSError* error) {
  return error == nil ? "no reason given" : std::string([[error localizedDescription] UTF8String]);
}

template <class T>
void set_constant(MTLFunctionConstantValues* values, double value, MTLDataType type, int index) {
  const T typed = static_cast<T>(value);
  [values setConstantValue:&typed type:type atIndex:static_cast<NSUInteger>(index)];
}

// The kernel says which type a constant has. False: one that is not set from here.
bool set_constant(MTLFunctionConstantValues* values, double value, MTLDataType type, int index) {
  switch (type) {
    case MTLDataTypeBool:
      set_constant<bool>(values, value, type, index);
      return true;
    case MTLDataTypeInt:
      set_constant<std::int32_t>(values, value, type, index);
      return true;
    case MTLDataTypeUInt:
      set_constant<std::uint32_t>(values, value, type, index);
      return true;
    case MTLDataTypeShort:
      set_constant<std::int16_t>(values, value, type, index);
      return true;
    case MTLDataTypeUShort:
      set_constant<std::uint16_t>(values, value, type, index);
      return true;
    case MTLDataTypeLong:
      set_constant<std::int64_t>(values, value, type, index);
      return true;
    case MTLDataTypeULong:
      set_constant<std::uint64_t>(values, value, type, index);
      return true;
    case MTLDataTypeFloat:
      set_constant<float>(values, value, type, index);
      return true;
    case MTLDataTypeHalf:
      set_constant<__fp16>(values, value, type, index);
      return true;
    default:
      return false;
  }
}

class AppleDevice final : public Device {
 public:
  explicit AppleDevice(id<MTLDevice> device) : device_(device), queue_([device newCommandQueue]) {
    absent_ = [device newBufferWithLength:65536 options:MTLResourceStorageModeShared];
    std::memset([absent_ contents], 0xff, 65536);
  }

  std::string build_id() const override { return std::string([[device_ name] UTF8String]); }

  Expected<void> load(std::string_view name, std::string_view source) override {
    @autoreleasepool {
      MTLCompileOptions* options = [[MTLCompileOptions alloc] init];
      if (@available(macOS 15.0, iOS 18.0, *)) {
        options.mathMode = MTLMathModeSafe;
      } else {
        options.fastMathEnabled = NO;
      }
      NSError* error = nil;
      id<MTLLibrary> library = [device_ newLibraryWithSource:ns(source) options:options error:&error];
      if (library == nil) return Unexpected(Error{ErrorKind::input, text_of(error), std::string(name), 0, 0, {}, {}});
      libraries_.push_back(library);
      return {};
    }
  }

  Expected<DispatchResult> run(const std::vector<Dispatch>& dispatches) override {
    @autoreleasepool {
      std::vector<Resident> residents;
      for (const MemoryRegion& region : regions_of(dispatches)) {
        id<MTLBuffer> buffer = [device_ newBufferWithLength:region.bytes options:MTLResourceStorageModeShared];
        if (buffer == nil) return harness_error("metal: no buffer of " + std::to_string(region.bytes) + " bytes");
        residents.push_back({region, buffer});
      }
      for (const Dispatch& d : dispatches) {
        for (const Argument& a : d.arguments) copy_in(residents, a);
      }
      id<MTLCommandBuffer> commands = [queue_ commandBuffer];
      id<MTLComputeCommandEncoder> encoder = [commands computeCommandEncoder];
      for (const Dispatch& d : dispatches) {
        if (auto encoded = encode(encoder, residents, d); !encoded) {
          [encoder endEncoding];
          return Unexpected(encoded.error());
        }
      }
      [encoder endEncoding];
      [commands commit];
      [commands waitUntilCompleted];
      if ([commands status] == MTLCommandBufferStatusError) return harness_error("metal: " + text_of([commands error]));
      for (const Dispatch& d : dispatches) {
        for (const Argument& a : d.arguments) copy_out(residents, a);
      }
      DispatchResult result;
      result.cpu_seconds = [commands GPUEndTime] - [commands GPUStartTime];
      return result;
    }
  }

 private:
  // Memory of the host and what stands for it on the device.
  struct Resident {
    MemoryRegion region;
    id<MTLBuffer> buffer;
    bool holds(const std::byte* p) const { return p >= region.begin && p < region.begin + region.bytes; }
    std::size_t offset(const std::byte* p) const { return static_cast<std::size_t>(p - region.begin); }
    std::byte* at(const std::byte* p) const { return static_cast<std::byte*>([buffer contents]) + offset(p); }
  };
  static const Resident* resident_of(const std::vector<Resident>& residents, const Argument& a) {
    for (const Resident& r : residents) {
      if (a.data != nullptr && a.bytes > 0 && r.holds(a.data)) return &r;
    }
    return nullptr;
  }
  static void copy_in(const std::vector<Resident>& residents, const Argument& a) {
    if (const Resident* r = resident_of(residents, a)) std::memcpy(r->at(a.data), a.data, a.bytes);
  }
  static void copy_out(const std::vector<Resident>& residents, const Argument& a) {
    if (!a.written) return;
    if (const Resident* r = resident_of(residents, a))
      std::memcpy(const_cast<std::byte*>(a.data), r->at(a.data), a.bytes);
  }

  Expected<void> encode(id<MTLComputeCommandEncoder> encoder, const std::vector<Resident>& residents,
                        const Dispatch& d) {
    if (auto fine = check_dispatch(d); !fine) return fine;
    const auto pipeline = pipeline_of(d);
    if (!pipeline) return Unexpected(pipeline.error());
    if (d.threads.count() > [*pipeline maxTotalThreadsPerThreadgroup]) {
      return input_error(d.function + ": " + std::to_string(d.threads.count()) +
                         " threads in a threadgroup, this GPU runs " +
                         std::to_string([*pipeline maxTotalThreadsPerThreadgroup]) + " of this kernel");
    }
    [encoder setComputePipelineState:*pipeline];
    for (const Argument& a : d.arguments) {
      const auto index = static_cast<NSUInteger>(a.index);
      if (const Resident* r = resident_of(residents, a)) {
        [encoder setBuffer:r->buffer offset:r->offset(a.data) atIndex:index];
      } else if (a.copied.empty()) {
        [encoder setBuffer:absent_ offset:0 atIndex:index];
      } else if (a.copied.size() <= kMostBytes) {
        [encoder setBytes:a.copied.data() length:a.copied.size() atIndex:index];
      } else {
        id<MTLBuffer> buffer = [device_ newBufferWithBytes:a.copied.data()
                                                    length:a.copied.size()
                                                   options:MTLResourceStorageModeShared];
        [encoder setBuffer:buffer offset:0 atIndex:index];
      }
    }
    for (std::size_t i = 0; i < d.threadgroup_memory.size(); ++i) {
      [encoder setThreadgroupMemoryLength:d.threadgroup_memory[i] atIndex:i];
    }
    [encoder dispatchThreadgroups:MTLSizeMake(d.threadgroups.x, d.threadgroups.y, d.threadgroups.z)
            threadsPerThreadgroup:MTLSizeMake(d.threads.x, d.threads.y, d.threads.z)];
    return {};
  }

  Expected<id<MTLComputePipelineState>> pipeline_of(const Dispatch& d) {
    std::string key = d.function;
    for (const FunctionConstantValue& c : d.constants)
      key += " " + std::to_string(c.index) + "=" + std::to_string(std::bit_cast<std::uint64_t>(c.value));
    const auto known = pipelines_.find(key);
    if (known != pipelines_.end()) return known->second;
    std::vector<std::string> names;
    for (id<MTLLibrary> library : libraries_) {
      id<MTLFunction> plain = [library newFunctionWithName:ns(d.function)];
      if (plain == nil) {
        for (NSString* name in [library functionNames]) names.emplace_back([name UTF8String]);
        continue;
      }
      MTLFunctionConstantValues* values = [[MTLFunctionConstantValues alloc] init];
      NSDictionary<NSString*, MTLFunctionConstant*>* declared = [plain functionConstantsDictionary];
      for (NSString* name in declared) {
        MTLFunctionConstant* constant = declared[name];
        for (const FunctionConstantValue& c : d.constants) {
          if (static_cast<NSUInteger>(c.index) != [constant index]) continue;
          if (!set_constant(values, c.value, [constant type], c.index))
            return input_error(d.function + ": function constant " + [name UTF8String] +
                               " is of a type that has no value here");
        }
      }
      NSError* error = nil;
      id<MTLFunction> function = [library newFunctionWithName:ns(d.function) constantValues:values error:&error];
      if (function == nil) return input_error(d.function + ": " + text_of(error));
      id<MTLComputePipelineState> pipeline = [device_ newComputePipelineStateWithFunction:function error:&error];
      if (pipeline == nil) return input_error(d.function + ": " + text_of(error));
      if ([pipeline threadExecutionWidth] != 32)
        return harness_error("metal: simdgroups of this GPU have " + std::to_string([pipeline threadExecutionWidth]) +
                             " lanes");
      pipelines_.emplace(key, pipeline);
      return pipeline;
    }
    return input_error("no kernel is called '" + d.function + "'", did_you_mean(d.function, names));
  }

  id<MTLDevice> device_;
  id<MTLCommandQueue> queue_;
  id<MTLBuffer> absent_;  // arguments that are not given: NaN
  std::vector<id<MTLLibrary>> libraries_;
  std::map<std::string, id<MTLComputePipelineState>> pipelines_;
};

}  // namespace

Expected<std::unique_ptr<Device>> make_apple_device() {
  id<MTLDevice> device = MTLCreateSystemDefaultDevice();
  if (device == nil) return harness_error("metal: " + apple_unavailable());
  return std::make_unique<AppleDevice>(device);
}

std::string apple_unavailable() {
  return MTLCreateSystemDefaultDevice() == nil ? "this machine has no Metal device; metal:sim runs the same kernels"
                                               : std::string();
}

}  // namespace attest::metal
