#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "client/answers.h"
#include "client/offload.h"
#include "client/policy.h"
#include "common/clock.h"
#include "common/inline_function.h"
#include "common/result.h"
#include "protocol/messages.h"
#include "rtree/geometry.h"

namespace silurus::client {

/// Is told how an operation ended; never from within the call that started it. The answer belongs
/// to the operation: swap out what shall outlive the callback. May start other operations.
template <typename Answer>
using Callback = InlineFunction<void(Result<Answer*>)>;

enum class CallKind : std::uint8_t { kRange, kNearest, kWrite, kText, kLoad };

enum class CallState : std::uint8_t {
  kFree,
  kWaiting,  ///< for room in the ring, or for a connection
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

/// One operation of a client from its beginning to its end: all kinds in one type, so that its
/// memory is used again. Holds all that is needed to begin it anew on another connection.
template <int D>
struct Call {
  static constexpr Nanoseconds kLooksPerPatience = 8;

  CallKind kind = CallKind::kRange;
  CallState state = CallState::kFree;
  Access chosen = Access::kMessaging;  ///< by the policy or the mode
  bool chosen_by_policy = false;
  bool holding = false;   ///< the message asks the server to hold the version of as_of
  bool any = false;       ///< any member may answer it, as fresh as `freshness` says
  bool harmless = false;  ///< a request for text or a load step: may be asked twice
  /// A write that a lost server may have carried out.
  bool in_doubt = false;
  std::uint8_t search_class = 0;
  std::uint8_t losses = 0;  ///< connections that were lost under it
  std::uint32_t generation = 0;
  Nanoseconds started = 0;
  Nanoseconds deadline = 0;
  /// Other than 0: the deadline moves as long as the server shows signs of life, and ends the call
  /// when there has been none for so long.
  Nanoseconds patience = 0;
  std::uint64_t bytes = 0;  ///< of messages, both ways
  SearchCost cost;
  rtree::RangeQuery<D> range_query;
  rtree::NearestQuery<D> nearest_query;
  protocol::Moment as_of = 0;
  Freshness freshness;
  std::uint64_t sequence = 0;      ///< of a write
  std::vector<std::byte> message;  ///< to be sent, if it had to wait or may have to be sent again
  std::string error_text;

  RangeAnswer<D> range;
  NearestAnswer nearest;
  WriteAnswer write;
  StatsAnswer text;
  LoadAnswer load;
  Callback<RangeAnswer<D>> on_range;
  Callback<NearestAnswer> on_nearest;
  Callback<WriteAnswer> on_write;
  Callback<StatsAnswer> on_text;
  Callback<LoadAnswer> on_load;

  bool is_search() const { return kind == CallKind::kRange || kind == CallKind::kNearest; }
  /// When somebody must look at it again, at the latest.
  Nanoseconds next_look(Nanoseconds now) const {
    return patience == 0 ? deadline : std::min(deadline, now + patience / kLooksPerPatience);
  }
  bool is_live() const {
    return state == CallState::kWaiting || state == CallState::kSent ||
           state == CallState::kOffloading;
  }

  /// Calls the callback. The call may be used again from within it, but for its answer.
  void deliver(const Error* error) {
    const auto to = [&]<typename Answer>(Callback<Answer>& stored, Answer& answer) {
      Callback<Answer> callback = std::move(stored);
      if (error != nullptr) {
        callback(fail(*error));
      } else {
        callback(&answer);
      }
    };
    switch (kind) {
      case CallKind::kRange:
        return to(on_range, range);
      case CallKind::kNearest:
        return to(on_nearest, nearest);
      case CallKind::kWrite:
        return to(on_write, write);
      case CallKind::kText:
        return to(on_text, text);
      case CallKind::kLoad:
        return to(on_load, load);
    }
  }

  /// What to say if it fails for that reason: of a write of which nobody knows whether it happened,
  /// so much.
  Error failure(Error reason) const {
    if (kind == CallKind::kWrite && (in_doubt || state == CallState::kSent)) {
      reason.code = ErrorCode::kInDoubt;
      reason.message += "; whether the write happened is unknown";
    }
    return reason;
  }
};

/// Takes over what a connection can't end: the members of a group together (client/group.h).
template <int D>
class Keeper {
 public:
  /// From within the connection's callbacks and settle(). It will be begun again elsewhere, or
  /// ended from there. `why`: kConnectionLost; kNotPrimary, said by the server; kUnavailable: the
  /// answer was not fresh enough.
  virtual void keep(Call<D>&& call, ErrorCode why) = 0;

 protected:
  ~Keeper() = default;
};

}  // namespace silurus::client
