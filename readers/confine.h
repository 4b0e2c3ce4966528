#pragma once

#include <cstddef>
#include <string>

namespace silurus::readers {

constexpr unsigned kMaxCpuSeconds = 120;
constexpr std::size_t kMaxMemoryBytes = std::size_t{2} << 30;
constexpr unsigned kMaxDescriptors = 64;

/// Takes from this process, before it reads a file that may have been made to take it over, what
/// reading does not need: CPU time and memory beyond the limits above, writing files, core files,
/// new privileges; and where the kernel can do it, opening any file but `path` (Landlock), sockets,
/// other programs and other processes (seccomp).
void confine(const std::string& path);

}  // namespace silurus::readers
