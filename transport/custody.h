// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstdint>

#include "common/result.h"

namespace silurus::transport {

/// What keeps kernel objects of this process alive beyond its end: another process that holds
/// descriptors of them (server/keeper). One-sided reads then go on when this process has died, and
/// connections do not end with it, until the holder lets go. Any thread.
class Custody {
 public:
  virtual ~Custody() = default;

  /// Has a descriptor of the same open file held, until release() or the holder lets go. Waits for
  /// a moment at most. A ticket for release(); 0: it is not held, and ends with this process.
  virtual std::uint64_t hold(int fd) = 0;
  virtual void release(std::uint64_t ticket) = 0;

  /// Hands over the memory whose first page holds the root block, while its memfd may still be
  /// mapped to be written: the holder can turn readers away there. Waits until it has it.
  virtual Status hold_root(int fd) = 0;

  /// Has the lock of the data directory held: a server that opens the directory while an old life's
  /// memory is still believed could acknowledge what readers of that memory do not see. Waits until
  /// it is held.
  virtual Status hold_lock(int fd) = 0;
  /// The lock that the life before had of the same file as `fd`, which this process has inherited;
  /// -1: none.
  virtual int inherited_lock(int fd) const = 0;
};

/// That of this process; null: there is none, and all ends with the process.
Custody* custody();
/// Before the first thread, fabric and data directory; it must outlive them.
void set_custody(Custody* custody);

}  // namespace silurus::transport
