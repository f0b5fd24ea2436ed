#include "backends/metal/sim/executor.h"

#include <fmt/format.h>
#include <sys/mman.h>

#include <algorithm>
#include <bit>
#include <boost/context/detail/fcontext.hpp>
#include <map>
#include <new>
#include <numeric>

#include "backends/metal/sim/device_watch.h"
#include "backends/metal/sim/division.h"

namespace attest::metal {
namespace {

namespace context = boost::context::detail;

constexpr std::size_t kStackBytes = 64 << 10;
constexpr std::size_t kStackGuard = 16 << 10;
constexpr std::uint32_t kLanes = msl::kSimdWidth;

struct Fiber {
  context::fcontext_t context = nullptr;
  msl::Position position{};
  Moment moment;
  DeviceMoment device;
  int line = 0;  // where it waits
};

struct Simdgroup {
  std::uint32_t all = 0, live = 0, ready = 0, waiting = 0, at_barrier = 0;  // lanes
  std::uint32_t stopped = 0;                                                // in step with others
  std::uint32_t epoch = 0;
  std::uint32_t lane_key = 0;
  // What the waiting lanes wait for, per lane, and whether that is one and the same.
  void* slots[kLanes] = {};
  msl::Combine combines[kLanes] = {};
  const char* what[kLanes] = {};
  bool needs_all[kLanes] = {};
  std::uint32_t first_lane = 0;
  bool mixed = false;
};

std::uint32_t bit(std::uint32_t lane) { return 1U << lane; }

// The ready lane whose number, with the key's bits flipped, is the least.
std::uint32_t least_lane(std::uint32_t ready, std::uint32_t key) {
  if (key == 0) return static_cast<std::uint32_t>(std::countr_zero(ready));
  if (key == kLanes - 1) return kLanes - 1 - static_cast<std::uint32_t>(std::countl_zero(ready));
  std::uint32_t lane = 0;
  for (std::uint32_t width = kLanes / 2; width > 0; width /= 2) {
    const std::uint32_t half = (width == 32 ? ~0U : bit(width) - 1);
    std::uint32_t preferred = (key & width) != 0 ? lane + width : lane;
    if ((ready >> preferred & half) == 0) preferred ^= width;
    lane = preferred;
  }
  return lane;
}

}  // namespace

class Executor::Work {
 public:
  ~Work() {
    for (void* stack : stacks_) munmap(stack, kStackBytes + kStackGuard);
  }

  Expected<std::vector<Finding>> run(const Launch& launch);

  Arena arena;
  DeviceWatch device;
  std::uint64_t divergent_events = 0;
  std::string first_divergence;
  std::vector<std::string> notes;

  // ---- called by kernels
  void barrier(msl::BarrierScope scope, unsigned memory_flags, int line);
  void collective(const char* what, void* slot, msl::Combine combine, bool needs_all, int line);
  void* threadgroup_object(int id, const char* name, unsigned bytes, unsigned alignment, int line);
  void access(const void* address, unsigned bytes, bool write, const void* pc) {
    const auto* at = static_cast<const std::byte*>(address);
    if (at < arena.end() && at + bytes > arena.begin()) {
      arena.access(at, bytes, write, pc, current_->moment, findings_, launch_->line_of);
    } else {
      device.access(at, bytes, write, pc, current_->device, findings_, launch_->line_of);
    }
  }
  void stop(unsigned long step);

 private:
  static void fiber_main(context::transfer_t from);
  void run_threadgroup(std::uint64_t index);
  void switch_from(Fiber& from);
  Fiber* next();
  Fiber* pick(std::uint32_t group);
  bool runnable(std::uint32_t group);
  bool settle_divergence();
  bool settle(std::uint32_t group, std::uint32_t leader, std::uint32_t lanes);
  bool release_barrier();
  bool combine(Simdgroup& g, std::uint32_t lanes);
  void shuffle_groups();
  std::uint64_t random() {
    random_ += 0x9e3779b97f4a7c15ULL;
    std::uint64_t z = random_;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
    return z ^ (z >> 31);
  }
  void diverged(const Simdgroup& g) {
    if (divergent_events++ > 0) return;
    const auto lane = static_cast<std::uint32_t>(std::countr_zero(g.waiting));
    const auto index = static_cast<std::size_t>(&g - groups_.data());
    first_divergence = fmt::format("{} in {}", g.what[lane], kernel_line(fibers_[index * kLanes + lane].line));
  }
  void found(std::string verdict, std::string text) { findings_.push_back({std::move(verdict), std::move(text)}); }
  std::string kernel_line(int line) const { return fmt::format("{}, line {}", launch_->kernel->name, line); }

