#include "backends/registry.h"

#include <algorithm>
#include <charconv>

#include "backends/cpu/cpu_backend.h"
#include "backends/ggml/backend.h"
#include "backends/metal/backend.h"
#include "backends/metal/manifest/msl_backend.h"
#include "backends/mutant/mutant_backend.h"
#include "backends/plugin/plugin_backend.h"
#include "backends/process/process_backend.h"

namespace attest {
namespace {

constexpr int kMaxThreads = 1024;

Unexpected spec_error(std::string_view text, std::size_t at, std::string message, std::string hint = {}) {
  Error error{ErrorKind::input,  std::move(message), {}, 0, static_cast<int>(at) + 1,
              std::string(text), std::move(hint)};
  return Unexpected(std::move(error));
}

bool is_family_letter(char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_' || c == '-'; }

using Factory = Expected<std::unique_ptr<Backend>> (*)(const BackendSpec&, const BackendEnvironment&);

Factory factory_of(std::string_view family) {
#define ATTEST_BACKEND(name, usage, description, own_process, factory) \
  if (family == #name) return factory;
#include "backends/backends.def"
#undef ATTEST_BACKEND
  return nullptr;
}

}  // namespace

// family[@build][:variant][,key[=value]...]
Expected<BackendSpec> BackendSpec::parse(std::string_view text) {
  BackendSpec spec;
  std::size_t at = 0;
  const auto take_until = [&](std::string_view stops) {
    const std::size_t end = std::min(text.find_first_of(stops, at), text.size());
    const std::string word(text.substr(at, end - at));
    at = end;
    return word;
  };
  const auto next_is = [&](char c) { return at < text.size() && text[at] == c; };

  spec.family = take_until("@:,");
  if (spec.family.empty()) return spec_error(text, 0, "a backend's name starts with its family", "e.g. cpu:tiled");
  const auto odd = std::find_if_not(spec.family.begin(), spec.family.end(), is_family_letter);
  if (odd != spec.family.end()) {
    return spec_error(text, static_cast<std::size_t>(odd - spec.family.begin()),
                      "a backend's family is written in lower-case letters and digits", "e.g. cpu:tiled,threads=2");
  }
  if (next_is('@')) {
    ++at;
    const std::size_t start = at;
    spec.build = take_until(":,");
    if (spec.build.empty()) return spec_error(text, start, "the build's name is missing after '@'");
  }
  if (next_is(':')) {
    ++at;
    const std::size_t start = at;
    spec.variant = take_until(",");
    if (spec.variant.empty()) return spec_error(text, start, "the variant is missing after ':'");
  }
  while (next_is(',')) {
    ++at;
    const std::size_t start = at;
    const std::string item = take_until(",");
    const std::size_t equals = item.find('=');
    const std::string key = item.substr(0, equals);
    if (key.empty()) return spec_error(text, start, "an option's name is missing after ','");
    if (spec.option(key) != nullptr) return spec_error(text, start, "option '" + key + "' is given twice");
    spec.options.emplace_back(key, equals == std::string::npos ? std::string() : item.substr(equals + 1));
    if (equals != std::string::npos && spec.options.back().second.empty()) {
      return spec_error(text, start + equals + 1, "option '" + key + "' has no value after '='");
    }
  }
  return spec;
}

std::string BackendSpec::text() const {
  std::string out = family;
  if (!build.empty()) out += "@" + build;
  if (!variant.empty()) out += ":" + variant;
  for (const auto& [key, value] : options) {
    out += "," + key;
    if (!value.empty()) out += "=" + value;
  }
  return out;
}

const std::string* BackendSpec::option(std::string_view key) const {
  for (const auto& [name, value] : options) {
    if (name == key) return &value;
  }
  return nullptr;
}

Expected<int> BackendSpec::threads() const {
  const std::string* given = option("threads");
  if (given == nullptr) return 1;
  int value = 0;
  const char* end = given->data() + given->size();
  const auto [stop, failed] = std::from_chars(given->data(), end, value);
  if (failed != std::errc() || stop != end || value < 1 || value > kMaxThreads) {
    const std::string whole = text();
    return spec_error(whole, whole.find(",threads") + 1,
                      "threads=" + *given + " is not a number of threads from 1 to " + std::to_string(kMaxThreads));
  }
  return value;
}

const std::vector<BackendFamily>& backend_families() {
  static const std::vector<BackendFamily> families = {
#define ATTEST_BACKEND(name, usage, description, own_process, factory) {#name, usage, description, own_process},
#include "backends/backends.def"
#undef ATTEST_BACKEND
  };
  return families;
}

std::vector<BackendListing> builtin_listings() {
  std::vector<BackendListing> listings = cpu_listings();
  for (BackendListing& listing : mutant_listings()) listings.push_back(std::move(listing));
  for (BackendListing& metal : metal_listings()) listings.push_back(std::move(metal));
  return listings;
}

Expected<std::unique_ptr<Backend>> make_backend(const BackendSpec& spec, const BackendEnvironment& environment) {
  if (const Factory make = factory_of(spec.family)) return make(spec, environment);
  std::vector<std::string> names;
  for (const BackendFamily& family : backend_families()) names.emplace_back(family.name);
  return spec_error(spec.text(), 0, "no backend family is called '" + spec.family + "'",
                    did_you_mean(spec.family, names));
}

}  // namespace attest
