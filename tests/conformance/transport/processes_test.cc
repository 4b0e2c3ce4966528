#include <fcntl.h>
#include <sys/resource.h>

#include <csignal>
#include <vector>

#include "tests/conformance/transport/real_server.h"
#include "transport/unique_fd.h"

namespace silurus::transport::conformance {
namespace {

/// Client and server as processes of their own, one of which dies.
class Processes : public RealServer, public ::testing::WithParamInterface<const char*> {
 protected:
  Processes() : RealServer(GetParam()) {}
  Address address() const {
    return *Address::parse(fabric->scheme() == "tcp" ? "tcp://127.0.0.1:0"
                                                     : "shm://" + directory + "/socket");
  }
};

TEST_P(Processes, ClientThatIsKilledGivesItsRingsBack) {
  ASSERT_TRUE(listen(address()));
  const pid_t child = connect_in_child([](Connection& connection, Poller& own) {
    // In the middle of a request: one message sent, another one reserved.
    std::memcpy(connection.reserve(5).data(), "hello", 5);
    connection.commit(5);
    own.progress();
    connection.reserve(1000);
    pause();
  });
  ASSERT_TRUE(
      run_until([&] { return !acceptor.ends.empty() && acceptor.ends[0].recorder->count; }));
  const std::uint64_t with_client = listener->ring_bytes();
  kill(child, SIGKILL);
  EXPECT_EQ(await(child), -SIGKILL);
  Recorder& recorder = *acceptor.ends[0].recorder;
  ASSERT_TRUE(run_until([&] { return recorder.closed.has_value(); }));
  EXPECT_EQ(recorder.closed->code, ErrorCode::kConnectionLost);
  acceptor.ends.clear();
  EXPECT_LT(listener->ring_bytes(), with_client);
  EXPECT_EQ(listener->ring_bytes(), 0u);
}

TEST_P(Processes, ServerThatIsKilledIsReportedToItsClients) {
  int ready[2];
  ASSERT_EQ(pipe(ready), 0);
  const pid_t server = fork();
  if (server == 0) {
    if (!listen(address())) _exit(1);
    const std::string where = listener->address().to_string();
    if (::write(ready[1], where.data(), where.size()) < 0) _exit(2);
    for (;;) {
      poller->progress();
      testing_support::pace(50 * kMicrosecond);  // pacing: lets the client run
    }
  }
  std::array<char, 200> text{};
  ASSERT_GT(read(ready[0], text.data(), text.size() - 1), 0);
  Recorder recorder;
  auto connection =
      fabric->connect(*Address::parse(text.data()),
                      {.timeout = testing_support::patient(5 * kSecond)}, *poller, {}, recorder);
  ASSERT_TRUE(connection) << connection.error().message;
  kill(server, SIGKILL);
  EXPECT_EQ(await(server), -SIGKILL);
  ASSERT_TRUE(run_until([&] { return recorder.closed.has_value(); }));
  EXPECT_EQ(recorder.closed->code, ErrorCode::kConnectionLost);
  close(ready[0]);
  close(ready[1]);
}

TEST_P(Processes, WithoutDescriptorsLeftTurnClientsAwayAndRecover) {
#ifdef __SANITIZE_ADDRESS__
  GTEST_SKIP()
      << "the undefined behaviour sanitizer needs a descriptor to look at an object's type";
#endif
  ASSERT_TRUE(listen(address()));
  const pid_t child = connect_in_child([](Connection&, Poller&) {});
  rlimit limit{};
  getrlimit(RLIMIT_NOFILE, &limit);
  const rlimit few{64, limit.rlim_max};
  setrlimit(RLIMIT_NOFILE, &few);
  std::vector<UniqueFd> hoard;
  do {
    hoard.emplace_back(open("/dev/null", O_RDONLY | O_CLOEXEC));
  } while (hoard.back());
  const int status = await(child);
  hoard.clear();
  setrlimit(RLIMIT_NOFILE, &limit);
  EXPECT_EQ(status, static_cast<int>(ErrorCode::kConnectionLost));
  EXPECT_EQ(await(connect_in_child([](Connection&, Poller&) {})), 0);
}

INSTANTIATE_TEST_SUITE_P(Fabric, Processes, ::testing::Values("shm", "tcp"),
                         [](const auto& scheme) { return std::string(scheme.param); });

}  // namespace
}  // namespace silurus::transport::conformance
