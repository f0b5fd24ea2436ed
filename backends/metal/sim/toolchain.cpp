#include "backends/metal/sim/toolchain.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <spawn.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include <xxhash.h>

#include <array>
#include <cstdlib>
#include <fstream>
#include <sstream>

#include "backends/metal/sim/abi.h"
#include "backends/metal/sim/prepare.h"
#include "cases/cache_dir.h"
#include "cases/embedded_files.h"

extern "C" char** environ;

namespace attest::metal {

namespace fs = std::filesystem;

namespace {

constexpr std::string_view kHeaders = "backends/metal/sim/";
constexpr std::array<std::string_view, 10> kStandardHeaders{
    "metal_stdlib",  "metal_math",   "metal_integer",          "metal_common",    "metal_atomic",
    "metal_compute", "metal_matrix", "metal_simdgroup_matrix", "metal_simdgroup", "metal_simdgroup_event"};

struct Ran {
  int status = -1;
  std::string output;  // standard output and error together
};

Ran run(const std::vector<std::string>& words, const fs::path& output) {
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, output.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0600);
  posix_spawn_file_actions_adddup2(&actions, STDOUT_FILENO, STDERR_FILENO);
  std::vector<char*> argv;
  for (const std::string& w : words) argv.push_back(const_cast<char*>(w.c_str()));
  argv.push_back(nullptr);
  pid_t pid = 0;
  Ran ran;
  const int failed = posix_spawnp(&pid, argv[0], &actions, nullptr, argv.data(), environ);
  posix_spawn_file_actions_destroy(&actions);
  if (failed != 0) return ran;
  while (waitpid(pid, &ran.status, 0) < 0 && errno == EINTR) {
  }
  std::ostringstream text;
  text << std::ifstream(output).rdbuf();
  ran.output = text.str();
  return ran;
}

fs::path in_path(const std::string& program) {
  const char* path = std::getenv("PATH");
  std::istringstream dirs(path != nullptr ? path : "");
  for (std::string dir; std::getline(dirs, dir, ':');) {
    const fs::path candidate = fs::path(dir.empty() ? "." : dir) / program;
    if (access(candidate.c_str(), X_OK) == 0) return candidate;
  }
  return {};
}

// A directory of our own below the cache's, made when first needed.
Expected<fs::path> cache_dir() {
  fs::path root = default_cache_dir();
  if (root.empty()) root = fs::temp_directory_path() / fmt::format("attest-{}", getuid());
  root /= "metal";
  std::error_code error;
  fs::create_directories(root, error);
  if (error || access(root.c_str(), W_OK) != 0) {
    return harness_error(fmt::format("cannot write compiled kernels to {}", root.string()),
                         "ATTEST_CACHE_DIR names another directory");
  }
  return root;
}

bool write_file(const fs::path& path, std::string_view text) {
  const fs::path temporary = path.string() + fmt::format(".{}.tmp", getpid());
  std::error_code error;
  fs::create_directories(path.parent_path(), error);
  {
    std::ofstream out(temporary, std::ios::binary);
    out << text;
    if (!out.flush()) return false;
  }
  fs::rename(temporary, path, error);
  return !error;
}

std::string hash_of(std::string_view text) {
  const XXH128_hash_t h = XXH3_128bits(text.data(), text.size());
  return fmt::format("{:016x}{:016x}", h.high64, h.low64);
}

// Where a header lies below the include directory, as its includes name it.
std::string header_path(const EmbeddedFile& file) {
  return fmt::format("{}{}{}", kHeaders, file.name == "abi.h" ? "" : "msl/", file.name);
}

const std::string& headers_text() {
  static const std::string all = [] {
    std::string text;
    for (const EmbeddedFile& file : embedded_metal_headers()) text += header_path(file) + "\n" + file.text();
    return text;
  }();
  return all;
}

// Our headers as files, under the hash of their text; and empty ones for the preprocessor's own pass.
Expected<fs::path> lay_out_headers(const fs::path& cache) {
  const fs::path root = cache / ("headers-" + hash_of(headers_text()));
  const auto put = [](const fs::path& path, const std::string& text) {
    return fs::exists(path) || write_file(path, text);
  };
  bool fine = true;
  for (const EmbeddedFile& file : embedded_metal_headers()) fine = fine && put(root / header_path(file), file.text());
  for (const std::string_view name : kStandardHeaders) fine = fine && put(root / "names" / name, "");
  if (!fine) return harness_error(fmt::format("cannot write to {}", root.string()));
  return root;
}

std::vector<std::string> target_flags() {
#if defined(__x86_64__)
  __builtin_cpu_init();
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("bmi2"))
    return {"-march=x86-64-v3"};
  return {"-msse4.1"};
#else
  return {};
#endif
}

