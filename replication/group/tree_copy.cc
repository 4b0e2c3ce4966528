#include "replication/group/tree_copy.h"

#include <algorithm>
#include <cstring>
#include <string>
#include <utility>

#include "common/check.h"
#include "replication/group/side_messages.h"
#include "transport/waiter.h"

namespace silurus::replication::group {
namespace {

constexpr std::uint32_t kNoRegions = UINT32_MAX;
/// Of PinnedTree::extra, in one message.
constexpr std::size_t kExtraPiece = 4096;
/// No tree is larger: what a source says of its own is checked against it.
constexpr std::uint64_t kMaxNodes = rtree::NodeRef::kMaxChunks;

struct TransferHello {
  std::uint32_t magic = kTransferMagic;
  std::uint32_t format = kGroupFormat;
  GroupId group = 0;
  std::uint32_t node_format = 0;
  std::uint32_t first_region = kNoRegions;  ///< in the answer
  std::uint64_t reserved = 0;
};
static_assert(sizeof(TransferHello) == 32 &&
              std::has_unique_object_representations_v<TransferHello> &&
              sizeof(TransferHello) <= transport::kMaxClientHelloBytes);

/// Of messages, whose argument is an epoch, a node's name or an offset.
enum CopyKind : std::uint32_t {
  kHold = 1,      ///< hold a version, of a view not before `argument`; the answer: PinnedHead, or
                  ///< kRefused with a text
  kNodes = 2,     ///< names follow; an answer for each: the node's bytes
  kExtra = 3,     ///< bytes from `argument` on
  kRefused = 4,   ///< in answers only
  kHoldLoad = 5,  ///< as kHold, of the bulk load `argument`
};
struct PinnedHead {
  std::uint64_t root;
  Lsn lsn;
  std::uint64_t chain;
  Stamp stamp;
  Epoch epoch;
  std::uint64_t extra_bytes;
};
static_assert(sizeof(PinnedHead) == 48);

std::optional<TransferHello> decode_hello(GroupId group, std::uint32_t node_format,
                                          std::span<const std::byte> bytes) {
  TransferHello hello;
  if (bytes.size() < sizeof hello) return std::nullopt;
  std::memcpy(&hello, bytes.data(), sizeof hello);
  const bool is_ours = hello.magic == kTransferMagic && hello.format == kGroupFormat &&
                       hello.group == group && hello.node_format == node_format;
  return is_ours ? std::optional(hello) : std::nullopt;
}

std::vector<std::byte> bytes_of(const TransferHello& hello) {
  const auto bytes = std::as_bytes(std::span(&hello, 1));
  return {bytes.begin(), bytes.end()};
}

}  // namespace

// --- the source

/// One that copies, and what is held for it.
template <int D>
class TransferSource<D>::Guest final : public transport::ConnectionHandler {
 public:
  Guest(TransferSource& source, std::unique_ptr<transport::Connection> connection)
      : source_(source), connection_(std::move(connection)) {
    connection_->set_handler(this);
  }

  void on_message(transport::Connection&, std::span<const std::byte> message) override {
    ++source_.counters_.messages;
    const auto taken = decode_side_message(message);
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
    std::uint32_t kind;
    std::uint64_t argument;
    std::vector<std::byte> payload;
  };

  /// False: nothing that a copier would ask.
  bool understand(const SideMessage& taken) {
    const std::uint64_t argument = taken.head.argument;
    switch (taken.head.kind) {
      case kHold:
        return !held && answers_.empty() && hold(source_.hold_(), argument);
      case kHoldLoad:
        return !held && answers_.empty() && source_.hold_load_ &&
               hold(source_.hold_load_(argument), 0);
      case kExtra: {
        if (!held || argument >= held->extra.size()) return false;
        const auto rest = std::span(held->extra).subspan(argument);
        const auto piece = rest.first(std::min(rest.size(), kExtraPiece));
        answers_.push_back({kExtra, argument, {piece.begin(), piece.end()}});
        return answers_.size() <= 2 * kMaxAskedNodes;
      }
      case kNodes:
        return held && take_names(taken.payload);
      default:
        return false;
    }
  }

