#include "reports/html_template.h"

#include <fmt/format.h>

#include <cmath>
#include <iterator>
#include <nlohmann/json.hpp>

#include "cases/embedded_files.h"

namespace attest {

namespace {

// Inside <script>: "</" would end it, "<!--" would open a comment.
std::string inside_script(std::string_view json) {
  std::string out;
  out.reserve(json.size());
  for (const char c : json) {
    if (c == '<') {
      out += "\\u003c";
    } else {
      out += c;
    }
  }
  return out;
}

std::string page_file(std::string_view name) {
  for (const auto& file : embedded_page_files()) {
    if (file.name == name) return file.text();
  }
  return {};
}

std::string inside_text(std::string_view text) {
  std::string out;
  for (const char c : text) out += c == '<' ? "&lt;" : c == '>' ? "&gt;" : c == '&' ? "&amp;" : std::string(1, c);
  return out;
}

}  // namespace

std::string json_text(std::string_view text) {
  return nlohmann::json(text).dump(-1, ' ', true, nlohmann::json::error_handler_t::replace);
}

void put_json_number(std::string& out, double value) {
  if (std::isfinite(value)) {
    fmt::format_to(std::back_inserter(out), "{:.4g}", value);
  } else {
    out += std::isnan(value) ? "\"nan\"" : value > 0 ? "\"inf\"" : "\"-inf\"";
  }
}

std::string filled_page(std::string_view page, std::string_view title, const std::vector<std::string_view>& scripts,
                        std::string_view data) {
  const auto fill = [&](std::string_view name) -> std::string {
    if (name == "TITLE") return inside_text(title);
    if (name == "STYLE") return page_file("page.css");
    if (name != "SCRIPT") return inside_script(data);
    std::string script;
    for (const auto file : scripts) script += page_file(file);
    return script;
  };
  std::string out;
  const std::string whole = page_file(page);
  std::string_view rest = whole;
  for (auto open = rest.find('@'); open != std::string_view::npos; open = rest.find('@')) {
    const auto close = rest.find('@', open + 1);
    out += rest.substr(0, open);
    out += fill(rest.substr(open + 1, close - open - 1));
    rest.remove_prefix(close + 1);
  }
  return out + std::string(rest);
}

}  // namespace attest