std::vector<std::string> language_flags(const Toolchain& toolchain) {
  std::vector<std::string> flags{
      "-x", "c++", "-std=c++17", "-nostdinc", "-fdeclspec", "-D__METAL__=1", "-D__METAL_VERSION__=310"};
  flags.emplace_back(toolchain.bfloat ? "-D__HAVE_BFLOAT__=1" : "-DATTEST_MSL_NO_BFLOAT");
  return flags;
}

std::vector<std::string> code_flags(const Toolchain& toolchain, Telling telling) {
  std::vector<std::string> flags{"-O2",
                                 "-fPIC",
                                 "-shared",
                                 "-fvisibility=hidden",
                                 "-ffp-contract=off",
                                 "-fno-exceptions",
                                 "-fno-rtti",
                                 "-fno-strict-aliasing",
                                 "-fwrapv",
                                 "-fno-threadsafe-statics",
                                 "-Xclang",
                                 "-ffloat16-excess-precision=none",
                                 "-w",
                                 "-Werror=return-type",
                                 "-Wno-reserved-user-defined-literal",
                                 "-ferror-limit=5",
                                 "-fno-caret-diagnostics",
                                 "-gline-tables-only",
                                 "--rtlib=compiler-rt"};
  if (toolchain.bfloat) flags.insert(flags.end(), {"-Xclang", "-fbfloat16-excess-precision=none"});
  for (auto& f : target_flags()) flags.push_back(f);
  if (telling == Telling::accesses) {
    flags.insert(flags.end(), {"-DATTEST_MSL_CHECKS", "-fsanitize=thread", "-fno-sanitize-thread-atomics",
                               "-fno-sanitize-thread-func-entry-exit", "-mllvm", "-tsan-instrument-read-before-write"});
  }
  if (telling == Telling::steps) {
    // Accesses stay apart as written, and functions become part of their kernel: one order of all its blocks.
    flags.insert(flags.end(),
                 {"-DATTEST_MSL_STEPS", "-fno-vectorize", "-fno-slp-vectorize",
                  "-fsanitize-coverage=bb,no-prune,trace-pc-guard,trace-loads,trace-stores,pc-table,control-flow",
                  "-mllvm", "-disable-loop-idiom-all", "-mllvm", "-disable-licm-promotion", "-mllvm",
                  "-enable-load-pre=false", "-mllvm", "-inline-threshold=20000"});
  }
  return flags;
}

// "vec.metal:12:5: error: ..." of a compiler's output, as an error of the user's file.
Unexpected compiler_error(std::string_view name, const std::string& output) {
  std::istringstream lines(output);
  for (std::string line; std::getline(lines, line);) {
    const auto mark = line.find("error: ");
    if (mark == std::string::npos) continue;
    Error error{ErrorKind::input, line.substr(mark + 7), std::string(name), 0, 0, {}, {}};
    std::istringstream place(line.substr(0, mark));
    std::string file, row, column;
    if (std::getline(place, file, ':') && std::getline(place, row, ':') && std::getline(place, column, ':')) {
      error.file = file;
      error.line = std::atoi(row.c_str());
      error.column = std::atoi(column.c_str());
    }
    // Inside our headers: what the compiler says next names the line that led there.
    if (error.file.find(kHeaders) != std::string::npos) error.hint = output.substr(0, 600);
    return Unexpected(std::move(error));
  }
  return harness_error(fmt::format("{}: the compiler failed: {}", name, output.substr(0, 600)));
}

class Lock {
 public:
  explicit Lock(const fs::path& path) : fd_(open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600)) {
    if (fd_ >= 0) flock(fd_, LOCK_EX);
  }
  ~Lock() {
    if (fd_ >= 0) close(fd_);
  }
  Lock(const Lock&) = delete;
  Lock& operator=(const Lock&) = delete;

 private:
  int fd_;
};

}  // namespace

