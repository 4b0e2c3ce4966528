#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <utility>

#include "common/result.h"
#include "replication/incoming.h"
#include "server/copies.h"

namespace silurus::server {

/// The store of a member's data directory, made anew beside the one that serves.
template <int D>
class DirectorySink final : public StateSink<D> {
 public:
  /// `path`: the data directory; `store`: of what is made in it.
  DirectorySink(std::string path, replication::DirectoryOptions store)
      : path_(std::move(path)), store_(std::move(store)) {}

  Status begin() override;
  Status take(rtree::NodeRef ref, const rtree::Node<D>& node) override {
    return directory_->store().take(ref, node);
  }
  Status finish(const replication::group::TreeFacts& facts) override;
  Status arrive() override { return directory_->arrive(); }

 private:
  const std::string path_;
  const replication::DirectoryOptions store_;
  std::unique_ptr<replication::IncomingDirectory<D>> directory_;
};

/// Gets a copy on a thread of its own. Made, asked and destroyed by the group's thread.
template <int D>
class StateFetchThread final : public StateFetch {
 public:
  /// `sink`: must outlive it. `label`: who takes the copy, for the log. `wake` is called, on that
  /// thread, when there is news.
  /// `key`: of the cluster.
  StateFetchThread(StateSink<D>& sink, std::string label, std::function<void()> wake,
                   std::optional<access::Key> key = {})
      : sink_(sink), label_(std::move(label)), wake_(std::move(wake)), key_(std::move(key)) {}
  ~StateFetchThread() override { cancel_.store(true, std::memory_order_relaxed); }  // a wish
  StateFetchThread(const StateFetchThread&) = delete;
  StateFetchThread& operator=(const StateFetchThread&) = delete;

  void begin(const std::string& source, const replication::group::TransferOptions& copy) override;
  replication::Lsn log() const override { return log_.load(std::memory_order_relaxed); }
  std::uint64_t nodes() const override { return nodes_.load(std::memory_order_relaxed); }
  std::optional<Status> outcome() const override;
  void cancel() override { cancel_.store(true, std::memory_order_relaxed); }  // a wish

 private:
  void run(const std::string& source, const replication::group::TransferOptions& copy);
  Status fetch(const std::string& source, const replication::group::TransferOptions& copy);

  StateSink<D>& sink_;
  const std::string label_;
  const std::function<void()> wake_;
  const std::optional<access::Key> key_;
  Status outcome_;
  std::atomic<replication::Lsn> log_{0};
  std::atomic<std::uint64_t> nodes_{0};
  std::atomic<bool> is_over_{false};
  std::atomic<bool> cancel_{false};
  std::jthread thread_;
};

}  // namespace silurus::server
