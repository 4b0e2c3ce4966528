// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <array>
#include <cstdint>
#include <optional>

#include "common/clock.h"
#include "protocol/messages.h"
#include "rtree/node_ref.h"

namespace silurus::client {

/// The root of an old version that the server holds for us, and until when on our own clock.
struct LeasedRoot {
  rtree::NodeRef root;
  Nanoseconds until = 0;
};

/// What the server holds for one client: as many versions as it holds for each. One thread.
class VersionLeases {
 public:
  /// The root of that version, if it is still held for long enough to search it; nothing for a
  /// time, since which version is the last one before a time may change.
  std::optional<LeasedRoot> find(Moment moment, Nanoseconds now) const {
    for (const Held& held : held_) {
      if (held.moment == moment && held.renew_at > now) return held.root;
    }
    return std::nullopt;
  }
  /// A version that was asked for at `asked` and is held for `lease` from when the server knew.
  LeasedRoot put(Moment moment, rtree::NodeRef root, Nanoseconds asked, Nanoseconds lease) {
    // 2 % are left to differences of the clocks' rates, as in the lease of the current version.
    const LeasedRoot made{.root = root, .until = asked + lease - lease / 50};
    if (moment >= kFirstStamp) return made;
    Held* place = &held_[0];
    for (Held& held : held_) {
      if (held.moment == moment) {
        place = &held;
        break;
      }
      if (held.root.until < place->root.until) place = &held;
    }
    *place = {.moment = moment, .root = made, .renew_at = asked + lease / 2};
    return made;
  }

 private:
  struct Held {
    Moment moment = 0;
    LeasedRoot root;
    Nanoseconds renew_at = 0;
  };
  std::array<Held, protocol::kMaxVersionLeases> held_;
};

}  // namespace silurus::client
