// SPDX-License-Identifier: Apache-2.0

#include "replication/state_transfer/fetch_thread.h"

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <string>

#include "tests/support/received_tree.h"

namespace silurus::replication {
namespace {

/// Takes connections and never says anything.
class SilentListener {
 public:
  SilentListener() : fd_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof address;
    auto* const any = reinterpret_cast<sockaddr*>(&address);
    if (::bind(fd_, any, size) != 0 || ::listen(fd_, 4) != 0 ||
        ::getsockname(fd_, any, &size) != 0) {
      return;
    }
    url_ = "tcp://127.0.0.1:" + std::to_string(ntohs(address.sin_port));
  }
  ~SilentListener() { ::close(fd_); }
  SilentListener(const SilentListener&) = delete;
  SilentListener& operator=(const SilentListener&) = delete;
  const std::string& url() const { return url_; }

 private:
  int fd_;
  std::string url_;
};

TEST(StateFetchThread, SaysNothingOfTheCopyBeforeOnceItHasBegunAnother) {
  std::atomic<int> news{0};
  const auto wait_for_news = [&](int number) {
    for (int seen = news.load(); seen < number; seen = news.load()) news.wait(seen);
  };
  SilentListener silent;
  ASSERT_FALSE(silent.url().empty());
  testing_support::ReceivedTree<2> sink;
  StateFetchThread<2> fetch(sink, "a test", [&news] {
    ++news;
    news.notify_all();
  });
  fetch.begin("nowhere", {});
  wait_for_news(1);
  ASSERT_TRUE(fetch.outcome());
  EXPECT_FALSE(*fetch.outcome());
  fetch.begin(silent.url(), {});
  EXPECT_FALSE(fetch.outcome()) << "that one is under way";
  wait_for_news(2);
  ASSERT_TRUE(fetch.outcome());
  EXPECT_FALSE(*fetch.outcome());
}

}  // namespace
}  // namespace silurus::replication
