#include "backends/cpu/threads.h"

#include <time.h>

#include <algorithm>
#include <atomic>
#include <system_error>
#include <thread>
#include <vector>

namespace attest::cpu {
namespace {

double thread_cpu_seconds() {
  timespec now{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) + static_cast<double>(now.tv_nsec) * 1e-9;
}

}  // namespace

double run_tasks(int threads, std::int64_t tasks, void (*body)(void*, std::int64_t, int), void* context) {
  const double start = thread_cpu_seconds();
  const auto workers = static_cast<int>(std::clamp<std::int64_t>(tasks, 1, std::max(threads, 1)));
  if (workers == 1) {
    for (std::int64_t task = 0; task < tasks; ++task) body(context, task, 0);
    return thread_cpu_seconds() - start;
  }
  std::atomic<std::int64_t> next{0};
  std::vector<double> seconds(static_cast<std::size_t>(workers), 0.0);
  const auto work = [&](int worker) {
    const double begun = thread_cpu_seconds();
    for (std::int64_t task = next++; task < tasks; task = next++) body(context, task, worker);
    seconds[static_cast<std::size_t>(worker)] = thread_cpu_seconds() - begun;
  };
  std::vector<std::thread> pool;
  pool.reserve(static_cast<std::size_t>(workers - 1));
  try {
    for (int worker = 1; worker < workers; ++worker) pool.emplace_back(work, worker);
  } catch (const std::system_error&) {
    // The threads there are take over the tasks of those that could not be started.
  }
  work(0);
  for (std::thread& thread : pool) thread.join();
  double total = 0;
  for (double s : seconds) total += s;
  return total;
}

}  // namespace attest::cpu
