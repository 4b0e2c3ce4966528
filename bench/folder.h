#pragma once

#include <unistd.h>

#include <filesystem>
#include <string>
#include <system_error>

namespace silurus::bench {

/// A folder of this run, gone with it.
class Folder {
 public:
  /// In the directory `where`; sockets in it can be named whatever the working directory is.
  explicit Folder(const std::filesystem::path& where)
      : path_(std::filesystem::absolute(where).lexically_normal() /
              ("silurus-bench-" + std::to_string(getpid()))) {
    std::filesystem::remove_all(path_);
    std::filesystem::create_directories(path_);
  }
  Folder(const Folder&) = delete;
  Folder& operator=(const Folder&) = delete;
  ~Folder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  std::string operator/(const std::string& name) const { return path_ / name; }

 private:
  std::filesystem::path path_;
};

}  // namespace silurus::bench
