// HTML files that carry their style, script and data: the marks of an embedded template filled in.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace attest {

// `page` and `scripts` name embedded files (reports/html); the style is page.css. The data is JSON, made safe for a
// script element here.
std::string filled_page(std::string_view page, std::string_view title, const std::vector<std::string_view>& scripts,
                        std::string_view data);

// A JSON string, in ASCII whatever the bytes.
std::string json_text(std::string_view text);
// A JSON number of four digits; NaN and infinities are texts, as in the record.
void put_json_number(std::string& out, double value);

}  // namespace attest
