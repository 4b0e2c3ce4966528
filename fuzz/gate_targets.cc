// SPDX-License-Identifier: Apache-2.0

#include "common/check.h"
#include "fuzz/target.h"
#include "gate/target.h"

// Targets of HTTP requests to the gate, and their parameters. What is taken is encoded and must be
// taken again as the same.

namespace silurus::fuzz {
namespace {

using namespace gate;

void try_parameters(const Target& target) {
  for (const int dimensions : {2, 3}) {
    const auto bbox = parse_bbox(target.find("bbox").value_or(""), dimensions);
    if (!bbox) continue;
    SILURUS_CHECK(!bbox->parts.empty() && bbox->parts.size() <= 2);
    for (const Area& part : bbox->parts) {
      for (std::size_t d = 0; d < 3; ++d) SILURUS_CHECK(part.min[d] <= part.max[d]);
    }
  }
  const auto limit = parse_limit(target, 10, 1000);
  SILURUS_CHECK(!limit || (*limit >= 1 && *limit <= 1000));
  static_cast<void>(parse_moment_of(target));
  if (const auto page = parse_page(target.find("page").value_or(""))) {
    const auto again = parse_page(to_text(*page));
    SILURUS_CHECK(is_place(page->place) && again && *again == *page);
  }
}

}  // namespace

void try_input(std::span<const std::byte> bytes) {
  const auto target = parse_target(as_text(bytes));
  if (!target) {
    SILURUS_CHECK(!target.error().message.empty());
    return;
  }
  std::string text = target->path.empty() ? "/" : "";
  for (const std::string& part : target->path) text += "/" + percent_encoded(part);
  char sign = '?';
  for (const auto& [name, value] : target->query) {
    text += sign + percent_encoded(name) + "=" + percent_encoded(value);
    sign = '&';
  }
  const auto again = parse_target(text);
  SILURUS_CHECK(again && again->path == target->path);
  // A parameter without name and value is "&=&" then, and is read as such.
  SILURUS_CHECK(again->query == target->query);
  try_parameters(*target);
}

std::vector<std::string> seeds() {
  return {"/collections/default/items?bbox=160.6,-55.95,-170,-25.89&limit=10",
          "/collections/a%20b/items?page=812.1000.0.10000000000.8.17&f=json",
          "/?datetime=2025-12-02T00:00:00.5%2B01:00/..&version=12",
          "/collections/default/tiles/8/115/65", "/%c3%a9?=&x"};
}

}  // namespace silurus::fuzz
