// SPDX-License-Identifier: Apache-2.0

#include "replication/group/chain.h"

#include <optional>

namespace silurus::replication::group {

namespace {

/// What is on its way down the chain waits at each member until that one looks: it is no gap yet.
constexpr Nanoseconds kLooksOnTheWay = 2 * kMaxMembers;

ReplicatorOptions with_patience(ReplicatorOptions options) {
  options.gap_patience += kLooksOnTheWay * options.soonest_look;
  return options;
}

}  // namespace

ChainReplicator::ChainReplicator(const ReplicatorOptions& options, GroupId group, Log& log,
                                 Links& links)
    : LogReplicator(with_patience(options), group, log, links) {}

/// Finds our place in the chain: the primary, then the others in the order of the view.
void ChainReplicator::enter(const View& view) {
  LogReplicator::enter(view);
  view_ = view;
  const MemberId self = links().options().self;
  std::vector<const MemberInfo*> chain{view.find(view.primary)};
  for (const MemberInfo& member : view.members) {
    if (member.id != view.primary) chain.push_back(&member);
  }
  next_ = 0;
  std::optional<MemberInfo> before;
  for (std::size_t i = 0; i < chain.size(); ++i) {
    if (chain[i]->id != self) continue;
    if (i + 1 < chain.size()) next_ = chain[i + 1]->id;
    if (i > 1) before = *chain[i - 1];  // with the primary we are connected anyway
  }
  links().set_upstream(before);
}

void ChainReplicator::ship(Lsn from, Lsn end, Lsn commit, std::uint64_t heartbeat) {
  in_messages(from, end, links().max_push_bytes(), commit, heartbeat,
              [&](std::span<const std::byte> message) {
                links().push(message, [&](MemberId to) { return to == next_ || !view_.has(to); });
              });
  in_messages(end, end, links().max_broadcast_bytes(), commit, heartbeat,
              [&](std::span<const std::byte> message) { broadcast(message); });
}

void ChainReplicator::pass_on(const Message<LogBody>& message) {
  if (next_ == 0) return;
  ++counting().forwarded;
  links().push(again(message), [&](MemberId to) { return to == next_; });
}

Status ChainReplicator::step(Nanoseconds now) {
  look(now);
  return LogReplicator::step(now);
}

}  // namespace silurus::replication::group
