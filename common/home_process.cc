// SPDX-License-Identifier: Apache-2.0

#include "common/home_process.h"

#include <pthread.h>
#include <unistd.h>

#include <atomic>

namespace silurus {
namespace {

/// Counts the forks that lie between the first process and this one. Relaxed, everywhere: it
/// changes in a child alone, and before fork() returns there.
std::atomic<std::uint64_t> forks{0};

void count_fork() { forks.fetch_add(1, std::memory_order_relaxed); }

}  // namespace

std::uint64_t HomeProcess::current() {
  static const bool is_counted = pthread_atfork(nullptr, nullptr, count_fork) == 0;
  if (!is_counted) return static_cast<std::uint64_t>(getpid());  // no memory for the handler
  return forks.load(std::memory_order_relaxed);
}

}  // namespace silurus
