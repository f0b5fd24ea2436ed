// What a bad verdict says to a person, in parts that every report words alike.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "reports/record.h"

namespace attest {

std::string place_text(const WorstElement& worst);  // "seq 0, head 2, query 0, column 97"
// "seq 0, ...: got 0.1, expected 0.2, err/B 12"; "" where nothing was compared.
std::string worst_text(const VerdictRecord& record);
// "3e-7, mostly accumulator; 12 elements over it in 16 of 16 rows judged"; "" where nothing was compared.
std::string budget_text(const VerdictRecord& record);
// What triage found, as label and text: "suspect", "like", "where", "hints".
std::vector<std::pair<std::string_view, std::string>> triage_lines(const TriageRecord& triage);
// "--relations NAME " for a verdict that a relation gave, else "": what its repro line needs.
std::string relation_words(const VerdictRecord& record);
// The command that repeats the case; `options` stand behind `attest run`.
std::string repro_text(const VerdictRecord& record, const std::string& options = {});

}  // namespace attest
