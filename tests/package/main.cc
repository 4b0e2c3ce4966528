// SPDX-License-Identifier: Apache-2.0

#include <silurus/client.h>

#include <cstdio>

int main(int, char** argv) {
  auto client = silurus::Client<2>::connect(argv[1]);  // "shm:///run/silurus.sock", "tcp://…"
  if (!client) {
    std::fprintf(stderr, "%s\n", client.error().message.c_str());
    return 1;
  }
  client->insert(1, {{2.34, 48.85}, {2.36, 48.87}}).value();    // a box in Paris
  client->insert(2, {{-0.13, 51.50}, {-0.12, 51.51}}).value();  // one in London

  const auto found = client->range({{2, 48}, {3, 49}}).value();
  const auto near = client->nearest({{0, 50}}, 1).value();
  std::printf("%zu box here, nearest to (0, 50): %zu\n", found.ids.size(), near[0].id);
  return found.count == 1 && near[0].id == 2 ? 0 : 1;
}
