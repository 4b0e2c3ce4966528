// SPDX-License-Identifier: Apache-2.0

#include "gate/options.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace silurus::gate {
namespace {

RunCommand run_of(const std::vector<std::string>& arguments) {
  const auto command = parse_command(arguments);
  EXPECT_TRUE(command) << command.error().message;
  return command ? std::get<RunCommand>(*command) : RunCommand{};
}

TEST(GateOptions, ListenAtALoopbackAddressUnlessToldOtherwise) {
  EXPECT_EQ(run_of({}).http.address, "127.0.0.1");
  EXPECT_EQ(run_of({}).http.port, 8080);
  EXPECT_EQ(run_of({"--listen", "http://[::1]:0/"}).http.address, "::1");
  EXPECT_FALSE(parse_command({"--listen", "http://0.0.0.0:80"}));
  EXPECT_EQ(run_of({"--listen", "http://0.0.0.0:80", "--allow-remote"}).http.address, "0.0.0.0");
}

TEST(GateOptions, NameTheHostsThatAreServed) {
  EXPECT_THAT(run_of({}).service.hosts, testing::Contains("localhost"));
  EXPECT_EQ(run_of({"--host", "Maps.Example"}).service.hosts,
            std::vector<std::string>{"maps.example"});
  EXPECT_TRUE(run_of({"--listen", "http://0.0.0.0:80", "--allow-remote"}).service.hosts.empty());
}

TEST(GateOptions, ThatMakeNoSenseAreRefused) {
  for (const std::vector<std::string>& arguments :
       std::vector<std::vector<std::string>>{{"--listen", "https://127.0.0.1:1"},
                                             {"--listen", "tcp://127.0.0.1:1"},
                                             {"--listen", "http://127.0.0.1"},
                                             {"--listen", "http://127.0.0.1:70000"},
                                             {"--threads", "0"},
                                             {"--mode", "fast"},
                                             {"--base-url", "http://x\"y"},
                                             {"word"},
                                             {"--unknown"}}) {
    EXPECT_FALSE(parse_command(arguments)) << arguments.back();
  }
}

}  // namespace
}  // namespace silurus::gate
