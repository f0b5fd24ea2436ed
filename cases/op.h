// The operations attest asks about: their names in both spellings, and what each computes in a sentence.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace attest {

enum class Op : std::uint8_t { flash_attn_ext, soft_max_ext, set_rows, kv_decode };

struct OpInfo {
  Op op;
  std::string_view name;   // as descriptors begin
  std::string_view upper;  // the other spelling
  std::string_view meaning;
  std::string_view example;
};
const std::vector<OpInfo>& all_ops();
const OpInfo& info(Op op);
// Either spelling, letters in any case.
std::optional<Op> op_from_name(std::string_view name);
std::vector<std::string> op_names();

}  // namespace attest
