// SPDX-License-Identifier: Apache-2.0

// An index of a program's own: first a server that is started beside it and keeps its data in a
// directory, then a tree in its own memory, without a server.
//
//   silurus-example-embedded /tmp/data

#include <cstdio>
#include <vector>

#include "silurus/local_tree.h"
#include "silurus/open.h"

namespace {

using silurus::Entry;
using silurus::Error;

int report(const Error& error) {
  std::fprintf(stderr, "%s\n", error.message.c_str());
  return 1;
}

std::vector<Entry<2>> squares() {
  std::vector<Entry<2>> entries;
  for (std::uint64_t id = 0; id < 10'000; ++id) {
    const auto x = static_cast<double>(id % 100);
    const auto y = static_cast<double>(id / 100);
    entries.push_back({id, {{x, y}, {x + 0.5, y + 0.5}}});
  }
  return entries;
}

}  // namespace

int main(int argc, char** argv) {
  const auto db = [&] {
    return silurus::open<2>({.path = argc > 1 ? argv[1] : "", .memory = "256M"});
  };
  auto server = db();
  if (!server) return report(server.error());
  const auto before = (*server)->server_statistics();
  if (!before) return report(before.error());
  std::printf("%lu entries were there\n", before->entries);
  if (before->entries == 0) {
    const auto loaded = (*server)->load(squares());
    if (!loaded) return report(loaded.error());
  }
  const auto found = (*server)->range({{10, 10}, {12, 12}});
  if (!found) return report(found.error());
  std::printf("%zu squares in the window, of the server at %s\n", found->ids.size(),
              server->url().c_str());

  // The same tree in this process: nothing of it is kept, and a search is a call of a function.
  auto tree = silurus::LocalTree<2>::create();
  if (!tree) return report(tree.error());
  if (const auto loaded = tree->load(squares()); !loaded) return report(loaded.error());
  silurus::RangeResult<2> result;
  if (const auto ok = tree->range({.window = {{10, 10}, {12, 12}}}, result); !ok) {
    return report(ok.error());
  }
  std::printf("%zu squares in the window, of the tree in this process\n", result.ids.size());
  return 0;
}
