#include "harness/bisect/predicate.h"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <charconv>
#include <cmath>

namespace attest {

namespace {

constexpr Verdict kCrashes[] = {Verdict::CRASH, Verdict::HANG, Verdict::OOM, Verdict::OOB, Verdict::INPUT_WRITTEN};
constexpr const char* kForms =
    "a verdict (FAIL, NAN, STALE ...), 'bad', 'err > 2 * baseline', 'nmse > 1e-3', 'bitwise-change', 'slower 1.2' or "
    "'crash'";

bool among(Verdict verdict, const auto& list) {
  return std::find(std::begin(list), std::end(list), verdict) != std::end(list);
}

// Words, numbers and the signs > and *.
std::vector<std::string> tokens(std::string_view text) {
  std::vector<std::string> out;
  for (std::size_t at = 0; at < text.size();) {
    const char ch = text[at];
    if (std::isspace(static_cast<unsigned char>(ch)) != 0) {
      ++at;
    } else if (ch == '>' || ch == '*') {
      out.emplace_back(1, ch);
      ++at;
    } else {
      const auto end = std::min(text.find_first_of(" \t>*", at), text.size());
      out.emplace_back(text.substr(at, end - at));
      at = end;
    }
  }
  return out;
}

bool number(const std::string& word, double& value) {
  const auto [end, error] = std::from_chars(word.data(), word.data() + word.size(), value);
  return error == std::errc{} && end == word.data() + word.size() && std::isfinite(value);
}

std::string upper(std::string text) {
  for (char& c : text) c = static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
  return text;
}

Unexpected not_a_predicate(std::string_view text, const std::string& hint) {
  return input_error(fmt::format("--when '{}' is not a condition: {}", text, kForms), hint);
}

}  // namespace

Expected<Predicate> Predicate::parse_metric(std::string_view text, Predicate p) {
  const std::vector<std::string> words = tokens(text);
  const bool known = words[0] == "err" || words[0] == "nmse";
  p.kind_ = words[0] == "nmse" ? Kind::nmse : Kind::error;
  if (!known || words.size() < 3 || words[1] != ">") {
    return not_a_predicate(text, known ? "" : did_you_mean(words[0], {"err", "nmse"}));
  }
  double value = 0;
  const bool starts_with_number = number(words[2], value);
  const bool plain_baseline = words.size() == 3 && words[2] == "baseline";
  const bool product = words.size() == 5 && words[3] == "*" && words[4] == "baseline" && starts_with_number;
  const bool turned = words.size() == 5 && words[3] == "*" && words[2] == "baseline" && number(words[4], value);
  if (words.size() == 3 && starts_with_number) {
    p.of_baseline_ = false;
  } else if (plain_baseline) {
    value = 1;
  } else if (!product && !turned) {
    return not_a_predicate(text, did_you_mean(words.back(), {"baseline"}));
  }
  if (!(value > 0)) return input_error(fmt::format("--when '{}': the limit must be above 0", text));
  p.factor_ = value;
  return p;
}

Expected<Predicate> Predicate::parse(std::string_view text) {
  Predicate p;
  p.text_ = text;
  const std::vector<std::string> words = tokens(text);
  if (words.empty()) return p;
  if (text.find('>') != std::string_view::npos) return parse_metric(text, p);
  if (words[0] == "slower") {
    p.kind_ = Kind::slower;
    if (words.size() != 2 || !number(words[1], p.factor_) || !(p.factor_ > 1)) {
      return input_error(fmt::format("--when '{}': slower than what?", text), "a factor above 1, as in 'slower 1.2'");
    }
    return p;
  }
  if (words.size() != 1) return not_a_predicate(text, "");
  if (words[0] == "bitwise-change" || words[0] == "crash" || words[0] == "bad") {
    p.kind_ = words[0] == "crash" ? Kind::crash : words[0] == "bad" ? Kind::any_bad : Kind::bits;
    return p;
  }
  p.kind_ = Kind::verdicts;
  for (std::size_t at = 0; at <= words[0].size();) {
    const auto end = std::min(words[0].find(',', at), words[0].size());
    const std::string name = upper(words[0].substr(at, end - at));
    at = end + 1;
    const auto verdict = verdict_from_name(name);
    if (verdict) {
      p.verdicts_.push_back(*verdict);
      continue;
    }
    std::vector<std::string> known{"BITWISE-CHANGE", "SLOWER", "CRASH", "BAD"};
    for (const Verdict v : all_verdicts()) known.emplace_back(info(v).name);
    std::string near = nearest_word(name, known);
    if (near == "BITWISE-CHANGE" || near == "SLOWER" || near == "BAD") {
      for (char& c : near) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
    }
    return not_a_predicate(text, near.empty() ? "" : fmt::format("did you mean '{}'?", near));
  }
  return p;
}

Expected<void> Predicate::settle(const Measurement& bad_end) {
  if (kind_ != Kind::bad_end) return {};
  if (!bad_end.unknown.empty() || !info(bad_end.record.verdict).bad) {
    return input_error(
        fmt::format("the bad end is not bad: {}",
                    bad_end.unknown.empty() ? std::string(info(bad_end.record.verdict).name) : bad_end.unknown),
        "--when 'err > 2 * baseline', bitwise-change or 'slower 1.2' look for other changes");
  }
  kind_ = Kind::verdicts;
  verdicts_ = {bad_end.record.verdict};
  text_ = info(bad_end.record.verdict).name;
  return {};
}

double Predicate::limit(const Measurement& good_end) const {
  if (!of_baseline_) return factor_;
  return factor_ * (kind_ == Kind::slower ? good_end.cpu_s : kind_ == Kind::nmse ? good_end.nmse() : good_end.error());
}

Answer Predicate::bad(const Measurement& step, const Measurement& good_end) const {
  const Verdict verdict = step.record.verdict;
  const auto yes_if = [](bool yes) { return yes ? Answer::yes : Answer::no; };
  if (kind_ == Kind::verdicts && among(verdict, verdicts_) &&
      (step.unknown.empty() || verdict == Verdict::UNSUPPORTED)) {
    return Answer::yes;
  }
  if (!step.unknown.empty()) return Answer::unknown;
  // A fault that did not come back, and a mistake of attest's own, say nothing about the step.
  if (verdict == Verdict::FLAKY || verdict == Verdict::ORACLE) return Answer::unknown;
  switch (kind_) {
    case Kind::bad_end:
    case Kind::any_bad:
      return yes_if(info(verdict).bad);
    case Kind::verdicts:
      return info(verdict).bad ? Answer::unknown : Answer::no;
    case Kind::crash:
      return yes_if(among(verdict, kCrashes));
    default:
      break;
  }
  if (!step.compared() || !good_end.compared()) return Answer::unknown;
  switch (kind_) {
    case Kind::error:
      return yes_if(!(step.error() <= limit(good_end)));
    case Kind::nmse:
      return yes_if(!(step.nmse() <= limit(good_end)));
    case Kind::bits:
      return step.bits.empty() || good_end.bits.empty() ? Answer::unknown : yes_if(step.bits != good_end.bits);
    default:
      return step.cpu_s > 0 && good_end.cpu_s > 0 ? yes_if(step.cpu_s > limit(good_end)) : Answer::unknown;
  }
}

std::string Predicate::meaning(const Measurement& good_end) const {
  switch (kind_) {
    case Kind::bad_end:
      return "the verdict of the bad end";
    case Kind::any_bad:
      return "any bad verdict";
    case Kind::verdicts:
      return "verdict " + text_;
    case Kind::crash:
      return "the backend's process died, hung or left its memory";
    case Kind::bits:
      return "other bits than the good end's";
    case Kind::slower:
      return fmt::format("more than {:.3g} times the good end's CPU time, that is {:.3g} s", factor_, limit(good_end));
    case Kind::error:
    case Kind::nmse:
      break;
  }
  return of_baseline_ ? fmt::format("{}, that is {:.3g}", text_, limit(good_end)) : text_;
}

}  // namespace attest
