// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <vector>

#include "common/clock.h"
#include "replication/group/persisted_view.h"
#include "replication/group/view_store.h"
#include "replication/group/wire.h"
#include "transport/fabric.h"

namespace silurus::replication::group {

/// What a keeper's client's hello begins with: else it is a MemberHello.
constexpr std::uint32_t kViewStoreMagic = 0x4b4c4953;  // "SILK"

/// Messages (side_messages.h) between a keeper and a member. The argument of a question is the
/// founder of the group that the member knows of; 0: of none.
enum ViewStoreMessage : std::uint32_t {
  kAskView = 1,   ///< the answer, kAskView: a PersistedView, or nothing while there is none yet
  kAnnounce = 2,  ///< a Registration; the answer: kAnnounce
  kViewStoreRefuses = 3  ///< in answers only: a text
};

/// Registrations that a store has at a time, and connections to it.
constexpr std::size_t kMaxViewStoreClients = 2 * kMaxMembers;

struct StaticViewStoreOptions {
  GroupId group = 0;
  MemberId self = 0;
  Nanoseconds lease = 3 * kSecond;    ///< lease of other members' registrations
  std::optional<PersistedView> kept;  ///< what was saved last; nothing: the group is founded now
  bool takes_over = false;  ///< leads from now on, instead of the member that led the last view
  SavePersistedView save;
  /// Called when progress() has something to tell.
  std::function<void()> wake;
};

/// The views of a static group, at its first member: the ViewStore of that one, and what the others
/// ask (remote_view_store.h), as a client at its listener. A view is saved before any member is
/// told of it; registrations are in memory alone. One thread, that of the listener's poller;
/// admitted by no listener any more before it ends.
///
///   links.admit(kViewStoreMagic, keeper.get());
class StaticViewStore final : public ViewStore, public transport::AcceptHandler {
 public:
  /// kConflict if another member led the last view and this one may not take its place. The clock
  /// must outlive it.
  static Result<std::unique_ptr<StaticViewStore>> create(const StaticViewStoreOptions& options,
                                                         const Clock& clock);
  ~StaticViewStore() override;

  void read(OnRead done) override;
  void replace(std::uint64_t revision, const View& next, OnReplaced done) override;
  void announce(const Registration& registration, OnAnnounced done) override;
  Status progress() override;

  Result<std::vector<std::byte>> on_hello(std::span<const std::byte> client_hello,
                                          const transport::Caller&) override;
  void on_accept(std::unique_ptr<transport::Connection> connection,
                 transport::Poller& poller) override;

 private:
  class Client;
  struct Announced {
    Registration registration;
    Nanoseconds expires;
  };
  StaticViewStore(const StaticViewStoreOptions& options, const Clock& clock);
  /// Whether there is a view, and it is not that of the one whose place is still to be taken.
  bool leads() const { return kept_ && kept_->view.primary == options_.self; }
  State state();
  Result<std::uint64_t> swap(std::uint64_t revision, const View& next);
  Status take_announcement(const MemberHello& from, MemberId founder, std::string_view text);
  std::optional<Error> recognize(MemberId member, MemberId founder);
  void tell(std::function<void()> what);

  const StaticViewStoreOptions options_;
  const Clock& clock_;
  std::optional<PersistedView> kept_;
  std::map<MemberId, Announced> announced_;
  std::deque<std::function<void()>> told_;
  std::vector<std::unique_ptr<Client>> clients_;
  bool cannot_save_ = false;
  bool has_warned_ = false;  ///< has warned of a member of another group
};

}  // namespace silurus::replication::group