  bool hold(Result<PinnedTree<D>> made, Epoch epoch) {
    if (made && made->epoch < epoch) {
      made = fail(ErrorCode::kUnavailable, "this member does not know of the newest view yet");
    }
    if (!made || made->extra.size() > kMaxExtraBytes) {
      const std::string why = made ? "too much belongs to the tree" : made.error().message;
      const auto text = std::as_bytes(std::span(why)).first(std::min<std::size_t>(why.size(), 512));
      answers_.push_back({kRefused, 0, {text.begin(), text.end()}});
      return true;
    }
    held.emplace(std::move(*made));
    ++(held->tree ? source_.counters_.copies : source_.counters_.loads);
    const PinnedHead head{.root = held->root().word(),
                          .lsn = held->log.lsn,
                          .chain = held->log.chain,
                          .stamp = held->stamp,
                          .epoch = held->epoch,
                          .extra_bytes = held->extra.size()};
    const auto bytes = std::as_bytes(std::span(&head, 1));
    answers_.push_back({kHold, 0, {bytes.begin(), bytes.end()}});
    return true;
  }

  /// Each name must be one that leads somewhere from the held root: children that we sent.
  bool take_names(std::span<const std::byte> payload) {
    if (payload.size() % sizeof(std::uint64_t) != 0 || payload.empty()) return false;
    for (std::size_t at = 0; at < payload.size(); at += sizeof(std::uint64_t)) {
      std::uint64_t word = 0;
      std::memcpy(&word, payload.data() + at, sizeof word);
      const bool is_root = word == held->root().word();
      if (!is_root && known_.erase(word) == 0) return false;
      const auto ref = rtree::NodeRef::from_word(word);
      const rtree::Node<D>& node = held->node(ref);
      for (std::uint32_t i = 0; !node.is_leaf() && i < node.count(); ++i) {
        known_.emplace(node.child(i).word(), true);
      }
      const auto* const bytes = reinterpret_cast<const std::byte*>(&node);
      answers_.push_back({kNodes, word, {bytes, bytes + rtree::node_bytes<D>(node.level())}});
      ++source_.counters_.nodes;
    }
    return answers_.size() <= 2 * kMaxAskedNodes;
  }

  void answer() {
    while (!answers_.empty()) {
      const Answer& next = answers_.front();
      if (!send_side_message(*connection_, next.kind, next.argument, next.payload)) {
        return;  // on_writable
      }
      answers_.pop_front();
    }
  }

