// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <string_view>

namespace silurus::gate {

/// A file of the page (gate/web), as it was when the program was built.
struct WebFile {
  std::string_view path;  ///< "/" is the page itself
  std::string_view type;
  std::string_view text;
};

/// None: there is no such file.
const WebFile* find_web_file(std::string_view path);

}  // namespace silurus::gate
