// SPDX-License-Identifier: Apache-2.0

#include "replication/state_transfer/receiver.h"

#include <algorithm>
#include <cstring>
#include <string>
#include <utility>

#include "replication/group/side_messages.h"

namespace silurus::replication {

template <int D>
TransferReceiver<D>::TransferReceiver(const TransferOptions& options, transport::Poller& poller,
                                      StateSink<D>& sink)
    : options_(options),
      poller_(poller),
      sink_(sink),
      hello_(TransferHello{.group = options.group, .node_format = rtree::kNodeFormat<D>}.encode()) {
}
template <int D>
TransferReceiver<D>::~TransferReceiver() {
  connection_.reset();  // before what its reads land in
}

template <int D>
void TransferReceiver<D>::fail_with(Error error) {
  if (outcome_) return;
  outcome_ = fail(std::move(error));
  connection_->close();
}

template <int D>
void TransferReceiver<D>::fail_by_source(ErrorCode code, const std::string& what) {
  fail_with({code, connection_->peer() + what});
}

template <int D>
void TransferReceiver<D>::begin(std::unique_ptr<transport::Connection> connection) {
  connection_ = std::move(connection);
  const auto said =
      TransferHello::decode(options_.group, rtree::kNodeFormat<D>, connection_->peer_hello());
  const transport::ConnectionLimits& limits = connection_->limits();
  if (!said || limits.max_message_bytes < sizeof(group::SideMessageHead) + sizeof(rtree::Node<D>) ||
      limits.max_message_bytes < sizeof(group::SideMessageHead) + kExtraPiece) {
    return fail_by_source(ErrorCode::kProtocol, " offers no copy of its tree");
  }
  const std::size_t reads =
      std::min<std::size_t>(options_.reads_in_flight, limits.max_reads_in_flight);
  if (said->first_region != kNoRegions && reads > 0 &&
      limits.max_read_bytes >= sizeof(rtree::Node<D>)) {
    auto buffer = poller_.allocate_buffer(reads * sizeof(rtree::Node<D>));
    if (!buffer) return fail_with(buffer.error());
    buffer_ = std::move(*buffer);
    first_region_ = said->first_region;
    for (std::uint64_t slot = reads; slot > 0; --slot) free_slots_.push_back(slot - 1);
  }
  go_on();
}

template <int D>
bool TransferReceiver<D>::ask(TransferMessage kind, std::uint64_t argument,
                              std::span<const std::uint64_t> names) {
  return group::send_side_message(*connection_, kind, argument, std::as_bytes(names));
}

template <int D>
void TransferReceiver<D>::step(Nanoseconds now) {
  go_on();
  if (outcome_ || connection_ == nullptr) return;
  if (is_whole()) {
    connection_->close();  // the source holds it no longer
    outcome_ = sink_.finish(facts_);
    return;
  }
  if (const std::uint64_t came = nodes_ + facts_.extra.size(); came != came_ || !came_at_) {
    came_ = came;
    came_at_ = now;
  } else if (now - *came_at_ > options_.patience) {
    fail_with({ErrorCode::kDeadlineExceeded, "nothing more came from " + connection_->peer()});
  }
}

template <int D>
void TransferReceiver<D>::go_on() {
  if (outcome_ || connection_ == nullptr) return;
  if (!has_asked_) {
    has_asked_ = options_.load == 0 ? ask(kHoldMessage, options_.epoch)
                                    : ask(kHoldLoadMessage, options_.load);
  }
  if (!is_held_) return;
  if (facts_.extra.size() < extra_bytes_ && !asks_extra_) {
    asks_extra_ = ask(kExtraMessage, facts_.extra.size());
  }
  if (read_one_sidedly()) {
    read_more();
  } else {
    ask_more();
  }
}

template <int D>
void TransferReceiver<D>::read_more() {
  while (!wanted_.empty() && !free_slots_.empty()) {
    const rtree::WantedNode node = wanted_.front();
    const std::uint64_t slot = free_slots_.back();
    const std::uint32_t chunk = node.ref.chunk();
    const transport::ReadRequest request{
        .region = *first_region_ + chunk / rtree::kChunksPerSlab,
        .offset = rtree::offset_in_slab<D>(chunk),
        .length = static_cast<std::uint32_t>(rtree::bytes_to_read<D>(node)),
        .buffer = buffer_.get(),
        .buffer_offset = slot * sizeof(rtree::Node<D>),
        .cookie = slot};
    const auto [posted, status] = connection_->post_reads(std::span(&request, 1));
    if (status == transport::PostStatus::kInvalid) {
      return fail_by_source(ErrorCode::kProtocol, ": a node outside of all slabs");
    }
    if (posted == 0) return;  // a region that is still to be announced, or too many in flight
    wanted_.pop_front();
    free_slots_.pop_back();
    under_way_.emplace(slot, node);
  }
}

template <int D>
void TransferReceiver<D>::ask_more() {
  while (!wanted_.empty() && under_way_.size() <= kMaxAskedNodes / 2) {
    std::vector<std::uint64_t> names;
    const std::size_t count = std::min(kMaxAskedNodes - under_way_.size(), wanted_.size());
    for (std::size_t i = 0; i < count; ++i) names.push_back(wanted_[i].ref.word());
    if (!ask(kNodesMessage, 0, names)) return;
    for (const std::uint64_t name : names) {
      under_way_.emplace(name, wanted_.front());
      wanted_.pop_front();
    }
  }
}

template <int D>
void TransferReceiver<D>::on_read(transport::Connection&, std::uint64_t cookie, bool ok) {
  const auto found = under_way_.find(cookie);
  if (outcome_ || !ok || found == under_way_.end()) return;
  const rtree::WantedNode node = found->second;
  under_way_.erase(found);
  free_slots_.push_back(cookie);
  ++nodes_read_;
  on_node(node,
          buffer_->bytes().subspan(cookie * sizeof(rtree::Node<D>), rtree::bytes_to_read<D>(node)));
}

/// A tree has each chunk in one node; so a copy ends, whatever the source says.
template <int D>
bool TransferReceiver<D>::claim(rtree::NodeRef ref, std::uint32_t level) {
  const std::size_t end = std::size_t{ref.chunk()} + rtree::chunks_of<D>(level);
  if (named_.size() < end) named_.resize(end);
  for (std::size_t chunk = ref.chunk(); chunk < end; ++chunk) {
    if (chunk < rtree::kRootChunks<D> || named_[chunk]) return false;
    named_[chunk] = true;
  }
  return true;
}

template <int D>
void TransferReceiver<D>::on_node(const rtree::WantedNode& wanted,
                                  std::span<const std::byte> bytes) {
  // A held node does not change: what is not that node now never will be. No tree is larger than
  // kMaxChunks: what the source says of its own is checked against that.
  const rtree::Node<D>* const node =
      rtree::check_node<D>(bytes, wanted, rtree::NodeRef::kMaxChunks, true);
  if (node == nullptr) {
    return fail_by_source(ErrorCode::kProtocol, ": not a node of the held tree");
  }
  bool is_new = wanted.level != rtree::kAnyLevel || claim(wanted.ref, node->level());
  for (std::uint32_t i = 0; !node->is_leaf() && i < node->count(); ++i) {
    is_new = is_new && claim(node->child(i), node->level() - 1);
    if (!is_new) break;
    wanted_.push_back({node->child(i), node->level() - 1});
  }
  if (!is_new) {
    return fail_by_source(ErrorCode::kProtocol, ": a node that is named twice");
  }
  if (Status taken = sink_.take(wanted.ref, *node); !taken) return fail_with(taken.error());
  ++nodes_;
  go_on();
}

template <int D>
void TransferReceiver<D>::on_held(std::span<const std::byte> payload) {
  PinnedHead head;
  if (is_held_ || payload.size() != sizeof head) {
    return fail_by_source(ErrorCode::kProtocol, ": a malformed answer");
  }
  std::memcpy(&head, payload.data(), sizeof head);
  const auto root = rtree::NodeRef::from_word(head.root);
  if (head.extra_bytes > kMaxExtraBytes || !root || head.lsn % 8 != 0) {
    return fail_by_source(ErrorCode::kProtocol, ": a tree that cannot be");
  }
  if (head.epoch < options_.epoch || head.lsn < options_.at_least) {
    return fail_by_source(ErrorCode::kUnavailable, " is behind");
  }
  is_held_ = true;
  facts_ = {.root = root,
            .log = {head.lsn, head.chain},
            .stamp = head.stamp,
            .epoch = head.epoch,
            .extra = {}};
  extra_bytes_ = head.extra_bytes;
  wanted_.push_back({root, rtree::kAnyLevel});
  go_on();
}

template <int D>
void TransferReceiver<D>::on_extra(std::uint64_t offset, std::span<const std::byte> bytes) {
  if (!asks_extra_ || offset != facts_.extra.size() || bytes.empty() ||
      bytes.size() > extra_bytes_ - offset) {
    return fail_by_source(ErrorCode::kProtocol, ": a malformed answer");
  }
  asks_extra_ = false;
  facts_.extra.insert(facts_.extra.end(), bytes.begin(), bytes.end());
  go_on();
}

template <int D>
void TransferReceiver<D>::on_message(transport::Connection&, std::span<const std::byte> message) {
  if (outcome_) return;
  const auto taken = group::decode_side_message(message);
  if (!taken) return fail_by_source(ErrorCode::kProtocol, ": a damaged answer");
  switch (taken->head.kind) {
    case kHoldMessage:
      return on_held(taken->payload);
    case kExtraMessage:
      return on_extra(taken->head.argument, taken->payload);
    case kRefusedMessage:
      return fail_by_source(
          ErrorCode::kUnavailable,
          " refuses a copy: " + std::string(reinterpret_cast<const char*>(taken->payload.data()),
                                            taken->payload.size()));
    case kNodesMessage: {
      const auto found = under_way_.find(taken->head.argument);
      if (read_one_sidedly() || found == under_way_.end()) break;
      const rtree::WantedNode node = found->second;
      under_way_.erase(found);
      // Aligned, as a node wants to be.
      alignas(64) std::byte bytes[sizeof(rtree::Node<D>)];
      const std::span<const std::byte> payload = taken->payload;
      if (payload.empty() || payload.size() > sizeof bytes) break;
      std::memcpy(bytes, payload.data(), payload.size());
      return on_node(node, std::span<const std::byte>(bytes).first(payload.size()));
    }
    default:
      break;
  }
  fail_by_source(ErrorCode::kProtocol, ": an answer without a request");
}

template <int D>
bool TransferReceiver<D>::is_whole() const {
  return is_held_ && wanted_.empty() && under_way_.empty() && facts_.extra.size() == extra_bytes_;
}

template <int D>
void TransferReceiver<D>::on_closed(transport::Connection&, const Error& reason) {
  if (!outcome_ && !is_whole()) outcome_ = fail(reason);
}

template class TransferReceiver<2>;
template class TransferReceiver<3>;

}  // namespace silurus::replication
