// SPDX-License-Identifier: Apache-2.0

#include "client/core.h"

#include <algorithm>
#include <utility>

#include "common/units.h"

namespace silurus::client {
namespace {

/// settle() looks at deadlines and connections with each 64th call, unless it is told to look.
constexpr std::uint32_t kSettlesPerLook = 64;
/// After an answer that was too old, only members are asked for this time that are known to be new
/// enough by their heartbeats.
constexpr Nanoseconds kPessimism = 10 * kMillisecond;
/// A busy client looks this often whether its primary still says anything.
constexpr Nanoseconds kLookEvery = 50 * kMillisecond;
/// The longest silence of a primary that was given up for it before, in ClientOptions::silence.
constexpr Nanoseconds kMostSilences = 16;
/// Longest sleep of a client that has given up its servers.
constexpr Nanoseconds kLongestIdle = 20 * kMillisecond;

template <typename... Args>
Error lost_connection(Args&&... args) {
  return {ErrorCode::kConnectionLost, (std::string() + ... + std::forward<Args>(args))};
}

/// Whether the current version is searched, which any member may know.
template <int D>
bool is_current_search(const Request<D>& request) {
  const auto* range = std::get_if<request::Range<D>>(&request);
  const auto* nearest = std::get_if<request::Nearest<D>>(&request);
  return (range != nullptr && range->as_of == 0) || (nearest != nullptr && nearest->as_of == 0);
}

/// Keeps what a search asks, as one of degrees or not, as it was checked: it may have to be asked
/// more than once.
template <int D>
void set_search(Call<D>& call, const Request<D>& request, bool lonlat) {
  if (const auto* range = std::get_if<request::Range<D>>(&request)) {
    rtree::RangeQuery<D>& query = call.search.template emplace<request::Range<D>>(*range).query;
    // What the wire can't say is no limit at all: both ways must mean the same.
    if (query.limit >= protocol::kNoLimit) query.limit = UINT64_MAX;
    query.lonlat = lonlat;
  } else if (const auto* nearest = std::get_if<request::Nearest<D>>(&request)) {
    call.search.template emplace<request::Nearest<D>>(*nearest).query.lonlat = lonlat;
  } else if (const auto* get = std::get_if<request::Get<D>>(&request)) {
    call.ids.assign(get->ids.begin(), get->ids.end());
    call.search.template emplace<request::Get<D>>(
        request::Get<D>{call.ids, get->as_of, get->with_records});
  } else {
    return;
  }
  call.is_of_degrees = lonlat;
}

}  // namespace

// --- set-up and end -----------------------------------------------------------------------------

template <int D>
ClientCore<D>::ClientCore(std::unique_ptr<Directory> directory, Network& network,
                          const Clock& clock, const ClientOptions& options)
    : network_(network),
      clock_(clock),
      options_(options),
      directory_(std::move(directory)),
      random_(options.seed),
      calls_(clock, options),
      finder_({.connect_timeout = options.connect_timeout,
               .reconnect_for = options.reconnect_for,
               .follow_primary = options.follow_primary,
               .has_directory = directory_ != nullptr,
               .seed = random_()},
              clock.now()) {
  limits_.operations = (protocol::kMinMessageBytes - sizeof(protocol::WriteRequest)) /
                       sizeof(protocol::Operation<D>);
  limits_.ids = request::ids_in(protocol::kMinMessageBytes);
}

template <int D>
Result<std::unique_ptr<ClientCore<D>>> ClientCore<D>::create(std::vector<std::string> urls,
                                                             std::unique_ptr<Directory> directory,
                                                             Network& network, const Clock& clock,
                                                             const ClientOptions& options) {
  std::unique_ptr<ClientCore> core(new ClientCore(std::move(directory), network, clock, options));
  for (const std::string& url : urls) {
    const auto address = transport::Address::parse(url);
    if (!address) return fail(address.error());
    if (const auto way = network.route_to(*address); !way) return fail(way.error());
    if (!address->key.empty() && !core->key_.empty() && core->key_ != address->key) {
      return fail(ErrorCode::kInvalidArgument, "the addresses of one group name different keys: " +
                                                   core->key_ + " and " + address->key);
    }
    if (!address->key.empty()) core->key_ = address->key;
    core->finder_.learn(url);
  }
  if (core->finder_.members().empty() && core->directory_ == nullptr) {
    return fail(ErrorCode::kInvalidArgument, "no server is named");
  }
  core->peer_name_ = urls.empty() ? "the cluster" : urls.front();
  return core;
}

template <int D>
Result<std::unique_ptr<ClientCore<D>>> ClientCore<D>::connect(const std::string& url,
                                                              Network& network, const Clock& clock,
                                                              ClientOptions options) {
  options.reconnect_for = 0;
  options.follow_primary = false;
  auto core = create({url}, nullptr, network, clock, options);
  if (!core) return core;
  (*core)->settle(true);
  if ((*core)->ready()) return core;
  return fail((*core)->finder_.last_error());
}

template <int D>
ClientCore<D>::~ClientCore() {
  const Error why{ErrorCode::kConnectionLost, "the client was closed"};
  calls_.stop_repeating();  // callbacks may begin operations: those are refused from here on
  primary_ = nullptr;
  finder_.give_up(why);
  std::exchange(peers_, {}).clear();  // their callbacks find none
  calls_.end_queue(why);
}

// --- requests -----------------------------------------------------------------------------------

/// Whether the request may wait for a server. If none is being looked for any more, that begins
/// again.
template <int D>
Status ClientCore<D>::await_server(const Treatment& how) {
  const Error& why = failure() ? *failure() : finder_.last_error();
  if (!calls_.is_repeating() || how.needs_server) return fail(why);
  if (!failure()) return {};
  if (why.code != ErrorCode::kConnectionLost) return fail(why);
  finder_.restart(clock_.now());
  return {};
}

template <int D>
Status ClientCore<D>::submit_any(const Request<D>& request, AnyCallback<D>&& callback) {
  const Treatment how = treatment<D>(request);
  Choice choice{.link = primary()};
  if (options_.read.from == ReadFrom::kAny && is_current_search<D>(request)) {
    choice = choose_reader(clock_.now());
  }
  if (choice.link != nullptr && how.continues_load && primaries_ != load_primary_) {
    return fail(lost_connection("the load was lost with its connection"));
  }
  if (choice.link != nullptr || !how.needs_server) {
    if (auto ok = check<D>(request, limits_); !ok) return ok;
    if (auto ok = calls_.check_room(); !ok) return ok;
  }
  if (choice.link == nullptr) {
    if (auto ok = await_server(how); !ok) return ok;
  }
  std::optional<std::uint64_t> sequence;
  if (std::holds_alternative<request::Write<D>>(request)) {
    sequence = calls_.writes.next();
    if (!sequence) {
      return fail(ErrorCode::kUnavailable, "a write has had no answer for " +
                                               std::to_string(protocol::kMaxOutstandingWrites) +
                                               " others: wait for it");
    }
  }
  const std::uint32_t index = calls_.open(std::move(callback), how, clock_.now());
  Call<D>& call = calls_[index];
  call.sequence = sequence.value_or(0);
  set_search<D>(call, request, limits_.lonlat);
  if (std::holds_alternative<request::LoadBegin>(request)) load_primary_ = primaries_;
  if (choice.link == nullptr) {
    call.message.resize(message_bytes(request));
    encode(request, calls_.envelope(index), call.message);
    calls_.queue(index);
    return {};
  }
  call.any = choice.any;
  call.freshness = choice.freshness;
  choice.link->begin(index, request);
  return {};
}

/// In the order in which they were begun, as far as that matters.
template <int D>
void ClientCore<D>::begin_queued() {
  for (const std::uint32_t index : calls_.take_queue()) {
    if (primary() == nullptr) {
      calls_.queue(index);
      continue;
    }
    if (calls_[index].kind() == CallKind::kLoad) load_primary_ = primaries_;
    primary_->resume(index);
  }
}

/// What an answer of that member must keep to; nothing if the member is not fresh enough.
template <int D>
std::optional<Freshness> ClientCore<D>::freshness_of(Link<D>& link, const HeartbeatState& newest,
                                                     Nanoseconds now) {
  const ReadOptions& read = options_.read;
  const HeartbeatState& state = link.look_at_heartbeat(now);
  const std::uint64_t staleness = state.staleness_at(now);
  if (staleness > static_cast<std::uint64_t>(read.max_staleness)) return std::nullopt;
  Freshness freshness;
  freshness.until = now + read.max_staleness - static_cast<Nanoseconds>(staleness);
  freshness.at_least = state.version;
  if (read.monotonic) freshness.at_least = std::max(freshness.at_least, calls_.newest());
  if (read.max_versions_behind != UINT64_MAX) {
    // What the primary has told lately is what there is, or nearly.
    if (now - newest.seen > read.max_staleness || newest.seen == 0) return std::nullopt;
    if (newest.version > read.max_versions_behind) {
      freshness.at_least = std::max(freshness.at_least, newest.version - read.max_versions_behind);
    }
  }
  // It has caught up since its heartbeat, perhaps; not so soon after that turned out wrong.
  const bool is_behind = state.version < freshness.at_least;
  if (is_behind && now - calls_.refused_at() < kPessimism) return std::nullopt;
  return freshness;
}

/// Any member that is fresh enough and least busy; the primary (if there is one) if no other is.
template <int D>
typename ClientCore<D>::Choice ClientCore<D>::choose_reader(Nanoseconds now) {
  Link<D>* const primary = this->primary();
  const HeartbeatState newest =
      primary != nullptr ? primary->look_at_heartbeat(now) : HeartbeatState{};
  Choice best;
  double best_load = 0;
  for (const Peer& peer : peers_) {
    Link<D>& link = *peer.link;
    if (!link.connected() || (&link != primary && !peer.member->in_view)) continue;
    const auto freshness = freshness_of(link, newest, now);
    if (!freshness) continue;
    // Own requests are the newest news; a random part keeps clients from moving all at once.
    const double load = (static_cast<double>(link.in_flight()) + 0.5 + random_.uniform()) *
                        (1 / (1.05 - link.heartbeat().cpu_busy));
    if (best.link != nullptr && load >= best_load) continue;
    best = {.link = &link, .any = true, .freshness = *freshness};
    best_load = load;
  }
  if (best.link == nullptr || best.link == primary) return {.link = primary};
  ++calls_.statistics.asked_of_backups;
  return best;
}

// --- driving it ---------------------------------------------------------------------------------

template <int D>
std::size_t ClientCore<D>::settle(bool look) {
  std::size_t settled = 0;
  for (std::size_t i = 0; i < peers_.size(); ++i) settled += peers_[i].link->settle();
  const bool is_quiet = primary() != nullptr && calls_.is_queue_empty() && !primary_->turns_away();
  if (is_quiet && !look && ++settles_ % kSettlesPerLook != 0) return settled;
  return settled + upkeep(look);
}

template <int D>
std::size_t ClientCore<D>::upkeep(bool look) {
  const Nanoseconds now = clock_.now();
  const bool was_connected = primary() != nullptr;
  look_after_primary(look, now);
  for (std::size_t i = peers_.size(); i-- > 0;) {
    if (peers_[i].link.get() != primary_ && !peers_[i].link->connected()) drop(*peers_[i].member);
  }
  if (primary_ == nullptr && !failure()) seek(now);
  std::size_t done = 0;
  if (primary() != nullptr && !calls_.is_queue_empty()) {
    begin_queued();
    ++done;
  }
  for (const Peer& peer : peers_) done += peer.link->look_for_silence(now);
  done += calls_.end_due(
      now, [&](Link<D>& link) { return link.look_for_life(now); },
      [&](std::uint32_t index) {
        if (calls_[index].link != nullptr) return calls_[index].link->end_overdue(index);
        const Error error = calls_[index].failure(
            {ErrorCode::kDeadlineExceeded, "no primary in time: " + finder_.last_error().message});
        calls_.end(index, &error, now);
      });
  if (options_.read.from == ReadFrom::kAny) {
    look_after_readers(now);
  } else if (primary() != nullptr) {
    leave_others();
  }
  // A caller that waits for a server shall not go to sleep when there is one.
  return done + (primary() != nullptr && !was_connected ? 1 : 0);
}

template <int D>
Nanoseconds ClientCore<D>::max_wait() const {
  if (primary() == nullptr) {
    const Nanoseconds now = clock_.now();
    const Nanoseconds next = failure() ? now + kLongestIdle : finder_.next_tick();
    return std::clamp(std::min(next, calls_.queue_deadline()) - now, 100 * kMicrosecond,
                      kLongestIdle);
  }
  const Nanoseconds longest = primary_->max_wait();
  return options_.read.from == ReadFrom::kAny ? std::min(longest, 10 * kMillisecond) : longest;
}

// --- the primary --------------------------------------------------------------------------------

/// Finds out whether it still is one.
template <int D>
void ClientCore<D>::look_after_primary(bool look, Nanoseconds now) {
  if (primary_ == nullptr) return;
  Link<D>& link = *primary_;
  if (link.turns_away() && link.connected()) {
    link.give_up("it is not the primary any more, or the collection is gone");
  } else if ((look || now - looked_at_ > kLookEvery) && link.connected() && link.is_of_group()) {
    looked_at_ = now;
    const Nanoseconds heartbeat = link.look_at_heartbeat(now).seen;
    const std::uint64_t messages = link.connection().counters().messages_received;
    if (messages != heard_messages_ || heartbeat != heard_heartbeat_ ||
        (link.unanswered_calls() == 0 && !link.is_silent())) {
      heard_messages_ = messages;
      heard_heartbeat_ = heartbeat;
      heard_at_ = now;
    } else if (now - heard_at_ > silence_ && options_.reconnect_for > 0) {
      silent_ = finder_.primary()->url;
      link.give_up("it has said nothing for " + format_duration(now - heard_at_));
    }
  }
  if (!link.connected()) lose_primary(now);
}

template <int D>
void ClientCore<D>::lose_primary(Nanoseconds now) {
  const Error why = *primary_->lost();
  const bool denies = primary_->turns_away();
  const Member& member = *finder_.primary();
  primary_ = nullptr;  // callbacks run: there is no primary for what they begin
  finder_.lost(why, denies, now);
  drop(member);
  if (failure()) calls_.end_queue(Error(*failure()));
}

/// Steps of the search, until it has to wait: connects to one member at most.
template <int D>
void ClientCore<D>::seek(Nanoseconds now) {
  auto action = finder_.tick(now);
  for (;;) {
    switch (action.step) {
      case Step::kWait:
        return;
      case Step::kDial: {
        Member& member = *action.member;
        const auto link = dial(member, dial_time(now));
        const Nanoseconds then = clock_.now();
        action = link ? finder_.dialled(member, (*link)->is_of_group(), now)
                      : finder_.not_dialled(member, link.error(), then - now, then);
        break;
      }
      case Step::kDrop:
        drop(*action.member);
        action = finder_.tick(now);
        break;
      case Step::kAsk:
        return ask(*action.member);
      case Step::kLead:
        return lead_with(*action.member);
      case Step::kReadDirectory:
        return finder_.listed(directory_->members());
      case Step::kGiveUp:
        return calls_.end_queue(Error(*failure()));
      case Step::kOutOfTime:
        finder_.give_up(out_of_time());
        return calls_.end_queue(Error(*failure()));
    }
  }
}

template <int D>
Error ClientCore<D>::out_of_time() {
  Error error = finder_.last_error();
  const auto is_in_view = [](const auto& member) { return member->in_view; };
  if (has_readers()) {
    error = lost_connection("there is no primary: ", error.message);
  } else if (std::ranges::any_of(finder_.members(), is_in_view)) {
    error.message += "; and no member is known to be at most " +
                     format_duration(options_.read.max_staleness) + " behind (--max-staleness)";
  }
  if (!finder_.had_primary()) return error;
  return lost_connection(peer_name_,
                         " was lost; and so far no other: ", finder_.last_error().message);
}

/// How long an attempt to connect may take. As a reader, there is no hurry to find a member; a
/// primary is being looked for only for a limited time.
template <int D>
Nanoseconds ClientCore<D>::dial_time(Nanoseconds now) const {
  Nanoseconds most = options_.connect_timeout;
  // A server that is given more time for an answer is given more for a connection, too: the way is
  // slow.
  if (!finder_.is_alone()) most = std::min(most, std::max(kMaxConnect, options_.silence / 4));
  const Nanoseconds left =
      primary_ != nullptr ? most : std::min(finder_.until(), calls_.queue_deadline()) - now;
  return std::clamp(left, kMillisecond, std::max(most, kMillisecond));
}

template <int D>
Result<Link<D>*> ClientCore<D>::dial(Member& member, Nanoseconds longest) {
  auto address = transport::Address::parse(member.url);
  if (!address) return fail(address.error());
  // What a server or etcd says of other members names no file of ours.
  address->key = key_;
  const auto way = network_.route_to(*address);
  if (!way) return fail(way.error());
  ClientOptions options = options_;
  options.connect_timeout = longest;
  // A server that has proved itself is not replaced by one that proves nothing.
  const bool needs_key = proved_.contains(member.url);
  auto link =
      Link<D>::connect(*way->fabric, *way->poller, *address, clock_, options, calls_, needs_key);
  if (!link) return fail(link.error());
  if ((*link)->connection().key()) proved_.insert(member.url);
  return peers_.emplace_back(Peer{.member = &member, .link = std::move(*link)}).link.get();
}

/// Asks a member for its group: is it the primary, and which are the others?
template <int D>
void ClientCore<D>::ask(Member& member) {
  Link<D>* const link = link_of(member);
  if (!link->connected() || !calls_.has_room_for_own())
    return finder_.not_asked(member, clock_.now());
  const auto heard = [this, &member](const Result<TextAnswer*>& answer) {
    const auto action = finder_.heard(
        member, answer ? parse_cluster_info((*answer)->json) : fail(answer.error()), clock_.now());
    if (action.step == Step::kLead) lead_with(member);
  };
  const std::uint32_t index =
      calls_.open(AnyCallback<D>(Callback<TextAnswer>(heard)), {.is_own = true}, clock_.now());
  link->begin(index, request::Cluster{});
}

template <int D>
void ClientCore<D>::lead_with(Member& member) {
  if (primaries_ > 0) ++calls_.statistics.reconnects;
  ++primaries_;
  primary_ = link_of(member);
  limits_ = primary_->limits();
  peer_name_ = primary_->connection().peer();
  heard_at_ = looked_at_ = clock_.now();
  heard_messages_ = 0;
  const bool was_given_up = std::exchange(silent_, {}) == member.url;
  silence_ =
      was_given_up ? std::min(2 * silence_, kMostSilences * options_.silence) : options_.silence;
}

// --- the other members --------------------------------------------------------------------------

template <int D>
Link<D>* ClientCore<D>::link_of(const Member& member) const {
  const auto found = std::ranges::find(peers_, &member, &Peer::member);
  return found == peers_.end() ? nullptr : found->link.get();
}

template <int D>
void ClientCore<D>::drop(const Member& member) {
  const auto found = std::ranges::find(peers_, &member, &Peer::member);
  Peer dropped = std::move(*found);
  peers_.erase(found);
  dropped.link->add_counters(calls_.statistics);
  calls_.statistics.cached_nodes = 0;
  dropped.link.reset();  // callbacks run
  finder_.dropped(*dropped.member);
}

/// Members that were asked which one is the primary.
template <int D>
void ClientCore<D>::leave_others() {
  for (std::size_t i = peers_.size(); i-- > 0;) {
    const Peer& peer = peers_[i];
    if (peer.link.get() != primary_ && peer.member != finder_.asked()) drop(*peer.member);
  }
}

/// Connections to the other members of the view, and news of how fresh they are.
template <int D>
void ClientCore<D>::look_after_readers(Nanoseconds now) {
  if (primary_ != nullptr && !primary_->is_of_group()) return;
  const Nanoseconds probe_every =
      std::clamp(options_.read.max_staleness / 4, 10 * kMillisecond, 500 * kMillisecond);
  const auto is_due = [&](const auto& member) {
    return !member->is_linked && member->in_view && now >= member->next_try;
  };
  const auto due = std::ranges::find_if(finder_.members(), is_due);
  if (due != finder_.members().end()) {
    Member& member = **due;
    if (dial(member, dial_time(now))) {
      finder_.linked(member);
    } else {
      const Nanoseconds then = clock_.now();
      finder_.not_linked(member, then - now, then);
    }
  }
  for (std::size_t i = 0; i < peers_.size(); ++i) {
    Peer& peer = peers_[i];
    if (!peer.link->connected()) continue;
    // What it says is dated by the newest message that it knows of: look before the next one goes.
    peer.link->look_at_heartbeat(now);
    if (now - peer.probed < probe_every) continue;
    peer.probed = now;
    ask(*peer.member);
  }
}

// --- looking at it ------------------------------------------------------------------------------

template <int D>
bool ClientCore<D>::has_readers() {
  if (options_.read.from != ReadFrom::kAny) return false;
  const Nanoseconds now = clock_.now();
  return std::ranges::any_of(peers_, [&](const Peer& peer) {
    return peer.link->connected() && peer.member->in_view &&
           peer.link->look_at_heartbeat(now).staleness_at(now) <=
               static_cast<std::uint64_t>(options_.read.max_staleness);
  });
}

template <int D>
bool ClientCore<D>::knows_readers() const {
  if (options_.read.from == ReadFrom::kPrimary || !ready()) return true;
  if (!primary_->is_of_group()) return true;
  return std::ranges::all_of(finder_.members(), [&](const auto& member) {
    const Link<D>* const link = link_of(*member);
    if (link == nullptr) return !member->in_view || member->next_try != 0;
    return link->heartbeat().since != 0;
  });
}

template <int D>
std::size_t ClientCore<D>::connections() const {
  return static_cast<std::size_t>(
      std::ranges::count_if(peers_, [](const Peer& peer) { return peer.link->connected(); }));
}

template <int D>
ClientStatistics ClientCore<D>::statistics() const {
  ClientStatistics all = calls_.statistics;
  for (const Peer& peer : peers_) peer.link->add_counters(all);
  return all;
}

template <int D>
void ClientCore<D>::reset_statistics() {
  calls_.statistics = {};
  for (const Peer& peer : peers_) peer.link->reset_counters();
}

template class ClientCore<2>;
template class ClientCore<3>;

}  // namespace silurus::client
