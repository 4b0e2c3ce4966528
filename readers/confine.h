// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstddef>
#include <string>
#include <vector>

namespace silurus::readers {

constexpr unsigned kMaxCpuSeconds = 120;
constexpr unsigned kMaxCpuSecondsInAll = 24 * 60 * 60;  // cannot be raised
constexpr std::size_t kMaxMemoryBytes = std::size_t{2} << 30;
constexpr unsigned kMaxDescriptors = 64;

/// What a reader needs besides what every process has.
struct Needs {
  std::vector<std::string> files;         ///< opened to read
  std::vector<std::string> folders = {};  ///< so is everything in these
  unsigned cpu_seconds = kMaxCpuSeconds;  ///< until renew_cpu_time()
};

/// Takes from this process, before it reads a file that may have been made to take it over, what
/// reading does not need: CPU time and memory beyond the limits above, writing files, core files,
/// new privileges; and where the kernel can do it, opening any file but those needed (Landlock),
/// and all system calls that are not on a list of some sixty (seccomp): no sockets, no other
/// processes or programs, no changes of files or their attributes, no new memory that can be
/// executed.
void confine(const Needs& needs);

/// Gives the process kMaxCpuSeconds more than it has used: something has come out of it. What hangs
/// gets no more.
void renew_cpu_time();

}  // namespace silurus::readers
