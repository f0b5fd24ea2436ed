#include "harness/doctor.h"

#include <sys/utsname.h>
#include <unistd.h>
#ifdef __linux__
#include <sched.h>
#endif

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <hwy/targets.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <map>
#include <thread>

#include "backends/cpu/simd.h"
#include "backends/metal/sim/toolchain.h"
#include "cases/cache_dir.h"
#include "harness/memory.h"
#include "harness/run/interview.h"
#include "oracles/eigen_kernels.h"
#include "reports/text.h"

namespace attest {

namespace {

namespace fs = std::filesystem;
using State = Finding::State;

std::string gib(double bytes) {
  return bytes < 0x1p30 ? fmt::format("{:.0f} MiB", bytes / 0x1p20) : fmt::format("{:.1f} GiB", bytes / 0x1p30);
}

int usable_cores() {
#ifdef __linux__
  cpu_set_t set;
  if (sched_getaffinity(0, sizeof set, &set) == 0) return CPU_COUNT(&set);
#endif
  return static_cast<int>(std::thread::hardware_concurrency());
}

std::string memory_text() {
  const MachineMemory memory = machine_memory();
  std::string text = gib(memory.physical);
  if (memory.available) text += ", " + gib(*memory.available) + " available";
  if (memory.container) text += ", " + gib(*memory.container) + " for this container";
  return text;
}

std::string simd_text() {
  std::vector<std::string> targets;
  for (std::int64_t rest = hwy::SupportedTargets(); rest != 0; rest &= rest - 1) {
    const std::string name = hwy::TargetName(rest & -rest);
    if (name != "EMU128" && name != "SCALAR" && name != "Unknown") targets.push_back(name);
  }
  return fmt::format("{} in cpu:* (this machine: {}), {} in the Eigen reference", cpu::primitives().target,
                     fmt::join(targets, " "), eigen_kernels<double>().isa);
}

// A case goes the whole way: subject process, shared memory, guard pages, key, verdict.
Finding self_check(const SubjectMaker& maker) {
  Finding finding{"machine", "self-check", State::here, "one case judged in a process of its own", {}};
  const auto c = parse_case("flash_attn_ext d=64 n_head=2 n_q=3 n_kv=70 mask=causal");
  Interview interview("cpu:vec", maker);
  auto verdict = c ? interview.verdict(*c, {}) : tl::make_unexpected(c.error());
  if (!verdict) {
    finding.state = State::broken;
    finding.says = verdict.error().message;
    finding.remedy = verdict.error().hint;
  } else if (*verdict != Verdict::PASS) {
    finding.state = State::broken;
    finding.says = fmt::format("attest's own kernel gets {} where it must get PASS", info(*verdict).name);
    finding.remedy = "this build of attest does not judge right on this machine: please report it";
  }
  return finding;
}

void add_machine(std::vector<Finding>& findings) {
  utsname system{};
  if (uname(&system) == 0) {
    findings.push_back({"machine",
                        "system",
                        State::here,
                        fmt::format("{} {} {}", system.sysname, system.release, system.machine),
                        {}});
  }
  const int cores = usable_cores();
  const auto all = std::max<long>(sysconf(_SC_NPROCESSORS_ONLN), cores);
  findings.push_back(
      {"machine", "cores", State::here, all > cores ? fmt::format("{} of {}", cores, all) : std::to_string(cores), {}});
  findings.push_back({"machine", "memory", State::here, memory_text(), {}});
  findings.push_back({"machine", "SIMD", State::here, simd_text(), {}});
}

// Deliberate bugs and their kin are listed by attest list mutants.
bool is_of_interest(const BackendListing& listing) {
  return listing.name.rfind("mutant:", 0) != 0 && listing.name.rfind("legal:", 0) != 0;
}

// The CPU variants of a ggml build, one line for those that run here.
struct Variants {
  std::vector<std::string> here, not_here;
};

void add_backends(const Expected<BackendEnvironment>& builds, std::vector<Finding>& findings) {
  if (!builds) {
    findings.push_back({"backends", "ggml", State::broken, builds.error().message, builds.error().hint});
  }
  const BackendEnvironment environment = builds ? *builds : BackendEnvironment{};
  std::map<std::string, Variants> variants;
  for (const BackendListing& l : all_listings(environment)) {
    if (!is_of_interest(l)) continue;
    if (const auto at = l.name.find(",variant="); at != std::string::npos) {
      Variants& of = variants[l.name.substr(0, at)];
      (l.available ? of.here : of.not_here).push_back(l.name.substr(l.name.find('=') + 1));
      continue;
    }
    Finding finding{
        "backends", l.name, l.available ? State::here : State::missing, l.available ? l.description : l.reason, {}};
    if (l.name == "metal:sim") {
      if (const auto toolchain = metal::find_toolchain()) {
        finding.says += fmt::format(" (clang {}: {})", toolchain->version, toolchain->clang.string());
      } else {
        finding.says = toolchain.error().message;
        finding.remedy = toolchain.error().hint;
      }
    }
    findings.push_back(std::move(finding));
  }
  for (const auto& [device, of] : variants) {
    std::string says = fmt::format("variant={}", fmt::join(of.here, " "));
    if (!of.not_here.empty()) says += fmt::format("; not on this processor: {}", fmt::join(of.not_here, " "));
    findings.push_back({"backends", device, of.here.empty() ? State::missing : State::here, says, {}});
  }
  for (const GgmlBuild& build : environment.ggml) {
    findings.push_back({"backends", "ggml build", State::here, build.name + ": " + build.dir.string(), {}});
  }
  if (builds && environment.ggml.empty()) {
    findings.push_back({"backends", "ggml:DEVICE", State::missing, "no ggml build found",
                        "ci/fetch-ggml gets a published one; --ggml DIR or ATTEST_GGML_DIR names one"});
  }
}

struct Tool {
  const char* name;
  std::vector<std::string> programs;  // any of them
  const char* use;
  const char *debian, *homebrew;
};

const std::vector<Tool>& tools() {
  static const std::vector<Tool> all{
      {"debugger", {"gdb", "lldb"}, "attest run --debug", "gdb", ""},
      {"ctest", {"ctest"}, "attest_add_suite() in a CMake project", "cmake", "cmake"},
      {"npm", {"npm"}, "ci/fetch-ggml", "npm", "node"},
      {"node", {"node"}, "attest's own tests of the HTML page", "nodejs", "node"},
      {"chromium", {"chromium"}, "attest's own tests of the HTML page", "chromium", "--cask chromium"},
  };
  return all;
}

std::string on_path(const std::string& program) {
  const char* path = std::getenv("PATH");
  std::string_view rest = path == nullptr ? "" : path;
  while (!rest.empty()) {
    const auto end = std::min(rest.find(':'), rest.size());
    const fs::path file = fs::path(rest.substr(0, end)) / program;
    rest.remove_prefix(std::min(end + 1, rest.size()));
    std::error_code none;
    if (fs::is_regular_file(file, none) && access(file.c_str(), X_OK) == 0) return file.string();
  }
  return {};
}

void add_tools(std::vector<Finding>& findings) {
  for (const Tool& tool : tools()) {
    Finding finding{"tools", tool.name, State::missing, fmt::format("needed for {}", tool.use), {}};
    for (const std::string& program : tool.programs) {
      if (const std::string file = on_path(program); !file.empty()) {
        finding.state = State::here;
        finding.says = fmt::format("{}, for {}", file, tool.use);
        break;
      }
    }
    if (finding.state == State::missing) {
#ifdef __APPLE__
      if (*tool.homebrew != '\0') finding.remedy = fmt::format("brew install {}", tool.homebrew);
#else
      finding.remedy = fmt::format("Debian: apt-get install {}", tool.debian);
#endif
    }
    findings.push_back(std::move(finding));
  }
}

void add_cache(std::vector<Finding>& findings) {
  const fs::path dir = default_cache_dir();
  if (dir.empty()) {
    findings.push_back(
        {"cache", "directory", State::missing, "none: every key is worked out anew", "set HOME or ATTEST_CACHE_DIR"});
    return;
  }
  double bytes = 0;
  std::int64_t files = 0;
  std::error_code none;
  for (fs::recursive_directory_iterator it(dir, fs::directory_options::skip_permission_denied, none), end; it != end;
       it.increment(none)) {
    if (none) break;
    if (!it->is_regular_file(none)) continue;
    bytes += static_cast<double>(it->file_size(none));
    ++files;
  }
  Finding finding{"cache",
                  "directory",
                  State::here,
                  fmt::format("{}: {} in {}", dir.string(), gib(bytes), count_of(files, "file", "files")),
                  {}};
  // The nearest directory that exists must let us in.
  fs::path there = dir;
  while (!there.empty() && !fs::exists(there, none) && there != there.parent_path()) there = there.parent_path();
  if (access(there.empty() ? "." : there.c_str(), W_OK | X_OK) != 0) {
    finding.state = State::missing;
    finding.says += "; cannot be written, so every key is worked out anew";
    finding.remedy = "set ATTEST_CACHE_DIR to a directory of yours";
  }
  findings.push_back(std::move(finding));
}

}  // namespace

std::vector<Finding> examine_machine(const Expected<BackendEnvironment>& builds, const SubjectMaker& maker) {
  std::vector<Finding> findings;
  add_machine(findings);
  findings.push_back(self_check(maker));
  add_backends(builds, findings);
  add_tools(findings);
  add_cache(findings);
  return findings;
}

Expected<std::vector<Finding>> examine_backends(const std::vector<std::string>& backends, const SubjectMaker& maker) {
  std::vector<Finding> findings;
  for (const std::string& backend : backends) {
    auto started = maker(backend, {})->start();
    if (!started && started.error().kind == ErrorKind::input) return Unexpected(started.error());
    Finding finding{"needed", backend, State::here, {}, {}};
    if (started) {
      finding.says = started->build_id;
    } else {
      finding.state = State::broken;
      finding.says = started.error().message;
      finding.remedy = started.error().hint;
    }
    findings.push_back(std::move(finding));
  }
  return findings;
}

}  // namespace attest
