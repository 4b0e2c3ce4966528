// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <atomic>
#include <functional>
#include <optional>
#include <string>
#include <thread>
#include <utility>

#include "common/result.h"
#include "replication/state_transfer/receiver.h"

namespace silurus::replication {

/// Begins the sink, connects, receives and comes back: for a thread that has nothing else to do.
/// Gives up with the error of `look`, which is called now and then.
template <int D>
Status receive_tree(transport::Fabric& fabric, const transport::Address& source,
                    const TransferOptions& options, StateSink<D>& sink,
                    const std::function<Status(const TransferReceiver<D>&)>& look = {});

/// Receives on a thread of its own. Made, asked and destroyed by the group's thread.
template <int D>
class StateFetchThread final : public StateFetch {
 public:
  /// `sink`: must outlive it. `label`: who takes the tree, for the log. `wake` is called, on that
  /// thread, when there is news. `key`: of the cluster.
  StateFetchThread(StateSink<D>& sink, std::string label, std::function<void()> wake,
                   std::optional<access::Key> key = {})
      : sink_(sink), label_(std::move(label)), wake_(std::move(wake)), key_(std::move(key)) {}
  ~StateFetchThread() override { cancel(); }
  StateFetchThread(const StateFetchThread&) = delete;
  StateFetchThread& operator=(const StateFetchThread&) = delete;

  void begin(const std::string& source, const TransferOptions& options) override;
  Lsn log() const override { return log_.load(std::memory_order_relaxed); }
  std::uint64_t nodes() const override { return nodes_.load(std::memory_order_relaxed); }
  std::optional<Status> outcome() const override;
  void cancel() override { cancel_.store(true, std::memory_order_relaxed); }  // a wish

 private:
  Status fetch(const std::string& source, const TransferOptions& options);

  StateSink<D>& sink_;
  const std::string label_;
  const std::function<void()> wake_;
  const std::optional<access::Key> key_;
  Status outcome_;
  std::atomic<Lsn> log_{0};
  std::atomic<std::uint64_t> nodes_{0};
  std::atomic<bool> is_over_{false};
  std::atomic<bool> cancel_{false};
  std::jthread thread_;
};

}  // namespace silurus::replication
