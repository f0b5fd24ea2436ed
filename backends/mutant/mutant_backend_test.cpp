#include "backends/mutant/mutant_backend.h"

#include <gtest/gtest.h>

#include <set>

#include "cases/inputs.h"
#include "cases/suites/suite.h"

namespace attest {
namespace {

std::unique_ptr<Backend> backend(const std::string& text) {
  auto made = make_backend(*BackendSpec::parse(text), {});
  EXPECT_TRUE(made) << text << ": " << made.error().text();
  return made ? std::move(*made) : nullptr;
}

std::vector<std::byte> answer(Backend& backend, const OwnedInputs& owned) {
  const InputPlan& plan = owned.plan();
  fill_output(owned.the_case(), plan, owned.buffers());
  EXPECT_TRUE(backend.run(owned.inputs(), owned.output()).ok);
  const auto size = static_cast<std::size_t>(owned.output().elements()) * sizeof(float);
  return {owned.output().data, owned.output().data + size};
}

TEST(Mutants, NoneIsBitwiseTheProductionKernelOverQuick) {
  const auto suite = load_suite("quick");
  ASSERT_TRUE(suite) << suite.error().text();
  const char* const pairs[][2] = {
      {"cpu:vec", "mutant:none"}, {"cpu:split", "mutant:none-split"}, {"cpu:tiled", "mutant:none-tiled"}};
  for (const auto& pair : pairs) {
    const auto production = backend(pair[0]), none = backend(pair[1]);
    for (const Case& c : suite->cases) {
      if (!none->has_op(c.problem.op)) continue;
      const OwnedInputs owned(c);
      ASSERT_EQ(answer(*production, owned), answer(*none, owned)) << pair[1] << ": " << text(c);
      const ArithmeticContract a = production->contract(c.problem), b = none->contract(c.problem);
      ASSERT_TRUE(a.path == b.path && a.tile == b.tile && a.chunks == b.chunks && a.eps_exp == b.eps_exp &&
                  a.products_rounded == b.products_rounded && a.order == b.order)
          << pair[1] << " promises something else";
    }
  }
}

TEST(Mutants, EveryRowIsABackendOfThatNameAndNoneIsTwice) {
  std::set<std::string> names;
  std::vector<MutantRow> rows = mutant_rows();
  EXPECT_GE(rows.size(), 80U);
  const std::vector<MutantRow> legal = legal_rows();
  EXPECT_GE(legal.size(), 15U);
  rows.insert(rows.end(), legal.begin(), legal.end());
  for (const MutantRow& row : rows) {
    EXPECT_TRUE(names.insert(row.backend).second) << row.backend;
    const auto made = backend(row.backend);
    ASSERT_NE(made, nullptr);
    EXPECT_EQ(made->name(), row.backend);
    EXPECT_FALSE(row.description.empty()) << row.backend;
    const ArithmeticContract contract = made->contract(AttentionProblem{});
    EXPECT_EQ(contract.path_name(), row.path) << row.backend;
  }
}

TEST(Mutants, ANameThatIsNoneGetsTheNearest) {
  const auto wrong = make_backend(*BackendSpec::parse("mutant:gqa-modulus"), {});
  ASSERT_FALSE(wrong);
  EXPECT_EQ(wrong.error().kind, ErrorKind::input);
  EXPECT_NE(wrong.error().text().find("gqa-modulo"), std::string::npos) << wrong.error().text();
  EXPECT_FALSE(make_backend(*BackendSpec::parse("legal"), {}));
  EXPECT_FALSE(make_backend(*BackendSpec::parse("mutant:none,vskip=1e-3"), {}));
}

}  // namespace
}  // namespace attest
