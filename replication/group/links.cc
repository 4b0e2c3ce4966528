// SPDX-License-Identifier: Apache-2.0

#include "replication/group/links.h"

#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <utility>

#include "common/log.h"

namespace silurus::replication::group {
namespace {

/// Connections of all members together; a handful at most are full members.
constexpr std::size_t kMaxLinks = 4 * kMaxMembers;
constexpr std::uint64_t kRingBudgetBytes = std::uint64_t{16} << 20;
/// Bytes of one fetch by one-sided reads.
constexpr std::size_t kReadBufferBytes = std::size_t{256} << 10;
/// Pushed messages handed over in one go.
constexpr std::size_t kPushedPerRound = 512;
/// Factor by which a member that is not the primary is dialled less often: dialling may take time.
constexpr Nanoseconds kUpstreamPatience = 50;

}  // namespace

Links::Links(const LinksOptions& options, Dialer dialer, const Window& window)
    : options_(options), dialer_(std::move(dialer)), window_(window) {
  primary_.timeout = options.dial_timeout;
  upstream_.timeout = options.upstream_dial_timeout;
  primary_.redial = options.redial;
  upstream_.redial = kUpstreamPatience * options.redial;
  if (options.key) seal_.emplace(*options.key, options.group);
}

Result<std::unique_ptr<Links>> Links::create(const LinksOptions& options, transport::Fabric& fabric,
                                             transport::Poller& poller, Dialer dialer,
                                             const Window& window) {
  std::unique_ptr<Links> links(new Links(options, std::move(dialer), window));
  transport::Poller* const pollers[] = {&poller};
  // Over shm a member proves by its user what it is.
  const bool admits_others = options.key && options.listen.scheme != "shm";
  auto listener = fabric.listen(options.listen,
                                {.max_connections = kMaxLinks,
                                 .ring_budget_bytes = kRingBudgetBytes,
                                 .allow_other_users = admits_others},
                                pollers, *links);
  if (!listener && listener.error().code == ErrorCode::kPermission && !options.key) {
    return fail(ErrorCode::kPermission,
                "other users or hosts can reach " + options.listen.to_string() +
                    ": say --cluster-key FILE, a key that all members of the group prove to hold "
                    "(silurus key new makes one)");
  }
  if (!listener) return fail(listener.error());
  links->listener_ = std::move(*listener);
  links->address_ = links->listener_->address();
  const bool one_sided = has(fabric.capabilities(), transport::Capability::kOneSidedRead);
  if (one_sided && !window.region.bytes.empty()) {
    if (Status exposed = links->listener_->expose(window.region); !exposed) {
      return fail(exposed.error());
    }
    links->has_exposed_ = true;
  }
  if (one_sided) {
    auto buffer = poller.allocate_buffer(kReadBufferBytes);
    if (!buffer) return fail(buffer.error());
    links->read_buffer_ = std::move(*buffer);
  }
  if (options.multicast && has(fabric.capabilities(), transport::Capability::kMulticast)) {
    auto group = fabric.join(*options.multicast, {}, poller, *links);
    if (group) {
      links->multicast_ = std::move(*group);
    } else {
      log::warning("member " + std::to_string(options.self) + " cannot join the multicast group " +
                   options.multicast->to_string() +
                   ", and sends and receives over its connections: " + group.error().message);
    }
  }
  return links;
}

Links::~Links() {
  listener_.reset();
  multicast_.reset();
}

// --- connections

std::optional<access::Key> Links::find_key(access::KeyId id) {
  return options_.key && options_.key->label().id == id ? options_.key : std::nullopt;
}

void Links::on_false_key(const transport::Caller& caller, const Error& error) {
  const std::string text = "member " + std::to_string(options_.self) + ": refused " + caller.name +
                           ", which is not of this group: " + error.message;
  if (const auto line = limiter_.line(caller.name, text, SystemClock().now())) log::warning(*line);
}

/// A key proves more than a user: over tcp and rdma it is what counts if there is one.
Status Links::check(const transport::Caller& caller) const {
  const bool proves_keys = options_.listen.scheme == "tcp" || options_.listen.scheme == "rdma";
  if (options_.key && proves_keys) {
    if (caller.key == options_.key->label()) return {};
    return fail(ErrorCode::kPermission,
                "members of this group prove to hold its key: say --cluster-key FILE");
  }
  if (!caller.user || *caller.user == geteuid()) return {};
  return fail(ErrorCode::kPermission,
              "user " + std::to_string(*caller.user) + " is not that of this group's members");
}

Result<std::vector<std::byte>> Links::on_hello(std::span<const std::byte> client_hello,
                                               const transport::Caller& caller) {
  if (Status may = check(caller); !may) {
    on_false_key(caller, may.error());
    return fail(may.error());
  }
  const auto hello = decode_member_hello(options_.group, client_hello);
  auto* const handler = hello ? nullptr : handler_of(client_hello);
  if (handler != nullptr) return handler->on_hello(client_hello, caller);
  if (!hello) return fail(ErrorCode::kProtocol, "not a member of this group");
  WindowHello answer;
  answer.self = {
      .group = options_.group, .member = options_.self, .incarnation = options_.incarnation};
  answer.window_bytes = read_buffer_ == nullptr ? 0 : window_.region.bytes.size();
  std::vector<std::byte> bytes(sizeof answer);
  std::memcpy(bytes.data(), &answer, sizeof answer);
  return bytes;
}

void Links::on_accept(std::unique_ptr<transport::Connection> connection,
                      transport::Poller& poller) {
  const auto hello = decode_member_hello(options_.group, connection->peer_hello());
  auto* const handler = hello ? nullptr : handler_of(connection->peer_hello());
  if (handler != nullptr) return handler->on_accept(std::move(connection), poller);
  auto link = std::make_unique<Link>(*this);
  connection->set_handler(link.get());
  link->connection = std::move(connection);
  if (!hello || hello->member == options_.self ||
      (in_.size() >= kMaxLinks && !in_.contains(hello->member))) {
    return retire(std::move(link));
  }
  link->member = hello->member;
  link->incarnation = hello->incarnation;
  auto& place = in_[hello->member];
  if (!may_replace(place.get(), *hello)) {
    met_unknown_life_ = true;
    const std::string text = "member " + std::to_string(options_.self) + ": turned away " +
                             link->connection->peer() + ", which says that it is member " +
                             std::to_string(hello->member) + ": another life of it is connected, " +
                             "and the view store does not know this one";
    if (const auto line = limiter_.line(link->connection->owner(), text, SystemClock().now())) {
      log::warning(*line);
    }
    return retire(std::move(link));
  }
  if (place != nullptr) retire(std::move(place));
  place = std::move(link);
}

bool Links::may_replace(const Link* link, const MemberHello& hello) const {
  if (link == nullptr || link->is_over || link->incarnation == hello.incarnation) return true;
  const auto known = registered_.find(hello.member);
  return known == registered_.end() || known->second == hello.incarnation;
}

transport::AcceptHandler* Links::handler_of(std::span<const std::byte> hello) const {
  std::uint32_t magic = 0;
  if (hello.size() < sizeof magic) return nullptr;
  std::memcpy(&magic, hello.data(), sizeof magic);
  const auto found = handlers_.find(magic);
  return found == handlers_.end() ? nullptr : found->second;
}

void Links::retire(std::unique_ptr<Link> link) {
  link->is_over = true;
  link->connection->close();
  over_.push_back(std::move(link));
}

void Links::set_primary(const std::optional<MemberInfo>& primary, Incarnation incarnation,
                        Nanoseconds now) {
  if (primary == primary_.target && incarnation == primary_.incarnation) return;
  point(primary_, primary, incarnation);
  primary_.redial_at = now;
  reads_left_ = {0, 0};
}

void Links::set_upstream(const std::optional<MemberInfo>& member) {
  if (member == upstream_.target) return;
  point(upstream_, member, 0);
  upstream_.redial_at = 0;
}

void Links::point(OutgoingLink& outgoing, const std::optional<MemberInfo>& target,
                  Incarnation incarnation) {
  outgoing.target = target;
  outgoing.incarnation = incarnation;
  ++outgoing.dial;
  outgoing.dialing = false;
  if (outgoing.link != nullptr) retire(std::move(outgoing.link));
}

void Links::tick(Nanoseconds now) {
  over_.clear();
  std::erase_if(in_, [](const auto& one) { return one.second->is_over; });
  if (primary_.link != nullptr && primary_.link->is_over) reads_left_ = {0, 0};
  tick(primary_, now);
  tick(upstream_, now);
  offer_window();
}

void Links::tick(OutgoingLink& outgoing, Nanoseconds now) {
  if (outgoing.link != nullptr && outgoing.link->is_over) {
    outgoing.link.reset();
    outgoing.redial_at = now + outgoing.redial;
  }
  if (outgoing.target && outgoing.link == nullptr && !outgoing.dialing && now >= outgoing.redial_at)
    dial(outgoing, now);
}

std::optional<Nanoseconds> Links::deadline() const {
  std::optional<Nanoseconds> earliest;
  for (const OutgoingLink* outgoing : {&primary_, &upstream_}) {
    if (!outgoing->target || outgoing->link != nullptr || outgoing->dialing) continue;
    earliest = std::min(outgoing->redial_at, earliest.value_or(outgoing->redial_at));
  }
  return earliest;
}

void Links::dial(OutgoingLink& outgoing, Nanoseconds now) {
  outgoing.redial_at = now + outgoing.redial;
  const auto address = transport::Address::parse(outgoing.target->peers);
  if (!address) return;  // as good as unreachable
  outgoing.dialing = true;
  const std::uint64_t number = ++outgoing.dial;
  const MemberHello hello{
      .group = options_.group, .member = options_.self, .incarnation = options_.incarnation};
  // Its connection's handler must be there before it is known whether it is still wanted.
  auto link = std::make_shared<std::unique_ptr<Link>>(std::make_unique<Link>(*this));
  Link& handler = **link;
  dialer_(*address, outgoing.timeout, std::as_bytes(std::span(&hello, 1)), handler,
          [this, &outgoing, number, link, alive = std::weak_ptr<int>(alive_)](auto connection) {
            if (alive.expired() || number != outgoing.dial) return;
            outgoing.dialing = false;
            if (!connection) return;
            outgoing.link = std::move(*link);
            on_dialed(outgoing, std::move(*connection));
          });
}

void Links::on_dialed(OutgoingLink& outgoing, std::unique_ptr<transport::Connection> connection) {
  Link& link = *outgoing.link;
  link.connection = std::move(connection);
  const auto hello = decode_window_hello(options_.group, link.connection->peer_hello());
  if (!hello || hello->self.member != outgoing.target->id ||
      (outgoing.incarnation != 0 && hello->self.incarnation != outgoing.incarnation)) {
    log::debug("the member at " + outgoing.target->peers + " is not the one that was looked for");
    link.is_over = true;
    link.connection->close();
    return;
  }
  link.member = hello->self.member;
  link.incarnation = hello->self.incarnation;
  link.window_bytes = read_buffer_ == nullptr ? 0 : hello->window_bytes;
  offer_window();
}

void Links::expel(MemberId member) {
  const auto found = in_.find(member);
  if (found == in_.end()) return;
  retire(std::move(found->second));
  in_.erase(found);
}

void Links::Link::on_closed(transport::Connection&, const Error&) { is_over = true; }

// --- messages

void Links::deliver(std::span<const std::byte> message) {
  if (handler_ == nullptr || message.empty() || message.size() > kMaxGroupMessageBytes) return;
  copy_.resize((message.size() + 7) / 8);
  std::memcpy(copy_.data(), message.data(), message.size());
  handler_->on_group_message(std::as_bytes(std::span(copy_)).first(message.size()));
}

void Links::Link::on_message(transport::Connection&, std::span<const std::byte> message) {
  if (is_over || message.size() < sizeof(Envelope)) return;
  Envelope envelope;
  std::memcpy(&envelope, message.data(), sizeof envelope);
  // A connection speaks for the member that it is with, and for no other; but the one before us in
  // a chain passes on what the primary says.
  const bool is_passed_on = this == links.upstream_.link.get() && envelope.kind == Kind::kLog;
  if (!is_passed_on && (envelope.sender != member || envelope.incarnation != incarnation)) return;
  links.deliver(message);
}

/// Only the primary's log comes by datagrams. What a member says of itself (its row, a fetch, a
/// probe) comes by its connection, which has told whose it is.
void Links::on_datagram(transport::MulticastGroup&, std::span<const std::byte> datagram) {
  const auto message = seal_ ? seal_->open(datagram) : std::optional(datagram);
  Envelope envelope;
  if (message && message->size() >= sizeof envelope) {
    std::memcpy(&envelope, message->data(), sizeof envelope);
    if (envelope.kind == Kind::kLog) return deliver(*message);
  }
  ++false_datagrams_;
}

void Links::on_group_lost(transport::MulticastGroup&, const Error& reason) {
  log::warning("member " + std::to_string(options_.self) +
               ": multicast is gone, the group goes on over its connections: " + reason.message);
  multicast_.reset();
}

std::size_t Links::max_broadcast_bytes() const {
  if (multicast_ == nullptr) return max_push_bytes();
  const std::size_t seal = seal_ ? DatagramSeal::kBytes : 0;
  return std::min(kMaxGroupMessageBytes, multicast_->max_datagram_bytes() - seal);
}

void Links::broadcast(std::span<const std::byte> message) {
  if (multicast_ == nullptr) return send_to_all(message);
  const auto datagram = seal_ ? seal_->close(message) : message;
  if (multicast_->send(datagram) != transport::PostStatus::kPosted) {
    ++refused_datagrams_;
    return send_to_all(message);
  }
  bytes_sent_ += datagram.size();
}

void Links::flush_broadcasts() {
  if (multicast_ != nullptr) multicast_->flush();
}

void Links::broadcast_surely(std::span<const std::byte> message) {
  broadcast(message);
  if (multicast_ != nullptr) send_to_all(message);
}

void Links::send_to_all(std::span<const std::byte> message) {
  for (auto& [member, link] : in_) send(*link, message);
}

bool Links::send(Link& link, std::span<const std::byte> message) {
  if (link.is_over || message.size() > link.connection->limits().max_message_bytes) return false;
  const auto room = link.connection->reserve(message.size());
  if (room.empty()) {
    ++dropped_;
    return false;
  }
  std::memcpy(room.data(), message.data(), message.size());
  link.connection->commit(message.size());
  link.connection->flush();
  bytes_sent_ += message.size();
  return true;
}

bool Links::send_to_primary(std::span<const std::byte> message) {
  return primary_.is_up() && send(*primary_.link, message);
}

bool Links::send_to(MemberId member, std::span<const std::byte> message) {
  const auto found = in_.find(member);
  return found != in_.end() && send(*found->second, message);
}

std::size_t Links::max_message_bytes(MemberId member) const {
  const auto found = in_.find(member);
  if (found == in_.end() || found->second->is_over) return 0;
  return std::min<std::size_t>(kMaxGroupMessageBytes,
                               found->second->connection->limits().max_message_bytes);
}

// --- pushing

Links::Link* Links::pusher() const {
  const OutgoingLink& outgoing = upstream_.target ? upstream_ : primary_;
  return outgoing.is_up() ? outgoing.link.get() : nullptr;
}

/// Lets the member that we follow write into memory of ours; that it cannot is no error.
void Links::offer_window() {
  Link* const link = options_.push_bytes == 0 ? nullptr : pusher();
  if (link == nullptr || link->pushed || link->is_windowless) return;
  const auto window = link->connection->offer_window(options_.push_bytes);
  link->is_windowless = !window;
  if (window) link->pushed.emplace(options_.group, *window);
}

std::size_t Links::max_push_bytes() const {
  std::size_t bytes = kMaxGroupMessageBytes;
  for (const auto& [member, link] : in_) {
    if (!link->is_over) {
      bytes = std::min<std::size_t>(bytes, link->connection->limits().max_message_bytes);
    }
  }
  return bytes;
}

void Links::push(std::span<const std::byte> message, const std::function<bool(MemberId)>& wanted) {
  for (auto& [member, link] : in_) {
    if (link->is_over || !wanted(member)) continue;
    if (link->connection->peer_window_bytes() == 0) {
      send(*link, message);
    } else if (link->pushes.push(*link->connection, message)) {
      bytes_sent_ += message.size() + sizeof(PushTrailer);
    } else {
      ++dropped_;
    }
  }
}

std::size_t Links::take_pushed() {
  std::size_t count = 0;
  for (; count < kPushedPerRound && may_be_pushed(); ++count) {
    // Whatever is handed over may have this very connection ended.
    const auto message = pusher()->pushed->next();
    if (message.empty()) break;
    deliver(message);
  }
  if (count > 0 && may_be_pushed()) pusher()->pushed->tell(*pusher()->connection);
  return count;
}

// --- one-sided reads

std::size_t Links::max_read_bytes() const {
  return read_buffer_ == nullptr ? 0 : read_buffer_->bytes().size();
}

bool Links::read_window(Lsn lsn, std::size_t bytes, std::uint64_t cookie) {
  if (!primary_.is_up() || reads_left_.second != 0) return false;
  Link& link = *primary_.link;
  if (bytes == 0 || bytes > max_read_bytes() || bytes > link.window_bytes) return false;
  const std::uint32_t piece = link.connection->limits().max_read_bytes;
  std::vector<transport::ReadRequest> requests;
  for (std::size_t done = 0; done < bytes;) {
    const std::uint64_t offset = (lsn + done) % link.window_bytes;
    const auto length = static_cast<std::uint32_t>(
        std::min({static_cast<std::uint64_t>(piece), bytes - done, link.window_bytes - offset}));
    requests.push_back({.region = 0,
                        .offset = offset,
                        .length = length,
                        .buffer = read_buffer_.get(),
                        .buffer_offset = done,
                        .cookie = cookie});
    done += length;
  }
  const auto [posted, status] = link.connection->post_reads(requests);
  for (const auto& request : std::span(requests).first(posted)) bytes_read_ += request.length;
  reads_left_ = {cookie, posted};
  read_bytes_ = bytes;
  read_ok_ = posted == requests.size();
  return posted > 0;
}

void Links::Link::on_read(transport::Connection&, std::uint64_t cookie, bool ok) {
  auto& [expected, left] = links.reads_left_;
  if (this != links.primary_.link.get() || cookie != expected || left == 0) return;
  links.read_ok_ = links.read_ok_ && ok;
  if (--left > 0 || !links.read_ok_ || links.handler_ == nullptr) return;
  links.handler_->on_window_bytes(cookie, links.read_buffer_->bytes().first(links.read_bytes_));
}

}  // namespace silurus::replication::group
