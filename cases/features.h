// Features: what a case is about, so that the judge can ask whether it could have seen that gone wrong.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "cases/case.h"

namespace attest {

// Names and meanings: features.def.
enum class Feature : std::uint8_t {
#define ATTEST_FEATURE(identifier, name, altered) identifier,
#include "cases/features.def"
#undef ATTEST_FEATURE
};

struct FeatureInfo {
  Feature feature;
  std::string_view name, altered;
};
const std::vector<FeatureInfo>& features();
const FeatureInfo& info(Feature feature);
// The error names the nearest feature.
Expected<Feature> feature_from_name(std::string_view name);

// What the line itself says the case is about: a term of the mask, a sink, a softcap, slopes, shared heads, a key that
// decides. It may still say so idly: `mask=causal n_q=1` hides nothing. Other ops than flash_attn_ext have none.
std::vector<Feature> features_of(const Case& c);
// The features the suite names for the case, else features_of().
std::vector<Feature> claimed_features(const Case& c);

// The key of the descriptor a feature stands in, e.g. sinks for Feature::sinks; "" for none.
std::string_view key_of(Feature feature);

}  // namespace attest
