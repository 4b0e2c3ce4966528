// SPDX-License-Identifier: Apache-2.0

#include "replication/state_transfer/source.h"

#include <algorithm>
#include <cstring>
#include <deque>
#include <string>
#include <unordered_set>
#include <utility>

#include "replication/group/side_messages.h"

namespace silurus::replication {

/// A receiver, and what is held for it.
template <int D>
class TransferSource<D>::Peer final : public transport::ConnectionHandler {
 public:
  Peer(TransferSource& source, std::unique_ptr<transport::Connection> connection)
      : source_(source), connection_(std::move(connection)) {
    connection_->set_handler(this);
  }

  void on_message(transport::Connection&, std::span<const std::byte> message) override {
    ++source_.counters_.messages;
    const auto taken = group::decode_side_message(message);
    if (!taken || !understand(*taken)) return end();
    answer();
  }
  void on_read(transport::Connection&, std::uint64_t, bool) override {}
  void on_writable(transport::Connection&) override { answer(); }
  void on_closed(transport::Connection&, const Error&) override {
    is_over = true;
    held.reset();
  }
  void end() {
    connection_->close();
    held.reset();
  }

  std::optional<Nanoseconds> began;  ///< as of the first tick()
  std::optional<PinnedTree<D>> held;
  bool is_over = false;

 private:
  struct Answer {
    TransferMessage kind;
    std::uint64_t argument;
    std::vector<std::byte> payload;
  };

  /// Queues the answer. False: no receiver would ask that.
  bool understand(const group::SideMessage& taken) {
    const std::uint64_t argument = taken.head.argument;
    switch (taken.head.kind) {
      case kHoldMessage:
        return !held && answers_.empty() && hold(source_.hold_(), argument);
      case kHoldLoadMessage:
        return !held && answers_.empty() && source_.hold_load_ &&
               hold(source_.hold_load_(argument), 0);
      case kExtraMessage: {
        if (!held || argument >= held->extra.size()) return false;
        const auto rest = std::span(held->extra).subspan(argument);
        return queue(kExtraMessage, argument, rest.first(std::min(rest.size(), kExtraPiece)));
      }
      case kNodesMessage:
        return held && take_names(taken.payload);
      default:
        return false;
    }
  }

  bool queue(TransferMessage kind, std::uint64_t argument, std::span<const std::byte> payload) {
    answers_.push_back({kind, argument, {payload.begin(), payload.end()}});
    return answers_.size() <= 2 * kMaxAskedNodes;
  }

  bool hold(Result<PinnedTree<D>> made, group::Epoch epoch) {
    if (made && made->epoch < epoch) {
      made = fail(ErrorCode::kUnavailable, "this member does not know of the newest view yet");
    }
    if (!made || made->extra.size() > kMaxExtraBytes) {
      const std::string why = made ? "too much belongs to the tree" : made.error().message;
      return queue(kRefusedMessage, 0,
                   std::as_bytes(std::span(why).first(std::min(why.size(), kMaxRefusal))));
    }
    held.emplace(std::move(*made));
    ++(held->tree ? source_.counters_.copies : source_.counters_.loads);
    const PinnedHead head{.root = held->root().word(),
                          .lsn = held->log.lsn,
                          .chain = held->log.chain,
                          .stamp = held->stamp,
                          .epoch = held->epoch,
                          .reserved = 0,
                          .extra_bytes = held->extra.size()};
    return queue(kHoldMessage, 0, std::as_bytes(std::span(&head, 1)));
  }

  /// Each name must be one that leads somewhere from the held root: the root's, or that of a child
  /// that was sent.
  bool take_names(std::span<const std::byte> payload) {
    if (payload.size() % sizeof(std::uint64_t) != 0 || payload.empty()) return false;
    for (std::size_t at = 0; at < payload.size(); at += sizeof(std::uint64_t)) {
      std::uint64_t word = 0;
      std::memcpy(&word, payload.data() + at, sizeof word);
      const bool is_root = word == held->root().word();
      if (!is_root && known_.erase(word) == 0) return false;
      const rtree::Node<D>& node = held->node(rtree::NodeRef::from_word(word));
      for (std::uint32_t i = 0; !node.is_leaf() && i < node.count(); ++i) {
        known_.insert(node.child(i).word());
      }
      const auto* const bytes = reinterpret_cast<const std::byte*>(&node);
      ++source_.counters_.nodes;
      if (!queue(kNodesMessage, word, {bytes, rtree::node_bytes<D>(node.level())})) return false;
    }
    return true;
  }

  void answer() {
    while (!answers_.empty()) {
      const Answer& next = answers_.front();
      if (!group::send_side_message(*connection_, next.kind, next.argument, next.payload)) {
        return;  // on_writable
      }
      answers_.pop_front();
    }
  }

  TransferSource& source_;
  std::unique_ptr<transport::Connection> connection_;
  std::deque<Answer> answers_;
  std::unordered_set<std::uint64_t> known_;  ///< names that may be asked for
};

template <int D>
TransferSource<D>::TransferSource(group::GroupId group, const Options& options, Hold hold,
                                  HoldLoad hold_load)
    : group_(group), options_(options), hold_(std::move(hold)), hold_load_(std::move(hold_load)) {}
template <int D>
TransferSource<D>::~TransferSource() = default;

template <int D>
Result<std::vector<std::byte>> TransferSource<D>::on_hello(std::span<const std::byte> client_hello,
                                                           const transport::Caller&) {
  if (!TransferHello::decode(group_, rtree::kNodeFormat<D>, client_hello)) {
    return fail(ErrorCode::kProtocol, "not a member of this group that wants a copy");
  }
  if (peers_.size() >= kMaxTransfers) {
    return fail(ErrorCode::kUnavailable, "enough others are copying: try again later");
  }
  return TransferHello{
      .group = group_, .node_format = rtree::kNodeFormat<D>, .first_region = options_.first_region}
      .encode();
}

template <int D>
void TransferSource<D>::on_accept(std::unique_ptr<transport::Connection> connection,
                                  transport::Poller&) {
  peers_.push_back(std::make_unique<Peer>(*this, std::move(connection)));
}

template <int D>
void TransferSource<D>::tick(Nanoseconds now) {
  std::erase_if(peers_, [](const auto& peer) { return peer->is_over; });
  for (const auto& peer : peers_) {
    if (!peer->began) peer->began = now;
    if (now - *peer->began > options_.longest) peer->end();
  }
}

template <int D>
std::size_t TransferSource<D>::holds() const {
  return static_cast<std::size_t>(std::ranges::count_if(
      peers_, [](const auto& peer) { return peer->held && peer->held->tree; }));
}

template <int D>
std::optional<Lsn> TransferSource<D>::oldest() const {
  std::optional<Lsn> oldest;
  for (const auto& peer : peers_) {
    if (peer->held && peer->held->tree)
      oldest = std::min(peer->held->log.lsn, oldest.value_or(UINT64_MAX));
  }
  return oldest;
}

template <int D>
void TransferSource<D>::let_go() {
  for (const auto& peer : peers_) peer->end();
}

template class TransferSource<2>;
template class TransferSource<3>;

}  // namespace silurus::replication
