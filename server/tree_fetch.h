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

/// Gets a copy on a thread of its own, into the member's data directory. Made, asked and destroyed
/// by the group's thread.
template <int D>
class TreeFetch final : public CopyFetch {
 public:
  struct Options {
    std::string path;                     ///< the data directory
    replication::DirectoryOptions store;  ///< of what is made in it
  };
  /// `wake` is called, on that thread, when there is news.
  TreeFetch(Options options, std::function<void()> wake)
      : options_(std::move(options)), wake_(std::move(wake)) {}
  ~TreeFetch() override { cancel_.store(true, std::memory_order_relaxed); }  // a wish
  TreeFetch(const TreeFetch&) = delete;
  TreeFetch& operator=(const TreeFetch&) = delete;

  void begin(const std::string& source, const replication::group::CopyOptions& copy) override;
  replication::Lsn log() const override { return log_.load(std::memory_order_relaxed); }
  std::uint64_t nodes() const override { return nodes_.load(std::memory_order_relaxed); }
  std::optional<Status> outcome() const override;
  Status arrive() override { return directory_->arrive(); }

 private:
  void run(const std::string& source, const replication::group::CopyOptions& copy);
  Status fetch(const std::string& source, const replication::group::CopyOptions& copy);

  const Options options_;
  const std::function<void()> wake_;
  std::unique_ptr<replication::IncomingDirectory<D>> directory_;
  Status outcome_;
  std::atomic<replication::Lsn> log_{0};
  std::atomic<std::uint64_t> nodes_{0};
  std::atomic<bool> is_over_{false};
  std::atomic<bool> cancel_{false};
  std::jthread thread_;
};

}  // namespace silurus::server
