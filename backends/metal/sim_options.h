// The options of every backend that runs on the Metal simulator: model= and order=.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "backends/metal/sim/sim_device.h"
#include "cases/error.h"

namespace attest::metal {

// True: the option is one of these, and `options` has its value. Error (input): no such value, with the nearest.
Expected<bool> read_sim_option(const std::string& key, const std::string& value, SimOptions& options);

// The value of a word, or an input error that names the nearest one.
template <class T>
Expected<T> read_word(const std::string& key, const std::string& text,
                      const std::vector<std::pair<std::string, T>>& words) {
  std::vector<std::string> names;
  std::string all;
  for (const auto& [name, value] : words) {
    if (name == text) return value;
    names.push_back(name);
    all += (all.empty() ? "" : ", ") + name;
  }
  return input_error(key + "=" + text + " is none of " + all, did_you_mean(text, names));
}

}  // namespace attest::metal
