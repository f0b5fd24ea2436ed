#include "backends/metal/sim_options.h"

#include "cases/grammar/lexer.h"

namespace attest::metal {
namespace {

Expected<RunOrder> read_order(const std::string& text) {
  using Kind = RunOrder::Kind;
  if (text == "fifo") return RunOrder{Kind::fifo, 0};
  if (text == "lifo") return RunOrder{Kind::lifo, 0};
  const auto colon = text.find(':');
  if (text.substr(0, colon) == "random") {
    if (colon == std::string::npos) return RunOrder{Kind::random, 1};
    const auto seed = grammar::read_seed({std::string_view(text).substr(colon + 1), 1}, "order=random");
    if (!seed) return Unexpected(seed.error());
    return RunOrder{Kind::random, *seed};
  }
  return input_error("order=" + text + " is no order of execution", did_you_mean(text, {"fifo", "lifo", "random:1"}));
}

}  // namespace

Expected<bool> read_sim_option(const std::string& key, const std::string& value, SimOptions& options) {
  if (key == "model") {
    const auto model = read_word<ExecutionModel>(
        key, value,
        {{"free", ExecutionModel::free}, {"lockstep", ExecutionModel::lockstep}, {"tsan", ExecutionModel::tsan}});
    if (!model) return Unexpected(model.error());
    options.model = *model;
    return true;
  }
  if (key == "order") {
    const auto order = read_order(value);
    if (!order) return Unexpected(order.error());
    options.order = *order;
    return true;
  }
  return false;
}

}  // namespace attest::metal
