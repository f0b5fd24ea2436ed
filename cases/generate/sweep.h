// Cartesian sweeps: ranges of numbers, and every combination of several lists.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "cases/error.h"

namespace attest {

// "1..4096:log", "1e-8..1e-2", "0..1:lin:5", or a list of words "16,32,64".
struct SweepAxis {
  std::string name;
  std::vector<std::string> values;  // ascending where a range gave them
};

// "name=range". Without :log or :lin a range is logarithmic where it spans a factor of 32 or more; without a number
// of points it has 13. Where both ends are whole and `whole` says so, values are rounded and given once.
Expected<SweepAxis> parse_sweep_axis(std::string_view text, bool (*whole)(std::string_view name));

// Calls visit(indices) for every combination; the last axis is the fastest. Nothing where a size is 0.
template <class Visit>
void for_each_combination(const std::vector<std::size_t>& sizes, const Visit& visit) {
  for (const std::size_t size : sizes) {
    if (size == 0) return;
  }
  std::vector<std::size_t> at(sizes.size(), 0);
  for (;;) {
    visit(at);
    std::size_t axis = at.size();
    while (axis > 0 && ++at[axis - 1] == sizes[axis - 1]) at[--axis] = 0;
    if (axis == 0) return;
  }
}

}  // namespace attest
