#include "backends/metal/mutants.h"

#include <fmt/format.h>

#include <map>

namespace attest::metal {

namespace {

constexpr std::string_view kFirstLine = "#include <metal_stdlib>\n";

std::string_view name_of(AttentionKernel kernel) { return kernel == AttentionKernel::vec ? "vec" : "tiled"; }

// Where a mutant's expression lies in the library.
struct Range {
  std::size_t begin = 0, end = 0;
  bool operator<(const Range& o) const { return begin != o.begin ? begin < o.begin : end < o.end; }
};

Expected<Range> place_of(const Mutant& m, const std::string& library) {
  const auto open = m.text.find('`'), close = m.text.rfind('`');
  const bool marked = open != std::string_view::npos;
  std::string text(m.text);
  std::erase(text, '`');
  const auto at = library.find(text);
  if (at == std::string::npos || library.find(text, at + 1) != std::string::npos) {
    return harness_error(fmt::format("mutant {}: '{}' stands {} in kernel {}", m.name, text,
                                     at == std::string::npos ? "nowhere" : "more than once", name_of(m.kernel)));
  }
  return marked ? Range{at + open, at + close - 1} : Range{at, at + text.size()};
}

}  // namespace

const std::vector<Mutant>& mutants() {
  static const std::vector<Mutant> rows = [] {
    std::vector<Mutant> all = {
#define ATTEST_METAL_MUTANT(name, kernel, klass, model, description, models, text, instead) \
  {name, AttentionKernel::kernel, klass, ExecutionModel::model, description, models, text, instead, 0},
#include "backends/metal/mutants.def"
#undef ATTEST_METAL_MUTANT
    };
    int number = 0;
    for (Mutant& m : all) m.number = ++number;
    return all;
  }();
  return rows;
}

Expected<const Mutant*> find_mutant(std::string_view name) {
  std::vector<std::string> names;
  for (const Mutant& m : mutants()) {
    if (m.name == name) return &m;
    names.emplace_back(m.name);
  }
  const std::string near = did_you_mean(name, names);
  return input_error(fmt::format("no mutant of the Metal kernels is called '{}'", name),
                     near.empty() ? "see attest list mutants" : near);
}

Expected<std::string> mutable_library(AttentionKernel kernel) {
  const std::string library = attention_library(kernel);
  std::map<Range, std::string> choices;  // what stands before the production expression
  for (const Mutant& m : mutants()) {
    if (m.kernel != kernel) continue;
    const auto range = place_of(m, library);
    if (!range) return Unexpected(range.error());
    choices[*range] += fmt::format("attest_mutant == {} ? ({}) : ", m.number, m.instead);
  }
  std::string out(kFirstLine);
  out += fmt::format("constant int attest_mutant [[function_constant({})]];\n", kMutantConstant);
  std::size_t at = kFirstLine.size();
  for (const auto& [range, choice] : choices) {
    if (range.begin < at) return harness_error(fmt::format("two mutants overlap at '{}'", choice));
    out.append(library, at, range.begin - at);
    out += fmt::format("({}({}))", choice, library.substr(range.begin, range.end - range.begin));
    at = range.end;
  }
  return out + library.substr(at);
}

std::vector<MutantRow> mutant_rows() {
  std::vector<MutantRow> rows;
  for (const Mutant& m : mutants()) {
    MutantRow row;
    row.backend = fmt::format("metal:sim,mutant={}", m.name);
    row.path = name_of(m.kernel);
    row.suspected_class = m.suspected_class;
    row.description = m.description;
    row.models = m.models;
    rows.push_back(std::move(row));
  }
  return rows;
}

std::vector<MutantRow> production_rows() {
  std::vector<MutantRow> rows;
  for (const AttentionKernel kernel : {AttentionKernel::vec, AttentionKernel::tiled}) {
    for (const char* model : {"free", "tsan"}) {
      MutantRow row;
      row.path = name_of(kernel);
      row.backend = fmt::format("metal:sim,kernel={},model={}", row.path, model);
      row.suspected_class = "none";
      row.description = "the kernel as it is shipped";
      row.contract = "f32 throughout";
      rows.push_back(std::move(row));
    }
  }
  return rows;
}

}  // namespace attest::metal
