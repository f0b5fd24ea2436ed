// Runs independent tasks on a few threads; one thread means the caller's own.
#pragma once

#include <cstdint>
#include <type_traits>

namespace attest::cpu {

// Calls body(context, task, worker) once for every task in [0, tasks), worker in [0, threads). Tasks are handed out in
// ascending order, so what a task does must not depend on its worker. If a thread cannot be started, fewer do the
// work. Returns the CPU seconds of all threads.
double run_tasks(int threads, std::int64_t tasks, void (*body)(void*, std::int64_t, int), void* context);

// body(task, worker); must not throw.
template <class Body>
double parallel_for(int threads, std::int64_t tasks, Body&& body) {
  using Plain = std::remove_reference_t<Body>;
  return run_tasks(
      threads, tasks,
      [](void* context, std::int64_t task, int worker) { (*static_cast<Plain*>(context))(task, worker); }, &body);
}

}  // namespace attest::cpu
