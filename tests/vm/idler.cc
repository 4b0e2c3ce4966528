// SPDX-License-Identifier: Apache-2.0

// Clients that connect, ask once, and then say nothing until they are killed:
//
//   vm_idler URL CLIENTS

#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <vector>

#include "silurus/client.h"
#include "tests/support/patient_client.h"

int main(int argc, char** argv) {
  if (argc != 3) return 2;
  silurus::ClientOptions options;
  options.mode = silurus::Mode::kMessaging;
  options.connect_timeout = 20 * silurus::kSecond;
  options = silurus::testing_support::patient(options);
  std::vector<silurus::Client<2>> clients;
  for (long i = std::strtol(argv[2], nullptr, 10); i > 0; --i) {
    auto client = silurus::Client<2>::connect(argv[1], options);
    if (!client || !client->count({{0, 0}, {1, 1}})) {
      std::printf("%s\n", client ? "no answer" : client.error().message.c_str());
      return 1;
    }
    clients.push_back(std::move(*client));
  }
  std::printf("connected\n");
  std::fflush(stdout);
  pause();
}
