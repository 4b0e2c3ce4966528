// SPDX-License-Identifier: Apache-2.0

// What the seal of a group's datagrams costs: the primary closes one, and another member opens it.
// For tests/instructions/count.
#include "replication/group/datagrams.h"

#include <cstdio>
#include <vector>

using silurus::access::Key;
using silurus::replication::group::DatagramSeal;

namespace {

constexpr std::size_t kDatagrams = 1000;
constexpr std::size_t kSmallBytes = 150;   ///< the log of one insert
constexpr std::size_t kLargeBytes = 4000;  ///< as much as a datagram carries

std::size_t pass(DatagramSeal& primary, DatagramSeal& backup,
                 const std::vector<std::byte>& message) {
  std::size_t opened = 0;
  for (std::size_t i = 0; i < kDatagrams; ++i) {
    opened += backup.open(primary.close(message)).has_value() ? 1 : 0;
  }
  return opened;
}

}  // namespace

extern "C" {
[[gnu::noinline]] std::size_t counted_small_datagram(DatagramSeal& primary, DatagramSeal& backup) {
  return pass(primary, backup, std::vector<std::byte>(kSmallBytes, std::byte{3}));
}
[[gnu::noinline]] std::size_t counted_large_datagram(DatagramSeal& primary, DatagramSeal& backup) {
  return pass(primary, backup, std::vector<std::byte>(kLargeBytes, std::byte{3}));
}
}

int main() {
  const auto key = Key::make("counted");
  DatagramSeal primary(*key, 1);
  DatagramSeal backup(*key, 1);
  const std::size_t opened =
      counted_small_datagram(primary, backup) + counted_large_datagram(primary, backup);
  std::printf("%zu searches each, %zu opened\n", kDatagrams, opened);
  return opened == 2 * kDatagrams ? 0 : 1;
}
