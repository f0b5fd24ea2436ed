// Where the CPU variants of one library answer with other bits, and where one of them leaves its budget: pair by pair.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "reports/record.h"

namespace attest {

// Made of what a JSONL record holds: backends that differ in nothing but variant=NAME, digests, err/B and verdicts.
class VariantMatrix {
 public:
  struct Pair {
    std::string a, b;                 // names of variants
    std::int64_t cases = 0;           // both answered
    std::int64_t different = 0;       // other bits
    std::int64_t beyond = 0;          // of these, a or b is over its budget
    std::int64_t one_answers = 0;     // only one of the two
    double worst_a = 0, worst_b = 0;  // largest err/B where the bits differ
    std::string line;                 // of these, the case with the largest err/B of either
  };
  struct Family {
    std::string backend;                          // without variant=
    std::vector<std::string> variants;            // in the order they were announced
    std::vector<std::vector<std::string>> alike;  // the same bits in every case; the first stands for all
    std::vector<Pair> pairs;                      // of those that stand for a group
    std::map<std::string, std::pair<std::int64_t, std::int64_t>> paths;  // path -> cases, of these not all alike
    std::int64_t cases = 0;                                              // that two variants at least answered
  };

  // Backends in the order of the run. Those without a sibling are left out of everything.
  void announce(const std::vector<std::string>& backends);
  void add(const VerdictRecord& record);
  std::vector<Family> families() const;  // of two variants or more

 private:
  struct Answer {
    bool given = false, beyond = false;
    std::uint64_t digest = 0;
    double err_over_b = 0;
  };
  struct Row {
    std::string line, path;
    std::vector<Answer> answers;  // per variant
  };
  struct Group {
    std::vector<std::string> variants;
    std::map<std::string, Row> rows;  // by case id
  };
  Pair compare(const Group& group, std::size_t a, std::size_t b) const;

  std::vector<std::string> order_;
  std::map<std::string, Group> groups_;
};

// Splits variant=NAME off a backend's name; "" where there is none.
std::string without_variant(const std::string& backend, std::string& variant);

// The matrix for people, at most `width` columns but for lines to be pasted, in which `repro_options` stand before the
// backends; "" where there are no variants.
std::string variant_text(const std::vector<VariantMatrix::Family>& families, std::size_t width,
                         const std::string& repro_options = {});

}  // namespace attest
