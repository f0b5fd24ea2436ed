// Cases a little simpler than a failing one: whether the failure goes away with them says where to look.
#pragma once

#include <functional>
#include <string_view>
#include <vector>

#include "cases/case.h"

namespace attest {

struct Alteration {
  std::string_view words;    // "without softcap"
  std::string_view suspect;  // class word where the failure goes away; "" where that alone says nothing
  Case altered;
  bool fresh = false;  // the same case, on a backend that has run nothing else
};

// Those that change something and leave a valid problem.
std::vector<Alteration> alterations(const Case& c);

}  // namespace attest
