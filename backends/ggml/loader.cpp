#include "backends/ggml/loader.h"

#include <dlfcn.h>

#include <algorithm>
#include <cctype>
#include <cstdio>
#include <cstdlib>

#include "backends/library_file.h"

namespace attest::ggml {
namespace {

namespace fs = std::filesystem;

template <class F>
F function(void* symbol) {
  return reinterpret_cast<F>(symbol);  // NOLINT: what dlsym is for
}

bool same_name(std::string_view a, std::string_view b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(), [](char x, char y) {
    return std::tolower(static_cast<unsigned char>(x)) == std::tolower(static_cast<unsigned char>(y));
  });
}

void keep_message(int level, const char* text, void* user) {
  constexpr int kWarning = 3, kContinued = 5;  // an error is 4
  if (text == nullptr || level < kWarning || level > kContinued) return;
  auto& message = *static_cast<std::string*>(user);
  if (level != kContinued) message.clear();
  message += text;
  while (!message.empty() && message.back() == '\n') message.pop_back();
}

std::string joined(const std::vector<std::string>& words) {
  std::string out;
  for (const std::string& word : words) out += (out.empty() ? "" : ", ") + word;
  return out.empty() ? "none" : out;
}

std::string or_empty(const char* text) { return text == nullptr ? "" : text; }

}  // namespace

bool FoundDevice::has_feature(std::string_view feature) const {
  return std::any_of(features.begin(), features.end(),
                     [&](const auto& f) { return f.first == feature && f.second != "0"; });
}

Expected<std::shared_ptr<Library>> Library::open(const fs::path& dir) {
  static std::shared_ptr<Library> loaded;  // one build per process, whoever asks
  auto files = find_build(dir);
  if (!files) return Unexpected(files.error());
  std::error_code ignored;
  files->dir = fs::canonical(files->dir, ignored);
  if (loaded) {
    if (loaded->files_.dir == files->dir) return loaded;
    return harness_error("this process has loaded the ggml build in " + loaded->files_.dir.string() +
                         "; a second one (" + files->dir.string() + ") needs a process of its own");
  }
  std::shared_ptr<Library> library(new Library);
  if (auto done = library->load(std::move(*files)); !done) return Unexpected(done.error());
  loaded = library;
  return library;
}

void* Library::symbol(const char* name) const {
  for (void* handle : handles_) {
    if (void* found = dlsym(handle, name)) return found;
  }
  return nullptr;
}

