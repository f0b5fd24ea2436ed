#include "harness/gtest/judge_main.h"

#include <attest/wire_io.h>
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <deque>
#include <map>
#include <optional>

#include "backends/plugin/translate.h"
#include "cases/cache_dir.h"
#include "cases/suites/suite.h"
#include "harness/compare.h"
#include "harness/run/runner.h"
#include "harness/triage.h"
#include "reports/ruling_text.h"
#include "reports/text.h"

namespace attest {

namespace {

constexpr std::size_t kWidth = 100, kLabel = 10;

Expected<ArithmeticContract> contract_of(const attest_contract& theirs) { return plugin::read_contract(theirs); }

// The place's tensors with data pointers that count from the beginning of its memory.
wire::Message run_message(const Case& c, const Place& place) {
  wire::Message m = wire::message(wire::Kind::run);
  const InputPlan plan = plan_inputs(c.problem);
  const InputBuffers& buffers = place.buffers();
  m.contract = plugin::standard_contract();
  m.problem = plugin::problem_for_plugin(input_views(c, plan, buffers), output_view(plan, buffers),
                                         std::max(1, c.problem.threads));
  m.problem.out.data = buffers.out;
  const std::array<const std::byte*, kRegionCount> starts{buffers.q,    buffers.k,     buffers.v,
                                                          buffers.mask, buffers.sinks, buffers.out};
  const auto bytes = region_bytes(plan);
  const RegionCapacities& capacities = place.capacities();
  std::uint64_t offset = 0;
  const std::byte* base = nullptr;
  for (std::size_t i = 0; i < starts.size(); ++i) {
    const std::uint64_t start = bytes[i] == 0 ? 0 : region_start(capacities[i], bytes[i], place.left_aligned());
    m.allocations[i] = {capacities[i], start, start + bytes[i]};
    if (base == nullptr && starts[i] != nullptr) base = starts[i] - start - offset;
    offset += capacities[i];
  }
  attest_problem& p = m.problem;
  for (attest_tensor* t : {&p.q, &p.k, &p.v, &p.mask, &p.sinks, &p.out}) {
    if (t->data == nullptr) continue;
    // A number on this wire, not a pointer.
    t->data = reinterpret_cast<const void*>(static_cast<const std::byte*>(t->data) - base);
  }
  return m;
}

// The kernel at the other end of the socket as a subject.
class ClientSubject final : public Subject {
 public:
  ClientSubject(std::string name, std::atomic<bool>& gone) : name_(std::move(name)), gone_(&gone) {}

  Expected<SubjectInfo> start() override { return SubjectInfo{name_, "gtest", "a kernel in a test"}; }

  // Only a run tells: the test answers both at once.
  SubjectAnswer ask(const Case&, const std::string&) override { return answer_of(SubjectAnswer::Kind::accepted); }

  void post(std::size_t, const Place& place, const Case& c, const std::string& line) override {
    posted_.push_back({&place, c, line});
  }

  SubjectAnswer next(double) override {
    if (accepted_) {
      accepted_ = false;
      return later_;
    }
    if (posted_.empty()) return answer_of(SubjectAnswer::Kind::failed, "nothing was posted");
    const Posted posted = std::move(posted_.front());
    posted_.pop_front();
    if (posted.c.problem.op != Op::flash_attn_ext) {
      return answer_of(SubjectAnswer::Kind::unsupported, "attest/gtest.h knows flash_attn_ext alone");
    }
    wire::Message reply;
    std::string text;
    if (!wire::send(wire::kJudgeFd, run_message(posted.c, *posted.place), posted.line, nullptr, 0,
                    posted.place->fd()) ||
        !wire::receive(wire::kJudgeFd, reply, text) || reply.kind != wire::Kind::answer) {
      gone_->store(true);
      return answer_of(SubjectAnswer::Kind::interrupted);
    }
    if (reply.status == wire::Status::unsupported) return answer_of(SubjectAnswer::Kind::unsupported, text);
    const auto contract = contract_of(reply.contract);
    if (!contract) return answer_of(SubjectAnswer::Kind::failed, "the contract: " + contract.error().message);
    later_ = reply.status == wire::Status::bad ? answer_of(SubjectAnswer::Kind::failed, text)
                                               : answer_of(SubjectAnswer::Kind::done);
    accepted_ = true;
    SubjectAnswer answer = answer_of(SubjectAnswer::Kind::accepted);
    answer.contract = *contract;
    return answer;
  }

 private:
  struct Posted {
    const Place* place;
    Case c;
    std::string line;
  };
  static SubjectAnswer answer_of(SubjectAnswer::Kind kind, std::string text = {}) {
    SubjectAnswer answer;
    answer.kind = kind;
    answer.text = std::move(text);
    return answer;
  }

