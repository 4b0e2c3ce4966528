// SPDX-License-Identifier: Apache-2.0

#include "replication/group/static_view_store.h"

#include <algorithm>
#include <cstring>
#include <string>
#include <utility>

#include "common/log.h"
#include "replication/group/side_messages.h"

namespace silurus::replication::group {
namespace {

/// Answers that wait for room: a member asks two things at a time at most.
constexpr std::size_t kMaxAnswers = 4;

std::span<const std::byte> bytes_of(std::string_view text) {
  return std::as_bytes(std::span(text.data(), text.size()));
}

}  // namespace

/// A member that asks.
class StaticViewStore::Client final : public transport::ConnectionHandler {
 public:
  Client(StaticViewStore& keeper, const MemberHello& hello,
         std::unique_ptr<transport::Connection> connection)
      : keeper_(keeper), hello_(hello), connection_(std::move(connection)) {
    connection_->set_handler(this);
  }

  void on_message(transport::Connection&, std::span<const std::byte> message) override {
    const auto asked = decode_side_message(message);
    if (!asked || answers_.size() >= kMaxAnswers || !understand(*asked)) return end();
    answer();
  }
  void on_read(transport::Connection&, std::uint64_t, bool) override {}
  void on_writable(transport::Connection&) override { answer(); }
  void on_closed(transport::Connection&, const Error&) override { is_over_ = true; }
  void end() { connection_->close(); }
  bool is_over() const { return is_over_; }
  MemberId member() const { return hello_.member; }

 private:
  struct Answer {
    std::uint32_t kind;
    std::string text;
  };

  /// False: nothing that a member would ask.
  bool understand(const SideMessage& asked) {
    const std::string_view text(reinterpret_cast<const char*>(asked.payload.data()),
                                asked.payload.size());
    const MemberId founder = asked.head.argument;
    Status done;
    switch (asked.head.kind) {
      case kAskView:
        if (!text.empty()) return false;
        // A member of another group is told all the same: it finds out, and says what to do.
        keeper_.recognize(hello_.member, founder);
        answers_.push_back({kAskView, keeper_.leads() ? encode(*keeper_.kept_) : ""});
        return true;
      case kAnnounce:
        done = keeper_.take_announcement(hello_, founder, text);
        answers_.push_back(
            {done ? kAnnounce : kViewStoreRefuses, done ? "" : done.error().message});
        return true;
      default:
        return false;
    }
  }

  void answer() {
    const std::size_t most = connection_->limits().max_message_bytes;
    for (; !answers_.empty(); answers_.pop_front()) {
      const Answer& next = answers_.front();
      if (sizeof(SideMessageHead) + next.text.size() > most) return end();
      if (!send_side_message(*connection_, next.kind, 0, bytes_of(next.text))) return;
    }
  }