void Library::resolve_optional() {
#define ATTEST_GGML_RESOLVE(ret, name, args) \
  if (api_.name == nullptr) api_.name = function<ret(*) args>(symbol(#name));
  ATTEST_GGML_OPTIONAL(ATTEST_GGML_RESOLVE)
#undef ATTEST_GGML_RESOLVE
}

Expected<void> Library::load(BuildFiles files) {
  files_ = std::move(files);
  setenv("GGML_NO_BACKTRACE", "1", 0);  // else a failed assertion starts a debugger
  const bool one_library = files_.base.empty();
  const fs::path& first = one_library ? files_.registry : files_.base;
  auto handle = open_library(first);
  if (!handle) return Unexpected(handle.error());
  handles_.push_back(*handle);
  registry_loaded_ = one_library;

#define ATTEST_GGML_RESOLVE(ret, name, args)        \
  api_.name = function<ret(*) args>(symbol(#name)); \
  if (api_.name == nullptr) return harness_error(first.string() + " has no function " #name);
  ATTEST_GGML_REQUIRED(ATTEST_GGML_RESOLVE)
#undef ATTEST_GGML_RESOLVE
  resolve_optional();
  api_.ggml_log_set(keep_message, &message_);
  return {};
}

std::string Library::version() const {
  std::string text = api_.ggml_version == nullptr ? "" : or_empty(api_.ggml_version());
  const std::string commit = api_.ggml_commit == nullptr ? "" : or_empty(api_.ggml_commit());
  if (!commit.empty()) text += (text.empty() ? "(" : " (") + commit + ")";
  return text;
}

bool at_least(const Api& api, int major, int minor, int patch) {
  int a = 0, b = 0, c = 0;
  if (api.ggml_version == nullptr || std::sscanf(api.ggml_version(), "%d.%d.%d", &a, &b, &c) < 2) return false;
  return std::make_tuple(a, b, c) >= std::make_tuple(major, minor, patch);
}

std::string Library::take_message() { return std::exchange(message_, {}); }

const std::vector<CpuVariant>& Library::cpu_variants() {
  if (variants_known_) return variants_;
  variants_known_ = true;
  for (const BackendFile& file : files_.backends) {
    if (file.family != "cpu") continue;
    CpuVariant variant{file.variant, file.path, 0};
    if (auto handle = open_library(file.path)) {
      const auto score = function<int (*)()>(dlsym(*handle, "ggml_backend_score"));
      // Without a score the file is the one CPU backend of an ordinary build, made for the machine it is on.
      variant.score = score != nullptr ? score() : 1;
      dlclose(*handle);
    }
    variants_.push_back(std::move(variant));
  }
  std::stable_sort(variants_.begin(), variants_.end(),
                   [](const CpuVariant& a, const CpuVariant& b) { return a.score > b.score; });
  return variants_;
}

Expected<Registry*> Library::backend_file(const fs::path& path) {
  auto handle = open_library(path);
  if (!handle) return Unexpected(handle.error());
  for (const char* name : {"ggml_backend_init", "ggml_backend_cpu_reg"}) {
    if (const auto init = function<Registry* (*)()>(dlsym(*handle, name))) {
      Registry* registry = init();
      if (registry == nullptr) return harness_error(path.string() + " does not start on this machine");
      return registry;
    }
  }
  return harness_error(path.string() + " has no function ggml_backend_init and no ggml_backend_cpu_reg");
}

FoundDevice Library::describe(Device* device, std::string variant) const {
  FoundDevice found;
  found.device = device;
  found.name = or_empty(api_.ggml_backend_dev_name(device));
  found.description = or_empty(api_.ggml_backend_dev_description(device));
  found.variant = std::move(variant);
  found.registry = api_.ggml_backend_dev_backend_reg(device);
  if (found.registry == nullptr) return found;
  found.cpu = or_empty(api_.ggml_backend_reg_name(found.registry)) == "CPU";
  const auto proc = [&](const char* name) { return api_.ggml_backend_reg_get_proc_address(found.registry, name); };
  found.set_n_threads = function<void (*)(Engine*, int)>(proc("ggml_backend_set_n_threads"));
  if (found.set_n_threads == nullptr && found.cpu) found.set_n_threads = api_.ggml_backend_cpu_set_n_threads;
  found.set_use_ref = function<void (*)(Engine*, bool)>(proc("ggml_backend_cpu_set_use_ref"));
  if (const auto features = function<Feature* (*)(Registry*)>(proc("ggml_backend_get_features"))) {
    for (const Feature* f = features(found.registry); f != nullptr && f->name != nullptr; ++f) {
      found.features.emplace_back(f->name, or_empty(f->value));
    }
  }
  return found;
}

Expected<FoundDevice> Library::cpu_device(const std::string& variant) {
  const auto& variants = cpu_variants();
  std::vector<std::string> names, runnable;
  for (const CpuVariant& v : variants) {
    if (v.name.empty()) continue;
    names.push_back(v.name);
    if (v.score > 0) runnable.push_back(v.name);
  }
  const CpuVariant* chosen = nullptr;
  if (variant.empty()) {
    if (!variants.empty() && variants.front().score > 0) chosen = &variants.front();
  } else {
    const auto it = std::find_if(variants.begin(), variants.end(), [&](const auto& v) { return v.name == variant; });
    if (it == variants.end()) {
      const std::string hint =
          variant == "*" ? "variant=* is many backends: attest run takes it" : did_you_mean(variant, names);
      return input_error("this ggml build has no CPU variant '" + variant + "'; runnable here: " + joined(runnable),
                         hint);
    }
    if (it->score <= 0) {
      return harness_error("the CPU variant '" + variant + "' needs instructions this machine does not have",
                           "runnable here: " + joined(runnable));
    }
    chosen = &*it;
  }
  if (chosen == nullptr) {
    return harness_error("the ggml build in " + files_.dir.string() + " has no CPU backend that runs on this machine");
  }
  auto registry = backend_file(chosen->path);
  if (!registry) return Unexpected(registry.error());
  if (api_.ggml_backend_reg_dev_count(*registry) == 0) {
    return harness_error(chosen->path.string() + " offers no device");
  }
  return describe(api_.ggml_backend_reg_dev_get(*registry, 0), chosen->name);
}

Expected<std::vector<FoundDevice>> Library::devices() {
  std::vector<FoundDevice> found;
  if (!files_.registry.empty()) {
    if (!registry_loaded_) {
      auto handle = open_library(files_.registry);
      if (!handle) return Unexpected(handle.error());
      handles_.push_back(*handle);
      registry_loaded_ = true;
      resolve_optional();
    }
    if (api_.ggml_backend_dev_count != nullptr && api_.ggml_backend_dev_get != nullptr) {
      if (api_.ggml_backend_dev_count() == 0 && api_.ggml_backend_load_all_from_path != nullptr) {
        api_.ggml_backend_load_all_from_path(files_.dir.c_str());
      }
      for (std::size_t i = 0; i < api_.ggml_backend_dev_count(); ++i) {
        found.push_back(describe(api_.ggml_backend_dev_get(i), ""));
      }
      return found;
    }
  }
  for (const BackendFile& file : files_.backends) {
    if (file.family == "cpu") continue;
    auto registry = backend_file(file.path);
    if (!registry) continue;  // a driver that is not there is no error of the build
    for (std::size_t i = 0; i < api_.ggml_backend_reg_dev_count(*registry); ++i) {
      found.push_back(describe(api_.ggml_backend_reg_dev_get(*registry, i), ""));
    }
  }
  if (auto cpu = cpu_device("")) found.push_back(std::move(*cpu));
  return found;
}

Expected<FoundDevice> Library::device(const std::string& name, const std::string& variant) {
  const bool wants_cpu = same_name(name, "CPU");
  const bool cpu_files = std::any_of(files_.backends.begin(), files_.backends.end(),
                                     [](const BackendFile& f) { return f.family == "cpu"; });
  if (wants_cpu && (cpu_files || !variant.empty())) return cpu_device(variant);
  if (!variant.empty()) return input_error("only the device CPU has variants");
  auto all = devices();
  if (!all) return Unexpected(all.error());
  std::vector<std::string> names;
  for (FoundDevice& device : *all) {
    if (wants_cpu ? device.cpu : same_name(device.name, name)) return std::move(device);
    names.push_back(device.name);
  }
  const std::string message = "this ggml build has no device '" + name + "'; it has " + joined(names);
  const std::string hint = did_you_mean(name, names);
  // A misspelt device is the user's mistake; one that is not near any is a device this machine does not have.
  return hint.empty() ? harness_error(message) : input_error(message, hint);
}

}  // namespace attest::ggml
