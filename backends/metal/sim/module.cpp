#include "backends/metal/sim/module.h"

#include <dlfcn.h>
#include <fmt/format.h>

#include <cstring>

#include "backends/metal/sim/block_order.h"
#include "backends/metal/sim/toolchain.h"

namespace attest::metal {

Expected<std::shared_ptr<LoadedModule>> LoadedModule::open(const std::filesystem::path& object) {
  std::shared_ptr<LoadedModule> loaded(new LoadedModule());
  loaded->object_ = object;
  loaded->handle_ = dlopen(object.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (loaded->handle_ == nullptr) return harness_error(fmt::format("a compiled kernel does not load: {}", dlerror()));
  using ModuleFunction = msl::Module (*)();
  const auto get = reinterpret_cast<ModuleFunction>(dlsym(loaded->handle_, msl::kModuleSymbol));
  if (get == nullptr) return harness_error(fmt::format("{} is no compiled kernel", object.string()));
  loaded->module_ = get();
  if (loaded->module_.abi != msl::kAbi) return harness_error(fmt::format("{} is of another attest", object.string()));
  loaded->blocks_ = number_blocks(loaded->module_);
  *loaded->module_.blocks = loaded->blocks_.data();
  return loaded;
}

LoadedModule::~LoadedModule() {
  if (handle_ != nullptr) dlclose(handle_);
}

Expected<const msl::Kernel*> LoadedModule::kernel(const std::string& name) const {
  std::vector<std::string> names;
  for (const msl::Kernel* k = module_.kernels; k != nullptr; k = k->next) {
    if (name == k->name) return k;
    names.emplace_back(k->name);
  }
  return input_error(fmt::format("the library has no kernel '{}'", name), did_you_mean(name, names));
}

Expected<void> LoadedModule::set_constants(const msl::Kernel& kernel,
                                           const std::vector<FunctionConstantValue>& values) {
  const std::string needed = std::string(";") + kernel.constants;
  for (msl::FunctionConstant* c = module_.constants; c != nullptr; c = c->next) {
    if (c->evaluate != nullptr) {
      c->evaluate();
      continue;
    }
    std::memset(c->value, 0, c->bytes);
    *c->defined = false;
    for (const FunctionConstantValue& v : values) {
      if (v.index != c->index) continue;
      if (v.kind != c->kind) {
        return input_error(
            fmt::format("function constant {} ('{}') is given a value of another kind", c->index, c->name));
      }
      *c->defined = true;
      const auto integer = static_cast<std::int64_t>(v.value);
      const auto single = static_cast<float>(v.value);
      if (c->kind == 'f' && c->bytes != sizeof single)
        return input_error(fmt::format("function constant '{}' is no float", c->name));
      // Little-endian: the low bytes are the narrow value.
      std::memcpy(c->value, c->kind == 'f' ? static_cast<const void*>(&single) : &integer, c->bytes);
    }
    if (!*c->defined && needed.find(fmt::format(";{};", c->name)) != std::string::npos) {
      return input_error(fmt::format("kernel '{}' needs function constant {} ('{}'), which is given no value",
                                     kernel.name, c->index, c->name));
    }
  }
  return {};
}

std::string LoadedModule::line_of(const void* pc) const {
  Dl_info found{};
  if (dladdr(pc, &found) == 0 || found.dli_fbase == nullptr) return "?";
  const auto at = lines_.find(pc);
  if (at != lines_.end()) return at->second;
  // The address after a call belongs to the next line at times.
  const auto offset =
      static_cast<std::uintptr_t>(static_cast<const char*>(pc) - static_cast<const char*>(found.dli_fbase)) - 1;
  std::string line = source_line(object_, offset);
  return lines_[pc] = line.empty() ? "?" : line;
}

}  // namespace attest::metal
