// SPDX-License-Identifier: Apache-2.0

// A member of a multicast group:
//
//   vm_multicaster send GROUP COUNT      sends COUNT numbered datagrams of the greatest length
//   vm_multicaster receive GROUP SECONDS prints "joined", then what it heard: "heard N of M, whole"

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <set>
#include <string_view>
#include <vector>

#include "common/clock.h"
#include "transport/fabric.h"
#include "transport/waiter.h"

namespace silurus::transport {
namespace {

struct Header {
  std::uint64_t number;
  std::uint64_t count;
};

class Listening : public MulticastHandler {
 public:
  void on_datagram(MulticastGroup&, std::span<const std::byte> datagram) override {
    Header header{};
    if (datagram.size() >= sizeof(header)) std::memcpy(&header, datagram.data(), sizeof(header));
    for (std::size_t i = sizeof(header); i < datagram.size(); ++i) {
      whole = whole && datagram[i] == static_cast<std::byte>(header.number + i);
    }
    numbers.insert(header.number);
    count = header.count;
  }
  void on_group_lost(MulticastGroup&, const Error& reason) override {
    std::printf("lost: %s\n", reason.message.c_str());
  }
  std::set<std::uint64_t> numbers;
  std::uint64_t count = 0;
  bool whole = true;
};

void send(MulticastGroup& group, Poller& poller, std::uint64_t count) {
  std::vector<std::byte> datagram(group.max_datagram_bytes());
  for (std::uint64_t number = 0; number < count; ++number) {
    const Header header{number, count};
    for (std::size_t i = 0; i < datagram.size(); ++i) {
      datagram[i] = static_cast<std::byte>(number + i);
    }
    std::memcpy(datagram.data(), &header, sizeof(header));
    while (group.send(datagram) == PostStatus::kWouldBlock) poller.progress();
    // paced: an emulated receiver has 256 slots and little time
    const Nanoseconds pause = SystemClock().now() + 2 * kMillisecond;
    while (SystemClock().now() < pause) poller.progress();
  }
}

int run(std::string_view what, const char* where, std::uint64_t number) {
  auto fabric = make_fabric("rdma");
  if (!fabric) return std::printf("%s\n", fabric.error().message.c_str()), 1;
  auto poller = (*fabric)->create_poller();
  Listening listening;
  const auto address = Address::parse(where);
  if (!address) return std::printf("%s\n", address.error().message.c_str()), 1;
  auto group = (*fabric)->join(*address, {}, **poller, listening);
  if (!group) return std::printf("%s\n", group.error().message.c_str()), 1;
  std::printf("joined, datagrams of %zu\n", (*group)->max_datagram_bytes());
  std::fflush(stdout);
  if (what == "send") {
    send(**group, **poller, number);
    if (!listening.numbers.empty()) return std::printf("heard ourselves\n"), 1;
    std::printf("sent\n");
    return 0;
  }
  auto waiter = Waiter::create({}, {poller->get()});
  const Nanoseconds end = SystemClock().now() + static_cast<Nanoseconds>(number) * kSecond;
  while (SystemClock().now() < end && (listening.count == 0 || listening.numbers.empty() ||
                                       *listening.numbers.rbegin() + 1 < listening.count)) {
    (*waiter)->wait(100 * kMillisecond);
  }
  std::printf("heard %zu of %llu, %s\n", listening.numbers.size(),
              static_cast<unsigned long long>(listening.count),
              listening.whole ? "whole" : "DAMAGED");
  return listening.whole ? 0 : 1;
}

}  // namespace
}  // namespace silurus::transport

int main(int argc, char** argv) {
  return argc < 4 ? 2
                  : silurus::transport::run(argv[1], argv[2], std::strtoull(argv[3], nullptr, 10));
}