  TransferSource& source_;
  std::unique_ptr<transport::Connection> connection_;
  std::deque<Answer> answers_;
  std::unordered_map<std::uint64_t, bool> known_;  ///< names that may be asked for
};

template <int D>
TransferSource<D>::TransferSource(GroupId group, const Options& options, Hold hold,
                                  HoldLoad hold_load)
    : group_(group), options_(options), hold_(std::move(hold)), hold_load_(std::move(hold_load)) {}
template <int D>
TransferSource<D>::~TransferSource() = default;

template <int D>
Result<std::vector<std::byte>> TransferSource<D>::on_hello(std::span<const std::byte> client_hello,
                                                           const transport::Caller&) {
  if (!decode_hello(group_, rtree::kNodeFormat<D>, client_hello)) {
    return fail(ErrorCode::kProtocol, "not a member of this group that wants a copy");
  }
  if (guests_.size() >= kMaxTransfers) {
    return fail(ErrorCode::kUnavailable, "enough others are copying: try again later");
  }
  return bytes_of({.group = group_,
                   .node_format = rtree::kNodeFormat<D>,
                   .first_region = options_.first_region});
}

template <int D>
void TransferSource<D>::on_accept(std::unique_ptr<transport::Connection> connection,
                                  transport::Poller&) {
  guests_.push_back(std::make_unique<Guest>(*this, std::move(connection)));
}

template <int D>
void TransferSource<D>::tick(Nanoseconds now) {
  std::erase_if(guests_, [](const auto& guest) { return guest->is_over; });
  for (const auto& guest : guests_) {
    if (!guest->began) guest->began = now;
    if (now - *guest->began > options_.longest) guest->end();
  }
}

template <int D>
std::size_t TransferSource<D>::holds() const {
  return static_cast<std::size_t>(std::ranges::count_if(
      guests_, [](const auto& guest) { return guest->held && guest->held->tree; }));
}

template <int D>
std::optional<Lsn> TransferSource<D>::oldest() const {
  std::optional<Lsn> oldest;
  for (const auto& guest : guests_) {
    if (guest->held && guest->held->tree)
      oldest = std::min(guest->held->log.lsn, oldest.value_or(UINT64_MAX));
  }
  return oldest;
}

template <int D>
void TransferSource<D>::let_go() {
  for (const auto& guest : guests_) guest->end();
}

// --- the copy

template <int D>
std::span<const std::byte> ReceivedTree<D>::find(rtree::NodeRef ref) const {
  const auto found = places_.find(ref);
  if (found == places_.end()) return {};
  const rtree::Node<D>& node = nodes_[found->second];
  return {reinterpret_cast<const std::byte*>(&node), rtree::node_bytes<D>(node.level())};
}

template <int D>
Status ReceivedTree<D>::take(rtree::NodeRef ref, const rtree::Node<D>& node) {
  places_.emplace(ref, nodes_.size());
  rtree::copy_node(nodes_.emplace_back(), node);
  return {};
}

// --- the copier

template <int D>
TransferReceiver<D>::TransferReceiver(const TransferOptions& options, transport::Poller& poller,
                                      TakeNode<D> take)
    : options_(options),
      poller_(poller),
      take_(std::move(take)),
      hello_(bytes_of({.group = options.group, .node_format = rtree::kNodeFormat<D>})) {}
template <int D>
TransferReceiver<D>::~TransferReceiver() {
  connection_.reset();  // before what its reads land in
}

template <int D>
std::span<const std::byte> TransferReceiver<D>::hello() const {
  return hello_;
}

template <int D>
void TransferReceiver<D>::fail_with(Error error) {
  if (outcome_) return;
  outcome_ = fail(std::move(error));
  connection_->close();
}

template <int D>
void TransferReceiver<D>::begin(std::unique_ptr<transport::Connection> connection) {
  connection_ = std::move(connection);
  const auto said = decode_hello(options_.group, rtree::kNodeFormat<D>, connection_->peer_hello());
  const transport::ConnectionLimits& limits = connection_->limits();
  if (!said || limits.max_message_bytes < sizeof(SideMessageHead) + sizeof(rtree::Node<D>) ||
      limits.max_message_bytes < sizeof(SideMessageHead) + kExtraPiece) {
    return fail_with({ErrorCode::kProtocol, connection_->peer() + " offers no copy of its tree"});
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
bool TransferReceiver<D>::ask(std::uint32_t kind, std::uint64_t argument,
                              std::span<const std::uint64_t> names) {
  return send_side_message(*connection_, kind, argument, std::as_bytes(names));
}

template <int D>
void TransferReceiver<D>::step(Nanoseconds now) {
  go_on();
  if (outcome_ || connection_ == nullptr) return;
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
    has_asked_ =
        options_.load == 0 ? ask(kHold, options_.epoch, {}) : ask(kHoldLoad, options_.load, {});
  }
  if (!is_held_) return;
  if (facts_.extra.size() < extra_bytes_ && !asks_extra_) {
    asks_extra_ = ask(kExtra, facts_.extra.size(), {});
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
      return fail_with(
          {ErrorCode::kProtocol, connection_->peer() + ": a node outside of all slabs"});
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
    if (!ask(kNodes, 0, names)) return;
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
  // Held, it does not change: what is not that node now never will be.
  const rtree::Node<D>* const node = rtree::check_node<D>(bytes, wanted, kMaxNodes, true);
  if (node == nullptr) {
    return fail_with({ErrorCode::kProtocol, connection_->peer() + ": not a node of the held tree"});
  }
  bool is_new = wanted.level != rtree::kAnyLevel || claim(wanted.ref, node->level());
  for (std::uint32_t i = 0; !node->is_leaf() && i < node->count(); ++i) {
    is_new = is_new && claim(node->child(i), node->level() - 1);
    if (!is_new) break;
    wanted_.push_back({node->child(i), node->level() - 1});
  }
  if (!is_new) {
    return fail_with({ErrorCode::kProtocol, connection_->peer() + ": a node that is named twice"});
  }
  if (Status taken = take_(wanted.ref, *node); !taken) return fail_with(taken.error());
  ++nodes_;
  go_on();
  finish_if_whole();
}

template <int D>
void TransferReceiver<D>::on_held(std::span<const std::byte> payload) {
  PinnedHead head;
  if (is_held_ || payload.size() != sizeof head) {
    return fail_with({ErrorCode::kProtocol, connection_->peer() + ": a malformed answer"});
  }
  std::memcpy(&head, payload.data(), sizeof head);
  const auto root = rtree::NodeRef::from_word(head.root);
  if (head.extra_bytes > kMaxExtraBytes || !root || head.lsn % 8 != 0) {
    return fail_with({ErrorCode::kProtocol, connection_->peer() + ": a tree that cannot be"});
  }
  if (head.epoch < options_.epoch || head.lsn < options_.at_least) {
    return fail_with({ErrorCode::kUnavailable, connection_->peer() + " is behind"});
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
    return fail_with({ErrorCode::kProtocol, connection_->peer() + ": a malformed answer"});
  }
  asks_extra_ = false;
  facts_.extra.insert(facts_.extra.end(), bytes.begin(), bytes.end());
  go_on();
  finish_if_whole();
}

template <int D>
void TransferReceiver<D>::on_message(transport::Connection&, std::span<const std::byte> message) {
  if (outcome_) return;
  const auto taken = decode_side_message(message);
  if (!taken) return fail_with({ErrorCode::kProtocol, connection_->peer() + ": a damaged answer"});
  switch (taken->head.kind) {
    case kHold:
      return on_held(taken->payload);
    case kExtra:
      return on_extra(taken->head.argument, taken->payload);
    case kRefused:
      return fail_with({ErrorCode::kUnavailable,
                        connection_->peer() + " refuses a copy: " +
                            std::string(reinterpret_cast<const char*>(taken->payload.data()),
                                        taken->payload.size())});
    case kNodes: {
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
  fail_with({ErrorCode::kProtocol, connection_->peer() + ": an answer without a request"});
}

template <int D>
void TransferReceiver<D>::finish_if_whole() {
  if (outcome_ || !is_held_ || !wanted_.empty() || !under_way_.empty() ||
      facts_.extra.size() < extra_bytes_) {
    return;
  }
  outcome_ = Status();
  connection_->close();  // the source holds it no longer
}

template <int D>
void TransferReceiver<D>::on_closed(transport::Connection&, const Error& reason) {
  if (!outcome_) outcome_ = fail(reason);
}

template <int D>
Result<TreeFacts> receive_tree(transport::Fabric& fabric, const transport::Address& source,
                               const TransferOptions& options, TakeNode<D> take,
                               const std::function<Status(const TransferReceiver<D>&)>& look) {
  constexpr Nanoseconds kLookInterval = 10 * kMillisecond;
  const SystemClock clock;
  auto poller = fabric.create_poller();
  if (!poller) return fail(poller.error());
  auto waiter =
      transport::Waiter::create({.policy = transport::WaitPolicy::kAdaptive}, {poller->get()});
  if (!waiter) return fail(waiter.error());
  TransferReceiver<D> copier(options, **poller, std::move(take));
  auto connection = fabric.connect(
      source, {.timeout = kTransferDialTimeout, .key = options.key, .looks_for_key = false},
      **poller, copier.hello(), copier);
  if (!connection) return fail(connection.error());
  copier.begin(std::move(*connection));
  while (!copier.outcome()) {
    (*waiter)->wait(kLookInterval);
    copier.step(clock.now());
    if (Status goes_on = look ? look(copier) : Status{}; !goes_on) return fail(goes_on.error());
  }
  if (!*copier.outcome()) return fail(copier.outcome()->error());
  return copier.facts();
}

#define SILURUS_COPY(D)                                                                   \
  template class TransferSource<D>;                                                       \
  template class ReceivedTree<D>;                                                         \
  template class TransferReceiver<D>;                                                     \
  template Result<TreeFacts> receive_tree(                                                \
      transport::Fabric&, const transport::Address&, const TransferOptions&, TakeNode<D>, \
      const std::function<Status(const TransferReceiver<D>&)>&)
SILURUS_COPY(2);
SILURUS_COPY(3);
#undef SILURUS_COPY

}  // namespace silurus::replication::group
