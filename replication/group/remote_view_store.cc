// SPDX-License-Identifier: Apache-2.0

#include "replication/group/remote_view_store.h"

#include <utility>

#include "replication/group/static_view_store.h"
#include "replication/group/wire.h"

namespace silurus::replication::group {

struct RemoteViewStore::Line final : transport::ConnectionHandler {
  explicit Line(RemoteViewStore& its_owner) : owner(its_owner) {}
  void on_message(transport::Connection&, std::span<const std::byte> message) override {
    if (!is_over) owner.on_message(message);
  }
  void on_read(transport::Connection&, std::uint64_t, bool) override {}
  void on_writable(transport::Connection&) override {
    if (!is_over) owner.send();
  }
  void on_closed(transport::Connection&, const Error& reason) override {
    if (!is_over) owner.hang_up(reason);
  }

  RemoteViewStore& owner;
  std::unique_ptr<transport::Connection> connection;
  bool is_over = false;
};

RemoteViewStore::RemoteViewStore(const RemoteViewStoreOptions& options, Dialer dialer,
                                 const Clock& clock)
    : options_(options), dialer_(std::move(dialer)), clock_(clock), kept_(options.kept) {}
RemoteViewStore::~RemoteViewStore() = default;

void RemoteViewStore::tell(std::function<void()> what) {
  told_.push_back(std::move(what));
  options_.wake();
}

void RemoteViewStore::read(OnRead done) {
  ask(kAskView, {}, [this, done = std::move(done)](Result<std::string> answer) {
    done(answer ? learn(*answer) : Result<State>(fail(answer.error())));
  });
}

void RemoteViewStore::replace(std::uint64_t, const View&, OnReplaced done) {
  tell([done = std::move(done)] {
    done(fail(ErrorCode::kPermission, "only the first member of a static group changes the view"));
  });
}

void RemoteViewStore::announce(const Registration& registration, OnAnnounced done) {
  ask(kAnnounce, encode(registration), [done = std::move(done)](Result<std::string> answer) {
    if (answer && !answer->empty()) answer = fail(ErrorCode::kProtocol, "an answer with a rest");
    answer ? done({}) : done(fail(answer.error()));
  });
}

Status RemoteViewStore::progress() {
  over_.clear();
  if (!questions_.empty() && clock_.now() >= questions_.front().until) {
    hang_up({ErrorCode::kDeadlineExceeded, "the first member does not answer in time"});
  }
  for (; !told_.empty() && !contradiction_; told_.pop_front()) {
    const auto told = std::move(told_.front());
    told();
  }
  return contradiction_ ? Status(fail(*contradiction_)) : Status{};
}

void RemoteViewStore::ask(std::uint32_t kind, std::string text, OnAnswer done) {
  questions_.push_back({kind, std::move(text), std::move(done), clock_.now() + options_.timeout});
  if (line_ != nullptr) return send();
  if (!is_dialing_) dial();
}

void RemoteViewStore::dial() {
  is_dialing_ = true;
  const MemberHello hello{.magic = kViewStoreMagic,
                          .group = options_.group,
                          .member = options_.self,
                          .incarnation = options_.incarnation};
  // The connection's handler must be there before it is known whether it is still wanted.
  auto line = std::make_shared<std::unique_ptr<Line>>(std::make_unique<Line>(*this));
  Line& handler = **line;
  dialer_(options_.keeper, options_.timeout / 2, std::as_bytes(std::span(&hello, 1)), handler,
          [this, line, alive = std::weak_ptr<int>(alive_)](auto connection) {
            if (alive.expired()) return;
            is_dialing_ = false;
            if (!connection) return hang_up(connection.error());
            line_ = std::move(*line);
            line_->connection = std::move(*connection);
            greet();
          });
}

void RemoteViewStore::greet() {
  if (decode_member_hello(options_.group, line_->connection->peer_hello(), kViewStoreMagic)) {
    return send();
  }
  hang_up({ErrorCode::kProtocol,
           options_.keeper.to_string() + " is not the first member of this group"});
}

void RemoteViewStore::send() {
  for (Question& one : questions_) {
    if (one.is_sent) continue;
    if (sizeof(SideMessageHead) + one.text.size() > line_->connection->limits().max_message_bytes) {
      return hang_up({ErrorCode::kTooLarge, "what this member says of itself is too long"});
    }
    const auto text = std::as_bytes(std::span(one.text.data(), one.text.size()));
    const MemberId founder = kept_ ? kept_->founder : 0;
    if (!send_side_message(*line_->connection, one.kind, founder, text)) return;  // on_writable
    one.is_sent = true;
  }
}

void RemoteViewStore::on_message(std::span<const std::byte> message) {
  auto answer = decode_side_message(message);
  const bool is_expected =
      answer && !questions_.empty() && questions_.front().is_sent &&
      (answer->head.kind == questions_.front().kind || answer->head.kind == kViewStoreRefuses);
  if (!is_expected) return hang_up({ErrorCode::kProtocol, "not what a keeper of views answers"});
  std::string text(reinterpret_cast<const char*>(answer->payload.data()), answer->payload.size());
  Result<std::string> result = std::move(text);
  if (answer->head.kind == kViewStoreRefuses) {
    result = fail(ErrorCode::kConflict, "the first member says: " + *result);
  }
  tell([done = std::move(questions_.front().done), result = std::move(result)] { done(result); });
  questions_.pop_front();
}

/// Whatever was asked fails: the next question dials again.
void RemoteViewStore::hang_up(const Error& why) {
  if (line_ != nullptr) {
    line_->is_over = true;
    line_->connection->close();
    over_.push_back(std::exchange(line_, nullptr));
  }
  for (; !questions_.empty(); questions_.pop_front()) {
    tell([done = std::move(questions_.front().done), why] { done(fail(why)); });
  }
}

/// What the keeper says of the view, once it is saved here.
Result<ViewStore::State> RemoteViewStore::learn(const std::string& answer) {
  if (answer.empty()) {
    return fail(ErrorCode::kUnavailable, "the first member is about to lead the group");
  }
  auto told = decode_persisted_view(answer);
  if (!told) return fail(told.error());
  if (kept_) {
    if (Status may = may_follow(*kept_, *told); !may) {
      contradiction_ = may.error();
      return fail(may.error());
    }
  }
  if (kept_ != told) {
    if (Status saved = options_.save(*told); !saved) return fail(saved.error());
    kept_ = *told;
  }
  State state;
  state.view = told->view;
  state.revision = told->view.epoch;
  return state;
}

}  // namespace silurus::replication::group
