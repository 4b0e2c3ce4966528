// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <unistd.h>

#include <filesystem>
#include <string>
#include <string_view>
#include <system_error>

namespace silurus::bench {

/// A folder of this run, gone with it. Of a run that was killed it stays, until the next one in the
/// same directory.
class Folder {
 public:
  /// In the directory `where`; sockets in it can be named whatever the working directory is.
  explicit Folder(const std::filesystem::path& where)
      : path_(std::filesystem::absolute(where).lexically_normal() /
              (kPrefix + std::to_string(getpid()))) {
    remove_those_of_the_dead();
    std::filesystem::remove_all(path_);
    std::filesystem::create_directories(path_);
  }
  Folder(const Folder&) = delete;
  Folder& operator=(const Folder&) = delete;
  ~Folder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  std::string path() const { return path_; }
  std::string operator/(const std::string& name) const { return path_ / name; }

 private:
  static constexpr const char* kPrefix = "silurus-bench-";

  void remove_those_of_the_dead() const {
    std::error_code ignored;
    for (const auto& entry : std::filesystem::directory_iterator(path_.parent_path(), ignored)) {
      const std::string name = entry.path().filename();
      if (name.rfind(kPrefix, 0) != 0) continue;
      const std::string pid = name.substr(std::string_view(kPrefix).size());
      const bool is_pid = !pid.empty() && pid.find_first_not_of("0123456789") == std::string::npos;
      if (is_pid && !std::filesystem::exists("/proc/" + pid)) {
        std::filesystem::remove_all(entry.path(), ignored);
      }
    }
  }

  std::filesystem::path path_;
};

}  // namespace silurus::bench
