// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "common/clock.h"
#include "replication/group/links.h"
#include "replication/group/persisted_view.h"
#include "replication/group/side_messages.h"
#include "replication/group/view_store.h"

namespace silurus::replication::group {

struct RemoteViewStoreOptions {
  GroupId group = 0;
  MemberId self = 0;
  Incarnation incarnation = 0;
  transport::Address keeper;  ///< where the first member listens for others
  /// How long the keeper may take to answer.
  Nanoseconds timeout = kSecond;
  std::optional<PersistedView> kept;  ///< what was saved last
  SavePersistedView save;
  /// Called when progress() has something to tell.
  std::function<void()> wake;
};

/// The ViewStore of a member of a static group that is not the first: asks that one's
/// StaticViewStore, over a connection of its own, which is made again whenever something is asked
/// and it is not there. A view is saved before the member is told of it, and nothing is told that
/// contradicts what was saved. One thread, that of the poller which the dialer's connections belong
/// to.
class RemoteViewStore final : public ViewStore {
 public:
  /// The clock must outlive it.
  RemoteViewStore(const RemoteViewStoreOptions& options, Dialer dialer, const Clock& clock);
  ~RemoteViewStore() override;
  RemoteViewStore(const RemoteViewStore&) = delete;
  RemoteViewStore& operator=(const RemoteViewStore&) = delete;

  void read(OnRead done) override;
  /// Only the first member changes the view.
  void replace(std::uint64_t revision, const View& next, OnReplaced done) override;
  void announce(const Registration& registration, OnAnnounced done) override;
  Status progress() override;

 private:
  /// One connection with the keeper.
  struct Line;
  using OnAnswer = std::function<void(Result<std::string>)>;
  struct Question {
    std::uint32_t kind;
    std::string text;
    OnAnswer done;
    Nanoseconds until;
    bool is_sent = false;
  };

  void ask(std::uint32_t kind, std::string text, OnAnswer done);
  void dial();
  void greet();
  void send();
  void on_message(std::span<const std::byte> message);
  void hang_up(const Error& why);
  Result<State> learn(const std::string& answer);
  void tell(std::function<void()> what);

  const RemoteViewStoreOptions options_;
  const Dialer dialer_;
  const Clock& clock_;
  std::optional<PersistedView> kept_;
  std::optional<Error> contradiction_;
  std::shared_ptr<int> alive_ = std::make_shared<int>(0);  ///< what the dialer's answer looks for
  std::unique_ptr<Line> line_;
  bool is_dialing_ = false;
  std::vector<std::unique_ptr<Line>> over_;  ///< whose callbacks may still be running
  std::deque<Question> questions_;           ///< answered in their order
  std::deque<std::function<void()>> told_;
};

}  // namespace silurus::replication::group
