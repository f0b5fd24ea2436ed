#include "harness/check/captured.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <optional>
#include <set>

#include "cases/dense_array.h"
#include "cases/npy.h"
#include "cases/safetensors.h"
#include "harness/case_pattern.h"
#include "reports/text.h"

namespace attest {
namespace fs = std::filesystem;
namespace {

Expected<std::vector<std::string>> manifests(const std::vector<std::string>& paths) {
  std::vector<std::string> found;
  for (const std::string& path : paths) {
    std::error_code failed;
    if (!fs::is_directory(path, failed)) {
      if (path.ends_with(".npy") || path.ends_with(".safetensors"))
        return input_error(fmt::format("{}: a manifest (TOML) says what the arrays of a file are", path),
                           "attest check MANIFEST.toml");
      found.push_back(path);
      continue;
    }
    std::vector<std::string> below;
    for (fs::recursive_directory_iterator entry(path, failed), end; !failed && entry != end; entry.increment(failed)) {
      const std::string name = entry->path().filename().string();
      if (name.starts_with(".")) entry.disable_recursion_pending();  // a bundle half written
      if (name == "manifest.toml") below.push_back(entry->path().string());
    }
    if (failed) return input_error(fmt::format("{}: {}", path, failed.message()));
    if (below.empty()) return input_error(fmt::format("{}: no manifest.toml below it", path));
    std::sort(below.begin(), below.end());
    found.insert(found.end(), below.begin(), below.end());
  }
  return found;
}

bool same_tensors(const LoadedCase& a, const LoadedCase& b) {
  return a.q == b.q && a.k == b.k && a.v == b.v && a.mask == b.mask && a.sinks == b.sinks;
}

bool same_tolerance(const std::optional<ManifestExpected>& a, const std::optional<ManifestExpected>& b) {
  if (!a || !b) return a.has_value() == b.has_value();
  return a->rtol == b->rtol && a->atol == b->atol && a->some_rows == b->some_rows;
}

// Whether a captured case's values fit an altered form of it.
bool fits(const AttentionProblem& p, const AttentionProblem& own) {
  const bool zeros = p.mask.terms.size() == 1 && p.mask.terms[0] == MaskTerm{};
  MaskSpec like = own.mask;
  like.terms = p.mask.terms;
  const bool mask = !p.mask.present() || p.mask == own.mask || (own.mask.present() && zeros && p.mask == like);
  const bool sinks = p.sinks.kind == SinkKind::none || p.sinks == own.sinks;
  return mask && sinks && p.op == own.op && p.d_k == own.d_k && p.d_v == own.d_v && p.n_head == own.n_head &&
         p.n_head_kv == own.n_head_kv && p.n_head_v == own.n_head_v && p.n_q == own.n_q && p.n_kv == own.n_kv &&
         p.n_seq == own.n_seq && p.n_seq_kv == own.n_seq_kv && p.k_type == own.k_type && p.v_type == own.v_type;
}

Expected<void> put(const StoredArray& array, const TensorPlan& plan, std::byte* memory) {
  MutableTensorView view;
  static_cast<TensorShape&>(view) = plan.shape;
  view.data = memory + plan.offset;
  return scatter(array, view);
}

}  // namespace

Expected<std::unique_ptr<CapturedCases>> CapturedCases::open(const std::vector<std::string>& paths,
                                                             const std::vector<std::string>& names) {
  auto files = manifests(paths);
  if (!files) return Unexpected(files.error());
  std::unique_ptr<CapturedCases> all(new CapturedCases);
  std::set<std::string> texts;
  std::vector<std::string> known;
  std::uint64_t seed = 0;
  for (const std::string& file : *files) {
    auto cases = load_manifest(file);
    if (!cases) return Unexpected(cases.error());
    for (ManifestCase& m : *cases) {
      known.push_back(m.name);
      if (!names.empty() &&
          std::none_of(names.begin(), names.end(), [&](const auto& n) { return glob_matches(n, m.name); }))
        continue;
      auto loaded = load(m, seed);
      if (!loaded) return Unexpected(loaded.error());
      const std::string line = text(loaded->the_case);
      const bool known_line = m.line && texts.contains(line);
      bool again = false;
      for (const Entry& e : all->entries_) {
        if (!known_line || text(e.manifest.line.value_or(e.the_case)) != line) continue;
        const auto other = load(e.manifest, e.seed);
        if (!other) return Unexpected(other.error());
        if (!same_tensors(*other, *loaded))
          return m.place.error(
              fmt::format("the line of case '{}' of {}, but other tensors", e.manifest.name, e.manifest.place.file));
        again = again || (other->expected == loaded->expected && same_tolerance(e.manifest.expected, m.expected));
      }
      if (again) {
        ++all->duplicates_;
        continue;
      }
      // Where another output is expected, too: a verdict is of a line.
      while (!texts.insert(text(loaded->the_case)).second) loaded->the_case.seed = ++seed;
      Entry entry{std::move(m), loaded->the_case.seed, std::move(loaded->the_case)};
      entry.the_case.tags = {fmt::format("{}: {}", file, entry.manifest.name)};
      all->by_tag_.emplace(entry.the_case.tags.front(), all->entries_.size());
      all->cases_.push_back(entry.the_case);
      all->entries_.push_back(std::move(entry));
    }
  }
  for (const std::string& name : names) {
    const auto is_meant = [&](const std::string& n) { return glob_matches(name, n); };
    if (known.empty() || std::any_of(known.begin(), known.end(), is_meant)) continue;
    return input_error(fmt::format("--case '{}' names none of the {}", name,
                                   count_of(static_cast<std::int64_t>(known.size()), "case", "cases")),
                       did_you_mean(name, known));
  }
  return all;
}

bool CapturedCases::any_expected() const {
  return std::any_of(entries_.begin(), entries_.end(), [](const Entry& e) { return e.manifest.expected.has_value(); });
}

const CapturedCases::Entry* CapturedCases::find(const Case& c) const {
  const auto found = c.tags.empty() ? by_tag_.end() : by_tag_.find(c.tags.front());
  return found == by_tag_.end() ? nullptr : &entries_[found->second];
}

bool CapturedCases::has(const Case& c) const {
  const Entry* entry = find(c);
  if (entry == nullptr) return false;
  return entry->manifest.line ? text(c) == text(entry->the_case) : fits(c.problem, entry->the_case.problem);
}

bool CapturedCases::generates(const Case& c) const {
  const Entry* entry = find(c);
  return entry != nullptr && entry->manifest.line;
}

bool CapturedCases::generic(const Case& c) const {
  const Entry* entry = find(c);
  return entry != nullptr && entry->manifest.line && is_generic(c);
}

std::string CapturedCases::name(const Case& c) const {
  const Entry* entry = find(c);
  if (entry == nullptr) return "";
  return fmt::format("{} --case {}", shell_quoted(entry->manifest.place.file), shell_quoted(entry->manifest.name));
}

Expected<void> CapturedCases::fill(const Case& c, const InputPlan& plan, const InputBuffers& buffers) const {
  const Entry* entry = find(c);
  if (entry == nullptr) return harness_error("no such captured case");
  auto loaded = load(entry->manifest, entry->seed);
  if (!loaded) return Unexpected(loaded.error());
  struct Part {
    const StoredArray& array;
    const TensorPlan& plan;
    std::byte* memory;
  };
  const std::vector<Part> parts{{loaded->q, plan.q, buffers.q},
                                {loaded->k, plan.k, buffers.k},
                                {loaded->v, plan.v, buffers.v},
                                {loaded->mask, plan.mask, buffers.mask},
                                {loaded->sinks, plan.sinks, buffers.sinks}};
  if (entry->manifest.line) {
    fill_inputs(c, plan, buffers);  // what lies around the tensors
  } else {
    for (const Part& part : parts) {
      if (part.plan.bytes > 0 && !plan.sparse) std::memset(part.memory, 0, static_cast<std::size_t>(part.plan.bytes));
    }
  }
  const bool no_mask = !entry->manifest.line && c.problem.mask.terms != entry->the_case.problem.mask.terms;
  for (const Part& part : parts) {
    if (part.plan.bytes == 0 || part.array.bytes.empty()) continue;
    if (no_mask && &part.plan == &plan.mask) continue;  // altered to a mask of zeros
    if (entry->manifest.allocations) {
      std::memcpy(part.memory, part.array.bytes.data(), part.array.bytes.size());
    } else if (auto done = put(part.array, part.plan, part.memory); !done) {
      return done;
    }
  }
  return {};
}

Expected<CapturedCases::Expectation> CapturedCases::expectation(const Case& c) const {
  const Entry* entry = find(c);
  if (entry == nullptr || !entry->manifest.expected) return input_error("the manifest names no expected output");
  if (entry->manifest.expected->some_rows) return input_error("the expected output is of some rows only");
  if (text(c) != text(entry->the_case)) return input_error("the expected output is of another case");
  auto loaded = load(entry->manifest, entry->seed);
  if (!loaded) return Unexpected(loaded.error());
  const ManifestExpected& e = *entry->manifest.expected;
  Expectation expectation{std::move(loaded->expected), {}};
  ArithmeticContract& contract = expectation.contract;
  contract.set_path("file");
  contract.order = SumOrder::unknown;
  if (e.rtol || e.atol) {
    contract.u_out = std::max(contract.u_out, e.rtol.value_or(0));
    contract.omega_out = std::max(contract.omega_out, e.atol.value_or(0));
    return expectation;
  }
  const auto type = e.array.tensor.empty() ? read_npy(e.array.file) : read_safetensor(e.array.file, e.array.tensor);
  if (!type) return Unexpected(type.error());
  const bool half = type->type == ArrayType::f16 || e.array.dtype == DType::f16;
  const bool brain = type->type == ArrayType::bf16 || e.array.dtype == DType::bf16;
  if (half || brain) contract.u_p = contract.u_out = half ? kUnitF16 : kUnitBf16;
  if (half) contract.omega = contract.omega_out = 0x1p-25;
  return expectation;
}

}  // namespace attest
