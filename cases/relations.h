// Relations: what the answer to a case says about the answers to its variants, whatever the right answer is.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "cases/case.h"
#include "cases/inputs.h"

namespace attest {

enum class Relation : std::uint8_t {
#define ATTEST_RELATION(identifier, name, bitwise, meaning) identifier,
#include "cases/relations.def"
#undef ATTEST_RELATION
};
struct RelationInfo {
  std::string_view name;
  bool bitwise;
  std::string_view meaning;
};
const RelationInfo& info(Relation relation);
const std::vector<Relation>& all_relations();
std::vector<std::string> relation_names();

// Which relations a run tries on its cases.
struct RelationChoice {
  std::vector<Relation> relations;
  int per_case = 0;  // so many of those that apply, chosen by the case's id; 0: all of them
  bool operator==(const RelationChoice&) const = default;
};
// "all", "none", or names with commas between them.
Expected<std::vector<Relation>> parse_relations(std::string_view text);

// One run of the backend. What it is told is a case like any other; the tensors are made from those of the base.
struct Variant {
  static constexpr std::int64_t kNewKey = -1;
  enum class ValuesOf : std::uint8_t { all_keys, even_keys, odd_keys };

  Case the_case;
  bool generated = false;          // the tensors are the_case's own; what follows does not apply
  std::vector<std::int64_t> keys;  // key j is key keys[j] of the base, or kNewKey: zeros, masked by the sink's value
  std::int64_t query = -1;         // >= 0: the base's query that is alone here
  float q_factor = 1, v_factor = 1;
  ValuesOf values = ValuesOf::all_keys;  // V is zero in the other keys

  double factor = 1;  // of this variant's output in the sum that equals the base's output
};

// Variants that run one after the other, and how their outputs O_v make up the base's O: the sum of factor * O_v, where
// `merged` of weight_v * O_v, the weights being each variant's share of the softmax's denominator.
struct Experiment {
  std::string what;  // for people: "query 5 alone"
  std::vector<Variant> variants;
  bool merged = false;
  bool own = false;         // not held against the base: the one variant has an answer of its own
  std::int64_t query = -1;  // >= 0: about this query of the base, the variants' query 0
};

// Either experiments, or why there are none.
struct Experiments {
  std::vector<Experiment> list;
  std::string inapplicable;
};

// A pure function of its arguments. `base` are the case's filled tensors.
Experiments relate(Relation relation, const Case& c, const AttentionInputs& base);

// Fills the variant's tensors; `plan` is that of variant.the_case.problem. Every byte of every allocation is written.
void fill_variant(const Variant& variant, const AttentionInputs& base, const InputPlan& plan,
                  const InputBuffers& buffers);

}  // namespace attest
