#include "backends/metal/mutants.h"

#include <gtest/gtest.h>

#include <set>

#include "backends/metal/testing/attention_bench.h"

namespace attest::metal {
namespace {

TEST(MetalMutants, EveryRowFindsItsPlaceInTheKernelsAndChangesIt) {
  std::set<std::string_view> names;
  for (const Mutant& m : mutants()) {
    EXPECT_TRUE(names.insert(m.name).second) << m.name;
    EXPECT_FALSE(m.description.empty()) << m.name;
    EXPECT_FALSE(m.models.empty()) << m.name;
    EXPECT_NE(m.text, m.instead) << m.name;
  }
  EXPECT_GE(names.size(), 25U);
  for (const AttentionKernel kernel : {AttentionKernel::vec, AttentionKernel::tiled}) {
    const auto library = mutable_library(kernel);
    ASSERT_TRUE(library) << library.error().text();
    for (const Mutant& m : mutants()) {
      const bool there = library->find("attest_mutant == " + std::to_string(m.number) + " ?") != std::string::npos;
      EXPECT_EQ(there, m.kernel == kernel) << m.name;
    }
  }
}

TEST(MetalMutants, WhileTheySleepTheKernelsGiveTheirUsualBits) {
  for (const AttentionKernel kernel : {AttentionKernel::vec, AttentionKernel::tiled}) {
    const auto library = mutable_library(kernel);
    ASSERT_TRUE(library);
    AttentionBench production({}), asleep({}, *library);
    for (const char* line : {"flash_attn_ext d=64 n_head=2 n_q=9 n_kv=700 kv=f16 mask=causal softcap=20 sinks=uniform",
                             "flash_attn_ext d=96 n_head=3 n_q=3 n_kv=70 k=q8_0 v=iq4_nl mask=random max_bias=8"}) {
      const Case c = metal_case(line);
      const OwnedInputs in(c);
      EXPECT_TRUE(production.run(in, {kernel}) == asleep.run(in, {kernel})) << line;
    }
  }
}

TEST(MetalMutants, ANameThatIsNoneGetsTheNearest) {
  const auto wrong = find_mutant("gqa-modulus");
  ASSERT_FALSE(wrong);
  EXPECT_EQ(wrong.error().kind, ErrorKind::input);
  EXPECT_NE(wrong.error().text().find("gqa-modulo"), std::string::npos) << wrong.error().text();
}

}  // namespace
}  // namespace attest::metal
