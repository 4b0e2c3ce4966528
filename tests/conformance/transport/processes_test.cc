// SPDX-License-Identifier: Apache-2.0

#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/resource.h>

#include <csignal>
#include <vector>

#include "tests/conformance/transport/real_server.h"
#include "transport/shm/memory.h"
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
  /// A server in a process of its own, after `prepare` there, and where it listens.
  std::pair<pid_t, Address> serve_in_child(const std::function<Status()>& prepare) {
    int ready[2];
    EXPECT_EQ(pipe(ready), 0);
    const UniqueFd in(ready[0]), out(ready[1]);
    const pid_t child = fork();
    if (child == 0) {
      prctl(PR_SET_PDEATHSIG, SIGKILL);
      if (!listen(address()) || !prepare()) _exit(1);
      const std::string where = listener->address().to_string();
      if (::write(out.get(), where.data(), where.size()) < 0) _exit(2);
      for (;;) {
        poller->progress();
        testing_support::pace(50 * kMicrosecond);  // pacing: lets the client run
      }
    }
    std::array<char, 200> text{};
    EXPECT_GT(read(in.get(), text.data(), text.size() - 1), 0);
    return {child, *Address::parse(text.data())};
  }
  Result<std::unique_ptr<Connection>> connect_to(const Address& where, Recorder& recorder) {
    return fabric->connect(where, {.timeout = testing_support::patient(5 * kSecond)}, *poller, {},
                           recorder);
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
  const auto [server, where] = serve_in_child([] { return Status(); });
  Recorder recorder;
  auto connection = connect_to(where, recorder);
  ASSERT_TRUE(connection) << connection.error().message;
  kill(server, SIGKILL);
  EXPECT_EQ(await(server), -SIGKILL);
  ASSERT_TRUE(run_until([&] { return recorder.closed.has_value(); }));
  EXPECT_EQ(recorder.closed->code, ErrorCode::kConnectionLost);
}

TEST_P(Processes, ServerThatIsKilledIsNotBelievedWhatIsReadOfItsMemory) {
  if (!has(fabric->capabilities(), Capability::kOneSidedRead)) {
    GTEST_SKIP() << fabric->scheme() << " has no one-sided reads";
  }
  std::vector<shm::SharedSlab> slabs;
  const auto [server, where] = serve_in_child([&]() -> Status {
    auto slab = shm::SharedSlab::create(1 << 20, "test", false);
    if (!slab) return fail(slab.error());
    slabs.push_back(std::move(*slab));
    return listener->expose(slabs.back().region());
  });
  Recorder recorder;
  auto connection = connect_to(where, recorder);
  ASSERT_TRUE(connection) << connection.error().message;
  auto buffer = poller->allocate_buffer(64);
  ASSERT_TRUE(buffer) << buffer.error().message;
  const ReadRequest request{0, 0, 64, buffer->get(), 0, 1};
  const auto post = [&] { return (*connection)->post_reads(std::span(&request, 1)).status; };
  ASSERT_TRUE(run_until([&] { return post() == PostStatus::kPosted; }));
  ASSERT_TRUE(run_until([&] { return recorder.reads.size() == 1; }));
  EXPECT_TRUE(recorder.reads[0].ok);
  kill(server, SIGKILL);
  int status = 0;
  ASSERT_EQ(waitpid(server, &status, 0), server);
  testing_support::pace(5 * kMillisecond);  // pacing: lets the last proof of life grow old
  ASSERT_EQ(post(), PostStatus::kPosted) << "it has not been looked at yet";
  ASSERT_TRUE(run_until([&] { return recorder.reads.size() == 2; }));
  EXPECT_FALSE(recorder.reads[1].ok);
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
