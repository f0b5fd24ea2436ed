// Reads and prints the values of the descriptor that have a grammar of their own: mask, scale, sinks, layout, data,
// poison.
#pragma once

#include <string>
#include <vector>

#include "cases/case.h"
#include "cases/grammar/descriptor.h"
#include "cases/grammar/lexer.h"

namespace attest::grammar {

Expected<MaskSpec> read_mask(const Token& value);
std::string mask_text(const MaskSpec& mask);  // "none" without terms
std::string mask_values();                    // for people: every term with its argument
std::vector<ValueInfo> mask_terms();
void canonicalise(MaskSpec& mask);  // terms sorted, default arguments left out

// A number, 1/N or 1/sqrt(N).
Expected<float> read_scale(const Token& value);
std::string scale_text(float scale);

Expected<SinkSpec> read_sinks(const Token& value);
std::string sinks_text(const SinkSpec& sinks);

Expected<LayoutSpec> read_layout(const Token& value);
std::string layout_text(const LayoutSpec& layout);  // "0123" when nothing is set
std::string layout_values();
std::vector<ValueInfo> layout_terms();

Expected<DataSpec> read_data(const Token& value);
std::string data_text(const DataSpec& data);
std::string data_values();
std::vector<ValueInfo> data_terms();
void canonicalise(DataSpec& data);  // scores before values; normal:1 is what no term means

Expected<PoisonSpec> read_poison(const Token& value);
std::string poison_text(const PoisonSpec& poison);
std::string poison_values();
std::vector<ValueInfo> poison_terms();

Expected<DType> read_dtype(const Token& value, std::string_view what);
std::string dtype_values();

}  // namespace attest::grammar
