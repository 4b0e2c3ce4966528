#include "client/full_tree.h"

#include <cstdint>
#include <nlohmann/json.hpp>

#include "common/units.h"

namespace silurus::client {
namespace {

constexpr const char* kWhatToDo = ": start the server with a larger --memory";

}  // namespace

std::string full_tree_text(const Result<std::string>& stats) {
  const auto json = stats ? nlohmann::json::parse(*stats, nullptr, false) : nlohmann::json();
  const auto memory = json.is_object() ? json.find("memory") : json.end();
  const auto number = [&](const char* name) -> std::uint64_t {
    if (!memory->is_object() || !memory->contains(name)) return 0;
    const auto& value = (*memory)[name];
    return value.is_number_unsigned() ? value.get<std::uint64_t>() : 0;
  };
  const std::uint64_t budget = memory == json.end() ? 0 : number("budget_bytes");
  if (budget == 0) return std::string("the tree is full") + kWhatToDo;
  return "the tree is full: of the " + format_size(budget) + " that it may take it uses " +
         format_size(number("used_bytes")) + ", and the rest is too little for another write" +
         kWhatToDo;
}

}  // namespace silurus::client
