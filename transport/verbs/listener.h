// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <atomic>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "common/log_limiter.h"
#include "transport/fabric.h"
#include "transport/keys.h"
#include "transport/newcomers.h"
#include "transport/ring_budget.h"
#include "transport/verbs/challenges.h"
#include "transport/verbs/control.h"
#include "transport/verbs/inbox.h"
#include "transport/verbs/memory.h"
#include "transport/verbs/poller.h"

namespace silurus::transport::verbs {

/// What a listener's connections share with it, and keep when it is gone: the budget of rings, the
/// account of those that are not established yet, and the regions. Any thread.
class ListenerState {
 public:
  static Result<std::shared_ptr<ListenerState>> create(
      const ListenOptions& options, std::string name,
      const std::vector<std::shared_ptr<Device>>& devices, AcceptHandler& handler);

  Result<std::uint32_t> take_rings(const std::string& peer);
  void give_back(std::uint32_t ring_bytes, const std::string& peer);
  std::uint64_t ring_bytes() const;
  RefusalCounters& refusals() { return budget_.refusals(); }

  Status expose(const Region& region);
  std::uint32_t region_count() const {
    // acquire: pairs with the release store in expose(), after the tables have been filled.
    return region_count_.load(std::memory_order_acquire);
  }
  /// The RegionEntries as this device must be told them.
  const SendSource& region_table(const Device& device) const;

  /// A client is about to be told that it is accepted; it has yet to answer. One more than
  /// max_handshakes has another one dropped by its poller.
  void expect(std::uint64_t serial, const std::string& peer, std::shared_ptr<PollerGate> gate);
  /// False: it was turned away before its poller heard of it, and is to be dropped.
  bool expects(std::uint64_t serial) const;
  /// The client has answered. False: it was turned away meanwhile, and is to be dropped.
  bool meet(std::uint64_t serial);
  /// Has those dropped that have not answered in time; answers when to call it next, or kNever.
  Nanoseconds expire(Nanoseconds now);

  Result<std::vector<std::byte>> ask(std::span<const std::byte> client_hello, const Caller& caller);
  /// Whether a client that was let in is shown the regions.
  bool may_read_regions(const Caller& caller);
  /// What the handler makes of a proof (keys.h).
  Result<access::KeyLabel> verify(const Caller& caller, access::KeyId id,
                                  const access::Transcript& said, const access::Tag& tag);
  std::optional<access::Key> find_key(access::KeyId id);
  /// Gives the connection to the handler; drops it if the listener is gone.
  void deliver(std::unique_ptr<VerbsConnection> connection, Poller& poller);
  /// The handler is not called any more after this.
  void close();

 private:
  struct OnDevice {
    std::shared_ptr<Device> device;
    Pages pages;
    SendSource table;
    std::vector<PeerReadable> regions;
  };
  ListenerState(const ListenOptions& options, std::string name, AcceptHandler& handler)
      : handler_(&handler), name_(name), budget_(options, std::move(name)), newcomers_(options) {}
  void turn_away(const Newcomers::TurnedAway& newcomer, Nanoseconds now);

  std::mutex handler_mutex_;
  AcceptHandler* handler_;    ///< under handler_mutex_; null once closed
  const std::string name_;    ///< for the log
  mutable std::mutex mutex_;  ///< guards what follows, but for budget_.refusals()
  RingBudget budget_;
  Newcomers newcomers_;  ///< accepted and not established, by serial
  std::map<std::uint64_t, std::shared_ptr<PollerGate>> gates_;  ///< the newcomers' pollers
  log::LogLimiter limiter_;
  std::vector<OnDevice> devices_;  ///< fixed after create(); their regions grow
  std::atomic<std::uint32_t> region_count_{0};
};

class VerbsListener final : public Listener, private CmSink {
 public:
  static Result<std::unique_ptr<VerbsListener>> create(std::shared_ptr<Control> control,
                                                       const Address& address,
                                                       const ListenOptions& options,
                                                       std::span<Poller* const> pollers,
                                                       AcceptHandler& handler);
  ~VerbsListener() override;

  Address address() const override { return address_; }
  Status expose(const Region& region) override;
  std::uint64_t ring_bytes() const override { return state_->ring_bytes(); }
  RefusalCounts refusals() const override { return state_->refusals().get(); }

 private:
  VerbsListener(std::shared_ptr<Control> control, CmId id, Address address,
                std::span<Poller* const> pollers)
      : control_(std::move(control)),
        id_(std::move(id)),
        address_(std::move(address)),
        pollers_(pollers.begin(), pollers.end()) {}
  /// A client that asks, as far as it has proved a key.
  struct Asking {
    std::string peer;
    std::uint64_t inbox_address = 0;
    std::uint32_t inbox_key = 0;
    std::uint32_t max_ring_bytes = 0;
    std::vector<std::byte> hello = {};
    std::optional<access::KeyLabel> key = {};
    ProofRequest proof = {};                           ///< with a key
    access::Transcript said = access::Transcript("");  ///< before the proof
  };
  void on_cm(CmNotice notice) override;
  /// Rejects the client with a challenge.
  Status challenge(std::span<const std::byte> private_data, const std::string& peer,
                   CmId& requester);
  Result<Asking> understand(std::span<const std::byte> private_data, RequestKind kind,
                            const std::string& peer);
  Result<Asking> check_proof(const ProofRequest& proof, const std::string& peer);
  Status accept(const CmNotice& notice, CmId& requester);
  Status accept(const CmNotice& notice, CmId& requester, const Asking& asking);
  VerbsPoller& least_loaded() const;

  std::shared_ptr<Control> control_;
  CmId id_;
  Address address_;
  std::vector<Poller*> pollers_;
  std::shared_ptr<ListenerState> state_;
  std::optional<Challenges> challenges_;  ///< the control's thread's
  log::LogLimiter limiter_;               ///< used by the control's thread
};

}  // namespace silurus::transport::verbs
