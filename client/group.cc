#include "client/group.h"

#include <algorithm>
#include <utility>

#include "common/units.h"
#include "protocol/decode.h"
#include "protocol/encode.h"

namespace silurus::client {
namespace {

/// A busy client looks after its connections once in so many settles.
constexpr std::uint32_t kSettlesPerLook = 64;
/// Longest pause between two rounds of looking for a primary: most of a fail-over is waiting for
/// the next view, and the pause comes on top.
constexpr Nanoseconds kLongestPause = 20 * kMillisecond;
/// A member that was asked who the primary is, and doesn't say, is passed over.
constexpr Nanoseconds kAskFor = 300 * kMillisecond;
/// A primary that lasted for so long was one: the next search for one begins with short pauses.
constexpr Nanoseconds kSettledAfter = kSecond;
/// After an answer that was too old, for so long only members are asked that are known to be new
/// enough by their heartbeats.
constexpr Nanoseconds kPessimism = 10 * kMillisecond;
/// A member that takes so long not to answer is not there at all, and left alone for a while.
constexpr Nanoseconds kLongDial = 100 * kMillisecond;
constexpr Nanoseconds kLetSleep = kSecond;
/// A busy client looks so often whether its primary still says anything.
constexpr Nanoseconds kLookEvery = 50 * kMillisecond;

template <typename... Args>
Error lost(Args&&... args) {
  return {ErrorCode::kConnectionLost, (std::string() + ... + std::forward<Args>(args))};
}

}  // namespace

// --- set-up and end -----------------------------------------------------------------------------

template <int D>
Group<D>::Group(std::unique_ptr<Directory> directory, Network& network, const Clock& clock,
                const ClientOptions& options)
    : network_(network),
      clock_(clock),
      options_(options),
      directory_(std::move(directory)),
      random_(options.seed),
      backoff_(options.seed, kLongestPause) {}

template <int D>
Result<std::unique_ptr<Group<D>>> Group<D>::create(std::vector<std::string> urls,
                                                   std::unique_ptr<Directory> directory,
                                                   Network& network, const Clock& clock,
                                                   const ClientOptions& options) {
  std::unique_ptr<Group> group(new Group(std::move(directory), network, clock, options));
  for (const std::string& url : urls) {
    const auto address = transport::Address::parse(url);
    if (!address) return fail(address.error());
    if (const auto way = network.way_to(*address); !way) return fail(way.error());
    group->learn(url);
  }
  if (group->members_.empty() && group->directory_ == nullptr) {
    return fail(ErrorCode::kInvalidArgument, "no server is named");
  }
  // Without a keeper connections end their operations themselves, for ever.
  if (options.reconnect_for > 0) group->family_.keeper = group.get();
  group->peer_ = urls.empty() ? "the cluster" : urls.front();
  group->last_error_ = lost("no server was found");
  group->seek_until_ = clock.now() + options.connect_timeout;
  return group;
}

template <int D>
Group<D>::~Group() {
  family_.keeper = nullptr;
  // Callbacks may begin operations: those are refused from here on.
  primary_ = nullptr;
  options_.reconnect_for = 0;
  failure_ = Error{ErrorCode::kConnectionLost, "the client was closed"};
  for (auto& member : members_) member->core.reset();
  finish(kept_, Error(*failure_));
}

template <int D>
void Group<D>::learn(const std::string& url) {
  if (url.empty() || find(url) != nullptr || members_.size() >= kMaxClusterMembers) return;
  members_.push_back(std::make_unique<Member>(url, random_()));
}

/// Of a member's addresses, the one of the fabric that we were told to use.
template <int D>
std::string Group<D>::one_of(std::string_view urls) const {
  const auto all = split_urls(urls);
  const std::string_view known = members_.empty() ? std::string_view() : members_[0]->url;
  const std::string_view scheme = known.substr(0, known.find("://"));
  for (const std::string& url : all) {
    if (url.substr(0, url.find("://")) == scheme) return url;
  }
  return all.empty() ? std::string() : all.front();
}

template <int D>
typename Group<D>::Member* Group<D>::find(std::string_view url) {
  const auto found = std::ranges::find_if(members_, [&](const auto& m) { return m->url == url; });
  return found == members_.end() ? nullptr : found->get();
}

// --- operations ---------------------------------------------------------------------------------

template <int D>
Error Group<D>::no_server() const {
  if (failure_) return *failure_;
  return last_error_;
}

/// A call to be begun when there is a primary.
template <int D>
Result<Call<D>*> Group<D>::new_call(CallKind kind, Nanoseconds patience) {
  if (options_.reconnect_for <= 0) return fail(no_server());
  if (failure_) {
    if (failure_->code != ErrorCode::kConnectionLost) return fail(*failure_);
    begin_again();
  }
  if (kept_.size() >= ClientCore<D>::kMaxInFlight) {
    return fail(ErrorCode::kUnavailable,
                std::to_string(kept_.size()) + " operations wait for a server");
  }
  Call<D>& call = kept_.emplace_back();
  call.kind = kind;
  call.state = CallState::kWaiting;
  call.started = clock_.now();
  call.patience = patience;
  call.deadline = call.started + (patience != 0 ? patience : options_.deadline);
  kept_deadline_ = std::min(kept_deadline_, call.deadline);
  return &call;
}

template <int D>
Status Group<D>::keep_range(const rtree::RangeQuery<D>& query, Callback<RangeAnswer<D>> callback,
                            protocol::Moment as_of) {
  if (auto ok = rtree::check_box(query.window, "window"); !ok) return ok;
  auto call = new_call(CallKind::kRange);
  if (!call) return fail(call.error());
  (*call)->range_query = query;
  if (query.limit >= protocol::kNoLimit) (*call)->range_query.limit = UINT64_MAX;
  (*call)->as_of = as_of;
  (*call)->on_range = std::move(callback);
  return {};
}

template <int D>
Status Group<D>::keep_nearest(const rtree::NearestQuery<D>& query, Callback<NearestAnswer> callback,
                              protocol::Moment as_of) {
  if (auto ok = rtree::check_point(query.point); !ok) return ok;
  if (auto ok = protocol::check_k(query.k); !ok) return ok;
  auto call = new_call(CallKind::kNearest);
  if (!call) return fail(call.error());
  (*call)->nearest_query = query;
  (*call)->as_of = as_of;
  (*call)->on_nearest = std::move(callback);
  return {};
}

template <int D>
Status Group<D>::keep_write(std::span<const protocol::Operation<D>> operations,
                            Callback<WriteAnswer> callback) {
  if (auto ok = ClientCore<D>::check_write(operations, max_batch_); !ok) return ok;
  auto call = new_call(CallKind::kWrite);
  if (!call) return fail(call.error());
  const auto sequence = family_.writes.next();
  if (!sequence) {
    kept_.pop_back();
    return fail(ErrorCode::kUnavailable, "too many writes have no answer: wait for some of them");
  }
  (*call)->sequence = *sequence;
  (*call)->message.resize(protocol::write_bytes<D>(operations.size()));
  protocol::encode_write<D>((*call)->message, 0, *sequence, operations,
                            family_.writes.outstanding(*sequence));
  (*call)->on_write = std::move(callback);
  return {};
}

template <int D>
template <typename Encode>
Status Group<D>::keep_text(std::size_t bytes, bool harmless, Nanoseconds patience,
                           Callback<StatsAnswer> callback, Encode&& encode) {
  auto call = new_call(CallKind::kText, patience);
  if (!call) return fail(call.error());
  (*call)->harmless = harmless;
  (*call)->message.resize(bytes);
  encode(std::span((*call)->message));
  (*call)->on_text = std::move(callback);
  return {};
}

template <int D>
Status Group<D>::stats(Callback<StatsAnswer> callback) {
  if (auto* core = connected()) return core->stats(std::move(callback));
  return keep_text(
      sizeof(protocol::Header), true, 0, std::move(callback), [](std::span<std::byte> out) {
        protocol::encode_bare(out, protocol::MessageType::kStats, 0, protocol::kAnyMember);
      });
}

template <int D>
Status Group<D>::cluster(Callback<StatsAnswer> callback) {
  if (auto* core = connected()) return core->cluster(std::move(callback), true);
  return keep_text(
      sizeof(protocol::Header), true, 0, std::move(callback), [](std::span<std::byte> out) {
        protocol::encode_bare(out, protocol::MessageType::kCluster, 0, protocol::kAnyMember);
      });
}

template <int D>
Status Group<D>::task(protocol::TaskKind kind, protocol::Moment from, protocol::Moment to,
                      std::string_view text, Callback<StatsAnswer> callback) {
  if (auto* core = connected()) return core->task(kind, from, to, text, std::move(callback));
  if (text.size() > protocol::kMaxTaskText) {
    return fail(ErrorCode::kTooLarge, "'" + std::string(text) + "' is too long");
  }
  return keep_text(sizeof(protocol::TaskRequest) + text.size(), kind != protocol::TaskKind::kBackup,
                   options_.patience, std::move(callback), [&](std::span<std::byte> out) {
                     protocol::encode_task(out, 0, kind, from, to, text);
                   });
}

template <int D>
Status Group<D>::load_begin(Callback<LoadAnswer> callback) {
  load_connection_ = connection_;
  if (auto* core = connected()) return core->load_begin(std::move(callback));
  auto call = new_call(CallKind::kLoad);
  if (!call) return fail(call.error());
  (*call)->harmless = true;
  (*call)->message.resize(sizeof(protocol::Header));
  protocol::encode_bare((*call)->message, protocol::MessageType::kLoadBegin, 0);
  (*call)->on_load = std::move(callback);
  return {};
}

template <int D>
Status Group<D>::load_entries(std::span<const rtree::Entry<D>> entries,
                              Callback<LoadAnswer> callback) {
  auto* core = connected();
  if (core == nullptr) return fail(no_server());
  if (connection_ != load_connection_) return fail(lost("the load was lost with its connection"));
  return core->load_entries(entries, std::move(callback));
}

template <int D>
Status Group<D>::load_commit(double fill, std::uint64_t entries, Callback<LoadAnswer> callback) {
  auto* core = connected();
  if (core == nullptr) return fail(no_server());
  if (connection_ != load_connection_) return fail(lost("the load was lost with its connection"));
  return core->load_commit(fill, entries, std::move(callback));
}

template <int D>
Status Group<D>::load_abort(Callback<LoadAnswer> callback) {
  auto* core = connected();
  if (core == nullptr) return fail(no_server());
  return core->load_abort(std::move(callback));
}

/// Any member that is fresh enough and least busy; the primary (if there is one) if no other is.
template <int D>
ClientCore<D>* Group<D>::choose_reader(ClientCore<D>* primary, const Freshness*& any) {
  const Nanoseconds now = clock_.now();
  const ReadOptions& read = options_.read;
  const Standing newest = primary != nullptr ? primary->standing(now) : Standing{};
  Freshness best_freshness;
  ClientCore<D>* best = nullptr;
  double best_load = 0;
  for (const auto& member : members_) {
    ClientCore<D>* const core = member->core.get();
    if (core == nullptr || !core->connected() || (core != primary && !member->in_view)) continue;
    const Standing& standing = core->standing(now);
    const std::uint64_t staleness = standing.staleness_at(now);
    if (staleness > static_cast<std::uint64_t>(read.max_staleness)) continue;
    Freshness freshness;
    freshness.until = now + read.max_staleness - static_cast<Nanoseconds>(staleness);
    freshness.at_least = standing.version;
    if (read.monotonic) freshness.at_least = std::max(freshness.at_least, family_.newest);
    if (read.max_versions_behind != UINT64_MAX) {
      // What the primary has told lately is what there is, or nearly.
      if (now - newest.seen > read.max_staleness || newest.seen == 0) continue;
      if (newest.version > read.max_versions_behind) {
        freshness.at_least =
            std::max(freshness.at_least, newest.version - read.max_versions_behind);
      }
    }
    // It has caught up since its heartbeat, perhaps; not so soon after that turned out wrong.
    if (standing.version < freshness.at_least && now < pessimistic_until_) continue;
    // Own requests are the newest news; a random part keeps clients from moving all at once.
    const double load = (static_cast<double>(core->in_flight()) + 0.5 + random_.uniform()) *
                        (1 / (1.05 - standing.cpu_busy));
    if (best != nullptr && load >= best_load) continue;
    best = core;
    best_load = load;
    best_freshness = freshness;
  }
  if (best == nullptr || best == primary) return primary;
  freshness_ = best_freshness;
  any = &freshness_;
  ++before_.asked_of_backups;
  return best;
}

// --- what connections leave undone --------------------------------------------------------------

template <int D>
void Group<D>::keep(Call<D>&& call, ErrorCode why) {
  if (why == ErrorCode::kNotPrimary && !call.any) not_primary_ = true;
  if (why == ErrorCode::kUnavailable) {
    ++before_.refused_answers;
    pessimistic_until_ = clock_.now() + kPessimism;
  }
  call.any = false;
  kept_deadline_ = std::min(kept_deadline_, call.deadline);
  kept_.push_back(std::move(call));
}

template <int D>
void Group<D>::finish(std::deque<Call<D>>& calls, const Error& why) {
  while (!calls.empty()) {
    Call<D> call = std::move(calls.front());
    calls.pop_front();
    const Error error = call.failure(why);
    if (call.kind == CallKind::kWrite) {
      family_.writes.resolve(call.sequence);
      ++before_.writes.failed;
    } else if (call.is_search()) {
      ++before_.messaging.failed;
    }
    call.deliver(&error);
  }
}

template <int D>
std::size_t Group<D>::end_overdue(Nanoseconds now) {
  if (now < kept_deadline_) return 0;
  std::deque<Call<D>> due;
  std::deque<Call<D>> left;
  kept_deadline_ = INT64_MAX;
  for (Call<D>& call : kept_) {
    if (call.deadline > now) kept_deadline_ = std::min(kept_deadline_, call.deadline);
    (call.deadline > now ? left : due).push_back(std::move(call));
  }
  kept_ = std::move(left);
  const std::size_t count = due.size();
  before_.deadlines_exceeded += count;
  finish(due, {ErrorCode::kDeadlineExceeded, "no primary in time: " + last_error_.message});
  return count;
}

// --- driving it ---------------------------------------------------------------------------------

template <int D>
void Group<D>::flush() {
  for (auto& member : members_) {
    if (member->core != nullptr) member->core->flush();
  }
}

template <int D>
std::size_t Group<D>::settle(bool look) {
  std::size_t settled = 0;
  for (auto& member : members_) {
    if (member->core != nullptr) settled += member->core->settle(look);
  }
  if (connected() != nullptr && kept_.empty() && !not_primary_ && !look &&
      ++settles_ % kSettlesPerLook != 0) {
    return settled;
  }
  return settled + upkeep(look);
}

template <int D>
std::size_t Group<D>::upkeep(bool look) {
  const Nanoseconds now = clock_.now();
  const std::size_t kept_before = kept_.size();
  const bool was_connected = connected() != nullptr;
  look_after_primary(look, now);
  for (auto& member : members_) {
    if (member->core != nullptr && member.get() != primary_ && !member->core->connected()) {
      if (member.get() == asked_) asked_ = nullptr;
      drop(*member);
    }
  }
  if (connected() == nullptr && !failure_) seek(now);
  if (ClientCore<D>* const core = connected(); core != nullptr && !kept_.empty()) {
    // In the order in which they were begun, as far as that matters.
    std::ranges::stable_sort(kept_, {}, [](const Call<D>& call) {
      return call.kind == CallKind::kWrite ? call.sequence : 0;
    });
    while (!kept_.empty()) {
      if (kept_.front().kind == CallKind::kLoad) load_connection_ = connection_;
      if (!core->adopt(kept_.front())) break;
      kept_.pop_front();
    }
  }
  const std::size_t ended = end_overdue(now);
  if (options_.read.from == ReadFrom::kAny) {
    look_after_readers(now);
  } else if (connected() != nullptr) {
    leave_others();
  }
  // Who waits for a server shall not go to sleep when there is one.
  const std::size_t found = connected() != nullptr && !was_connected ? 1 : 0;
  return found + ended + (kept_.size() < kept_before ? kept_before - kept_.size() : 0);
}

template <int D>
Nanoseconds Group<D>::max_wait() const {
  const ClientCore<D>* const core = connected();
  if (core == nullptr) {
    const Nanoseconds now = clock_.now();
    const Nanoseconds next = failure_            ? now + kLetSleep
                             : asked_ != nullptr ? asked_until_
                                                 : next_attempt_;
    return std::clamp(std::min(next, kept_deadline_) - now, 100 * kMicrosecond, 20 * kMillisecond);
  }
  Nanoseconds longest = core->max_wait();
  if (options_.read.from == ReadFrom::kAny) longest = std::min(longest, 10 * kMillisecond);
  return longest;
}

template <int D>
void Group<D>::drop(Member& member) {
  before_.merge(member.core->statistics());
  before_.cached_nodes = 0;
  member.core.reset();
  member.in_view = false;
}

/// Finds out whether it still is one.
template <int D>
void Group<D>::look_after_primary(bool look, Nanoseconds now) {
  if (primary_ == nullptr) return;
  ClientCore<D>& core = *primary_->core;
  if (not_primary_ && core.connected()) {
    core.give_up("it is not the primary any more");
  } else if ((look || now - looked_at_ > kLookEvery) && core.connected() &&
             core.server().epoch != 0) {
    looked_at_ = now;
    const Nanoseconds heartbeat = core.standing(now).seen;
    const std::uint64_t messages = core.connection().counters().messages_received;
    if (messages != heard_messages_ || heartbeat != heard_heartbeat_ ||
        core.unanswered_calls() == 0) {
      heard_messages_ = messages;
      heard_heartbeat_ = heartbeat;
      heard_at_ = now;
    } else if (now - heard_at_ > options_.silence && options_.reconnect_for > 0) {
      core.give_up("it has said nothing for " + format_duration(now - heard_at_));
    }
  }
  if (!core.connected()) lose_primary(now);
}

template <int D>
void Group<D>::lose_primary(Nanoseconds now) {
  last_error_ = *primary_->core->lost();
  // The others first: it was lost.
  const auto place = std::ranges::find(members_, primary_, &std::unique_ptr<Member>::get);
  first_ = static_cast<std::size_t>(place - members_.begin()) + (not_primary_ ? 0 : 1);
  drop(
      *std::exchange(primary_, nullptr));  // callbacks run: there is no primary for what they begin
  hint_.clear();
  if (now - led_since_ > kSettledAfter) backoff_ = Backoff(random_(), kLongestPause);
  // One that says that it isn't the primary, and that it is, is asked again a little later.
  next_attempt_ = not_primary_ ? now + backoff_.next() : now;
  not_primary_ = false;
  cursor_ = 0;
  seek_until_ = now + options_.reconnect_for;
  if (last_error_.code != ErrorCode::kConnectionLost || options_.reconnect_for <= 0) {
    stop_seeking(last_error_);
  }
}

// --- finding the primary ------------------------------------------------------------------------

template <int D>
void Group<D>::stop_seeking(Error why) {
  failure_ = std::move(why);
  std::deque<Call<D>> calls = std::exchange(kept_, {});
  kept_deadline_ = INT64_MAX;
  const Error told = *failure_;  // a callback may begin an operation, and so the search again
  finish(calls, told);
}

template <int D>
void Group<D>::begin_again() {
  failure_.reset();
  seek_until_ = clock_.now() + options_.reconnect_for;
  next_attempt_ = 0;
  cursor_ = 0;
  backoff_ = Backoff(random_(), kLongestPause);
}

template <int D>
typename Group<D>::Member* Group<D>::next_candidate(Nanoseconds now) {
  if (!hint_.empty()) {
    learn(hint_);
    Member* const member = find(std::exchange(hint_, {}));
    if (member != nullptr && now >= member->next_try) return member;
  }
  // Those that only cost time lately come last.
  const bool any_awake =
      std::ranges::any_of(members_, [&](const auto& member) { return now >= member->next_try; });
  while (any_awake && cursor_ < members_.size() && now < candidate(cursor_).next_try) ++cursor_;
  if (cursor_ >= members_.size()) {
    // A whole round for nothing.
    cursor_ = 0;
    next_attempt_ = now + backoff_.next();
    if (directory_ != nullptr) {
      const auto urls = directory_->members();
      if (urls) {
        // Those that were members once make room for those that are.
        std::erase_if(members_, [&](const auto& member) {
          return member->core == nullptr && std::ranges::count(*urls, member->url) == 0;
        });
        for (const std::string& url : *urls) learn(url);
      } else {
        last_error_ = urls.error();
      }
    }
    return nullptr;
  }
  return &candidate(cursor_++);
}

/// One step: connects to at most one member.
template <int D>
void Group<D>::seek(Nanoseconds now) {
  if (asked_ != nullptr) {
    if (now < asked_until_) return;
    last_error_ = lost(asked_->url, " does not answer");
    drop(*std::exchange(asked_, nullptr));
  }
  if (now >= seek_until_) {
    Error error = last_error_;
    if (has_readers()) {
      error = lost("there is no primary: ", last_error_.message);
    } else if (std::ranges::any_of(members_, [](const auto& one) { return one->in_view; })) {
      error.message += "; and no member is known to be at most " +
                       format_duration(options_.read.max_staleness) + " behind (--max-staleness)";
    }
    if (was_lost_) error = lost(peer_, " was lost; and so far no other: ", last_error_.message);
    return stop_seeking(std::move(error));
  }
  if (now < next_attempt_) return;
  Member* const member = next_candidate(now);
  if (member == nullptr) return;
  if (member->core == nullptr) {
    if (const Status ok = dial(*member, now); !ok) {
      last_error_ = ok.error();
      if ((is_alone() && !was_lost_) || last_error_.code == ErrorCode::kUnsupported) {
        stop_seeking(last_error_);
      }
      return;
    }
  }
  const bool is_no_member = member->core->server().epoch == 0;
  if (is_alone() && (is_no_member || !options_.follow_primary)) return lead_with(*member);
  ask(*member, now);
}

template <int D>
Status Group<D>::dial(Member& member, Nanoseconds now) {
  const auto address = transport::Address::parse(member.url);
  if (!address) return fail(address.error());
  const auto way = network_.way_to(*address);
  if (!way) return fail(way.error());
  ClientOptions options = options_;
  Nanoseconds most = options_.connect_timeout;
  if (!is_alone()) most = std::min(most, kMaxConnect);
  // As a reader, there is no hurry to find it; a primary is being looked for for so long only.
  const Nanoseconds left = primary_ != nullptr ? most : std::min(seek_until_, kept_deadline_) - now;
  options.connect_timeout = std::clamp(left, kMillisecond, std::max(most, kMillisecond));
  auto core =
      ClientCore<D>::connect(*way->fabric, *way->poller, *address, clock_, options, &family_);
  if (!core) {
    const bool was_long = clock_.now() - now > kLongDial;
    member.next_try = clock_.now() + (was_long ? kLetSleep : member.backoff.next());
    return fail(core.error());
  }
  member.next_try = 0;
  member.core = std::move(*core);
  return {};
}

template <int D>
void Group<D>::ask(Member& member, Nanoseconds now) {
  asked_ = &member;
  asked_until_ = now + kAskFor;
  const Status asked = member.core->cluster(Callback<StatsAnswer>(
      [this, &member](const Result<StatsAnswer*>& answer) { heard(member, answer); }));
  if (asked) {
    ++own_calls_;
  } else {
    asked_until_ = now;
  }
}

/// What a member says of its group: from within its connection's callbacks.
template <int D>
void Group<D>::heard(Member& member, const Result<StatsAnswer*>& answer) {
  --own_calls_;
  const bool was_asked = asked_ == &member;
  if (was_asked) asked_ = nullptr;
  if (!answer) {
    last_error_ = answer.error();
    return;
  }
  const auto info = parse_cluster_info((*answer)->json);
  if (!info) {
    last_error_ = info.error();
    return;
  }
  std::vector<std::string> others;
  for (const std::string& urls : info->others) {
    others.push_back(one_of(urls));
    learn(others.back());
  }
  if (info->is_primary) {
    for (auto& other : members_) other->in_view = std::ranges::count(others, other->url) != 0;
    if (was_asked && primary_ == nullptr) lead_with(member);
    return;
  }
  if (!was_asked) return;
  if (primary_ == nullptr && info->is_backup) member.in_view = true;
  const std::string primary = one_of(info->primary);
  if (!primary.empty() && primary != member.url) {
    hint_ = primary;
  } else {
    last_error_ = lost("the group has no primary yet");
  }
}

template <int D>
void Group<D>::lead_with(Member& member) {
  primary_ = &member;
  ++connection_;
  ClientCore<D>& core = *member.core;
  max_batch_ = core.max_batch();
  max_load_batch_ = core.max_load_batch();
  peer_ = core.connection().peer();
  not_primary_ = false;
  led_since_ = heard_at_ = looked_at_ = clock_.now();
  heard_messages_ = 0;
  if (was_lost_) ++before_.reconnects;
  was_lost_ = true;
}

/// Those that were asked who the primary is.
template <int D>
void Group<D>::leave_others() {
  for (auto& member : members_) {
    if (member->core != nullptr && member.get() != primary_ && member.get() != asked_) {
      drop(*member);
    }
  }
}

/// Connections to the other members of the view, and news of how fresh they are.
template <int D>
void Group<D>::look_after_readers(Nanoseconds now) {
  const Nanoseconds probe_every =
      std::clamp(options_.read.max_staleness / 4, 10 * kMillisecond, 500 * kMillisecond);
  bool dialled = false;
  for (const auto& member : members_) {
    if (primary_ != nullptr && primary_->core->server().epoch == 0) return;
    if (member->core == nullptr) {
      if (!member->in_view || dialled || now < member->next_try) continue;
      dialled = true;
      if (!dial(*member, now)) continue;
      member->in_view = true;
    }
    if (!member->core->connected()) continue;
    // What it says is dated by the newest message that it knows of: look before the next one goes.
    member->core->standing(now);
    if (now - member->probed < probe_every) continue;
    member->probed = now;
    const Status asked = member->core->cluster(Callback<StatsAnswer>(
        [this, m = member.get()](const Result<StatsAnswer*>& answer) { heard(*m, answer); }));
    if (asked) ++own_calls_;
  }
}

// --- looking at it ------------------------------------------------------------------------------

template <int D>
std::size_t Group<D>::count_in_flight() const {
  std::size_t count = kept_.size() - own_calls_;  // which are in some connection
  for (const auto& member : members_) {
    if (member->core != nullptr) count += member->core->in_flight();
  }
  return count;
}

template <int D>
bool Group<D>::has_readers() {
  if (options_.read.from != ReadFrom::kAny) return false;
  const Nanoseconds now = clock_.now();
  return std::ranges::any_of(members_, [&](const auto& member) {
    ClientCore<D>* const core = member->core.get();
    return core != nullptr && core->connected() && member->in_view &&
           core->standing(now).staleness_at(now) <=
               static_cast<std::uint64_t>(options_.read.max_staleness);
  });
}

template <int D>
bool Group<D>::knows_readers() const {
  if (options_.read.from == ReadFrom::kPrimary || !ready()) return true;
  if (primary_->core->server().epoch == 0) return true;
  return std::ranges::all_of(members_, [](const auto& member) {
    const ClientCore<D>* const core = member->core.get();
    if (core == nullptr) return !member->in_view || member->next_try != 0;
    return core->known().since != 0;
  });
}

template <int D>
std::size_t Group<D>::connections() const {
  return static_cast<std::size_t>(std::ranges::count_if(members_, [](const auto& member) {
    return member->core != nullptr && member->core->connected();
  }));
}

template <int D>
ClientStatistics Group<D>::statistics() const {
  ClientStatistics all = before_;
  for (const auto& member : members_) {
    if (member->core != nullptr) all.merge(member->core->statistics());
  }
  return all;
}

template <int D>
void Group<D>::reset_statistics() {
  before_ = {};
  for (auto& member : members_) {
    if (member->core != nullptr) member->core->reset_statistics();
  }
}

template class Group<2>;
template class Group<3>;

}  // namespace silurus::client