  const Launch* launch_ = nullptr;
  std::vector<void*> stacks_;
  std::vector<Fiber> fibers_;
  std::vector<Simdgroup> groups_;
  std::vector<std::uint32_t> order_;  // of simdgroups
  std::map<int, std::pair<void*, std::string>> objects_;
  Fiber* current_ = nullptr;
  std::uint32_t current_group_ = 0;
  std::uint32_t live_ = 0, at_barrier_ = 0;
  unsigned barrier_flags_ = 0;
  context::fcontext_t main_ = nullptr;
  std::vector<Finding> findings_;
  std::string refused_;
  bool broken_ = false;  // the threadgroup cannot go on
  std::uint64_t random_ = 0;
};

namespace {

Executor::Work* g_work = nullptr;  // the one that runs

}  // namespace

// A context resumes with the address where to keep that of the one it came from.
void Executor::Work::fiber_main(context::transfer_t from) {
  *static_cast<context::fcontext_t*>(from.data) = from.fctx;
  Work& work = *g_work;
  work.launch_->kernel->entry(work.launch_->call, work.current_->position);
  const Fiber& done = *work.current_;
  Simdgroup& g = work.groups_[done.position.simdgroup];
  g.live &= ~bit(done.position.lane);
  g.ready &= ~bit(done.position.lane);
  --work.live_;
  // The lanes that wait may have waited for this one.
  if (g.waiting != 0 && g.waiting == g.live && !g.mixed && !g.needs_all[g.first_lane]) {
    const std::uint32_t lanes = g.waiting;
    if (lanes != g.all) work.diverged(g);
    work.combine(g, lanes);
  }
  work.switch_from(*work.current_);
}

void Executor::Work::switch_from(Fiber& from) {
  Fiber* to = next();
  if (to == &from) return;
  context::transfer_t back;
  if (to == nullptr) {
    back = context::jump_fcontext(main_, &from.context);
  } else {
    current_ = to;
    *launch_->module->self = &to->position;
    back = context::jump_fcontext(to->context, &from.context);
  }
  *static_cast<context::fcontext_t*>(back.data) = back.fctx;
}

Fiber* Executor::Work::pick(std::uint32_t group) {
  current_group_ = group;
  const Simdgroup& g = groups_[group];
  return &fibers_[group * kLanes + least_lane(g.ready, g.lane_key)];
}

// nullptr: the threadgroup is done, or cannot go on.
Fiber* Executor::Work::next() {
  for (;;) {
    if (!refused_.empty()) return nullptr;
    if (runnable(current_group_)) return pick(current_group_);
    for (const std::uint32_t g : order_) {
      if (runnable(g)) return pick(g);
    }
    if (live_ == 0 || broken_) return nullptr;
    if (!settle_divergence()) return nullptr;
    if (at_barrier_ == live_ && !release_barrier()) return nullptr;
  }
}

// Lanes of the group can run; in step, those that are furthest behind. What they are about to do together, an access
// or an operation of the simdgroup, is done by exactly them.
bool Executor::Work::runnable(std::uint32_t index) {
  Simdgroup& g = groups_[index];
  if (g.ready != 0) return true;
  const std::uint32_t held = g.stopped | g.waiting;
  if (!launch_->in_step || held == 0 || broken_) return false;
  const Fiber* fibers = &fibers_[index * kLanes];
  std::uint64_t least = ~std::uint64_t{0};
  std::uint32_t lanes = 0;
  for (std::uint32_t rest = held; rest != 0; rest &= rest - 1) {
    const auto lane = static_cast<std::uint32_t>(std::countr_zero(rest));
    if (fibers[lane].position.step < least) {
      least = fibers[lane].position.step;
      lanes = 0;
    }
    if (fibers[lane].position.step == least) lanes |= bit(lane);
  }
  if ((lanes & g.stopped) == 0) return settle(index, static_cast<std::uint32_t>(std::countr_zero(lanes)), lanes);
  g.ready = lanes & g.stopped;
  g.stopped &= ~lanes;
  return true;
}

void Executor::Work::stop(unsigned long step) {
  Fiber& f = *current_;
  Simdgroup& g = groups_[current_group_];
  f.position.step = step;
  g.ready &= ~bit(f.position.lane);
  g.stopped |= bit(f.position.lane);
  switch_from(f);
}

// Nobody can run: of a simdgroup whose lanes wait at different places, those at the first one go on without the others.
bool Executor::Work::settle_divergence() {
  for (const std::uint32_t index : order_) {
    Simdgroup& g = groups_[index];
    if (g.waiting == 0) continue;
    std::uint32_t leader = static_cast<std::uint32_t>(std::countr_zero(g.waiting));
    for (std::uint32_t l = leader; l < kLanes; ++l) {
      if ((g.waiting & bit(l)) != 0 && fibers_[index * kLanes + l].line < fibers_[index * kLanes + leader].line)
        leader = l;
    }
    std::uint32_t lanes = 0;
    for (std::uint32_t l = 0; l < kLanes; ++l) {
      const bool same = g.combines[l] == g.combines[leader] &&
                        fibers_[index * kLanes + l].line == fibers_[index * kLanes + leader].line;
      if ((g.waiting & bit(l)) != 0 && same) lanes |= bit(l);
    }
    return settle(index, leader, lanes);
  }
  return true;
}

// What some lanes wait for is done without the others.
bool Executor::Work::settle(std::uint32_t index, std::uint32_t leader, std::uint32_t lanes) {
  Simdgroup& g = groups_[index];
  if (g.needs_all[leader] && lanes != g.all) {
    broken_ = true;
    found(g.combines[leader] == nullptr ? "BARRIER" : "DIVERGENCE",
          fmt::format("{}: {} is reached by {} of {} lanes", kernel_line(fibers_[index * kLanes + leader].line),
                      g.what[leader], std::popcount(lanes), std::popcount(g.all)));
    return false;
  }
  if (lanes != g.all) diverged(g);
  return combine(g, lanes);
}

bool Executor::Work::release_barrier() {
  if (live_ != fibers_.size()) {
    int line = 0;
    for (std::size_t i = 0; i < fibers_.size(); ++i) {
      if ((groups_[i / kLanes].at_barrier & bit(i % kLanes)) != 0) line = fibers_[i].line;
    }
    found("BARRIER", fmt::format("{}: {} of {} threads have returned and never arrive at threadgroup_barrier",
                                 kernel_line(line), fibers_.size() - live_, fibers_.size()));
    return false;
  }
  for (const Fiber& f : fibers_) {
    if (f.line == fibers_[0].line) continue;
    found("BARRIER", fmt::format("{}: some threads wait at this threadgroup_barrier, others at that in line {}",
                                 kernel_line(fibers_[0].line), f.line));
    return false;
  }
  if (launch_->order.kind == RunOrder::Kind::random) shuffle_groups();
  for (Simdgroup& g : groups_) {
    g.ready = g.at_barrier;
    g.at_barrier = 0;
  }
  if ((barrier_flags_ & msl::kMemThreadgroup) != 0) {
    for (Fiber& f : fibers_) ++f.moment.threadgroup_epoch;
  }
  if ((barrier_flags_ & msl::kMemDevice) != 0) {
    for (Fiber& f : fibers_) ++f.device.threadgroup_epoch;
  }
  at_barrier_ = 0;
  current_group_ = order_[0];
  return true;
}

bool Executor::Work::combine(Simdgroup& g, std::uint32_t lanes) {
  const auto leader = static_cast<std::uint32_t>(std::countr_zero(lanes));
  const char* complaint = g.combines[leader] != nullptr ? g.combines[leader](g.slots, lanes) : nullptr;
  g.waiting &= ~lanes;
  g.ready |= lanes;
  g.mixed = false;
  if (g.waiting != 0) {  // those left may still be of several kinds
    g.first_lane = static_cast<std::uint32_t>(std::countr_zero(g.waiting));
    g.mixed = true;
  }
  if (launch_->order.kind == RunOrder::Kind::random) g.lane_key = static_cast<std::uint32_t>(random() % kLanes);
  if (complaint == nullptr) return true;
  const auto index = static_cast<std::uint32_t>(&g - groups_.data());
  broken_ = true;
  found("DIVERGENCE",
        fmt::format("{}: {} {}", kernel_line(fibers_[index * kLanes + leader].line), g.what[leader], complaint));
  return false;
}

void Executor::Work::collective(const char* what, void* slot, msl::Combine combine_all, bool needs_all, int line) {
  Fiber& f = *current_;
  Simdgroup& g = groups_[current_group_];
  const std::uint32_t lane = f.position.lane;
  f.line = line;
  ++f.position.step;
  g.slots[lane] = slot;
  g.combines[lane] = combine_all;
  g.what[lane] = what;
  g.needs_all[lane] = needs_all;
  if (g.waiting == 0) {
    g.first_lane = lane;
    g.mixed = false;
  } else if (g.combines[g.first_lane] != combine_all || fibers_[current_group_ * kLanes + g.first_lane].line != line) {
    g.mixed = true;
  }
  g.waiting |= bit(lane);
  g.ready &= ~bit(lane);
  if (g.waiting == g.live && !g.mixed && (!needs_all || g.live == g.all)) {
    if (g.live != g.all) diverged(g);
    combine(g, g.live);
  }
  switch_from(f);
}

void Executor::Work::barrier(msl::BarrierScope scope, unsigned memory_flags, int line) {
  if (scope == msl::kSimdgroupBarrier) {
    collective("simdgroup_barrier", nullptr, nullptr, true, line);
    if ((memory_flags & msl::kMemThreadgroup) != 0) ++current_->moment.simdgroup_epoch;
    if ((memory_flags & msl::kMemDevice) != 0) ++current_->device.simdgroup_epoch;
    return;
  }
  Fiber& f = *current_;
  Simdgroup& g = groups_[current_group_];
  f.line = line;
  g.ready &= ~bit(f.position.lane);
  g.at_barrier |= bit(f.position.lane);
  barrier_flags_ = memory_flags;
  ++at_barrier_;
  switch_from(f);
}

void* Executor::Work::threadgroup_object(int id, const char* name, unsigned bytes, unsigned alignment, int line) {
  const auto known = objects_.find(id);
  if (known != objects_.end()) return known->second.first;
  void* at = arena.add(fmt::format("'{}'", name), bytes, alignment);
  if (at == nullptr) {
    refused_ = fmt::format("{}: threadgroup memory with '{}' is {} bytes, Metal has {}", kernel_line(line), name,
                           arena.used(), kMaxThreadgroupMemory);
    switch_from(*current_);  // never comes back
  }
  objects_[id] = {at, name};
  return at;
}

void Executor::Work::shuffle_groups() {
  for (std::size_t i = order_.size(); i > 1; --i) std::swap(order_[i - 1], order_[random() % i]);
}

void Executor::Work::run_threadgroup(std::uint64_t index) {
  const Size3& grid = launch_->threadgroups;
  const Size3& t = launch_->threads;
  const auto threads = static_cast<std::uint32_t>(t.count());
  arena.begin_threadgroup();
  for (std::size_t g = 0; g < groups_.size(); ++g) {
    const std::uint32_t lanes = std::min(kLanes, threads - static_cast<std::uint32_t>(g) * kLanes);
    Simdgroup& group = groups_[g];
    group = Simdgroup{};
    group.all = group.live = group.ready = lanes == kLanes ? ~0U : bit(lanes) - 1;
    if (launch_->order.kind == RunOrder::Kind::lifo) group.lane_key = kLanes - 1;
    if (launch_->order.kind == RunOrder::Kind::random) group.lane_key = static_cast<std::uint32_t>(random() % kLanes);
  }
  const auto in_x = static_cast<std::uint32_t>(index % grid.x), rest = static_cast<std::uint32_t>(index / grid.x);
  for (std::uint32_t i = 0; i < threads; ++i) {
    Fiber& f = fibers_[i];
    f.position = {{i % t.x, i / t.x % t.y, i / t.x / t.y},
                  i,
                  i % kLanes,
                  i / kLanes,
                  {in_x, rest % grid.y, rest / grid.y},
                  {grid.x, grid.y, grid.z},
                  {t.x, t.y, t.z},
                  0};
    f.moment = {i, i / kLanes, 0, 0};
    f.device = {static_cast<std::uint32_t>(index), static_cast<std::uint32_t>(i), 0, 0};
    f.line = 0;
    f.context = context::make_fcontext(static_cast<std::byte*>(stacks_[i]) + kStackGuard + kStackBytes, kStackBytes,
                                       fiber_main);
  }
  live_ = threads;
  at_barrier_ = 0;
  broken_ = false;
  current_group_ = order_[0];
  current_ = next();
  *launch_->module->self = &current_->position;
  const context::transfer_t back = context::jump_fcontext(current_->context, &main_);
  *static_cast<context::fcontext_t*>(back.data) = back.fctx;
  for (Finding& f : arena.end_threadgroup()) {
    const bool known =
        std::any_of(findings_.begin(), findings_.end(), [&](const Finding& k) { return k.verdict == f.verdict; });
    if (!known) found(f.verdict, fmt::format("{}: {}", launch_->kernel->name, f.text));
  }
}

Expected<std::vector<Finding>> Executor::Work::run(const Launch& launch) {
  launch_ = &launch;
  g_work = this;
  findings_.clear();
  notes.clear();
  divergent_events = 0;
  objects_.clear();
  refused_.clear();
  random_ = launch.order.seed;
  const auto threads = static_cast<std::size_t>(launch.threads.count());
  while (stacks_.size() < threads) {
    void* stack = mmap(nullptr, kStackBytes + kStackGuard, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (stack == MAP_FAILED) return harness_error("no memory for the stacks of simulated threads");
    mprotect(stack, kStackGuard, PROT_NONE);
    stacks_.push_back(stack);
  }
  fibers_.assign(threads, {});
  groups_.assign((threads + kLanes - 1) / kLanes, {});
  order_.resize(groups_.size());
  for (std::uint32_t i = 0; i < order_.size(); ++i) order_[i] = i;
  if (launch.order.kind == RunOrder::Kind::lifo) std::reverse(order_.begin(), order_.end());

  const std::uint64_t total = launch.threadgroups.count();
  // A step that has no divisor in common with the grid visits every threadgroup once.
  std::uint64_t start = 0, step = 1;
  if (launch.order.kind == RunOrder::Kind::lifo) start = total - 1, step = total - 1;
  if (launch.order.kind == RunOrder::Kind::random) {
    start = random() % total;
    do {
      step = 1 + random() % total;
    } while (std::gcd(step, total) != 1);
  }
  for (std::uint64_t i = 0; i < total && findings_.empty(); ++i) {
    if (launch.order.kind == RunOrder::Kind::random) shuffle_groups();
    run_threadgroup((start + i * step) % total);
    if (!refused_.empty()) return input_error(refused_);
  }
  // What is read before it is written is often written by somebody else too late: the race says more.
  std::stable_partition(findings_.begin(), findings_.end(), [](const Finding& f) { return f.verdict == "RACE"; });
  return findings_;
}

namespace {

const msl::Runtime kRuntime{
    [](msl::BarrierScope scope, unsigned flags, int line) { g_work->barrier(scope, flags, line); },
    [](const char* what, void* slot, msl::Combine combine, bool needs_all, int line) {
      g_work->collective(what, slot, combine, needs_all, line);
    },
    [](int id, const char* name, unsigned bytes, unsigned alignment, int line) {
      return g_work->threadgroup_object(id, name, bytes, alignment, line);
    },
    [](const void* at, unsigned bytes, bool write, const void* pc) { g_work->access(at, bytes, write, pc); },
    [](unsigned long step) { g_work->stop(step); },
};

}  // namespace

Executor::Executor() : work_(std::make_unique<Work>()) {}
Executor::~Executor() = default;
Arena& Executor::arena() { return work_->arena; }

std::vector<std::string> Executor::notes() const {
  std::vector<std::string> notes = work_->notes;
  if (work_->divergent_events > 0) {
    notes.push_back(fmt::format("{} operations of a simdgroup ran without some of its lanes, first {}",
                                work_->divergent_events, work_->first_divergence));
  }
  return notes;
}

Expected<std::vector<Finding>> Executor::run(const Launch& launch) {
  const bool watch = launch.watch || launch.in_step;
  *launch.module->watched_from = watch ? reinterpret_cast<const char*>(work_->arena.begin()) : nullptr;
  *launch.module->watched_to = watch ? reinterpret_cast<const char*>(work_->arena.end()) : nullptr;
  work_->device.clear();
  std::vector<std::string> unwatched;
  if (launch.watch) {
    for (const Launch::Written& w : launch.written) {
      if (work_->device.add(w.name, w.data, w.bytes)) continue;
      unwatched.push_back(fmt::format("{} of {} bytes is too large to be watched", w.name, w.bytes));
    }
  }
  *launch.module->device_from = reinterpret_cast<const char*>(work_->device.begin());
  *launch.module->device_to = reinterpret_cast<const char*>(work_->device.end());
  *launch.module->runtime = &kRuntime;
  DivisionTrap trap;
  auto findings = work_->run(launch);
  work_->notes = std::move(unwatched);
  for (const void* place : trap.places()) {
    work_->notes.push_back(fmt::format("{} divides an integer by 0: the value is undefined, here it is 0",
                                       launch.line_of != nullptr ? launch.line_of(place) : "?"));
  }
  *launch.module->runtime = nullptr;  // what runs outside of a dispatch, constants, has no lanes
  return findings;
}

}  // namespace attest::metal
