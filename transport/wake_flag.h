// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <atomic>

namespace silurus::transport {

/// Whether the thread that owns it has been woken, and whether it sleeps: a wake-up rouses the
/// thread, which takes a system call, only if it does. One owner; raise() alone is for any thread.
/// `Word` is an atomic word; another one is for a test that goes through all interleavings.
///
///   while (!flag.take()) {                        // any other thread:
///     if (flag.begin_sleep()) wait(descriptor);   //   if (flag.raise()) write(descriptor);
///     flag.end_sleep();
///   }
template <typename Word = std::atomic<bool>>
class WakeFlag {
 public:
  /// Whether it was woken since it was asked for the last time.
  bool take() {
    // acquire: pairs with the store in raise(), so that what its caller did before is seen.
    return woken_.load(std::memory_order_acquire) &&
           woken_.exchange(false, std::memory_order_acquire);
  }
  /// False if it was woken by now, and must not sleep.
  bool begin_sleep() {
    // seq_cst, this store and the load against the store and the load in raise(): of two threads
    // that each store and then look at the other's word, at least one sees the other.
    sleeping_.store(true, std::memory_order_seq_cst);
    return !woken_.load(std::memory_order_seq_cst);
  }
  /// However begin_sleep() has answered.
  void end_sleep() {
    // relaxed: a raise() that still sees true rouses the next sleeper once in vain.
    sleeping_.store(false, std::memory_order_relaxed);
  }
  /// Whether the caller has to rouse the owner.
  bool raise() {
    // seq_cst: see begin_sleep().
    woken_.store(true, std::memory_order_seq_cst);
    return sleeping_.load(std::memory_order_seq_cst);
  }

 private:
  Word woken_{false};
  Word sleeping_{false};
};

}  // namespace silurus::transport
