// A compiled kernel file in this process: its kernels by name, its function constants by index.
#pragma once

#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "backends/metal/device.h"
#include "backends/metal/sim/abi.h"
#include "cases/error.h"

namespace attest::metal {

class LoadedModule {
 public:
  // Error (harness): the shared object does not load.
  static Expected<std::shared_ptr<LoadedModule>> open(const std::filesystem::path& object);
  ~LoadedModule();
  LoadedModule(const LoadedModule&) = delete;
  LoadedModule& operator=(const LoadedModule&) = delete;

  const msl::Module& module() const { return module_; }
  // Errors (input): no such kernel (with the nearest name).
  Expected<const msl::Kernel*> kernel(const std::string& name) const;
  // Sets the given constants, marks the others undefined and works out those that depend on them. Errors (input): a
  // value of another kind; none for a constant that the kernel leads to and that the file does not ask after.
  Expected<void> set_constants(const msl::Kernel& kernel, const std::vector<FunctionConstantValue>& values);
  // "vec.metal:120" of a code address.
  std::string line_of(const void* pc) const;

 private:
  LoadedModule() = default;
  std::filesystem::path object_;
  void* handle_ = nullptr;
  msl::Module module_{};
  std::vector<msl::Block> blocks_;
  mutable std::map<const void*, std::string> lines_;
};

}  // namespace attest::metal
