// Keys and budgets as bytes, for the cache.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <map>
#include <span>
#include <type_traits>
#include <vector>

#include "oracles/error_budget.h"
#include "oracles/oracle.h"

namespace attest {

// Vectors of plain values, each as its length and its bytes.
template <class... Vectors>
std::vector<std::byte> pack(const Vectors&... vectors) {
  std::vector<std::byte> blob;
  const auto append = [&](const void* data, std::size_t bytes) {
    const std::size_t at = blob.size();
    blob.resize(at + bytes);
    if (bytes > 0) std::memcpy(blob.data() + at, data, bytes);
  };
  const auto one = [&](const auto& vector) {
    using Value = typename std::decay_t<decltype(vector)>::value_type;
    static_assert(std::is_trivially_copyable_v<Value>);
    const std::uint64_t n = vector.size();
    append(&n, sizeof n);
    append(vector.data(), n * sizeof(Value));
  };
  (one(vectors), ...);
  return blob;
}

// False where the bytes are not what pack() of these types made.
template <class... Vectors>
bool unpack(std::span<const std::byte> blob, Vectors&... vectors) {
  const auto one = [&](auto& vector) {
    using Value = typename std::decay_t<decltype(vector)>::value_type;
    std::uint64_t n = 0;
    if (blob.size() < sizeof n) return false;
    std::memcpy(&n, blob.data(), sizeof n);
    blob = blob.subspan(sizeof n);
    if (n > blob.size() / sizeof(Value)) return false;
    vector.resize(n);
    if (n > 0) std::memcpy(vector.data(), blob.data(), n * sizeof(Value));
    blob = blob.subspan(n * sizeof(Value));
    return true;
  };
  return (one(vectors) && ...) && blob.empty();
}

// What compare() reads of budgets: suspect, fail, dominant terms and flags. `rows` names the rows by index.
std::vector<std::byte> pack_budgets(const std::map<std::size_t, RowBudget>& budgets);
std::map<std::size_t, RowBudget> unpack_budgets(std::span<const std::byte> blob, const std::vector<Row>& rows);

}  // namespace attest
