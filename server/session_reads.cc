// SPDX-License-Identifier: Apache-2.0

// What a session reads besides searches: versions that are held, joins, entries by their ids.
#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "server/limits.h"
#include "server/session.h"

namespace silurus::server {

using protocol::AnswerEncoder;
using protocol::Request;

template <int D>
void Session<D>::on_hold(const Request& request) {
  const std::uint32_t id = request.header.request_id;
  const auto asked = protocol::decode_hold(request);
  if (!asked) return refuse(id, asked.error());
  if (served_.admission->retired()) return refuse(id, retired_error());
  const History<D>& history = collection_->history();
  // Now, and not at the last sweep: the client's lease begins when it asked, before this.
  const Nanoseconds now = served_.clock->now();
  const Nanoseconds until = now + history.hold_lease();
  // A hold is renewed though the history has forgotten the version meanwhile.
  auto held = std::ranges::find_if(held_, [&](const Held& one) {
    const bool is_asked_for = one.asked == asked->moment || one.snapshot.version() == asked->moment;
    return is_asked_for && one.until >= now;
  });
  std::optional<rtree::Snapshot<D>> found;
  if (held == held_.end()) {
    auto snapshot = history.at(asked->moment);
    if (!snapshot) return refuse(id, snapshot.error());
    found = std::move(*snapshot);
  }
  const Status leased = served_.check_lease(request.takes_any_member());
  if (!leased) return refuse(id, leased.error());
  if (found) {
    const Status ok = hold_version({std::move(*found), asked->moment, until}, now);
    if (!ok) return refuse(id, ok.error());
    held = held_.end() - 1;
  }
  held->until = until;
  auto queued = std::make_unique<QueuedAnswer>();
  queued->held = {.root = held->snapshot.root().ref.word(),
                  .lease_ns = static_cast<std::uint64_t>(history.hold_lease())};
  queued->encoder = AnswerEncoder::held({id, held->snapshot.version()}, queued->held);
  send_or_queue(std::move(queued));
}

template <int D>
void Session<D>::on_join(const Request& request) {
  const std::uint32_t id = request.header.request_id;
  const auto asked = protocol::decode_join(request);
  if (!asked) return refuse(id, asked.error());
  if (served_.admission->retired()) return refuse(id, retired_error());
  stream({id, JoinWith{asked->other, asked->query}, false, {}});
}

template <int D>
void Session<D>::on_get(const Request& request) {
  const std::uint32_t id = request.header.request_id;
  const auto asked = protocol::decode_get(request);
  if (!asked) return refuse(id, asked.error());
  if (served_.admission->retired()) return refuse(id, retired_error());
  get(*asked, request.takes_any_member(), collection_->tree().snapshot());
}

/// Answers with the entries of some ids, as that version has them: a path of an index for each,
/// which takes less than a small search.
template <int D>
void Session<D>::get(const protocol::GetMessage& asked, bool any_member,
                     const Result<rtree::Snapshot<D>>& snapshot) {
  const std::uint32_t id = asked.header.request_id;
  if (!collection_->tree().is_keyed()) {
    return refuse(id, {ErrorCode::kUnsupported, "the collection " + collection_->info.name +
                                                    " is not keyed (silurus create --keyed)"});
  }
  if (asked.with_records && !collection_->tree().has_records()) {
    return refuse(id, {ErrorCode::kUnsupported, "the collection " + collection_->info.name +
                                                    " has no records (silurus create --records)"});
  }
  if (!snapshot) return refuse(id, snapshot.error());
  if (collection_->goes()) return refuse_gone(id);
  if (const Status ok = served_.check_lease(any_member); !ok) return refuse(id, ok.error());
  auto queued = std::make_unique<QueuedAnswer>();
  if (asked.with_records) {
    queued->text = with_records(asked, *snapshot);
    queued->encoder = AnswerEncoder::text({id, snapshot->version()}, queued->text);
    return send_or_queue(std::move(queued));
  }
  for (std::size_t i = 0; i < asked.ids.size(); ++i) {
    if (const auto entry = snapshot->find_id(asked.ids[i])) queued->entries.push_back(*entry);
  }
  queued->encoder = AnswerEncoder::get<D>({id, snapshot->version()}, queued->entries);
  send_or_queue(std::move(queued));
}

/// The bytes of an answer with records: about as many of the ids as these leave room for.
template <int D>
std::string Session<D>::with_records(const protocol::GetMessage& asked,
                                     const rtree::Snapshot<D>& snapshot) {
  std::vector<std::byte> bytes;
  const auto append = [&](const auto& part) {
    const auto raw = std::as_bytes(std::span(&part, 1));
    bytes.insert(bytes.end(), raw.begin(), raw.end());
  };
  std::size_t record_bytes = 0;
  for (std::size_t i = 0; i < asked.ids.size(); ++i) {
    const std::uint64_t id = asked.ids[i];
    const auto entry = snapshot.find_id(id);
    const std::size_t more = entry ? snapshot.record_bytes(id) : 0;
    if (record_bytes != 0 && record_bytes + more > protocol::kMaxGetRecordBytes) break;
    record_bytes += more;
    append(protocol::GotRecord<D>{entry.value_or(KeyedEntry<D>{.id = id, .box = {}}), more});
    snapshot.find_record(id, bytes);
    bytes.resize(protocol::padded(bytes.size()));
  }
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

/// Pins both trees at one version.
template <int D>
Result<std::unique_ptr<Stream<D>>> Session<D>::join_stream(const Search<D>& search,
                                                           const JoinWith& join) {
  const CollectionPtr<D> other = served_.collections->find(join.other);
  const Status may = check_readable(authorization_, join.other, other ? &other->info.name : nullptr,
                                    "read this collection");
  if (!may) return fail(may.error());
  if (other == nullptr) {
    return fail(ErrorCode::kNotFound, "there is no such collection (silurus collections)");
  }
  if (collection_->is_lonlat() || other->is_lonlat()) {
    // Boxes that cross the antimeridian are held unrolled, and distances are metres there.
    return fail(ErrorCode::kUnsupported, "collections of degrees are not joined yet");
  }
  using Snapshot = const rtree::Snapshot<D>;
  std::shared_ptr<Snapshot> first;
  std::shared_ptr<Snapshot> second;
  if (other == collection_) {
    first = second = std::make_shared<Snapshot>(collection_->tree().snapshot());
  } else {
    auto both = served_.collections->hold_both(*collection_, *other);
    first = std::make_shared<Snapshot>(std::move(both.first));
    second = std::make_shared<Snapshot>(std::move(both.second));
    if (other->goes()) return fail(ErrorCode::kNotFound, gone_error(other->info.name).message);
  }
  return std::make_unique<Stream<D>>(search, std::move(first), std::move(second), message_bytes_);
}

template <int D>
Status Session<D>::hold_version(Held fresh, Nanoseconds now) {
  std::erase_if(held_, [&](const Held& held) { return held.until < now; });
  if (held_.size() >= protocol::kMaxVersionLeases) {
    return fail(ErrorCode::kUnavailable,
                std::to_string(protocol::kMaxVersionLeases) +
                    " versions are held for this client already: ask by message");
  }
  held_.push_back(std::move(fresh));
  return {};
}

#define SILURUS_SESSION_READS(D)                                                        \
  template void Session<D>::on_hold(const Request&);                                    \
  template void Session<D>::on_join(const Request&);                                    \
  template void Session<D>::on_get(const Request&);                                     \
  template void Session<D>::get(const protocol::GetMessage&, bool,                      \
                                const Result<rtree::Snapshot<D>>&);                     \
  template std::string Session<D>::with_records(const protocol::GetMessage&,            \
                                                const rtree::Snapshot<D>&);             \
  template Result<std::unique_ptr<Stream<D>>> Session<D>::join_stream(const Search<D>&, \
                                                                      const JoinWith&)
SILURUS_SESSION_READS(2);
SILURUS_SESSION_READS(3);
#undef SILURUS_SESSION_READS

}  // namespace silurus::server
