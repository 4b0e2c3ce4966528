// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <tuple>
#include <utility>
#include <variant>
#include <vector>

#include "client/offload.h"
#include "client/policy.h"
#include "client/request.h"
#include "common/clock.h"
#include "common/result.h"
#include "protocol/messages.h"
#include "silurus/answers.h"

namespace silurus::client {

template <int D>
class Link;

/// What a call returns; in the order of AnyCallback's alternatives.
enum class CallKind : std::uint8_t { kRange, kNearest, kWrite, kText, kLoad, kJoin, kGet };

enum class CallState : std::uint8_t {
  kFree,
  kQueued,   ///< waits for a server; the only state of a live call without a link
  kWaiting,  ///< for room in the link's ring
  kSent,     ///< as a message
  kOffloading,
  kForgotten,   ///< past its deadline; the answer is yet to come, the slot can't be used again
  kDelivering,  ///< its callback is running
};

/// What an answer of a member that may be behind must keep to.
struct Freshness {
  Nanoseconds until = INT64_MAX;  ///< be here by then
  rtree::Version at_least = 0;
};

/// One operation of a client from its beginning to its end (PendingCalls owns it). It holds all
/// that is needed to begin it anew on another link, and memory for an answer of each kind, so that
/// in steady state nothing is allocated.
template <int D>
struct Call {
  static constexpr Nanoseconds kLooksPerPatience = 8;

  CallState state = CallState::kFree;
  Access chosen = Access::kMessaging;  ///< by the policy or the mode
  bool chosen_by_policy = false;
  bool holding = false;        ///< the message asks the server to hold the version of as_of
  bool given_back = false;     ///< by the offloader, while the server was silent
  bool any = false;            ///< any member may answer it, as fresh as `freshness` says
  bool is_repeatable = false;  ///< a request for text or a load step: may be asked twice
  bool is_own = false;         ///< asked by the client itself, of one member: never sent elsewhere
  /// A write that a lost server may have carried out.
  bool in_doubt = false;
  std::uint8_t search_class = 0;  ///< for the policy, if it has chosen
  std::uint8_t losses = 0;        ///< links that were lost under it
  std::uint32_t generation = 0;
  Link<D>* link = nullptr;  ///< that it is on
  Nanoseconds started = 0;
  Nanoseconds deadline = 0;
  /// Other than 0: the deadline moves as long as the server shows signs of life, and ends the call
  /// when there has been none for that time.
  Nanoseconds patience = 0;
  std::uint64_t bytes = 0;  ///< in messages, both ways together
  SearchCost cost;
  Search<D> search;  ///< what a range or nearest search asks, or a request for entries
  std::vector<std::uint64_t> ids;  ///< whose entries are asked for: search refers to them
  bool is_of_degrees = false;      ///< what `search` was made for
  Freshness freshness;
  std::uint64_t sequence = 0;      ///< a write's number
  std::vector<std::byte> message;  ///< its bytes, if it had to wait or may have to be sent again
  std::string error_text;
  std::vector<std::byte> got_bytes;  ///< an answer with records, as far as it has come

  std::tuple<RangeAnswer<D>, NearestAnswer, WriteAnswer, TextAnswer, LoadAnswer, JoinAnswer,
             GetAnswer<D>>
      answers;
  AnyCallback<D> callback;

  CallKind kind() const { return static_cast<CallKind>(callback.index()); }
  /// Whether `search` is what it asks: it only reads, and may be read one-sidedly.
  bool is_search() const {
    return kind() == CallKind::kRange || kind() == CallKind::kNearest || is_get();
  }
  bool is_get() const { return kind() == CallKind::kGet; }
  /// Whether it asks for entries with their records.
  bool wants_records() const {
    const auto* get = std::get_if<request::Get<D>>(&search);
    return is_get() && get != nullptr && get->with_records;
  }
  bool is_write() const { return kind() == CallKind::kWrite; }
  /// The version that a search asks; 0: the current one.
  Moment as_of() const {
    return std::visit([](const auto& one) { return one.as_of; }, search);
  }
  RangeAnswer<D>& range() { return std::get<RangeAnswer<D>>(answers); }
  const RangeAnswer<D>& range() const { return std::get<RangeAnswer<D>>(answers); }
  NearestAnswer& nearest() { return std::get<NearestAnswer>(answers); }
  const NearestAnswer& nearest() const { return std::get<NearestAnswer>(answers); }
  WriteAnswer& write() { return std::get<WriteAnswer>(answers); }
  const WriteAnswer& write() const { return std::get<WriteAnswer>(answers); }
  std::string& text() { return std::get<TextAnswer>(answers).json; }
  LoadAnswer& load() { return std::get<LoadAnswer>(answers); }
  JoinAnswer& join() { return std::get<JoinAnswer>(answers); }
  GetAnswer<D>& get() { return std::get<GetAnswer<D>>(answers); }
  const GetAnswer<D>& get() const { return std::get<GetAnswer<D>>(answers); }

  /// The version of the tree that the answer to a search or write is of; 0: it does not say.
  rtree::Version version() const {
    if (kind() == CallKind::kRange) return range().version;
    if (kind() == CallKind::kNearest) return nearest().version;
    if (is_get()) return get().version;
    return is_write() ? write().version : 0;
  }
  void set_access(Access access) { range().access = nearest().access = get().access = access; }
  Access access() const {
    if (kind() == CallKind::kRange) return range().access;
    return is_get() ? get().access : nearest().access;
  }

  /// When its deadline, or the server's signs of life, must be looked at again, at the latest.
  Nanoseconds next_look(Nanoseconds now) const {
    return patience == 0 ? deadline : std::min(deadline, now + patience / kLooksPerPatience);
  }
  bool is_live() const {
    return state == CallState::kQueued || state == CallState::kWaiting ||
           state == CallState::kSent || state == CallState::kOffloading;
  }
  /// Forgets what has come of an answer.
  void clear_answer() {
    error_text.clear();
    range().clear();
    nearest().neighbors.clear();
    write().failed.clear();
    write().replaced.clear();
    text().clear();
    load() = {};
    join().pairs.clear();
    get().entries.clear();
    get().missing.clear();
    get().records.clear();
    got_bytes.clear();
  }

  /// Calls the callback, with the error or else the answer.
  void deliver(const Error* error) {
    std::visit(
        [&]<typename Answer>(Callback<Answer>& stored) {
          Callback<Answer> told = std::move(stored);
          if (error != nullptr) {
            told(fail(*error));
          } else {
            told(&std::get<Answer>(answers));
          }
        },
        callback);
  }

  /// What to say if it fails for that reason: of a write that may or may not have happened,
  /// kInDoubt.
  Error failure(Error reason) const {
    if (is_write() && (in_doubt || state == CallState::kSent)) {
      reason.code = ErrorCode::kInDoubt;
      reason.message += "; whether the write happened is unknown";
    }
    return reason;
  }
};

}  // namespace silurus::client
