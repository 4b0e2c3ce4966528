// SPDX-License-Identifier: Apache-2.0

#include "replication/group/datagrams.h"

#include <algorithm>
#include <array>
#include <cstring>

namespace silurus::replication::group {

/// Mostly that of the message before.
const access::Seal& DatagramSeal::seal_of(std::span<const std::byte> message) {
  Envelope envelope{};
  std::memcpy(&envelope, message.data(), std::min(sizeof(envelope), message.size()));
  if (!seal_ || envelope.epoch != epoch_) {
    epoch_ = envelope.epoch;
    const std::array<std::uint64_t, 2> context{group_, epoch_};
    seal_.emplace(key_, std::as_bytes(std::span(context)));
  }
  return *seal_;
}

std::span<const std::byte> DatagramSeal::close(std::span<const std::byte> message) {
  const access::Tag tag = seal_of(message).tag(message);
  closed_.resize(message.size() + tag.size());
  std::ranges::copy(message, closed_.begin());
  std::ranges::copy(tag, closed_.begin() + static_cast<std::ptrdiff_t>(message.size()));
  return closed_;
}

std::optional<std::span<const std::byte>> DatagramSeal::open(std::span<const std::byte> datagram) {
  if (datagram.size() < sizeof(Envelope) + kBytes) return std::nullopt;
  const auto message = datagram.first(datagram.size() - kBytes);
  access::Tag tag;
  std::ranges::copy(datagram.last(kBytes), tag.begin());
  if (!seal_of(message).is_on(message, tag)) return std::nullopt;
  return message;
}

}  // namespace silurus::replication::group
