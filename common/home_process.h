// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstdint>

namespace silurus {

/// The process in which an object was made. A child of fork() inherits a copy of each object of its
/// parent, whose sockets and shared memory are still the parent's: such a copy asks here whether it
/// is one, before it touches them. Costs a load and a comparison, no system call. Any thread.
///
///   HomeProcess home_;
///   if (home_.is_left()) return fail(...);
class HomeProcess {
 public:
  HomeProcess() : generation_(current()) {}
  /// Whether this is another process than the one that made the object. A process made by the
  /// system call clone() itself, without the C library, is not noticed.
  bool is_left() const { return current() != generation_; }

 private:
  /// Differs between a process and its children.
  static std::uint64_t current();

  std::uint64_t generation_;
};

}  // namespace silurus