  std::string name_;
  std::atomic<bool>* gone_;
  std::deque<Posted> posted_;
  SubjectAnswer later_;
  bool accepted_ = false;
};

// What a person is to know, a labelled paragraph each, as the console has them.
std::string explained(const VerdictRecord& r) {
  std::string text;
  const auto add = [&](std::string_view label, const std::string& body) {
    if (!body.empty()) text += fmt::format("  {:<8}{}\n", label, wrapped(body, kWidth, kLabel));
  };
  add("case", r.line);
  add("detail", r.detail);
  for (const auto& [label, said] : triage_lines(r.triage)) add(label, said);
  if (r.rows_judged > 0) {
    add("worst", worst_text(r));
    add("budget", budget_text(r));
    add("NMSE", fmt::format("{:.3g}, max abs error {:.3g}", r.nmse, r.max_abs));
  }
  return text;
}

class Server {
 public:
  // False: the test is gone.
  bool serve(const wire::Message& request, const std::string& text) {
    switch (request.kind) {
      case wire::Kind::suite:
        return list(text);
      case wire::Kind::judge:
        return judge(text);
      case wire::Kind::open:
        return open(text);
      case wire::Kind::rule:
        return rule(request, text);
      default:
        return refuse("asked out of turn");
    }
  }

 private:
  static bool refuse(const std::string& why) {
    return wire::send(wire::kJudgeFd, wire::message(wire::Kind::error), why);
  }

  static bool tell(const VerdictRecord& record) {
    if (record.verdict == Verdict::UNSUPPORTED) {
      return wire::send(wire::kJudgeFd, wire::message(wire::Kind::verdict, wire::Status::unsupported),
                        "UNSUPPORTED\n" + record.detail);
    }
    const auto status = info(record.verdict).bad ? wire::Status::bad : wire::Status::good;
    return wire::send(wire::kJudgeFd, wire::message(wire::Kind::verdict, status),
                      std::string(info(record.verdict).name) + "\n" + explained(record));
  }

  bool list(const std::string& name) {
    auto suite = name.size() > 4 && name.ends_with(".txt") ? load_case_file(name) : load_suite(name);
    if (!suite) return refuse(suite.error().text());
    std::string lines;
    for (const Case& c : suite->cases) lines += case_id(c) + " " + text(c) + "\n";
    relations_[name] = suite->relations;
    return wire::send(wire::kJudgeFd, wire::message(wire::Kind::lines), lines);
  }

  bool judge(const std::string& request) {
    const auto first = request.find('\n'), second = request.find('\n', first + 1);
    if (second == std::string::npos) return refuse("a request without suite or name");
    auto c = parse_case(request.substr(0, first));
    if (!c) return refuse(c.error().text());
    RunPlan plan;
    plan.cases.push_back(std::move(*c));
    plan.suite = request.substr(first + 1, second - first - 1);
    plan.backends.push_back(request.substr(second + 1));
    RunOptions options;
    options.jobs = 1;
    options.relations = relations_[plan.suite];
    options.cache = default_cache_dir();
    std::atomic<bool> gone{false};
    options.interrupted = &gone;
    struct Keeper final : RunListener {
      void on_verdict(const VerdictRecord& r) override { record = r; }
      std::optional<VerdictRecord> record;
    } keeper;
    const SubjectMaker maker = [&](const std::string& name, const std::vector<int>&) -> std::unique_ptr<Subject> {
      return std::make_unique<ClientSubject>(name, gone);
    };
    const auto summary = run(plan, options, maker, {}, keeper);
    if (gone) return false;
    if (!summary) return refuse(summary.error().text());
    return keeper.record ? tell(*keeper.record) : refuse("the case was not ruled on");
  }

  bool open(const std::string& line) {
    const auto c = parse_case(line);
    if (!c) return refuse(c.error().text());
    if (c->problem.op != Op::flash_attn_ext) return refuse("attest/gmock.h knows flash_attn_ext alone");
    Place place;
    const InputPlan plan = plan_inputs(c->problem);
    if (auto ready = place.prepare(plan, c->problem.layout.left_aligned); !ready) return refuse(ready.error().text());
    fill_inputs(*c, plan, place.buffers());
    place.fill_input_gaps();
    fill_output(*c, plan, place.buffers());
    return wire::send(wire::kJudgeFd, run_message(*c, place), attest::text(*c), nullptr, 0, place.fd());
  }

  bool rule(const wire::Message& request, const std::string& line) {
    std::vector<std::byte> output(request.payload_bytes);
    if (!wire::receive_bytes(wire::kJudgeFd, output.data(), output.size())) return false;
    const auto c = parse_case(line);
    if (!c) return refuse(c.error().text());
    const auto contract = contract_of(request.contract);
    if (!contract) return refuse("the contract: " + contract.error().message);
    const TensorPlan plan = plan_inputs(c->problem).out;
    if (output.size() != static_cast<std::size_t>(plan.bytes)) return refuse("the output has another size");
    TensorView out;
    static_cast<TensorShape&>(out) = plan.shape;
    out.data = output.data();
    const OwnedInputs inputs(*c);
    Key key(*c, inputs.inputs(), {});
    VerdictRecord record;
    record.line = attest::text(*c);
    record.verdict = compare(key, *contract, out, record).verdict;
    if (info(record.verdict).bad) triage(key, *contract, out, TriageDepth::pattern, {}, record);
    return tell(record);
  }

  std::map<std::string, RelationChoice> relations_;
};

}  // namespace

int judge_main() {
  Server server;
  wire::Message request;
  std::string text;
  while (wire::receive(wire::kJudgeFd, request, text)) {
    if (!server.serve(request, text)) break;
  }
  return 0;
}

}  // namespace attest