Expected<Toolchain> find_toolchain() {
  std::vector<std::string> names;
  if (const char* given = std::getenv("ATTEST_CLANG"); given != nullptr && *given != '\0') {
    names.emplace_back(given);
  } else {
    for (const int v : {19, 20, 21, 18, 17, 16}) names.push_back(fmt::format("clang-{}", v));
  }
  for (const std::string& name : names) {
    const fs::path path = name.find('/') != std::string::npos ? fs::path(name) : in_path(name);
    std::error_code error;
    const fs::path real = fs::canonical(path, error);
    if (path.empty() || error || access(real.c_str(), X_OK) != 0) continue;
    struct stat st {};
    if (stat(real.c_str(), &st) != 0) continue;
    Toolchain t;
    t.clang = path;
    const auto dash = name.rfind('-');
    t.version = dash == std::string::npos ? 19 : std::atoi(name.c_str() + dash + 1);
    t.bfloat = t.version == 0 || t.version > 16;
    t.identity = fmt::format("{} {} {}", real.string(), st.st_size, st.st_mtime);
    return t;
  }
  return harness_error("the Metal simulator needs clang 19 (or 16, without bf16), and none is here",
                       "ci/setup installs it: apt-get install clang-19 libclang-rt-19-dev");
}

Expected<fs::path> compile_msl(const Toolchain& toolchain, std::string_view name, std::string_view source,
                               Telling telling) {
  const auto cache = cache_dir();
  if (!cache) return Unexpected(cache.error());
  std::vector<std::string> language = language_flags(toolchain), code = code_flags(toolchain, telling);
  const std::string key =
      hash_of(fmt::format("{}|{}|{}|{}|{}|{}|{}", msl::kAbi, toolchain.identity, fmt::join(language, " "),
                          fmt::join(code, " "), headers_text(), name, source));
  const fs::path object = *cache / (key + ".so");
  const auto touch = [&] {
    std::error_code error;
    fs::last_write_time(object, fs::file_time_type::clock::now(), error);
    return !error;
  };
  if (touch()) return object;
  const Lock lock(*cache / (key + ".lock"));  // one process compiles, others wait for it
  if (touch()) return object;

  const auto headers = lay_out_headers(*cache);
  if (!headers) return Unexpected(headers.error());
  const fs::path work = *cache / fmt::format("{}.{}.work", key, getpid());
  std::error_code ignored;
  struct Sweep {
    const fs::path& dir;
    ~Sweep() {
      std::error_code e;
      fs::remove_all(dir, e);
    }
  } sweep{work};
  fs::create_directories(work, ignored);
  const fs::path original = work / "source.metal", expanded = work / "expanded.metal",
                 prepared = work / "prepared.metal";
  if (!write_file(original, fmt::format("#line 1 \"{}\"\n{}", name, source))) {
    return harness_error(fmt::format("cannot write to {}", work.string()));
  }
  std::vector<std::string> words{toolchain.clang.string(), "-E"};
  words.insert(words.end(), language.begin(), language.end());
  words.insert(words.end(), {"-I", (*headers / "names").string(), "-o", expanded.string(), original.string()});
  Ran ran = run(words, work / "log");
  if (ran.status != 0) return compiler_error(name, ran.output);
  std::ostringstream text;
  text << std::ifstream(expanded).rdbuf();
  const auto rewritten = prepare_msl(text.str());
  if (!rewritten) return Unexpected(rewritten.error());
  if (!write_file(prepared, *rewritten)) return harness_error(fmt::format("cannot write to {}", work.string()));

  words = {toolchain.clang.string()};
  words.insert(words.end(), language.begin(), language.end());
  words.insert(words.end(), code.begin(), code.end());
  const fs::path built = work / "built.so";
  words.insert(words.end(), {"-I", headers->string(), "-include", (*headers / kHeaders / "msl/metal_stdlib").string(),
                             "-o", built.string(), prepared.string(), "-lm"});
  ran = run(words, work / "log");
  if (ran.status != 0) return compiler_error(name, ran.output);
  fs::rename(built, object, ignored);
  if (ignored) return harness_error(fmt::format("cannot write {}", object.string()));
  fs::remove(*cache / (key + ".lock"), ignored);
  return object;
}

std::string source_line(const fs::path& object, std::uintptr_t offset) {
  const auto cache = cache_dir();
  if (!cache) return {};
  const fs::path log = *cache / fmt::format("line.{}.tmp", getpid());
  const Ran ran = run({"addr2line", "-i", "-e", object.string(), fmt::format("{:#x}", offset)}, log);
  std::error_code ignored;
  fs::remove(log, ignored);
  std::istringstream lines(ran.status == 0 ? ran.output : "");
  std::string file;
  for (std::string line; std::getline(lines, line);) {
    if (line.find(kHeaders) != std::string::npos || line.starts_with("?")) continue;
    std::string place = line.substr(line.rfind('/') + 1);
    place = place.substr(0, place.find(' '));
    if (!place.ends_with(":?")) return place;
    if (file.empty()) file = place.substr(0, place.size() - 2);  // the compiler merged several lines
  }
  return file;
}

}  // namespace attest::metal
