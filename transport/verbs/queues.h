#pragma once

#include <array>
#include <memory>
#include <mutex>
#include <unordered_map>
#include <vector>

#include "common/result.h"
#include "transport/event_loop.h"
#include "transport/verbs/control.h"
#include "transport/verbs/device.h"
#include "transport/verbs/handles.h"

namespace silurus::transport::verbs {

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
  static Result<std::shared_ptr<Queues>> create(std::shared_ptr<Device> device,
                                                std::uint32_t completions);
  ~Queues();

  // Set-up: any thread.

  const std::shared_ptr<Device>& device() const { return device_; }
  /// Whether a queue pair with so many entries found room; give_back() when it is destroyed.
  bool take(std::uint32_t entries);
  void give_back(std::uint32_t entries);
  struct Created {
    QueuePair pair;
    std::uint32_t max_inline_bytes;  ///< as the device gave it
  };
  /// `owner` hears of asynchronous events and must outlive the pair.
  Result<Created> create_pair(const QueuePairOptions& options, const QueuePairOwner& owner);

  // The poller's thread.

  Status attach(EventLoop& loop);
  void add(const ibv_qp& pair, CompletionSink& sink);
  /// No completion of the pair will be told any more, also if the number is used again.
  void destroy(QueuePair pair);
  /// Tells the sinks what has completed, up to a batch; returns how many.
  std::size_t poll();
  /// False if something has completed already.
  bool arm();

 private:
  Queues(std::shared_ptr<Device> device, CompletionChannel channel, CompletionQueue completions,
         SharedReceiveQueue receives, std::uint32_t capacity, std::uint32_t receive_count);
  void on_ready(std::uint32_t events) override;
  Status post_receives(std::uint32_t count);
  void tell(const ibv_wc& completion);

  static constexpr int kBatch = 32;
  static constexpr std::uint32_t kReplenishBatch = 64;

  std::shared_ptr<Device> device_;
  CompletionChannel channel_;
  CompletionQueue completions_;
  SharedReceiveQueue receives_;
  std::mutex mutex_;        ///< of the next two
  std::uint32_t capacity_;  ///< completion entries
  std::uint32_t taken_;
  std::mutex pairs_mutex_;  ///< creating and destroying queue pairs
  std::unordered_map<std::uint32_t, CompletionSink*> sinks_;  ///< by queue pair number
  std::vector<ibv_wc> found_;  ///< completions that were looked at before their time
  std::uint32_t owed_ = 0;     ///< receives consumed and not yet posted again
  std::vector<ibv_recv_wr> chain_;
  EventLoop* loop_ = nullptr;
  EventLoop::Registration registration_ = EventLoop::kNone;
  unsigned unacknowledged_ = 0;
};

}  // namespace silurus::transport::verbs
