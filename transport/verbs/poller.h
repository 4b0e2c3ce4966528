// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <functional>
#include <memory>
#include <mutex>
#include <unordered_map>
#include <vector>

#include "common/clock.h"
#include "transport/event_loop.h"
#include "transport/fabric.h"
#include "transport/verbs/control.h"
#include "transport/verbs/memory.h"
#include "transport/verbs/queues.h"

namespace silurus::transport::verbs {

class ListenerState;
class VerbsConnection;

/// What a poller looks after beside completions: connections and groups. Its thread.
class Endpoint {
 public:
  virtual ~Endpoint() = default;
  /// Posts what was held back.
  virtual void post_held_back() = 0;
  /// Hands over what had come before there was a handler.
  virtual void receive_messages() {}
  /// Tells the handler that it has ended.
  virtual void report_ended() = 0;
  /// Looks after its peer if the time has come; answers when it wants to be called next, though it
  /// may be called sooner.
  virtual Nanoseconds tick(Nanoseconds /*now*/) { return kNever; }
  /// The connection manager says that the peer is gone.
  virtual void on_lost(const Error& reason) = 0;
};

/// Memory for one-sided reads, registered with every device.
class VerbsBuffer final : public Buffer {
 public:
  static Result<std::unique_ptr<VerbsBuffer>> create(
      const std::vector<std::shared_ptr<Device>>& devices, std::size_t bytes);
  std::uint32_t key_on(const Device& device) const;

 private:
  explicit VerbsBuffer(Pages pages) : pages_(std::move(pages)) { bytes_ = pages_.bytes(); }

  Pages pages_;
  std::vector<std::pair<const Device*, LandingArea>> areas_;
};

class VerbsPoller final : public Poller {
 public:
  static Result<std::unique_ptr<VerbsPoller>> create(std::shared_ptr<Control> control);
  ~VerbsPoller() override;

  std::size_t progress() override;
  bool arm() override;
  void look() override;
  int fd() const override { return loop_->fd(); }
  Result<std::unique_ptr<Buffer>> allocate_buffer(std::size_t bytes) override;

  // Any thread.

  const std::shared_ptr<PollerGate>& gate() const { return gate_; }
  void post(std::function<void(VerbsPoller&)> task);
  std::uint64_t new_serial();
  /// Queues of the device with room for that many completions, taken; made with at least
  /// `new_completions` entries if there are none.
  Result<std::shared_ptr<Queues>> take_queues(const std::shared_ptr<Device>& device,
                                              std::uint32_t completions,
                                              std::uint32_t new_completions);
  /// How many connections it has been given, for dealing them out evenly.
  std::size_t load() const { return load_.load(std::memory_order_relaxed); }
  void add_load(std::ptrdiff_t by) {
    load_.fetch_add(static_cast<std::size_t>(by), std::memory_order_relaxed);
  }

  // Its own thread.

  /// From now on the endpoint is driven, and ticks.
  Status add(std::uint64_t serial, Endpoint& endpoint, const std::shared_ptr<Queues>& queues);
  void remove(std::uint64_t serial, Endpoint& endpoint);
  /// A connection that a client has asked for: it is given to the listener's handler when it is
  /// established.
  void add_accepted(std::unique_ptr<VerbsConnection> connection);
  void on_established(std::uint64_t serial);
  void on_lost(std::uint64_t serial, const Error& reason);
  void on_last_receive(std::uint32_t pair_number);
  void on_few_receives(const ibv_srq& queue);
  /// All endpoints tick no later than this.
  void tick_by(Nanoseconds time);
  /// Whether we are called back from progress(): what is held back then goes at the end of the
  /// round.
  bool in_progress() const { return in_progress_; }
  /// To be called back from progress().
  void hold_back(Endpoint& endpoint) { held_back_.push_back(&endpoint); }
  void read_later(Endpoint& endpoint) { unread_.push_back(&endpoint); }
  void report_ended(Endpoint& endpoint) { ended_.push_back(&endpoint); }
  void announce_regions(const ListenerState& listener);

 private:
  VerbsPoller(std::shared_ptr<Control> control, std::unique_ptr<EventLoop> loop);
  std::size_t run_round();
  void post_held_back();
  void report_lost();
  std::size_t report_all_ended();
  void tick();

  std::shared_ptr<Control> control_;
  std::unique_ptr<EventLoop> loop_;
  std::shared_ptr<PollerGate> gate_;
  std::unique_ptr<Timer> timer_;
  std::mutex queues_mutex_;
  std::vector<std::shared_ptr<Queues>> queues_;             ///< under queues_mutex_
  std::atomic<std::size_t> load_{0};                        // relaxed: a hint
  std::vector<std::shared_ptr<Queues>> driven_;             ///< those that progress() polls
  std::unordered_map<std::uint64_t, Endpoint*> endpoints_;  ///< by serial
  std::unordered_map<std::uint64_t, std::unique_ptr<VerbsConnection>> accepted_;
  std::vector<Endpoint*> held_back_;
  std::vector<Endpoint*> unread_;
  std::vector<std::pair<std::uint64_t, Error>> lost_;
  std::vector<Endpoint*> ended_;
  unsigned rounds_ = 0;
  Nanoseconds next_tick_ = kNever;
  bool armed_ = false;
  bool in_progress_ = false;
};

}  // namespace silurus::transport::verbs
