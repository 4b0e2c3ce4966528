#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "common/result.h"
#include "replication/group/tree_copy.h"
#include "replication/incoming.h"

namespace silurus::server {

/// A member whose log the group's does not reach back to gets a copy of the tree: on a thread of
/// its own, from the first of some members that gives one whole, into the member's data directory,
/// beside the store that is there. Made, asked and destroyed by the group's thread.
template <int D>
class TreeFetch {
 public:
  struct Options {
    std::string path;                      ///< the data directory
    replication::DirectoryOptions store;   ///< of what is made in it
    replication::group::CopyOptions copy;  ///< what to ask for
    std::vector<std::string> sources;      ///< addresses for other members, asked in that order
  };
  /// Begins. `wake` is called, on that thread, when there is news.
  TreeFetch(Options options, std::function<void()> wake);
  /// Ends it; what has not arrived is gone.
  ~TreeFetch();
  TreeFetch(const TreeFetch&) = delete;
  TreeFetch& operator=(const TreeFetch&) = delete;

  /// Where the log goes on behind the version being copied; 0: none is held yet.
  replication::Lsn log() const { return log_.load(std::memory_order_relaxed); }
  /// Whether the thread has done its work, well or in vain.
  bool is_over() const {
    return is_over_.load(std::memory_order_acquire);  // pairs with the release in run()
  }
  /// A wish that it ends soon.
  void cancel() { cancel_.store(true, std::memory_order_relaxed); }  // orders nothing
  /// Once it is over: why no member gave one, if none did; ...
  const Status& outcome() const { return outcome_; }
  /// ... else makes the copy what the data directory holds from its next opening on. After an error
  /// it may be that, or not.
  Status arrive() { return store_->arrive(); }

 private:
  void run();
  Status fetch_from(const std::string& source);

  const Options options_;
  const std::function<void()> wake_;
  std::unique_ptr<replication::IncomingStore<D>> store_;
  Status outcome_;
  std::atomic<replication::Lsn> log_{0};
  std::atomic<bool> is_over_{false};
  std::atomic<bool> cancel_{false};
  std::jthread thread_;
};

}  // namespace silurus::server