  StaticViewStore& keeper_;
  const MemberHello hello_;
  std::unique_ptr<transport::Connection> connection_;
  std::deque<Answer> answers_;
  bool is_over_ = false;
};

StaticViewStore::StaticViewStore(const StaticViewStoreOptions& options, const Clock& clock)
    : options_(options), clock_(clock), kept_(options.kept) {}
StaticViewStore::~StaticViewStore() = default;

Result<std::unique_ptr<StaticViewStore>> StaticViewStore::create(
    const StaticViewStoreOptions& options, const Clock& clock) {
  if (options.kept && options.kept->view.primary != options.self) {
    if (!options.takes_over) {
      return fail(ErrorCode::kConflict,
                  "--lead: member " + std::to_string(options.kept->view.primary) +
                      " led the last view that this one, " + std::to_string(options.self) +
                      ", knows of. If that member is permanently lost, and nothing will start "
                      "with its data again, say --take-over too, once");
    }
    if (Status may = may_take_over(*options.kept, options.self); !may) return fail(may.error());
    log::warning(
        "member " + std::to_string(options.self) + ", epoch " +
        std::to_string(options.kept->view.epoch) + ": takes the place of member " +
        std::to_string(options.kept->view.primary) +
        " when a lease has passed without a word of it; it must never start again with its "
        "data as the one that leads");
  }
  return std::unique_ptr<StaticViewStore>(new StaticViewStore(options, clock));
}

// --- the member here

void StaticViewStore::tell(std::function<void()> what) {
  told_.push_back(std::move(what));
  options_.wake();
}

ViewStore::State StaticViewStore::state() {
  std::erase_if(announced_,
                [now = clock_.now()](const auto& one) { return one.second.expires <= now; });
  State state;
  if (kept_) {
    state.view = kept_->view;
    state.revision = kept_->view.epoch;
  }
  for (const auto& [id, one] : announced_) state.registrations.push_back(one.registration);
  return state;
}

void StaticViewStore::read(OnRead done) {
  tell([done = std::move(done), state = state()] { done(state); });
}

/// A view's revision is its epoch: none comes twice.
Result<std::uint64_t> StaticViewStore::swap(std::uint64_t revision, const View& next) {
  if (revision != (kept_ ? kept_->view.epoch : 0)) return 0;
  PersistedView kept{.founder = options_.self, .taken_over_at = 0, .view = next};
  if (kept_) {
    kept.founder = kept_->founder;
    kept.taken_over_at =
        next.primary == kept_->view.primary ? kept_->taken_over_at : kept_->view.epoch;
  }
  if (Status saved = options_.save(kept); !saved) {
    if (!std::exchange(cannot_save_, true)) {
      log::error("member " + std::to_string(options_.self) + ", epoch " +
                 std::to_string(next.epoch - 1) +
                 ": no view can be changed, and no member voted out: " + saved.error().message);
    }
    return fail(saved.error());
  }
  cannot_save_ = false;
  kept_ = std::move(kept);
  return next.epoch;
}

void StaticViewStore::replace(std::uint64_t revision, const View& next, OnReplaced done) {
  tell([done = std::move(done), replaced = swap(revision, next)] { done(replaced); });
}

void StaticViewStore::announce(const Registration& registration, OnAnnounced done) {
  announced_[registration.member.id] = {registration, INT64_MAX};
  tell([done = std::move(done)] { done({}); });
}

Status StaticViewStore::progress() {
  std::erase_if(clients_, [](const auto& client) { return client->is_over(); });
  for (; !told_.empty(); told_.pop_front()) {
    const auto told = std::move(told_.front());
    told();
  }
  return {};
}

// --- the others

Result<std::vector<std::byte>> StaticViewStore::on_hello(std::span<const std::byte> client_hello,
                                                         const transport::Caller&) {
  if (!decode_member_hello(options_.group, client_hello, kViewStoreMagic)) {
    return fail(ErrorCode::kProtocol, "not a member of this group");
  }
  const MemberHello answer{
      .magic = kViewStoreMagic, .group = options_.group, .member = options_.self, .incarnation = 1};
  const auto bytes = std::as_bytes(std::span(&answer, 1));
  return std::vector(bytes.begin(), bytes.end());
}

void StaticViewStore::on_accept(std::unique_ptr<transport::Connection> connection,
                                transport::Poller&) {
  const auto hello = decode_member_hello(options_.group, connection->peer_hello(), kViewStoreMagic);
  clients_.push_back(
      std::make_unique<Client>(*this, hello.value_or(MemberHello()), std::move(connection)));
  Client& client = *clients_.back();
  const auto others = std::span(clients_).first(clients_.size() - 1);
  for (const auto& other : others) {
    if (other->member() == client.member()) other->end();  // in a life that is over
  }
  if (!hello || hello->member == options_.self || clients_.size() > kMaxViewStoreClients)
    client.end();
}

/// Why a member that knows of a group by that founder, if of any, does not belong to this one.
std::optional<Error> StaticViewStore::recognize(MemberId member, MemberId founder) {
  if (founder == 0 || !kept_ || founder == kept_->founder) return std::nullopt;
  const std::string who = "member " + std::to_string(member) + " belongs to a group that store " +
                          std::to_string(founder) + " founded, this one was founded by " +
                          std::to_string(kept_->founder);
  if (!std::exchange(has_warned_, true)) {
    log::error("member " + std::to_string(options_.self) + ": " + who +
               ". If the data directory of this server was lost or emptied, stop it: its own data, "
               "or a member that was in the last view and takes over, has what was acknowledged");
  }
  return Error{ErrorCode::kConflict, who};
}

Status StaticViewStore::take_announcement(const MemberHello& from, MemberId founder,
                                          std::string_view text) {
  if (const auto stranger = recognize(from.member, founder)) return fail(*stranger);
  auto registration = decode_registration(text);
  if (!registration) return fail(registration.error());
  if (registration->member.id != from.member || registration->incarnation != from.incarnation) {
    return fail(ErrorCode::kProtocol, "a member that speaks for another one");
  }
  if (!announced_.contains(from.member) && announced_.size() >= kMaxViewStoreClients) {
    return fail(ErrorCode::kUnavailable, "too many members");
  }
  announced_[from.member] = {std::move(*registration), clock_.now() + options_.lease};
  return {};
}

}  // namespace silurus::replication::group
