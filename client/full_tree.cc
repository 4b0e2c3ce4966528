// SPDX-License-Identifier: Apache-2.0

#include "client/full_tree.h"

#include <cstdint>
#include <nlohmann/json.hpp>

#include "common/units.h"

namespace silurus::client {
namespace {

constexpr const char* kWhatToDo = ": start the server with a larger --memory";
constexpr const char* kOrWhatElse =
    ", or erase entries, which is always possible; silurus compact packs what is left";

}  // namespace

std::string full_tree_text(const Result<ServerStatistics>& stats) {
  const auto json = stats ? nlohmann::json::parse(stats->json, nullptr, false) : nlohmann::json();
  const auto memory = json.is_object() ? json.find("memory") : json.end();
  const auto number = [&](const char* name) -> std::uint64_t {
    if (!memory->is_object() || !memory->contains(name)) return 0;
    const auto& value = (*memory)[name];
    return value.is_number_unsigned() ? value.get<std::uint64_t>() : 0;
  };
  const std::uint64_t budget = memory == json.end() ? 0 : number("budget_bytes");
  if (budget == 0) return std::string("the tree is full") + kWhatToDo;
  std::string text = "the tree is full: of the " + format_size(budget) +
                     " that it may take it uses " + format_size(number("used_bytes"));
  if (const std::uint64_t retired = number("retired_bytes"); retired != 0) {
    text += " (" + format_size(retired) + " of them for older versions, " +
            format_size(number("held_bytes")) + " of which are held for readers)";
  }
  if (const std::uint64_t reserved = number("reserved_bytes"); reserved != 0) {
    text += ", " + format_size(reserved) + " are kept for erasures";
  }
  return text + ", and the rest is too little for another write" + kWhatToDo + kOrWhatElse;
}

}  // namespace silurus::client
