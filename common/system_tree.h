// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace silurus {

/// The number that a text begins with, blanks apart.
std::optional<std::int64_t> leading_number(std::string_view text, int base = 10);

/// The files below a root folder: "/" on a machine. Paths are given without a slash in front.
class SystemTree {
 public:
  explicit SystemTree(std::string root = "/") : root_(std::move(root)) {}

  /// The whole content without blanks at either end; nothing where no such file can be read.
  std::optional<std::string> text(const std::string& path) const;
  /// The number that a file begins with.
  std::optional<std::int64_t> number(const std::string& path) const;
  /// What a folder holds, sorted; empty where there is none.
  std::vector<std::string> names(const std::string& folder) const;
  bool exists(const std::string& path) const;
  /// Whether this user may read and write it.
  bool may_use(const std::string& path) const;
  /// Where links lead, below the root; empty if there is nothing.
  std::string real_path(const std::string& path) const;
  /// The path as the system takes it.
  std::string whole(const std::string& path) const { return root_ + "/" + path; }

 private:
  std::string root_;
};

}  // namespace silurus
