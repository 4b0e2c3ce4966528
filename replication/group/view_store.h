// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <vector>

#include "common/result.h"
#include "replication/group/view.h"

namespace silurus::replication::group {

/// Where the members of one shard agree on their views: etcd (etcd_view_store.h), the first member
/// of a static group (static_view_store.h, remote_view_store.h), or a simulation. Linearizable. One
/// of these belongs to one member and its thread: calls return at once, and what came of them is
/// told later on that thread, once for each call, never from within the call. Dropping it drops
/// what is under way without a word.
class ViewStore {
 public:
  virtual ~ViewStore() = default;

  struct State {
    std::optional<View> view;                 ///< nothing: there was none yet
    std::uint64_t revision = 0;               ///< revision of the view, for replace()
    std::vector<Registration> registrations;  ///< those whose leases last
  };
  using OnRead = std::function<void(Result<State>)>;
  virtual void read(OnRead done) = 0;

  /// Puts `next` in the place of the view of that revision (0: of none): its own revision, or 0 if
  /// another one was there already. An error: whether it was replaced, or still will be, is
  /// unknown.
  using OnReplaced = std::function<void(Result<std::uint64_t>)>;
  virtual void replace(std::uint64_t revision, const View& next, OnReplaced done) = 0;

  /// Registers this member, or changes its registration, and renews the lease that it ends with: to
  /// be called again well before that is over (Timing::poll).
  using OnAnnounced = std::function<void(Status)>;
  virtual void announce(const Registration& registration, OnAnnounced done) = 0;

  /// Tells what has come of calls. An error is final: what the store says by now is not what this
  /// member's group agreed upon, and the member must be given up.
  virtual Status progress() = 0;
};

}  // namespace silurus::replication::group
