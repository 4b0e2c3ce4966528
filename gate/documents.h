// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <optional>
#include <string>
#include <vector>

#include "gate/http.h"
#include "gate/source.h"

// Documents of OGC API Features, Part 1: what there is, and how it is asked. Each as JSON, or as a
// page for people.

namespace silurus::gate {

enum class Form : std::uint8_t { kJson, kHtml };

HttpAnswer answer_landing(const std::string& base, Form form);
HttpAnswer answer_conformance(Form form);
HttpAnswer answer_api(const std::string& base, const std::vector<Collection>& collections,
                      Form form);
HttpAnswer answer_collections(const std::string& base, const std::vector<Collection>& collections,
                              Form form);
/// `extent`: the box of all entries, where there are any.
HttpAnswer answer_collection(const std::string& base, const Collection& collection,
                             const std::optional<Area>& extent, Form form);

/// A page for people that shows a JSON document.
HttpAnswer as_page(const std::string& title, const std::string& json);

}  // namespace silurus::gate
