// Numbers the basic blocks of a compiled kernel so that lanes which run the lowest number first meet again where their
// ways join: before whatever follows a branch or a loop, all of it has run.
#pragma once

#include <cstdint>
#include <vector>

#include "backends/metal/sim/abi.h"

namespace attest::metal {

// A control flow graph: for every block its successors; block 0 is the entry.
using FlowGraph = std::vector<std::vector<std::uint32_t>>;

struct BlockOrder {
  std::vector<std::uint32_t> rank;  // of every block
  std::vector<std::uint32_t> last;  // of heads of loops: the rank of the loop's last block; 0 of others
};
// A weak topological order (Bourdoncle 1993): loops are contiguous, their heads first, and what comes after a branch or
// loop ranks behind all of it. Blocks that nothing reaches come last.
BlockOrder weak_topological_order(const FlowGraph& graph);

// The blocks of a module compiled with steps; writes into every guard which one it stands at. Ranks begin at 1, those
// of different functions differ.
std::vector<msl::Block> number_blocks(const msl::Module& module);

}  // namespace attest::metal
