// A case's tensors in the memory of a test: read-only, each between pages that may not be touched.
#pragma once

#include <attest/wire.h>
#include <sys/mman.h>
#include <unistd.h>

#include <array>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <stdexcept>
#include <string>
#include <utility>

namespace attest {

class GuardedInputs {
 public:
  GuardedInputs() = default;
  // Takes the memory behind `descriptor`, which it closes.
  GuardedInputs(const wire::Message& run, int descriptor, std::string line) : line_(std::move(line)) {
    problem_ = run.problem;
    contract_ = run.contract;
    std::uint64_t offset = 0;
    for (int i = 0; i < wire::kAllocations; ++i) {
      if (run.allocations[i].capacity > 0) map(i, run.allocations[i], descriptor, offset);
      offset += run.allocations[i].capacity;
    }
    close(descriptor);
    for (attest_tensor* t : {&problem_.q, &problem_.k, &problem_.v, &problem_.mask, &problem_.sinks, &problem_.out}) {
      t->data = t->dtype == ATTEST_ABSENT ? nullptr : here(run, reinterpret_cast<std::uintptr_t>(t->data));
    }
  }
  ~GuardedInputs() {
    for (const Part& p : parts_) {
      if (p.at != nullptr) munmap(p.at - kGuard, p.capacity + 2 * kGuard);
    }
  }
  GuardedInputs(GuardedInputs&& other) noexcept { swap(other); }
  GuardedInputs& operator=(GuardedInputs&& other) noexcept {
    swap(other);
    return *this;
  }

  const attest_problem& problem() const { return problem_; }
  const attest_contract& f32_throughout() const { return contract_; }
  const std::string& line() const { return line_; }
  // Where the kernel writes.
  float* output() const { return static_cast<float*>(const_cast<void*>(problem_.out.data)); }

  // Which tensor an address belongs to, for people; false: none. Fit for a signal handler.
  bool describe(const void* address, char* text, std::size_t bytes) const {
    constexpr const char* kNames[] = {"Q", "K", "V", "the mask", "the sinks", "the output"};
    const char* a = static_cast<const char*>(address);
    for (int i = 0; i < wire::kAllocations; ++i) {
      const Part& p = parts_[index(i)];
      if (p.at == nullptr || a < p.at - kGuard || a >= p.at + p.capacity + kGuard) continue;
      if (a < p.begin) {
        std::snprintf(text, bytes, "%td bytes before the first of %s", p.begin - a, kNames[i]);
      } else if (a >= p.end) {
        std::snprintf(text, bytes, "%td bytes behind the last of %s", a - p.end + 1, kNames[i]);
      } else {
        std::snprintf(text, bytes, "%s, which is read-only", kNames[i]);
      }
      return true;
    }
    return false;
  }

 private:
  static constexpr std::size_t kGuard = std::size_t{64} << 10;
  struct Part {
    char *at = nullptr, *begin = nullptr, *end = nullptr;
    std::size_t capacity = 0;
  };
  static std::size_t index(int i) { return static_cast<std::size_t>(i); }

  void map(int i, const wire::Allocation& a, int descriptor, std::uint64_t offset) {
    void* reserved = mmap(nullptr, a.capacity + 2 * kGuard, PROT_NONE, MAP_PRIVATE | MAP_ANON, -1, 0);
    if (reserved == MAP_FAILED) throw std::runtime_error("attest: no address space for the tensors");
    Part& p = parts_[index(i)];
    p.capacity = a.capacity;
    p.at = static_cast<char*>(reserved) + kGuard;
    p.begin = p.at + a.begin;
    p.end = p.at + a.end;
    if (mmap(p.at, a.capacity, PROT_NONE, MAP_SHARED | MAP_FIXED, descriptor, static_cast<off_t>(offset)) ==
        MAP_FAILED) {
      throw std::runtime_error("attest: cannot map the tensors");
    }
    const auto page = static_cast<std::uint64_t>(sysconf(_SC_PAGESIZE));
    const std::uint64_t from = a.begin / page * page, to = (a.end + page - 1) / page * page;
    const int access = i == wire::kAllocations - 1 ? PROT_READ | PROT_WRITE : PROT_READ;
    if (a.end > a.begin) mprotect(p.at + from, to - from, access);
  }

  const void* here(const wire::Message& run, std::uint64_t at) const {
    for (int i = 0; i < wire::kAllocations; ++i) {
      if (at < run.allocations[i].capacity) return parts_[index(i)].at + at;
      at -= run.allocations[i].capacity;
    }
    return nullptr;
  }

  void swap(GuardedInputs& other) {
    std::swap(problem_, other.problem_);
    std::swap(contract_, other.contract_);
    std::swap(parts_, other.parts_);
    line_.swap(other.line_);
  }

  attest_problem problem_{};
  attest_contract contract_{};
  std::array<Part, wire::kAllocations> parts_{};
  std::string line_;
};

}  // namespace attest
