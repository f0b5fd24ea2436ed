#include "cases/cache_dir.h"

#include <cstdlib>

namespace attest {

namespace fs = std::filesystem;

fs::path default_cache_dir() {
  const auto set = [](const char* name) {
    const char* value = std::getenv(name);
    return value != nullptr && *value != '\0' ? fs::path(value) : fs::path();
  };
  if (fs::path own = set("ATTEST_CACHE_DIR"); !own.empty()) return own;
  if (fs::path xdg = set("XDG_CACHE_HOME"); !xdg.empty()) return xdg / "attest";
  const fs::path home = set("HOME");
  if (home.empty()) return {};
#ifdef __APPLE__
  return home / "Library" / "Caches" / "attest";
#else
  return home / ".cache" / "attest";
#endif
}

}  // namespace attest
