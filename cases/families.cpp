#include "cases/families.h"

#include <fmt/format.h>

#include <cmath>

namespace attest {

const std::vector<FamilyInfo>& families() {
  static const std::vector<FamilyInfo> table = {
#define ATTEST_FAMILY(name, shapes_qk, has_arg, default_arg, generic, meaning) \
  {#name, meaning, shapes_qk, has_arg, default_arg, generic},
#include "cases/families.def"
#undef ATTEST_FAMILY
  };
  return table;
}

const FamilyInfo* find_family(std::string_view name) {
  for (const FamilyInfo& family : families())
    if (family.name == name) return &family;
  return nullptr;
}

std::vector<std::string> family_names() {
  std::vector<std::string> names;
  for (const FamilyInfo& family : families()) names.emplace_back(family.name);
  return names;
}

Expected<void> validate(const DataSpec& data) {
  const DataTerm *qk = nullptr, *v = nullptr;
  for (const DataTerm& term : data.terms) {
    const FamilyInfo* family = find_family(term.name);
    if (family == nullptr)
      return input_error(fmt::format("unknown data family '{}'", term.name), did_you_mean(term.name, family_names()));
    if (term.has_arg && !family->has_arg)
      return input_error(fmt::format("data family '{}' takes no parameter", term.name));
    if (term.has_arg && !(std::abs(term.arg) <= 1e30))
      return input_error(fmt::format("parameter of data family '{}' is not a finite number below 1e30", term.name));
    const DataTerm*& slot = family->shapes_qk ? qk : v;
    if (slot != nullptr)
      return input_error(fmt::format("data families '{}' and '{}' both shape {}", slot->name, term.name,
                                     family->shapes_qk ? "Q and K" : "V"));
    slot = &term;
  }
  return {};
}

ResolvedData resolve(const DataSpec& data) {
  ResolvedData resolved;
  for (const DataTerm& term : data.terms) {
    const FamilyInfo* family = find_family(term.name);
    if (family == nullptr) continue;
    const auto id = static_cast<Family>(family - families().data());
    const double arg = term.has_arg ? term.arg : family->default_arg;
    if (family->shapes_qk) {
      resolved.scores = id;
      resolved.scores_arg = arg;
    } else {
      resolved.has_values = true;
      resolved.values = id;
      resolved.values_arg = arg;
    }
  }
  return resolved;
}

bool is_generic(const Case& c) {
  for (const DataTerm& term : c.data.terms) {
    const FamilyInfo* family = find_family(term.name);
    if (family == nullptr || !family->generic) return false;
  }
  // Equal scores round equally, and their errors add up instead of averaging out.
  if (c.problem.scale == 0) return false;
  const ResolvedData data = resolve(c.data);
  if ((data.scores == Family::normal || data.scores == Family::huge) && data.scores_arg == 0) return false;
  // So far from its deviation, or so large or small, stored V is nearly constant.
  const double size = std::abs(data.values_arg);
  if (data.has_values && data.values == Family::v_shift && size > 256) return false;
  if (data.has_values && data.values == Family::v_scale && !(size >= 1e-3 && size <= 1e4)) return false;
  // A large finite bias swallows the digits that make scores differ.
  for (const MaskTerm& term : c.problem.mask.terms) {
    const bool biased = term.kind == MaskKind::finite || term.kind == MaskKind::random ||
                        term.kind == MaskKind::finite_rows || term.kind == MaskKind::finite_blocks ||
                        term.kind == MaskKind::finite_left;
    if (biased && std::abs(term.arg) > 256) return false;
  }
  return true;
}

}  // namespace attest
