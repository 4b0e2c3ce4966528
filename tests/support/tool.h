// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <gtest/gtest.h>
#include <limits.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>
#include <string>

#include "tests/support/server_process.h"

namespace silurus::testing_support {

/// The program `silurus` (the one built beside this test) as a user runs it, by way of a shell.
class Tool {
 public:
  struct Ran {
    int status;
    std::string out;
    std::string err;
  };
  Ran run(const std::string& arguments) const { return shell(program() + " " + arguments); }
  /// Anything that a shell understands.
  Ran shell(const std::string& command) const {
    const std::string all =
        "{ " + command + "\n} >" + (folder_ / "out") + " 2>" + (folder_ / "err");
    const int status = std::system(all.c_str());
    return {WIFEXITED(status) ? WEXITSTATUS(status) : -1, read("out"), read("err")};
  }
  /// Where the program is.
  static std::string program() {
    char self[PATH_MAX] = {};
    EXPECT_GT(readlink("/proc/self/exe", self, sizeof self - 1), 0);
    const std::string path(self);
    return path.substr(0, path.rfind('/')) + "/silurus";
  }
  /// What it answers as JSON.
  nlohmann::json ask(const std::string& arguments) const {
    const Ran ran = run(arguments + " --format json");
    EXPECT_EQ(ran.status, 0) << arguments << ": " << ran.err;
    return nlohmann::json::parse(ran.out, nullptr, false);
  }

 private:
  std::string read(const std::string& name) const {
    std::ifstream file(folder_ / name);
    std::stringstream text;
    text << file.rdbuf();
    return text.str();
  }

  TemporaryFolder folder_;
};

}  // namespace silurus::testing_support
