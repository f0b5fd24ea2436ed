#include "harness/run/subject_main.h"

#include <execinfo.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <ucontext.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <cstring>
#include <new>
#include <optional>
#ifdef __linux__
#include <sys/prctl.h>
#else
#include <thread>
#endif

#include <fmt/format.h>

#include "backends/guarded_memory.h"
#include "cases/case.h"
#include "harness/run/place.h"
#include "harness/run/protocol.h"
#include "harness/run/stack_text.h"

namespace attest {

namespace {

// What the signal handler may look at.
protocol::FaultReport* g_fault = nullptr;
std::vector<GuardedPlace>* g_places = nullptr;
std::uint64_t g_max_memory = 0;

// A malloc that failed shows as whatever its caller does next: under a memory limit, a process that cannot get a little
// more is taken to have died of that.
bool out_of_memory() {
  if (g_max_memory == 0) return false;
  const std::size_t little = std::min<std::uint64_t>(g_max_memory / 8, std::uint64_t{32} << 20);
  void* more = mmap(nullptr, little, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (more == MAP_FAILED) return true;
  munmap(more, little);
  return false;
}

std::uint32_t access_kind([[maybe_unused]] void* context) {
#if defined(__linux__) && defined(__x86_64__)
  const auto* uc = static_cast<const ucontext_t*>(context);
  return (uc->uc_mcontext.gregs[REG_ERR] & 2) != 0 ? 1 : 0;
#else
  return 2;
#endif
}

void on_fault(int signal, siginfo_t* info, void* context) {
  if (g_fault != nullptr && g_fault->valid.load() == 0) {
    g_fault->signal = signal;
    g_fault->write = 2;
    if (signal == SIGSEGV || signal == SIGBUS) {
      g_fault->address = reinterpret_cast<std::uint64_t>(info->si_addr);
      g_fault->write = access_kind(context);
      for (const auto& place : *g_places) {
        const auto hit = place.locate(info->si_addr);
        if (!hit.inside) continue;
        g_fault->in_place = 1;
        g_fault->region = hit.region;
        g_fault->before = hit.before;
        g_fault->after = hit.after;
        g_fault->within = hit.within ? 1 : 0;
      }
      if (const auto hit = guarded_memory_at(info->si_addr)) {
        g_fault->in_memory = 1;
        g_fault->memory = hit->name;
        g_fault->before = hit->before;
        g_fault->after = hit->after;
        g_fault->within = hit->within ? 1 : 0;
      }
    }
    if (g_fault->in_place == 0 && g_fault->in_memory == 0 && out_of_memory()) g_fault->out_of_memory = 1;
    g_fault->valid.store(1);
    if (write(STDERR_FILENO, kStackMarker.data(), kStackMarker.size()) < 0) _exit(3);
    void* frames[32];
    const int n = backtrace(frames, 32);
    backtrace_symbols_fd(frames, n, STDERR_FILENO);
  }
  ::signal(signal, SIG_DFL);
  raise(signal);
}

void on_out_of_memory() {
  if (g_fault != nullptr) {
    g_fault->out_of_memory = 1;
    g_fault->signal = SIGABRT;
    g_fault->valid.store(1);
  }
  ::signal(SIGABRT, SIG_DFL);
  std::abort();
}

void install_handlers() {
  void* frames[2];
  backtrace(frames, 2);  // loads the unwinder now, not inside a handler
  static std::byte stack[64 << 10];
  stack_t alternate{};
  alternate.ss_sp = stack;
  alternate.ss_size = sizeof stack;
  sigaltstack(&alternate, nullptr);
  struct sigaction action {};
  action.sa_sigaction = on_fault;
  action.sa_flags = SA_SIGINFO | SA_ONSTACK;
  for (const int s : {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT}) sigaction(s, &action, nullptr);
  std::set_new_handler(on_out_of_memory);
  // Ctrl-C is the judge's to handle; a subject ends when its socket does.
  ::signal(SIGINT, SIG_IGN);
  sigset_t held;
  sigemptyset(&held);
  sigaddset(&held, SIGINT);
  sigprocmask(SIG_UNBLOCK, &held, nullptr);
  ::signal(SIGPIPE, SIG_IGN);
}

// The socket tells a subject that waits for work; one that is caught in a backend's endless loop needs this.
void end_with(std::int64_t judge) {
#ifdef __linux__
  prctl(PR_SET_PDEATHSIG, SIGKILL);
#else
  std::thread([judge] {
    while (getppid() == judge) usleep(200'000);
    _exit(3);
  }).detach();
#endif
  if (getppid() != judge) _exit(3);  // it died before we could ask to be told
}

void limit_memory(std::uint64_t bytes) {
  // A core file of all those places would take longer to write than a deadline.
  const rlimit no_core{0, 0};
  setrlimit(RLIMIT_CORE, &no_core);
  if (bytes == 0) return;
  g_max_memory = bytes;
  const rlimit limit{bytes, bytes};
  setrlimit(RLIMIT_DATA, &limit);
}

// One request: `accepted` and `done`, `unsupported`, or `failed`. False: the judge is gone.
bool serve(const protocol::Request& request, const std::string& line, Backend& backend,
           std::vector<GuardedPlace>& places) {
  protocol::Reply reply;
  reply.id = request.id;
  const auto fail = [&](const std::string& why) {
    reply.say = protocol::Say::failed;
    return protocol::send(kControlFd, reply, why);
  };
  auto parsed = parse_case(line);
  if (!parsed) return fail(parsed.error().text());
  const Case& c = *parsed;
  if (const Support support = support_of(backend, c.problem); !support.yes) {
    reply.say = protocol::Say::unsupported;
    return protocol::send(kControlFd, reply, support.reason);
  }
  if (request.ask == protocol::Ask::contract) {
    reply.say = protocol::Say::accepted;
    reply.contract = backend.contract(c.problem);
    return protocol::send(kControlFd, reply, {});
  }
  if (request.place >= places.size()) return fail("no such place");
  const InputPlan plan = plan_inputs(c.problem);
  if (auto mapped = places[request.place].map(request.capacities, plan, request.left_aligned != 0); !mapped) {
    return fail(mapped.error().text());
  }
  reply.say = protocol::Say::accepted;
  reply.contract = backend.contract(c.problem);
  if (!protocol::send(kControlFd, reply, {})) return false;

  const InputBuffers& buffers = places[request.place].buffers();
  const Outcome outcome = backend.run(input_views(c, plan, buffers), output_view(plan, buffers));
  if (!outcome.ok && !outcome.finding.empty()) {
    reply.say = protocol::Say::found;
    return protocol::send(kControlFd, reply, outcome.finding + "\n" + outcome.error);
  }
  if (!outcome.ok) return fail(outcome.error);
  reply.say = protocol::Say::done;
  reply.cpu_seconds = outcome.cpu_seconds;
  reply.wall_seconds = outcome.wall_seconds;
  return protocol::send(kControlFd, reply, outcome.note);
}

}  // namespace

std::vector<std::string> SubjectArguments::to_words() const {
  std::vector<std::string> words{backend, std::to_string(places), std::to_string(max_memory), std::to_string(judge)};
  for (const auto& build : environment.ggml) {
    words.push_back(build.name);
    words.push_back(build.dir.string());
  }
  return words;
}

Expected<SubjectArguments> SubjectArguments::from_words(const std::vector<std::string>& words) {
  if (words.size() < 4 || words.size() % 2 != 0) return harness_error("subject: bad argument list");
  SubjectArguments arguments;
  arguments.backend = words[0];
  arguments.places = std::stoi(words[1]);
  arguments.max_memory = std::stoull(words[2]);
  arguments.judge = std::stoll(words[3]);
  for (std::size_t i = 4; i + 1 < words.size(); i += 2) arguments.environment.ggml.push_back({words[i], words[i + 1]});
  return arguments;
}

int subject_main(const std::vector<std::string>& words, const BackendFactory& factory) {
  const auto arguments = SubjectArguments::from_words(words);
  if (!arguments) return 3;
  end_with(arguments->judge);
  std::vector<GuardedPlace> places;
  for (int i = 0; i < arguments->places; ++i) places.emplace_back(kFirstPlaceFd + i);
  g_places = &places;
  void* fault = mmap(nullptr, sizeof(protocol::FaultReport), PROT_READ | PROT_WRITE, MAP_SHARED, kFaultFd, 0);
  if (fault != MAP_FAILED) g_fault = static_cast<protocol::FaultReport*>(fault);
  install_handlers();
  limit_memory(arguments->max_memory);

  protocol::Reply hello;
  const auto refuse = [&](const Error& error) {
    const bool users = error.kind == ErrorKind::input, in_file = users && !error.file.empty();
    hello.say = in_file ? protocol::Say::misread : users ? protocol::Say::misnamed : protocol::Say::failed;
    protocol::send(kControlFd, hello, in_file ? protocol::packed(error) : error.text());
    return 3;
  };
  const auto spec = BackendSpec::parse(arguments->backend);
  if (!spec) return refuse(spec.error());
  auto made = factory(*spec, arguments->environment);
  if (!made) return refuse(made.error());
  const std::unique_ptr<Backend> backend = std::move(*made);
  hello.say = protocol::Say::described;
  protocol::send(kControlFd, hello,
                 fmt::format("{}\n{}\n{}", backend->name(), backend->build_id(), backend->description()));

  protocol::Request request;
  std::string line;
  while (protocol::read_all(kControlFd, &request, sizeof request)) {
    if (request.magic != protocol::kMagic || request.text_bytes > (1U << 20)) return 3;
    line.resize(request.text_bytes);
    if (!protocol::read_all(kControlFd, line.data(), line.size())) break;
    if (!serve(request, line, *backend, places)) break;
  }
  return 0;
}

}  // namespace attest
