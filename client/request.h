// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <variant>

#include "common/result.h"
#include "protocol/messages.h"
#include "rtree/geometry.h"
#include "silurus/answers.h"

namespace silurus::client {

/// Text, JSON as a rule.
struct TextAnswer {
  std::string json;
};

/// How a request is treated, by its kind.
struct Treatment {
  /// The server may be asked twice: it can be sent again to another one.
  bool is_repeatable = false;
  /// It may rightly take long: it has ClientOptions::patience instead of a deadline.
  bool is_patient = false;
  /// It fails at once where there is no server: it does not wait for the next one.
  bool needs_server = false;
  /// It belongs to the connection on which the load was begun.
  bool continues_load = false;
  /// The client asks for itself, of one member: never sent to another one, nor counted.
  bool is_own = false;
};

/// What a client can be asked for. A request refers to what it is given (operations, entries,
/// text), which has to last only until the call that takes the request returns.
namespace request {

/// `as_of`: asks an older version; 0: the current one.
template <int D>
struct Range {
  using Answer = RangeAnswer<D>;
  static constexpr Treatment kTreatment{};
  rtree::RangeQuery<D> query;
  Moment as_of = 0;
};
template <int D>
struct Nearest {
  using Answer = NearestAnswer;
  static constexpr Treatment kTreatment{};
  rtree::NearestQuery<D> query;
  Moment as_of = 0;
};
/// Operations that become visible in one version; at most Limits::operations.
template <int D>
struct Write {
  using Answer = WriteAnswer;
  static constexpr Treatment kTreatment{};
  std::span<const protocol::Operation<D>> operations;
  /// Those of the operations that have one (Operation::record_bytes), one behind the other.
  std::span<const std::byte> records = {};
};
/// Entries of a keyed collection; at most Limits::ids.
template <int D>
struct Get {
  using Answer = GetAnswer<D>;
  static constexpr Treatment kTreatment{};
  std::span<const std::uint64_t> ids;
  Moment as_of = 0;
  bool with_records = false;
};
/// Joins the collection that the client is for with another one.
struct Join {
  using Answer = JoinAnswer;
  static constexpr Treatment kTreatment{.is_repeatable = true, .is_patient = true};
  std::uint64_t other;  ///< protocol::collection_key()
  JoinQuery query;
};
struct Statistics {
  using Answer = TextAnswer;
  static constexpr Treatment kTreatment{.is_repeatable = true};
  static constexpr auto kType = protocol::MessageType::kStats;
  static constexpr std::uint8_t kFlags = protocol::kAnyMember;
};
/// Asks for the members of the server's group, as JSON (protocol::MessageType::kCluster).
struct Cluster {
  using Answer = TextAnswer;
  static constexpr Treatment kTreatment{.is_repeatable = true};
  static constexpr auto kType = protocol::MessageType::kCluster;
  static constexpr std::uint8_t kFlags = protocol::kAnyMember;
};
/// Answered with JSON, too.
struct Task {
  using Answer = TextAnswer;
  static constexpr Treatment kTreatment{.is_repeatable = true, .is_patient = true};
  protocol::TaskKind kind;
  std::uint64_t from = 0;
  std::uint64_t to = 0;
  std::string_view text = {};
};
/// Bulk load into an empty tree: begin, any number of batches of at most Limits::entries (each
/// answered), then commit with the number of entries sent, or abort. All on one connection, with
/// which a load ends.
struct LoadBegin {
  using Answer = LoadAnswer;
  static constexpr Treatment kTreatment{.is_repeatable = true};
  static constexpr auto kType = protocol::MessageType::kLoadBegin;
  static constexpr std::uint8_t kFlags = 0;
};
template <int D>
struct LoadEntries {
  using Answer = LoadAnswer;
  static constexpr Treatment kTreatment{
      .is_patient = true, .needs_server = true, .continues_load = true};
  std::span<const rtree::Entry<D>> entries;
};
struct LoadCommit {
  using Answer = LoadAnswer;
  static constexpr Treatment kTreatment{
      .is_patient = true, .needs_server = true, .continues_load = true};
  double fill;            ///< how full leaves are made, in [0, 1]; 0: the server's default
  std::uint64_t entries;  ///< how many were sent: the server checks it
};
struct LoadAbort {
  using Answer = LoadAnswer;
  static constexpr Treatment kTreatment{.needs_server = true};
  static constexpr auto kType = protocol::MessageType::kLoadAbort;
  static constexpr std::uint8_t kFlags = 0;
};

/// A request whose message is its type alone.
template <typename Kind>
concept Bare = requires {
  Kind::kType;
};

/// What one message to a server can carry.
struct Limits {
  std::size_t operations = 0;  ///< most operations in a write
  std::size_t entries = 0;     ///< most entries in a batch of a load; 0: not known yet
  std::size_t ids = 0;         ///< most ids in a request for entries
  bool lonlat = false;         ///< the collection is of degrees
  bool keyed = false;          ///< an id is unique in the collection
  bool records = false;        ///< an entry may carry a record
};

/// Most ids in a request for entries, of any moment, in a message of that many bytes.
constexpr std::size_t ids_in(std::size_t bytes) {
  return (bytes - sizeof(protocol::AtRequest) - sizeof(protocol::GetRequest)) /
         sizeof(std::uint64_t);
}

/// What a message says besides its request.
struct Envelope {
  std::uint32_t id = 0;
  std::uint8_t flags = 0;         ///< a search's: protocol::kAnyMember, or 0
  std::uint64_t sequence = 0;     ///< a write's number
  std::uint32_t outstanding = 0;  ///< writes back to the oldest without outcome
};

}  // namespace request

/// What only reads, and may be read one-sidedly.
template <int D>
using Search = std::variant<request::Range<D>, request::Nearest<D>, request::Get<D>>;

template <int D>
using Request =
    std::variant<request::Range<D>, request::Nearest<D>, request::Write<D>, request::Statistics,
                 request::Cluster, request::Task, request::LoadBegin, request::LoadEntries<D>,
                 request::LoadCommit, request::LoadAbort, request::Join, request::Get<D>>;

/// Receiver of the end of a request of any kind.
template <int D>
using AnyCallback = std::variant<Callback<RangeAnswer<D>>, Callback<NearestAnswer>,
                                 Callback<WriteAnswer>, Callback<TextAnswer>, Callback<LoadAnswer>,
                                 Callback<JoinAnswer>, Callback<GetAnswer<D>>>;

template <int D>
Treatment treatment(const Request<D>& request);

/// What of a request makes no sense (kInvalidArgument), or is too much for one
/// message (kTooLarge).
template <int D>
Status check(const Request<D>& request, const request::Limits& limits);

/// Makes a search one of degrees, or not, as the collection is; what of it makes no sense then.
template <int D>
Status fit(Search<D>& search, bool lonlat);

/// Bytes of the message of a Request or a Search.
template <typename... Kinds>
std::size_t message_bytes(const std::variant<Kinds...>& request);
/// Writes the message to `out`, which has message_bytes().
template <typename... Kinds>
void encode(const std::variant<Kinds...>& request, const request::Envelope& envelope,
            std::span<std::byte> out);

/// Number of the class of searches that cost about the same, for the policy; less than
/// kSearchClasses.
template <int D>
std::uint8_t search_class(const Search<D>& search);

}  // namespace silurus::client
