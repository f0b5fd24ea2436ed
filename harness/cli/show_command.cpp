// attest show LINE: everything a case means, without running it.
#include <fmt/format.h>

#include <memory>

#include "cases/case.h"
#include "harness/backends.h"
#include "harness/cli/verbs.h"
#include "harness/row_choice.h"

namespace attest::cli {

namespace {

struct ShowArguments {
  std::string line;
  std::vector<std::string> backends, ggml;
};

std::string amount(double n, const char* unit) {
  constexpr const char* prefixes[] = {"", "K", "M", "G", "T", "P"};
  int i = 0;
  while (n >= 1000 && i < 5) {
    n /= 1000;
    ++i;
  }
  return fmt::format("{:.3g} {}{}", n, prefixes[i], unit);
}

void print_tensor(const char* name, const TensorPlan& t, bool inside_k) {
  const TensorShape& s = t.shape;
  const auto own = inside_k ? std::string("inside K") : fmt::format("{} bytes", t.bytes);
  fmt::print("  {:<6} {:<7} {:<26} {:<34} offset {:<6} {}\n", name, info(s.dtype).name,
             fmt::format("[{}]", fmt::join(s.ne, ", ")), fmt::format("strides [{}]", fmt::join(s.nb, ", ")), t.offset,
             own);
}

int show_verb(const ShowArguments& a) {
  const auto parsed = parse_case(a.line);
  if (!parsed) return report(parsed.error());
  const Case& c = *parsed;
  const AttentionProblem& p = c.problem;
  const InputPlan plan = plan_inputs(p);
  fmt::print("line    {}\nid      {}\n", text(c), case_id(c));
  fmt::print("scale   {}   softcap {}   max_bias {}\n", p.scale, p.softcap, p.max_bias);
  fmt::print("tensors (extents and byte strides, fastest first)\n");
  print_tensor("Q", plan.q, false);
  print_tensor("K", plan.k, false);
  print_tensor("V", plan.v, plan.v_view_of_k);
  if (plan.mask.bytes > 0) print_tensor("mask", plan.mask, false);
  if (plan.sinks.bytes > 0) print_tensor("sinks", plan.sinks, false);
  print_tensor("O", plan.out, false);
  const auto total = plan.q.bytes + plan.k.bytes + plan.v.bytes + plan.mask.bytes + plan.sinks.bytes + plan.out.bytes;
  fmt::print("bytes   {}\n", amount(static_cast<double>(total), "B"));
  fmt::print("rows    {} of {} FLOP each, {} in all\n", p.n_seq * p.n_head * p.n_q, amount(row_flop(p), ""),
             amount(flop(p), "FLOP"));
  fmt::print("data    {}\n", is_generic(c) ? "generic: the statistical budget applies where admissible"
                                           : "structured: the deterministic budget applies");

  const auto environment = find_ggml_builds(a.ggml);
  if (!environment) return report(environment.error());
  fmt::print("paths\n");
  for (const auto& backend : a.backends.empty() ? default_backends(*environment) : a.backends) {
    const auto subject =
        make_process_subject({{own_executable().string(), kSubjectVerb}, backend, *environment, {}, 0, &interrupted()});
    if (auto started = subject->start(); !started) return report_backend(started.error());
    const SubjectAnswer answer = subject->ask(c, text(c));
    if (answer.kind == SubjectAnswer::Kind::accepted) {
      const ArithmeticContract& k = answer.contract;
      fmt::print("  {:<18} {:<8} tile {}, chunks {}, accumulator 2^{:.0f}, P {}, Q {}\n", backend, k.path_name(),
                 k.tile, k.chunks, std::log2(k.u_acc), k.u_p > 0 ? fmt::format("2^{:.0f}", std::log2(k.u_p)) : "f32",
                 k.q_rounding == QRounding::none ? "as it is" : "rounded");
    } else {
      fmt::print("  {:<18} {}\n", backend,
                 answer.kind == SubjectAnswer::Kind::unsupported ? "UNSUPPORTED: " + answer.text : answer.fault.detail);
    }
  }
  return kOk;
}

}  // namespace

Verb add_show(CLI::App& app) {
  auto a = std::make_shared<ShowArguments>();
  CLI::App* show = app.add_subcommand("show", "what a case line means: tensors, strides, bytes, cost, paths");
  show->add_option("line", a->line, "a descriptor or a test-backend-ops line, quoted")->required();
  show->add_option("-b,--backend", a->backends, "backends whose path is shown (default: every available one)")
      ->expected(1)
      ->take_all()
      ->allow_extra_args(false);
  show->add_option("--ggml", a->ggml, "ggml build directory, DIR or NAME=DIR, repeatable")
      ->expected(1)
      ->take_all()
      ->allow_extra_args(false);
  return [a] { return show_verb(*a); };
}

}  // namespace attest::cli
