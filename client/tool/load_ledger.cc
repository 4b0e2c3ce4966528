// SPDX-License-Identifier: Apache-2.0

#include "client/tool/load_ledger.h"

namespace silurus::tool {

std::string shell_word(std::string_view word) {
  constexpr std::string_view kPlain =
      "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-./:=,+@%";
  if (!word.empty() && word.find_first_not_of(kPlain) == std::string_view::npos) {
    return std::string(word);
  }
  std::string text = "'";
  for (const char c : word) text += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return text + "'";
}

std::string left_by_load(const LoadLedger& ledger, const LoadCommand& command,
                         const Settings& settings) {
  std::string text =
      std::to_string(ledger.inserted()) + " entries of this load are in the tree, and stay there";
  if (ledger.unknown() > 0) {
    text += "; whether " + std::to_string(ledger.unknown()) + " more are is not known";
  }
  text += "; to go on: silurus load " + shell_word(command.source);
  if (ledger.whole() > 0) text += " --skip " + std::to_string(ledger.whole());
  // What an earlier load was not sure of, and this one did not come to.
  const std::uint64_t checked_to =
      command.check > UINT64_MAX - command.skip ? UINT64_MAX : command.skip + command.check;
  const std::uint64_t left = checked_to > ledger.whole() ? checked_to - ledger.whole() : 0;
  const std::uint64_t check = std::max(ledger.mixed(), left);
  if (checked_to == UINT64_MAX) {
    text += " --check all";
  } else if (check > 0) {
    text += " --check " + std::to_string(check);
  }
  if (command.limit != UINT64_MAX) text += " --limit " + std::to_string(command.limit);
  if (!command.columns.empty()) text += " --columns " + shell_word(command.columns);
  if (!command.layer.empty()) text += " --layer " + shell_word(command.layer);
  if (!command.where.empty()) text += " --where " + shell_word(command.where);
  if (!command.id.empty()) text += " --id " + shell_word(command.id);
  if (command.as) text += " --as " + std::string(datasets::name_of(*command.as));
  if (command.skip_bad) text += " --skip-bad";
  if (!settings.has_default_url) text += " --server " + shell_word(settings.url);
  if (command.source == "-") text += ", with the same input";
  return text;
}

}  // namespace silurus::tool
