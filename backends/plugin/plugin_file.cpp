#include "backends/plugin/plugin_file.h"

#include <dlfcn.h>

#include <cstddef>

#include "backends/library_file.h"

namespace attest::plugin {

namespace fs = std::filesystem;

std::string clean_text(const char* text) {
  constexpr std::size_t kLongest = 1000;
  std::string clean;
  for (; text != nullptr && *text != '\0' && clean.size() < kLongest; ++text) {
    const auto c = static_cast<unsigned char>(*text);
    const bool blank = c <= 0x20 || c == 0x7f;
    if (!blank) clean += *text;
    if (blank && !clean.empty() && clean.back() != ' ') clean += ' ';
  }
  if (!clean.empty() && clean.back() == ' ') clean.pop_back();
  return clean;
}

Expected<const attest_plugin*> open_plugin(const fs::path& file) {
  std::error_code ignored;
  if (!fs::exists(file, ignored)) {
    return harness_error("plugin: " + file.string() + ": no such file",
                         "plugin:FILE takes a shared library; a comma begins an option");
  }
  if (fs::is_directory(file, ignored)) return harness_error("plugin: " + file.string() + " is a directory");
  auto handle = open_library(fs::absolute(file));
  if (!handle) return Unexpected(handle.error());
  const std::string who = "plugin: " + file.string();
  const auto entry = reinterpret_cast<attest_plugin_entry_fn>(dlsym(*handle, "attest_plugin_entry"));
  if (entry == nullptr) {
    return harness_error(who + " has no function attest_plugin_entry",
                         "declare it extern \"C\" and export it; attest_plugin.h has its type");
  }
  const attest_plugin* plugin = entry(ATTEST_PLUGIN_ABI_VERSION);
  const std::string ours = std::to_string(ATTEST_PLUGIN_ABI_VERSION);
  if (plugin == nullptr) {
    return harness_error(who + ": attest_plugin_entry(" + ours + ") returned NULL: it does not serve ABI version " +
                         ours);
  }
  if (plugin->abi_version != ATTEST_PLUGIN_ABI_VERSION) {
    return harness_error(
        who + " is built for ABI version " + std::to_string(plugin->abi_version) + ", this attest has version " + ours,
        "build it with this attest's attest_plugin.h");
  }
  if (plugin->struct_size < sizeof(attest_plugin)) {
    return harness_error(who + ": its struct attest_plugin has " + std::to_string(plugin->struct_size) +
                             " bytes, ABI version " + ours + " has " + std::to_string(sizeof(attest_plugin)),
                         "set struct_size to sizeof(attest_plugin)");
  }
  if (clean_text(plugin->name).empty()) return harness_error(who + ": its struct attest_plugin has no name");
  if (plugin->supports == nullptr) return harness_error(who + ": its function supports is NULL");
  if (plugin->run == nullptr) return harness_error(who + ": its function run is NULL");
  return plugin;
}

}  // namespace attest::plugin
