// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "replication/group/wire.h"
#include "transport/fabric.h"

// Messages in a window of the receiver's memory that the sender writes one-sidedly: one after the
// other, around and around, each with a trailer. The receiver says how far it has read by its
// mailbox, one-sidedly too.

namespace silurus::replication::group {

/// Ends each message in a window: says that all of it is there, and of which lap.
struct PushTrailer {
  std::uint64_t position;  ///< place of the message's first byte in the endless stream
  std::uint64_t checksum;  ///< the envelope's
};
static_assert(sizeof(PushTrailer) == 16 && std::has_unique_object_representations_v<PushTrailer>);

/// The writing end, of one connection. One thread.
class PushWriter {
 public:
  /// False, with nothing done that counts, if there is no window, or no room in it just now.
  bool push(transport::Connection& to, std::span<const std::byte> message);

 private:
  bool has_room(transport::Connection& to, std::uint64_t window, std::size_t bytes);

  std::uint64_t position_ = 0;
  std::uint64_t consumed_ = 0;  ///< by the receiver, as it said
  std::vector<std::byte> frame_;
};

/// The reading end. Believes nothing but what it has copied and then verified. One thread.
///
///   while (const auto message = reader.next(); !message.empty()) take(message);
///   reader.tell(connection);
class PushReader {
 public:
  /// `window`: what was offered to the one peer that writes there.
  PushReader(GroupId group, std::span<const std::byte> window) : group_(group), window_(window) {}

  /// The next message that is there whole, valid until the next call; empty if there is none (yet).
  std::span<const std::byte> next();
  /// Lets the peer overwrite what next() has returned before.
  void tell(transport::Connection& from);
  std::span<const std::byte> window() const { return window_; }

 private:
  void copy(std::uint64_t position, std::span<std::byte> to) const;

  const GroupId group_;
  const std::span<const std::byte> window_;
  std::uint64_t position_ = 0;
  std::uint64_t told_ = 0;
  std::vector<std::byte> frame_;
};

}  // namespace silurus::replication::group
