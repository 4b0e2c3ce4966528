// SPDX-License-Identifier: Apache-2.0

// Calls one after the other: each returns when the server has answered. For programs that ask now
// and then.
//
//   silurus-server --listen shm:///tmp/silurus.sock &
//   silurus-example-blocking shm:///tmp/silurus.sock

#include <cstdio>

#include "silurus/client.h"

namespace {

using silurus::Box;
using silurus::Client;
using silurus::Error;

int report(const Error& error) {
  std::fprintf(stderr, "%s\n", error.message.c_str());
  return 1;
}

}  // namespace

int main(int argc, char** argv) {
  auto client = Client<2>::connect(argc > 1 ? argv[1] : silurus::default_url());
  if (!client) return report(client.error());

  // Longitude and latitude of harbours, as boxes without extent; the ids are ours.
  const struct {
    std::uint64_t id;
    Box<2> at;
  } harbours[] = {{1, {{-21.94, 64.15}, {-21.94, 64.15}}},
                  {2, {{-23.12, 66.07}, {-23.12, 66.07}}},
                  {3, {{-18.09, 65.68}, {-18.09, 65.68}}}};
  for (const auto& harbour : harbours) {
    const auto version = client->insert(harbour.id, harbour.at);
    if (!version) return report(version.error());
  }

  const auto found = client->range({{-24.7, 65.3}, {-21.2, 66.6}});
  if (!found) return report(found.error());
  std::printf("%zu harbour in the window, number %lu\n", found->ids.size(), found->ids.at(0));

  const auto nearest = client->nearest({{-19, 65}}, 2);
  if (!nearest) return report(nearest.error());
  for (const auto& [id, distance] : nearest->neighbors) {
    std::printf("harbour %lu is %.2f degrees away\n", id, distance);
  }

  for (const auto& harbour : harbours) {
    const auto version = client->erase(harbour.id, harbour.at);
    if (!version) return report(version.error());
  }
  return 0;
}
