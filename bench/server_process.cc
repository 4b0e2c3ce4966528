// SPDX-License-Identifier: Apache-2.0

#include "bench/server_process.h"

#include <unistd.h>

#include <filesystem>
#include <fstream>

namespace silurus::bench {
namespace {

constexpr Nanoseconds kStartTimeout = 300 * kSecond;  // it may be asked to load a data set first

std::string beside_this_program(const char* name) {
  return std::filesystem::read_symlink("/proc/self/exe").replace_filename(name).string();
}

}  // namespace

Result<ServerProcess> ServerProcess::start(const std::vector<std::string>& options) {
  const std::string program = beside_this_program("silurus-server");
  const std::string ready =
      (std::filesystem::temp_directory_path() / ("silurus-ready-" + std::to_string(getpid())))
          .string();
  std::filesystem::remove(ready);
  SubprocessOptions subprocess{.words = {program, "--ready-file", ready, "--log-level", "warning"}};
  subprocess.words.insert(subprocess.words.end(), options.begin(), options.end());
  auto started = Subprocess::start(subprocess);
  if (!started) return fail(started.error());
  ServerProcess process(std::move(*started));
  auto is_ready = wait_until_ready(process.process_, program, kStartTimeout, [&] {
    std::ifstream file(ready);
    for (std::string line; std::getline(file, line);) process.addresses_.push_back(line);
    return !process.addresses_.empty();
  });
  std::filesystem::remove(ready);
  if (!is_ready) return fail(is_ready.error());
  return process;
}

std::string ServerProcess::address(const std::string& scheme) const {
  for (const std::string& address : addresses_) {
    if (address.rfind(scheme, 0) == 0) return address;
  }
  return {};
}

}  // namespace silurus::bench
