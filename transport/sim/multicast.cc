#include "transport/sim/multicast.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "transport/sim/options.h"
#include "transport/sim/world.h"

namespace silurus::transport::sim {

/// What events refer to.
struct GroupMember {
  SimPoller* poller;
  MulticastHandler* handler;  ///< null once it has left
  MulticastGroup* group = nullptr;
  ConnectionCounters counters = {};
};

namespace {

void deliver(const std::shared_ptr<GroupMember>& member,
             const std::shared_ptr<const std::vector<std::byte>>& datagram) {
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

class SimGroup final : public MulticastGroup {
 public:
  SimGroup(std::string key, std::shared_ptr<GroupMember> member)
      : key_(std::move(key)), member_(std::move(member)) {
    member_->group = this;
  }
  ~SimGroup() override {
    member_->handler = nullptr;
    auto& members = member_->poller->host().world().groups()[key_];
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
    if (member_->poller->host().multicast().refuses_sends) {
      ++member_->counters.would_block;
      return PostStatus::kWouldBlock;
    }
    ++member_->counters.messages_sent;
    ++member_->counters.doorbells;
    member_->counters.message_bytes_sent += datagram.size();
    Host& host = member_->poller->host();
    World& world = host.world();
    const auto bytes =
        std::make_shared<const std::vector<std::byte>>(datagram.begin(), datagram.end());
    for (const auto& weak : world.groups()[key_]) {
      const auto member = weak.lock();
      if (!member || member == member_) continue;
      Host& to = member->poller->host();
      const bool is_twice = world.random().uniform() < world.link(host, to).duplicate;
      for (int copy = 0; copy < (is_twice ? 2 : 1); ++copy) {
        const auto arrival = world.transmit(host, to, datagram.size() + kPacketOverheadBytes);
        if (arrival) world.at(*arrival, [member, bytes] { deliver(member, bytes); });
      }
    }
    return PostStatus::kPosted;
  }

 private:
  const std::string key_;
  std::shared_ptr<GroupMember> member_;
};

}  // namespace

std::unique_ptr<MulticastGroup> join_group(const std::string& key, SimPoller& poller,
                                           MulticastHandler& handler) {
  auto member = std::make_shared<GroupMember>(GroupMember{.poller = &poller, .handler = &handler});
  poller.host().world().groups()[key].push_back(member);
  return std::make_unique<SimGroup>(key, std::move(member));
}

}  // namespace silurus::transport::sim
