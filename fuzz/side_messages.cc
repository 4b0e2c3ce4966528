// SPDX-License-Identifier: Apache-2.0

#include "replication/group/side_messages.h"

#include <xxhash.h>

#include "fuzz/target.h"

// Messages of those that connect to a member for something else than the log. The first byte of an
// input says whether the checksum is put right.

namespace silurus::fuzz {

using replication::group::SideMessageHead;

void try_input(std::span<const std::byte> bytes) {
  Input input(bytes);
  const bool is_raw = input.take<std::uint8_t>() != 0;
  const AlignedCopy message(input.rest());
  constexpr std::size_t kSkipped = sizeof(SideMessageHead::checksum);
  if (!is_raw && message.bytes().size() >= sizeof(SideMessageHead)) {
    const std::uint64_t checksum =
        XXH3_64bits(message.bytes().data() + kSkipped, message.bytes().size() - kSkipped);
    std::memcpy(message.bytes().data(), &checksum, kSkipped);
  }
  const auto taken = replication::group::decode_side_message(message.bytes());
  SILURUS_CHECK(taken || is_raw || message.bytes().size() < sizeof(SideMessageHead));
  if (!taken) return;
  SILURUS_CHECK(bytes_of(taken->head) + as_seed(taken->payload) == as_text(message.bytes()));
}

std::vector<std::string> seeds() {
  const SideMessageHead head{.checksum = 0, .kind = 3, .reserved = 0, .argument = 4};
  return {std::string(1, '\0') + bytes_of(head) + "payload", "\x01" + bytes_of(head)};
}

}  // namespace silurus::fuzz
