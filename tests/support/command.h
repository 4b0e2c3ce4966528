// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <sys/wait.h>

#include <cstdio>
#include <string>

namespace silurus::testing_support {

/// What a program of the machine printed on standard output, and its exit status.
struct Printed {
  std::string text;
  int status = -1;
};

/// Runs a line of shell.
inline Printed run_command(const std::string& line) {
  Printed printed;
  std::FILE* pipe = ::popen(line.c_str(), "re");  // NOLINT(cert-env33-c): a test's own line
  if (pipe == nullptr) return printed;
  char buffer[4096];
  for (std::size_t count = 0; (count = std::fread(buffer, 1, sizeof buffer, pipe)) > 0;) {
    printed.text.append(buffer, count);
  }
  const int status = ::pclose(pipe);
  printed.status = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  return printed;
}

}  // namespace silurus::testing_support
