#include "backends/metal/sim/block_order.h"

#include <limits>
#include <unordered_map>
#include <utility>

namespace attest::metal {
namespace {

// F. Bourdoncle, "Efficient chaotic iteration strategies with widenings" (1993), figure 4.
class WeakOrder {
 public:
  explicit WeakOrder(const FlowGraph& graph) : graph_(graph), number_(graph.size(), 0) {}

  BlockOrder run() {
    if (!graph_.empty()) visit(0);
    const auto count = static_cast<std::uint32_t>(backwards_.size());
    BlockOrder order;
    order.rank.assign(graph_.size(), count);
    order.last.assign(graph_.size(), 0);
    for (std::uint32_t i = 0; i < count; ++i) order.rank[backwards_[i]] = count - 1 - i;
    for (const auto& [head, first] : loops_) order.last[head] = count - 1 - first;
    return order;
  }

 private:
  static constexpr std::uint32_t kDone = std::numeric_limits<std::uint32_t>::max();

  std::uint32_t visit(std::uint32_t v) {
    stack_.push_back(v);
    std::uint32_t head = number_[v] = ++count_;
    bool loop = false;
    for (const std::uint32_t next : graph_[v]) {
      const std::uint32_t least = number_[next] == 0 ? visit(next) : number_[next];
      if (least <= head) {
        head = least;
        loop = true;
      }
    }
    if (head != number_[v]) return head;
    number_[v] = kDone;
    std::uint32_t top = stack_.back();
    stack_.pop_back();
    if (loop) {
      for (; top != v; stack_.pop_back()) {
        number_[top] = 0;
        top = stack_.back();
      }
      component(v);
    }
    backwards_.push_back(v);
    return head;
  }

  void component(std::uint32_t v) {
    loops_.emplace_back(v,
                        static_cast<std::uint32_t>(backwards_.size()));  // what comes now precedes nothing else of it
    for (const std::uint32_t next : graph_[v]) {
      if (number_[next] == 0) visit(next);
    }
  }

  const FlowGraph& graph_;
  std::vector<std::uint32_t> number_, stack_;
  std::vector<std::uint32_t> backwards_;                        // blocks, last to first
  std::vector<std::pair<std::uint32_t, std::uint32_t>> loops_;  // head, and where its last block is in backwards_
  std::uint32_t count_ = 0;
};

}  // namespace

BlockOrder weak_topological_order(const FlowGraph& graph) { return WeakOrder(graph).run(); }

std::vector<msl::Block> number_blocks(const msl::Module& module) {
  std::vector<msl::Block> blocks(module.guard_count);
  // Successors by address: address, successors, 0, functions called, 0; and so on.
  std::unordered_map<unsigned long, std::vector<unsigned long>> next;
  for (const unsigned long* at = module.flow; at < module.flow_end; ++at) {
    std::vector<unsigned long>& to = next[*at++];
    for (; *at != 0; ++at) to.push_back(*at);
    for (++at; *at != 0; ++at) {
    }
  }
  std::uint32_t base = 1;
  for (std::uint32_t first = 0; first < module.guard_count;) {
    // The blocks of a function follow its entry.
    std::uint32_t end = first + 1;
    while (end < module.guard_count && (module.places[2UL * end + 1] & 1) == 0) ++end;
    std::unordered_map<unsigned long, std::uint32_t> index;
    for (std::uint32_t b = first; b < end; ++b) index[module.places[2UL * b]] = b - first;
    FlowGraph graph(end - first);
    for (std::uint32_t b = first; b < end; ++b) {
      for (const unsigned long to : next[module.places[2UL * b]]) {
        if (const auto known = index.find(to); known != index.end()) graph[b - first].push_back(known->second);
      }
    }
    const BlockOrder order = weak_topological_order(graph);
    for (std::uint32_t b = first; b < end; ++b) {
      const std::uint32_t last = order.last[b - first];
      blocks[b] = {base + order.rank[b - first], base, last == 0 ? 0 : base + last};
      module.guards[b] = b;
    }
    base += end - first + 1;
    first = end;
  }
  return blocks;
}

}  // namespace attest::metal
