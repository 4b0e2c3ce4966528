// SPDX-License-Identifier: Apache-2.0

#include <algorithm>

#include "tests/conformance/transport/world.h"

namespace silurus::transport::conformance {
namespace {

std::vector<NamedWorld>& worlds() {
  static std::vector<NamedWorld> instance;
  return instance;
}

}  // namespace

std::vector<NamedWorld> registered_worlds() {
  std::vector<NamedWorld> sorted = worlds();
  std::sort(sorted.begin(), sorted.end(),
            [](const NamedWorld& a, const NamedWorld& b) { return a.name < b.name; });
  return sorted;
}

RegisterWorld::RegisterWorld(std::string name, std::function<std::unique_ptr<World>()> make) {
  worlds().push_back({std::move(name), std::move(make)});
}

}  // namespace silurus::transport::conformance
