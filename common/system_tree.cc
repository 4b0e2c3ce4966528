// SPDX-License-Identifier: Apache-2.0

#include "common/system_tree.h"

#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string_view>

namespace silurus {
namespace {

constexpr std::string_view kBlanks = " \t\n";

std::string trimmed(std::string_view text) {
  const auto first = text.find_first_not_of(kBlanks);
  if (first == std::string_view::npos) return "";
  return std::string(text.substr(first, text.find_last_not_of(kBlanks) - first + 1));
}

}  // namespace

std::optional<std::int64_t> leading_number(std::string_view text, int base) {
  const auto first = text.find_first_not_of(kBlanks);
  if (first == std::string_view::npos) return std::nullopt;
  text.remove_prefix(first);
  std::int64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value, base);
  if (error != std::errc()) return std::nullopt;
  return value;
}

std::optional<std::string> SystemTree::text(const std::string& path) const {
  std::ifstream file(whole(path));
  if (!file) return std::nullopt;
  std::ostringstream content;
  content << file.rdbuf();
  // An attribute that cannot be read (an empty GID's) is no content.
  if (file.bad()) return std::nullopt;
  return trimmed(content.str());
}

std::optional<std::int64_t> SystemTree::number(const std::string& path) const {
  const auto content = text(path);
  return content ? leading_number(*content) : std::nullopt;
}

std::vector<std::string> SystemTree::names(const std::string& folder) const {
  std::vector<std::string> found;
  std::error_code error;
  for (std::filesystem::directory_iterator it(whole(folder), error), end; !error && it != end;
       it.increment(error)) {
    found.push_back(it->path().filename().string());
  }
  std::ranges::sort(found);
  return found;
}

bool SystemTree::exists(const std::string& path) const {
  return ::access(whole(path).c_str(), F_OK) == 0;
}

bool SystemTree::may_use(const std::string& path) const {
  return ::access(whole(path).c_str(), R_OK | W_OK) == 0;
}

std::string SystemTree::real_path(const std::string& path) const {
  std::error_code error;
  const auto real = std::filesystem::canonical(whole(path), error);
  if (error) return "";
  const auto root = std::filesystem::canonical(root_, error);
  return error ? "" : real.lexically_relative(root).string();
}

}  // namespace silurus
