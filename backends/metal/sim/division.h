// Integer division by zero where the machine traps: on a GPU the value is undefined and nothing happens.
#pragma once

#include <csignal>
#include <vector>

namespace attest::metal {

// While it lives, a division by zero on this thread gives 0 (and the least integer divided by -1 itself), and its place
// in the code is kept. Does nothing on machines that do not trap. One at a time in a process.
class DivisionTrap {
 public:
  DivisionTrap();
  ~DivisionTrap();
  DivisionTrap(const DivisionTrap&) = delete;
  DivisionTrap& operator=(const DivisionTrap&) = delete;

  // Addresses just behind the divisions by zero, each once; the first few.
  std::vector<const void*> places() const;

 private:
  struct sigaction before_ {};
};

}  // namespace attest::metal
