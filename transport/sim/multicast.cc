// SPDX-License-Identifier: Apache-2.0

#include "transport/sim/multicast.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "transport/sim/options.h"
#include "transport/sim/world.h"

namespace silurus::transport::sim {

using Datagram = std::shared_ptr<const std::vector<std::byte>>;

/// What events refer to.
struct GroupMember {
  SimPoller* poller;
  MulticastHandler* handler;  ///< null once it has left
  std::string key;
  MulticastGroup* group = nullptr;
  ConnectionCounters counters = {};
  std::vector<Datagram> chained = {};  ///< sent, and not left yet
  std::size_t used = 0;                ///< slots, until the next progress()
};

namespace {

void deliver(const std::shared_ptr<GroupMember>& member, const Datagram& datagram) {
  if (member->handler == nullptr || !member->poller->alive()) return;
  Host& host = member->poller->host();
  if (host.suspended()) return;
  if (host.multicast().holds_back) {
    return host.hold([member, datagram] { deliver(member, datagram); });
  }
  host.world().trace(Trace::kDatagram, host.index(), datagram->size());
  member->poller->add_task([member, datagram] {
    if (member->handler == nullptr) return;
    ++member->counters.messages_received;
    member->counters.message_bytes_received += datagram->size();
    member->handler->on_datagram(*member->group, *datagram);
  });
}

void transmit(const std::shared_ptr<GroupMember>& from, const Datagram& datagram) {
  Host& host = from->poller->host();
  World& world = host.world();
  for (const auto& weak : world.groups()[from->key]) {
    const auto member = weak.lock();
    if (!member || member == from) continue;
    Host& to = member->poller->host();
    const bool is_twice = world.random().uniform() < world.link(host, to).duplicate;
    for (int copy = 0; copy < (is_twice ? 2 : 1); ++copy) {
      const auto arrival = world.transmit(host, to, datagram->size() + kPacketOverheadBytes);
      if (arrival) world.at(*arrival, [member, datagram] { deliver(member, datagram); });
    }
  }
}

void flush(const std::shared_ptr<GroupMember>& member) {
  if (member->chained.empty()) return;
  ++member->counters.doorbells;
  for (const Datagram& datagram : std::exchange(member->chained, {})) transmit(member, datagram);
}

class SimGroup final : public MulticastGroup {
 public:
  explicit SimGroup(std::shared_ptr<GroupMember> member) : member_(std::move(member)) {
    member_->group = this;
  }
  ~SimGroup() override {
    member_->handler = nullptr;
    auto& members = member_->poller->host().world().groups()[member_->key];
    std::erase_if(members, [this](const std::weak_ptr<GroupMember>& one) {
      const auto kept = one.lock();
      return kept == nullptr || kept == member_;
    });
  }

  std::size_t max_datagram_bytes() const override { return kMaxDatagramBytes; }
  const ConnectionCounters& counters() const override { return member_->counters; }

  PostStatus send(std::span<const std::byte> datagram) override {
    if (datagram.empty() || datagram.size() > kMaxDatagramBytes) return PostStatus::kInvalid;
    if (!member_->poller->alive()) return PostStatus::kClosed;
    const Host::Multicast& model = member_->poller->host().multicast();
    if (model.refuses_sends || member_->used >= model.slots) {
      ++member_->counters.would_block;
      return PostStatus::kWouldBlock;
    }
    ++member_->counters.messages_sent;
    member_->counters.message_bytes_sent += datagram.size();
    member_->chained.push_back(
        std::make_shared<const std::vector<std::byte>>(datagram.begin(), datagram.end()));
    if (member_->used++ == 0) {
      member_->poller->add_task([member = member_] {
        member->used = 0;
        transport::sim::flush(member);
      });
    }
    return PostStatus::kPosted;
  }

  void flush() override {
    if (member_->poller->alive()) transport::sim::flush(member_);
  }

 private:
  std::shared_ptr<GroupMember> member_;
};

}  // namespace

std::unique_ptr<MulticastGroup> join_group(const std::string& key, SimPoller& poller,
                                           MulticastHandler& handler) {
  auto member = std::make_shared<GroupMember>(
      GroupMember{.poller = &poller, .handler = &handler, .key = key});
  poller.host().world().groups()[key].push_back(member);
  return std::make_unique<SimGroup>(std::move(member));
}

}  // namespace silurus::transport::sim
