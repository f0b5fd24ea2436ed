// Relations: every transform keeps the truth, every relation catches a kernel that the key alone lets pass, and no
// kernel that keeps its contract is caught.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <map>
#include <optional>
#include <set>

#include "harness/mock_backend.h"
#include "harness/relation_judge.h"
#include "harness/run/runner.h"
#include "oracles/error_budget.h"
#include "reports/mock_run_listener.h"

namespace attest {
namespace {

using ::testing::_;
using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Invoke;
using ::testing::IsEmpty;
using ::testing::NiceMock;
using ::testing::Return;

const std::vector<std::string> kLines{
    "flash_attn_ext d=32 n_head=4 n_head_kv=2 n_q=5 n_kv=21 kv=f16 mask=causal",
    "flash_attn_ext d=32 n_head=4 n_head_kv=2 n_head_v=1 n_q=3 n_kv=12 k=q8_0 v=q4_1 mask=used:7 max_bias=8",
    "flash_attn_ext d_k=64 d_v=32 n_head=3 n_head_kv=1 n_q=2 n_kv=9 kv=q8_0 layout=v-in-k",
    "flash_attn_ext d=16 n_head=2 n_q=4 n_kv=10 kv=bf16 n_seq=4 n_seq_kv=2 mask=random+per-head+per-seq sinks=2",
    "flash_attn_ext d=16 n_head=3 n_q=4 n_kv=10 kv=f32 sinks=uniform softcap=5 mask=dead:first+f32 data=normal:4",
    "flash_attn_ext d=16 n_head=4 n_head_kv=2 n_q=6 n_kv=8 kv=f16 layout=0213+cache:20+heads:5+pad:4 mask=left:3 "
    "poison=nan",
    "flash_attn_ext d=32 n_head=2 n_q=3 n_kv=8 kv=q5_1 layout=kt+cache:9+offset:6+tail:10 sinks=-inf scale=1.5",
    "flash_attn_ext d=32 n_q=3 n_kv=8 kv=iq4_nl mask=zeros+per-head layout=mask-rows:3+mask-cols:5 threads=2",
    "flash_attn_ext d=32 n_head=2 n_q=1 n_kv=5 kv=f16 layout=cache:100000000+sparse mask=causal scale=-0.3",
    "flash_attn_ext d=32 n_head=2 n_kv=0",
};

std::vector<float> truth(const AttentionInputs& inputs, const MutableTensorView& out) {
  write_truth(inputs, out);
  const auto* first = reinterpret_cast<const float*>(out.data);
  return {first, first + out.elements()};
}

// A variant with its tensors in memory of its own.
struct Filled {
  explicit Filled(const Variant& v, const AttentionInputs& base) : memory(v.the_case) {
    if (!v.generated) fill_variant(v, base, memory.plan(), memory.buffers());
    answer.inputs = memory.inputs();
    answer.out = truth(memory.inputs(), memory.output());
  }
  OwnedInputs memory;
  VariantAnswer answer;
};

double log_sum_exp(const AttentionInputs& inputs, const Row& row) {
  const EmulatedInputs plain(inputs, QRounding::none);
  return ErrorBudget(plain, {}, false).row(row).log_sum_exp;
}

// The largest violation of O = sum w_v O_v by the truth, over the size of O.
double violation(const Experiment& e, const AttentionInputs& inputs, const std::vector<float>& base,
                 const std::vector<std::unique_ptr<Filled>>& variants) {
  const AttentionProblem& p = *inputs.problem;
  double worst = 0;
  const auto at = [](const AttentionProblem& of, const Row& row) {
    return static_cast<std::size_t>(((row.seq * of.n_q + row.query) * of.n_head + row.head) * of.d_v);
  };
  for (std::int64_t s = 0; s < p.n_seq; ++s) {
    for (std::int64_t h = 0; h < p.n_head; ++h) {
      for (std::int64_t i = 0; i < p.n_q; ++i) {
        if (e.query >= 0 && i != e.query) continue;
        const Row row{s, h, i}, there{s, h, e.query >= 0 ? 0 : i};
        const double total = e.merged ? log_sum_exp(inputs, row) : 0;
        for (std::size_t c = 0; c < static_cast<std::size_t>(p.d_v); ++c) {
          double sum = 0;
          for (std::size_t v = 0; v < variants.size(); ++v) {
            double w = e.variants[v].factor;
            if (e.merged) w = std::isinf(total) ? 0 : std::exp(log_sum_exp(variants[v]->answer.inputs, there) - total);
            const float value = variants[v]->answer.out[at(*variants[v]->answer.inputs.problem, there) + c];
            sum += w == 0 ? 0 : w * static_cast<double>(value);
          }
          const double o = base[at(p, row) + c];
          const double error = std::abs(sum - o) / std::max(1.0, std::abs(o));
          if (!(error <= worst)) worst = error;
        }
      }
    }
  }
  return worst;
}

TEST(Relations, EveryTransformKeepsTheTruthAndTheJudgeAgrees) {
  std::map<Relation, int> applied;
  for (const auto& line : kLines) {
    const auto c = parse_case(line);
    ASSERT_TRUE(c) << c.error().text();
    const OwnedInputs base(*c);
    const std::vector<float> o = truth(base.inputs(), base.output());
    Key key(*c, base.inputs(), {});
    for (const Relation relation : all_relations()) {
      const Experiments experiments = relate(relation, *c, base.inputs());
      ASSERT_NE(experiments.list.empty(), experiments.inapplicable.empty()) << info(relation).name << ": " << line;
      for (const Experiment& e : experiments.list) {
        std::vector<std::unique_ptr<Filled>> variants;
        std::vector<VariantAnswer> answers;
        for (const Variant& v : e.variants) {
          variants.push_back(std::make_unique<Filled>(v, base.inputs()));
          answers.push_back(variants.back()->answer);
        }
        if (!e.own) {
          EXPECT_LE(violation(e, base.inputs(), o, variants), 1e-6) << info(relation).name << ": " << line;
        }
        const RelationRuling ruling = judge_relation(e, key, {}, o, answers);
        EXPECT_TRUE(ruling.held) << info(relation).name << ": " << line << ": " << ruling.detail;
        ++applied[relation];
      }
    }
  }
  for (const Relation relation : all_relations()) EXPECT_GE(applied[relation], 2) << info(relation).name;
}

TEST(Relations, TheSubjectReadsTheProblemTheJudgeFilled) {
  for (const auto& line : kLines) {
    const Case c = *parse_case(line);
    const OwnedInputs base(c);
    for (const Relation relation : all_relations()) {
      for (const Experiment& e : relate(relation, c, base.inputs()).list) {
        for (const Variant& v : e.variants) EXPECT_EQ(*parse_case(text(v.the_case)), v.the_case) << line;
      }
    }
  }
}

using Kernel = std::function<Outcome(const AttentionInputs&, const MutableTensorView&)>;

struct Asked {
  std::vector<Relation> relations;
  int per_case = 0;
  std::int64_t rows = 0;
  std::function<Support(const AttentionProblem&)> supports = [](const AttentionProblem&) { return Support{}; };
};

VerdictRecord record_of(const std::string& line, const Kernel& kernel, const Asked& asked) {
  RunPlan plan;
  plan.cases = {*parse_case(line)};
  plan.backends = {"mock"};
  RunOptions options;
  options.jobs = 1;
  options.blindness = false;  // a judgement of its own
  options.key.rows = asked.rows;
  options.relations = {asked.relations, asked.per_case};
  const SubjectMaker maker = [&](const std::string&, const std::vector<int>&) {
    return make_in_process_subject([&]() -> Expected<std::unique_ptr<Backend>> {
      auto backend = std::make_unique<NiceMock<MockBackend>>();
      ON_CALL(*backend, name()).WillByDefault(Return("mock"));
      ON_CALL(*backend, supports(_)).WillByDefault(Invoke(asked.supports));
      ON_CALL(*backend, run(_, _)).WillByDefault(Invoke(kernel));
      return std::unique_ptr<Backend>(std::move(backend));
    });
  };
  VerdictRecord record;
  NiceMock<MockRunListener> listener;
  EXPECT_CALL(listener, on_verdict(_)).WillOnce(Invoke([&](const VerdictRecord& r) { record = r; }));
  EXPECT_TRUE(run(plan, options, maker, {}, listener));
  return record;
}

// Right, but for every answer to a problem the predicate picks: those are 1 % too large.
Kernel wrong_if(std::function<bool(const AttentionInputs&)> predicate) {
  return [predicate](const AttentionInputs& in, const MutableTensorView& out) {
    write_truth(in, out);
    if (!predicate(in)) return Outcome{};
    auto* o = reinterpret_cast<float*>(out.data);
    for (std::int64_t e = 0; e < out.elements(); ++e) o[e] *= 1.01F;
    return Outcome{};
  };
}

// The truth of another problem with the same tensors.
Kernel with_problem(std::function<void(AttentionProblem&)> change) {
  return [change](const AttentionInputs& in, const MutableTensorView& out) {
    AttentionProblem problem = *in.problem;
    change(problem);
    AttentionInputs changed = in;
    changed.problem = &problem;
    return write_truth(changed, out);
  };
}

bool zero_row_of_v(const AttentionInputs& in) {
  for (std::int64_t j = 0; j < in.v.ne[1]; ++j) {
    bool zero = true;
    for (std::int64_t e = 0; e < in.v.ne[0]; ++e) zero = zero && element(in.v, e, j, 0, 0) == 0;
    if (zero) return true;
  }
  return false;
}

struct Broken {
  Relation relation;
  std::string line, detail;
  std::function<Kernel()> make;
};

void PrintTo(const Broken& broken, std::ostream* out) { *out << info(broken.relation).name; }

class BrokenKernels : public ::testing::TestWithParam<Broken> {};

TEST_P(BrokenKernels, PassTheKeyAndAreCaughtByTheRelation) {
  const Broken& broken = GetParam();
  const VerdictRecord plain = record_of(broken.line, broken.make(), {});
  EXPECT_EQ(info(plain.verdict).name, "PASS") << plain.detail;
  const VerdictRecord record = record_of(broken.line, broken.make(), {{broken.relation}});
  const std::string name(info(broken.relation).name);
  EXPECT_EQ(info(record.verdict).name, "RELATION");
  EXPECT_THAT(record.detail, AllOf(HasSubstr("relation " + name + ": "), HasSubstr(broken.detail), HasSubstr("seq 0"),
                                   HasSubstr("column ")));
  EXPECT_THAT(record.relations_broken, ElementsAre(name));
  const VerdictRecord right = record_of(broken.line, write_truth, {{broken.relation}});
  EXPECT_EQ(info(right.verdict).name, "PASS") << right.detail;
  EXPECT_THAT(right.relations_held, ElementsAre(name));
}

const std::vector<Broken> kBroken{
    {Relation::hidden, "flash_attn_ext d=16 n_kv=64 mask=used:40 poison=hidden:60000", "other values in hidden bytes",
     [] {
       // Hidden rows leak, but far below any budget.
       return [](const AttentionInputs& in, const MutableTensorView& out) {
         write_truth(in, out);
         reinterpret_cast<float*>(out.data)[3] *= 1 + 1e-12F * element(in.v, 0, in.v.ne[1] - 1, 0, 0);
         return Outcome{};
       };
     }},
    {Relation::again, "flash_attn_ext d=16 n_kv=9", "once more",
     [] { return wrong_if([runs = std::make_shared<int>(0)](const auto&) { return ++*runs % 2 == 0; }); }},
    {Relation::order, "flash_attn_ext d=16 n_head=2 n_q=3 n_kv=9 mask=causal", "the reference",
     [] {
       // The pipeline of the first call is kept for every call of these shapes.
       return with_problem([softcap = std::make_shared<std::optional<float>>()](AttentionProblem& p) {
         p.softcap = softcap->emplace(softcap->value_or(p.softcap));
       });
     }},
    {Relation::threads, "flash_attn_ext d=16 n_q=3 n_kv=9", "threads=2",
     [] { return wrong_if([](const AttentionInputs& in) { return in.problem->threads > 1; }); }},
    {Relation::contiguous, "flash_attn_ext d=16 n_head=2 n_kv=9 layout=0213", "contiguous",
     [] { return wrong_if([](const AttentionInputs& in) { return in.k.nb[2] > in.k.nb[1]; }); }},
    {Relation::zero_mask, "flash_attn_ext d=16 n_q=3 n_kv=9", "with a mask of zeros",
     [] { return wrong_if([](const AttentionInputs& in) { return in.mask.present(); }); }},
    {Relation::row_alone, "flash_attn_ext d=16 n_q=3 n_kv=9", "query 0 alone",
     [] { return wrong_if([](const AttentionInputs& in) { return in.problem->n_q == 1; }); }},
    {Relation::key_order, "flash_attn_ext d=16 n_q=2 n_kv=20 mask=used:9", "keys in another order",
     [] {
       // Stops at the first hidden key.
       return [](const AttentionInputs& in, const MutableTensorView& out) {
         AttentionInputs visible = in;
         AttentionProblem problem = *in.problem;
         std::int64_t n = 0;
         while (n < in.k.ne[1] && !std::isinf(element(in.mask, n, 0, 0, 0))) ++n;
         problem.n_kv = visible.k.ne[1] = visible.v.ne[1] = visible.mask.ne[0] = n;
         visible.problem = &problem;
         return write_truth(visible, out);
       };
     }},
    {Relation::gqa, "flash_attn_ext d=16 n_head=4 n_head_kv=2 n_kv=9", "K and V repeated",
     [] { return wrong_if([](const AttentionInputs& in) { return in.problem->n_head_kv == in.problem->n_head; }); }},
    {Relation::scale_in_q, "flash_attn_ext d=16 n_kv=9", "2^-2 of the scale in Q",
     [] { return with_problem([](AttentionProblem& p) { p.scale = 0.25F; }); }},
    {Relation::sink_none, "flash_attn_ext d=16 n_head=2 n_kv=9", "with sinks of -inf",
     [] {
       return [](const AttentionInputs& in, const MutableTensorView& out) {
         write_truth(in, out);
         if (in.sinks.present()) *reinterpret_cast<float*>(out.data) = std::nanf("");
         return Outcome{};
       };
     }},
    {Relation::sink_key, "flash_attn_ext d=16 n_head=2 n_kv=9 sinks=2", "one more key",
     [] {
       return wrong_if([](const AttentionInputs& in) {
         return in.mask.present() && element(in.mask, in.mask.ne[0] - 1, 0, 0, 0) > 0;
       });
     }},
    {Relation::kv_split, "flash_attn_ext d=16 n_kv=64", "merged",
     [] { return wrong_if([](const AttentionInputs& in) { return in.problem->n_kv % 64 != 0; }); }},
    {Relation::v_scaled, "flash_attn_ext d=16 n_kv=9 data=v_const:1", "V times -1/2",
     [] {
       return [](const AttentionInputs& in, const MutableTensorView& out) {
         write_truth(in, out);
         auto* o = reinterpret_cast<float*>(out.data);
         for (std::int64_t e = 0; e < out.elements(); ++e) o[e] = std::max(o[e], 0.0F);
         return Outcome{};
       };
     }},
    {Relation::v_sum, "flash_attn_ext d=16 n_kv=9", "V of the even keys", [] { return wrong_if(zero_row_of_v); }},
};

INSTANTIATE_TEST_SUITE_P(Relations, BrokenKernels, ::testing::ValuesIn(kBroken),
                         [](const ::testing::TestParamInfo<Broken>& kernel) {
                           std::string name(attest::info(kernel.param.relation).name);
                           std::erase(name, '-');
                           return name;
                         });

TEST(Relations, EachHasABrokenKernelAbove) {
  for (const Relation relation : all_relations()) {
    EXPECT_TRUE(std::any_of(kBroken.begin(), kBroken.end(), [&](const Broken& b) { return b.relation == relation; }))
        << info(relation).name;
  }
}

// 0 * NaN, clamped: isfinite sees nothing, the budget does, and the clean run says that hidden bytes are to blame.
TEST(FinitePoison, AClampHidesNanFromIsfiniteButNotFromTheJudge) {
  const Kernel clamps = [](const AttentionInputs& in, const MutableTensorView& out) {
    write_truth(in, out);
    float leak = 0;
    for (std::int64_t j = 0; j < in.v.ne[1]; ++j) leak += 0.0F * element(in.v, 0, j, 0, 0);
    auto* o = reinterpret_cast<float*>(out.data);
    for (std::int64_t e = 0; e < out.elements(); ++e) o[e] = std::fmax(std::fmin(o[e] + leak, 100.0F), -100.0F);
    return Outcome{};
  };
  const VerdictRecord record = record_of("flash_attn_ext d=16 n_kv=64 mask=used:40 poison=hidden:nan", clamps, {});
  EXPECT_EQ(info(record.verdict).name, "STALE");
  EXPECT_EQ(record.underlying, "FAIL");
}

TEST(FinitePoison, ALeakOfFiniteBytesIsFailWhereItIsLargeAndRelationWhereItIsNot) {
  const auto leaks = [](float share) -> Kernel {
    return [share](const AttentionInputs& in, const MutableTensorView& out) {
      write_truth(in, out);
      auto* o = reinterpret_cast<float*>(out.data);
      o[0] += share * std::fmin(element(in.v, 0, in.v.ne[1] - 1, 0, 0), 1.0F);  // 60000 leaves as 1
      return Outcome{};
    };
  };
  const std::string line = "flash_attn_ext d=16 n_kv=64 mask=used:40 data=v_const:3 poison=hidden:60000";
  EXPECT_EQ(record_of(line, leaks(0.01F), {}).verdict, Verdict::FAIL);
  EXPECT_EQ(record_of(line, leaks(5e-7F), {}).verdict, Verdict::PASS);
  const VerdictRecord record = record_of(line, leaks(5e-7F), {{Relation::hidden}});
  EXPECT_EQ(info(record.verdict).name, "RELATION");
  EXPECT_THAT(record.detail, HasSubstr("the bits must be the same"));
}

TEST(Relations, BitsThatDifferFromRunToRunSayNothingAboutHiddenBytes) {
  const Kernel wobbles = [runs = std::make_shared<int>(0)](const AttentionInputs& in, const MutableTensorView& out) {
    write_truth(in, out);
    auto* o = reinterpret_cast<float*>(out.data);
    if (++*runs % 3 == 0) o[1] = std::nextafter(o[1], 10.0F);
    return Outcome{};
  };
  const VerdictRecord record = record_of("flash_attn_ext d=16 n_kv=64 mask=used:40", wobbles, {{Relation::hidden}});
  EXPECT_EQ(info(record.verdict).name, "PASS") << record.detail;
}

TEST(Relations, JudgeRowsWhoseKeyIsTooDear) {
  // Wrong in the last query wherever there are others; one row is judged, and it is another one.
  const Kernel wrong = [](const AttentionInputs& in, const MutableTensorView& out) {
    write_truth(in, out);
    auto* o = reinterpret_cast<float*>(out.row(out.ne[1] - 1, out.ne[2] - 1, 0));
    if (in.problem->n_q > 1) o[2] *= 1.01F;
    return Outcome{};
  };
  const std::string line = "flash_attn_ext d=16 n_head=4 n_q=40 n_kv=50";
  const VerdictRecord plain = record_of(line, wrong, {{}, 0, 1});
  EXPECT_EQ(info(plain.verdict).name, "PASS");
  EXPECT_EQ(plain.rows_judged, 1);
  const VerdictRecord record = record_of(line, wrong, {{Relation::row_alone}, 0, 1});
  EXPECT_EQ(info(record.verdict).name, "RELATION");
  EXPECT_THAT(record.detail, HasSubstr("head 3, query 39, column 2"));
}

TEST(Relations, WhatTheBackendCannotDoAndWhatDoesNotApplyIsListed) {
  Asked asked{{Relation::row_alone, Relation::gqa, Relation::again}};
  asked.supports = [](const AttentionProblem& p) { return p.n_q == 1 ? Support::no("no decode here") : Support{}; };
  const VerdictRecord record = record_of("flash_attn_ext d=16 n_q=3 n_kv=9", write_truth, asked);
  EXPECT_EQ(record.verdict, Verdict::PASS);
  EXPECT_THAT(record.relations_held, ElementsAre("again"));
  EXPECT_THAT(record.relations_unsupported, ElementsAre("row-alone: no decode here"));
  EXPECT_THAT(record.relations_inapplicable, ElementsAre("gqa: every query head has K and V of its own"));
}

TEST(Relations, AnErrorInAVariantIsTheCasesVerdictAndNamesTheRelation) {
  const Kernel tires = [](const AttentionInputs& in, const MutableTensorView& out) {
    write_truth(in, out);
    return in.problem->threads == 3 ? Outcome{false, "no third thread", 0, 0} : Outcome{};
  };
  const VerdictRecord record = record_of("flash_attn_ext d=16 n_kv=9", tires, {{Relation::threads}});
  EXPECT_EQ(info(record.verdict).name, "ERROR");
  EXPECT_EQ(record.detail, "relation threads: threads=3: no third thread");
  EXPECT_THAT(record.relations_broken, ElementsAre("threads"));
}

TEST(Relations, AnErrorIsNotHiddenByARelationThatIsBrokenBefore) {
  const Kernel bad = [](const AttentionInputs& in, const MutableTensorView& out) {
    write_truth(in, out);
    if (in.problem->n_q == 1) reinterpret_cast<float*>(out.data)[0] += 1;
    return in.problem->threads == 3 ? Outcome{false, "no third thread", 0, 0} : Outcome{};
  };
  for (const auto& [first, second] :
       {std::pair{Relation::row_alone, Relation::threads}, std::pair{Relation::threads, Relation::row_alone}}) {
    const VerdictRecord record = record_of("flash_attn_ext d=16 n_q=3 n_kv=9", bad, {{first, second}});
    EXPECT_EQ(info(record.verdict).name, "ERROR");
    EXPECT_THAT(record.detail, HasSubstr("relation threads: threads=3: no third thread"));
    EXPECT_THAT(record.also, ElementsAre("RELATION"));
    EXPECT_EQ(record.relations_broken.size(), 2U);
  }
}

TEST(Relations, DoNotApplyToOtherOps) {
  const Kernel ones = [](const AttentionInputs&, const MutableTensorView& out) {
    std::fill_n(reinterpret_cast<float*>(out.data), out.elements(), 1.0F);
    return Outcome{};
  };
  const VerdictRecord record = record_of("soft_max_ext n_q=3 n_kv=1", ones, {{Relation::again}});
  EXPECT_EQ(info(record.verdict).name, "PASS") << record.detail;
  EXPECT_THAT(record.relations_inapplicable, ElementsAre("again: relations are of flash_attn_ext"));
}

TEST(Relations, AFindingOfASimulatorInAVariantKeepsItsVerdict) {
  const Kernel races = [](const AttentionInputs& in, const MutableTensorView& out) {
    write_truth(in, out);
    Outcome outcome;
    outcome.ok = in.problem->threads != 2;
    if (!outcome.ok) outcome.finding = info(Verdict::FLAKY).name;
    return outcome;
  };
  const VerdictRecord record = record_of("flash_attn_ext d=16 n_kv=9", races, {{Relation::threads}});
  EXPECT_EQ(record.verdict, Verdict::FLAKY);
  EXPECT_THAT(record.relations_broken, ElementsAre("threads"));
}

TEST(Relations, AreNotTriedOnACaseThatFails) {
  const VerdictRecord record =
      record_of("flash_attn_ext d=16 n_kv=9", wrong_if([](const auto&) { return true; }), {all_relations()});
  EXPECT_EQ(record.verdict, Verdict::FAIL);
  EXPECT_THAT(record.relations_held, IsEmpty());
}

TEST(Relations, SoManyPerCaseAreChosenByTheCase) {
  std::set<std::string> seen;
  for (int seed = 0; seed < 40; ++seed) {
    const std::string line = "flash_attn_ext d=16 n_head=2 n_head_kv=1 n_q=2 n_kv=9 seed=" + std::to_string(seed);
    const VerdictRecord record = record_of(line, write_truth, {all_relations(), 2});
    EXPECT_EQ(record.relations_held.size(), 2U);
    EXPECT_THAT(record.relations_inapplicable, IsEmpty());
    EXPECT_EQ(record.relations_held, record_of(line, write_truth, {all_relations(), 2}).relations_held);
    seen.insert(record.relations_held.begin(), record.relations_held.end());
  }
  EXPECT_GE(seen.size(), 10U);
}

TEST(Relations, ListsOfNamesAreRead) {
  EXPECT_EQ(parse_relations("all")->size(), all_relations().size());
  EXPECT_TRUE(parse_relations("none")->empty());
  EXPECT_EQ(*parse_relations("gqa,hidden,gqa"), (std::vector<Relation>{Relation::gqa, Relation::hidden}));
  for (const char* bad : {"gqaa", "gqa,", "", "kv_split"}) EXPECT_FALSE(parse_relations(bad)) << bad;
  EXPECT_THAT(parse_relations("gqa,row-alon").error().hint, HasSubstr("row-alone"));
}

}  // namespace
}  // namespace attest
