// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstddef>
#include <cstdint>
#include <type_traits>

// What a tcp connection carries after set-up (transport/setup.h): frames of a header and a payload,
// padded to 8 bytes so that every payload is aligned.

namespace silurus::transport::tcp {

enum class FrameKind : std::uint16_t {
  kMessage = 1,
  kMailbox = 2,  ///< kMailboxBytes: the sender's mailbox
};

constexpr std::uint16_t kFrameMagic = 0x5346;

struct FrameHeader {
  std::uint32_t bytes;  ///< bytes of the payload, without padding
  FrameKind kind;
  std::uint16_t magic;  ///< kFrameMagic: a stream out of step is noticed
};
static_assert(sizeof(FrameHeader) == 8 && std::has_unique_object_representations_v<FrameHeader>);

/// Bytes that a payload takes in the stream, with header and padding.
constexpr std::size_t frame_bytes(std::size_t payload) {
  return sizeof(FrameHeader) + (payload + 7) / 8 * 8;
}

}  // namespace silurus::transport::tcp
