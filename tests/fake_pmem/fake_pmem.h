// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstdint>

namespace silurus::testing_support {

/// Persistent memory that exists in this program alone: it defines the functions of libpmem that
/// replication/persistent_memory.cc calls, for files that are told to be persistent memory. What
/// was stored and not flushed and drained is lost when the power fails, except that a cache may
/// have written back any 8-byte words of it. One thread.
class FakePmem {
 public:
  explicit FakePmem(std::uint64_t seed);
  ~FakePmem();
  FakePmem(const FakePmem&) = delete;
  FakePmem& operator=(const FakePmem&) = delete;

  /// The power fails at that store, flush or drain from now on; UINT64_MAX: never.
  void cut_after(std::uint64_t steps);
  bool is_off() const;
  /// Stores, flushes and drains so far.
  std::uint64_t steps() const;
  /// With nothing mapped: the files hold what was durable, and the power is on again.
  void reboot();
};

}  // namespace silurus::testing_support
