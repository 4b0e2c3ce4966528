// SPDX-License-Identifier: Apache-2.0

#include "fuzz/memory_file.h"
#include "fuzz/target.h"
#include "server/config_file.h"
#include "server/option_table.h"

// The configuration file of a server: TOML. What is taken is written as --print-config writes it,
// and must be read again as the same.

namespace silurus::fuzz {
namespace {

std::vector<flags::Option> all_options() {
  std::vector<flags::Option> all;
  for (const auto& section : server::option_sections()) {
    all.insert(all.end(), section.options.begin(), section.options.end());
  }
  return all;
}

void check_same(const flags::Values& a, const flags::Values& b) {
  for (const flags::Option& option : a.options()) {
    if (!server::is_configurable(option)) continue;
    if (option.repeats) {
      SILURUS_CHECK(a.all(option.name) == b.all(option.name));
    } else if (option.argument.empty()) {
      SILURUS_CHECK(a.has(option.name) == b.has(option.name));
    } else {
      SILURUS_CHECK(a.text(option.name) == b.text(option.name));
    }
  }
}

}  // namespace

void try_input(std::span<const std::byte> bytes) {
  static const MemoryFile file;
  static const std::vector<flags::Option> options = all_options();
  file.hold(as_text(bytes));
  const auto values = server::read_config(file.path(), options);
  if (!values) {
    SILURUS_CHECK(!values.error().message.empty());
    return;
  }
  file.hold(server::to_toml(*values));
  const auto again = server::read_config(file.path(), options);
  SILURUS_CHECK(again.has_value());
  check_same(*values, *again);
}

std::vector<std::string> seeds() {
  return {server::to_toml(flags::Values(all_options())),
          "listen = [\"tcp://127.0.0.1:7470\", 'shm:///tmp/a']\nmemory = \"4G\"\n",
          "threads = 2 # both\n\"allow-other-users\" = true\n"};
}

}  // namespace silurus::fuzz
