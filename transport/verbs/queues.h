// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <array>
#include <limits>
#include <memory>
#include <mutex>
#include <span>
#include <unordered_map>
#include <vector>

#include "common/clock.h"
#include "common/result.h"
#include "transport/event_loop.h"
#include "transport/verbs/control.h"
#include "transport/verbs/device.h"
#include "transport/verbs/handles.h"

namespace silurus::transport::verbs {

constexpr Nanoseconds kNever = std::numeric_limits<Nanoseconds>::max();
/// A retired queue pair is destroyed after this though the device has not told of its last receive:
/// not every device does (soft-RoCE before Linux 6.3).
constexpr Nanoseconds kLongestRetirement = 100 * kMillisecond;

/// What a queue pair's completions are told to. On the poller's thread.
class CompletionSink {
 public:
  /// Before the first on_completion; may destroy the sink.
  virtual void on_first() {}
  virtual bool is_new() const { return false; }
  virtual void on_completion(const ibv_wc& completion) = 0;
  /// Receives were replenished on behalf of this queue pair's completions: what it cost.
  virtual void on_replenished(std::uint32_t /*receives*/) {}

 protected:
  ~CompletionSink() = default;
};

/// How a queue pair is to be made.
struct QueuePairOptions {
  ibv_qp_type type;
  std::uint32_t sends;
  std::uint32_t receives;  ///< 0: from the shared receive queue
  std::uint32_t inline_bytes;
};

/// One completion queue and one shared receive queue, for the queue pairs of one poller on one
/// device. A completion queue must never overflow, so that each queue pair takes its share of the
/// entries, all that it may ever have outstanding; when all are taken, the poller makes another.
class Queues final : private EventSink {
 public:
  /// `gate`: of the poller that will drive them.
  static Result<std::shared_ptr<Queues>> create(std::shared_ptr<Device> device,
                                                std::uint32_t completions,
                                                std::shared_ptr<PollerGate> gate);
  ~Queues();

  // Set-up: any thread.

  const std::shared_ptr<Device>& device() const { return device_; }
  /// Whether a queue pair with that many entries found room; give_back() when it is destroyed.
  bool take(std::uint32_t entries);
  void give_back(std::uint32_t entries);
  struct Created {
    QueuePair pair;
    std::uint32_t max_inline_bytes;  ///< as the device gave it
  };
  /// `owner` hears of asynchronous events.
  Result<Created> create_pair(const QueuePairOptions& options,
                              std::shared_ptr<const QueuePairOwner> owner);

  // The poller's thread.

  Status attach(EventLoop& loop);
  void add(const ibv_qp& pair, CompletionSink& sink);
  /// Destroys the pair now: no completion of it will be told any more, also if the number is used
  /// again. Receives that it has taken from the shared queue may be lost.
  void destroy(QueuePair pair);
  /// Any thread: destroys a pair that was never added, and to which nothing was posted or sent.
  void discard(QueuePair pair);
  /// Destroys the pair when what it has taken from the shared receive queue has come back
  /// (InfiniBand Architecture Specification 1.3, section 10.3.1: the "last WQE reached" event of a
  /// pair in the error state), or after kLongestRetirement. No completion of it will be told any
  /// more. `entries` are given back then. The caller has no read under way.
  void retire(QueuePair pair, std::uint32_t entries, Nanoseconds now);
  /// Destroys retired pairs whose time has come; returns when to call it next, or kNever.
  Nanoseconds reap(Nanoseconds now);
  /// The device says that a retired pair takes no more from the shared receive queue.
  void on_last_receive(std::uint32_t number);
  bool owns(const ibv_srq& queue) const { return &queue == receives_.get(); }
  /// The device says that the shared receive queue holds few receives. Posts those that have been
  /// lost: that were posted, and neither completed nor are there.
  void on_few_receives();
  /// Receives found to be lost, and posted again.
  std::uint64_t lost_receives() const { return lost_; }
  /// Tells the sinks what has completed, up to a batch; returns how many.
  std::size_t poll();
  /// False if something has completed already.
  bool arm();

 private:
  Queues(std::shared_ptr<Device> device, CompletionChannel channel, CompletionQueue completions,
         std::unique_ptr<ReceivesOwner> receives_owner, SharedReceiveQueue receives,
         std::uint32_t capacity, std::uint32_t receive_count);
  void on_ready(std::uint32_t events) override;
  struct Retired {
    QueuePair pair;
    std::uint32_t entries;
    Nanoseconds until;
  };
  Status post_receives(std::uint32_t count);
  void watch_receives();
  void take_completions();
  void watch_again();
  bool is_retired(std::uint32_t number) const;
  void tell_all(std::span<const ibv_wc> completions);
  void tell(const ibv_wc& completion);

  static constexpr int kBatch = 32;
  static constexpr std::uint32_t kReplenishBatch = 64;
  /// Destroying a pair is a command to the device, which may take tens of microseconds.
  static constexpr std::size_t kMostReapedAtOnce = 16;
  /// The device tells of the shared receive queue when this part of it, and no more, is left.
  static constexpr std::uint32_t kFewReceives = 8;

  std::shared_ptr<Device> device_;
  CompletionChannel channel_;
  CompletionQueue completions_;
  std::unique_ptr<ReceivesOwner> receives_owner_;  ///< the queue's context
  SharedReceiveQueue receives_;
  const std::uint32_t receive_count_;
  std::mutex mutex_;        ///< guards the next two
  std::uint32_t capacity_;  ///< completion entries
  std::uint32_t taken_;
  std::mutex pairs_mutex_;  ///< creating and destroying queue pairs, and owners_
  std::unordered_map<std::uint32_t, std::shared_ptr<const QueuePairOwner>> owners_;  ///< by number
  std::vector<Retired> retired_;
  std::unordered_map<std::uint32_t, CompletionSink*> sinks_;  ///< by queue pair number
  std::vector<ibv_wc> found_;    ///< completions that were looked at before their time
  std::uint32_t owed_ = 0;       ///< receives consumed and not yet posted again
  std::uint64_t posted_ = 0;     ///< receives, ever
  std::uint64_t completed_ = 0;  ///< receives told of or found to be lost, ever
  std::uint64_t lost_ = 0;
  bool is_telling_ = false;                ///< some completions are neither in found_ nor told yet
  bool is_few_ = false;                    ///< on_few_receives() could not judge
  std::uint64_t posted_when_watched_ = 0;  ///< posted_ when watch_receives() was called last
  std::vector<ibv_recv_wr> chain_;
  EventLoop* loop_ = nullptr;
  EventLoop::Registration registration_ = EventLoop::kNone;
  unsigned unacknowledged_ = 0;
};

}  // namespace silurus::transport::verbs
