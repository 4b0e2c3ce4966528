// SPDX-License-Identifier: Apache-2.0

#include "gate/client_source.h"

#include <algorithm>
#include <type_traits>
#include <utility>

#include "common/clock.h"
#include "common/result.h"
#include "gate/limits.h"

namespace silurus::gate {
namespace {

template <int D>
Box<D> box_of(const Area& area) {
  Box<D> box;
  for (int d = 0; d < D; ++d) box.min[d] = area.min[d], box.max[d] = area.max[d];
  return box;
}

template <int D>
Area area_of(const Box<D>& box) {
  Area area;
  for (int d = 0; d < D; ++d) area.min[d] = box.min[d], area.max[d] = box.max[d];
  return area;
}

/// What of a window in degrees lies on the globe. False, with any window, if none of it does.
template <int D>
bool clip_to_globe(Box<D>& window) {
  constexpr double kMost[] = {180, 90};
  bool is_on_globe = true;
  for (std::size_t d = 0; d < 2; ++d) {
    is_on_globe &= window.min[d] <= kMost[d] && window.max[d] >= -kMost[d];
    window.min[d] = std::clamp(window.min[d], -kMost[d], kMost[d]);
    window.max[d] = std::clamp(window.max[d], -kMost[d], kMost[d]);
  }
  return is_on_globe;
}

bool is_away(ErrorCode code) {
  return code == ErrorCode::kConnectionLost || code == ErrorCode::kUnavailable ||
         code == ErrorCode::kDeadlineExceeded || code == ErrorCode::kProtocol;
}

/// A collection that is not there is nothing found; the others stay as they are.
Error no_collection_as_not_found(const Error& error, const std::string& collection) {
  if (error.code != ErrorCode::kNoCollection) return error;
  return {ErrorCode::kNotFound, "there is no collection '" + printable(collection) + "'"};
}

/// A search of a version; where the server keeps no versions, or not that one, a search of the
/// current one will do if this is it.
template <int D>
Result<RangeAnswer<D>> search_at(Client<D>& client, const Box<D>& window, RangeOptions options) {
  auto answer = client.range(window, options);
  const bool names_version = options.as_of != 0 && options.as_of < kFirstStamp;
  if (answer || answer.error().code != ErrorCode::kNotFound || !names_version) return answer;
  const Version wanted = std::exchange(options.as_of, 0);
  auto now = client.range(window, options);
  if (!now || now->version == wanted) return now;
  return fail(ErrorCode::kNotFound, kGonePrefix + answer.error().message);
}

template <int D>
Result<Found> found_of(const Result<RangeAnswer<D>>& answer) {
  if (!answer) return fail(answer.error());
  Found found{.count = answer->count, .version = answer->version};
  found.entries.reserve(answer->boxes.size());
  for (std::size_t i = 0; i < answer->boxes.size(); ++i) {
    found.entries.push_back({answer->ids[i], area_of<D>(answer->boxes[i])});
  }
  return found;
}

constexpr const char* kMessage = "message";
constexpr const char* kOneSided = "one-sided";

std::string name_of(Mode mode) {
  if (mode == Mode::kMessaging) return kMessage;
  return mode == Mode::kOffload ? kOneSided : "adaptive";
}

/// Searches of a client, whichever way they went.
using Work = AccessStatistics;
Work work_of(const ClientStatistics& statistics) {
  Work work = statistics.messaging;
  work.merge(statistics.offload);
  return work;
}

}  // namespace

ClientSource::ClientSource(std::string url, const ClientOptions& options)
    : url_(std::move(url)), options_(options) {}

/// The client for a collection, connected.
Result<ClientSource::AnyClient*> ClientSource::client_of(const Name& name) {
  const auto& [collection, mode] = name;
  if (const auto known = clients_.find(name); known != clients_.end()) {
    known->second.used = ++uses_;
    return &known->second.client;
  }
  const auto info = probe(url_, kServerTime);
  if (!info) return fail(info.error());
  ClientOptions options = options_;
  options.collection = collection;
  options.mode = mode;
  AnyClient made;
  if (info->dimensions == 2) {
    auto client = Client<2>::connect(url_, options);
    if (!client) return fail(no_collection_as_not_found(client.error(), collection));
    made = std::move(*client);
  } else {
    auto client = Client<3>::connect(url_, options);
    if (!client) return fail(no_collection_as_not_found(client.error(), collection));
    made = std::move(*client);
  }
  if (clients_.size() >= kMaxClientsOfSource) {
    forget(std::ranges::min_element(clients_, {}, [](const auto& one) { return one.second.used; }));
  }
  const auto [at, is_new] = clients_.insert_or_assign(name, Used{std::move(made), ++uses_});
  return &at->second.client;
}

void ClientSource::forget(Clients::iterator one) {
  add_statistics(one->second.client, before_);
  clients_.erase(one);
}

void ClientSource::add_statistics(const AnyClient& client, ClientStatistics& to) {
  if (const auto* flat = std::get_if<Client<2>>(&client)) to.merge(flat->statistics());
  if (const auto* deep = std::get_if<Client<3>>(&client)) to.merge(deep->statistics());
}

template <typename F>
auto ClientSource::ask(const std::string& collection, const F& f)
    -> std::invoke_result_t<F, Client<2>&> {
  return ask(Name{collection, options_.mode}, f);
}

template <typename F>
auto ClientSource::ask(const Name& name, const F& f) -> std::invoke_result_t<F, Client<2>&> {
  const auto client = client_of(name);
  if (!client) return fail(client.error());
  auto answer = std::visit(
      [&](auto& one) -> std::invoke_result_t<F, Client<2>&> {
        if constexpr (std::is_same_v<std::decay_t<decltype(one)>, std::monostate>) {
          return fail(ErrorCode::kUnavailable, "there is no connection");
        } else {
          return f(one);
        }
      },
      **client);
  if (answer) return answer;
  const ErrorCode code = answer.error().code;
  if (is_away(code) || code == ErrorCode::kNoCollection) forget(clients_.find(name));
  return fail(no_collection_as_not_found(answer.error(), name.first));
}

Result<std::vector<Collection>> ClientSource::collections() {
  auto listed =
      ask(kDefaultCollection, []<int D>(Client<D>& client) { return client.collections(); });
  if (!listed) return fail(listed.error());
  std::vector<Collection> collections;
  for (CollectionInfo& info : *listed) {
    collections.push_back({.name = std::move(info.name),
                           .dimensions = static_cast<int>(info.dimensions),
                           .entries = info.entries,
                           .version = info.version});
  }
  return collections;
}

Result<Collection> ClientSource::find(const std::string& collection) {
  const auto client = client_of({collection, options_.mode});
  if (!client) return fail(client.error());
  const bool is_flat = std::holds_alternative<Client<2>>(**client);
  return Collection{.name = collection, .dimensions = is_flat ? 2 : 3};
}

Result<Found> ClientSource::range(const std::string& collection, const Area& window,
                                  const Search& search) {
  return ask(collection, [&]<int D>(Client<D>& client) -> Result<Found> {
    RangeOptions options{.shape = search.shape, .limit = search.limit, .as_of = search.as_of};
    Box<D> box = box_of<D>(window);
    // A window may reach beyond the globe: that of everything does, and that of a tile's margin.
    if (client.is_lonlat() && !clip_to_globe(box)) options.limit = 0;
    return found_of<D>(search_at<D>(client, box, options));
  });
}

Result<NearestAnswer> ClientSource::nearest(const std::string& collection, const Point<3>& point,
                                            std::uint32_t k, Moment as_of) {
  return ask(collection, [&]<int D>(Client<D>& client) {
    Point<D> from;
    for (int d = 0; d < D; ++d) from.at[d] = point.at[d];
    return client.nearest(from, k, as_of);
  });
}

Result<std::vector<KeptVersion>> ClientSource::history(const std::string& collection) {
  return ask(collection, []<int D>(Client<D>& client) { return client.history(); });
}

/// Searches kTimesCompared times with the client of one mode.
Way ClientSource::search_by(const Name& name, const Area& window, Moment as_of) {
  Way way{.name = name_of(name.second)};
  const auto asked = ask(name, [&]<int D>(Client<D>& client) -> Result<Version> {
    const RangeOptions options{
        .shape = ResultShape::kEntries, .limit = kMostCompared, .as_of = as_of};
    for (int i = 0; i < kTimesCompared; ++i) {
      const Work before = work_of(client.statistics());
      const SystemClock clock;
      const Nanoseconds begun = clock.now();
      const auto found = client.range(box_of<D>(window), options);
      const double took = static_cast<double>(clock.now() - begun) / kMicrosecond;
      if (!found) return fail(found.error());
      if (i > 0) {
        way.again = i == 1 ? took : std::min(way.again, took);
        continue;
      }
      const Work after = work_of(client.statistics());
      way.took = found->access == Access::kOffload ? kOneSided : kMessage;
      way.count = found->count;
      way.version = found->version;
      way.microseconds = took;
      way.round_trips = after.round_trips - before.round_trips;
      way.bytes = after.bytes - before.bytes;
      way.nodes_read = after.nodes_read - before.nodes_read;
      way.cache_hits = after.cache_hits - before.cache_hits;
    }
    return way.version;
  });
  if (!asked) way.problem = asked.error().message;
  return way;
}

Result<std::vector<Way>> ClientSource::compare(const std::string& collection, const Area& window,
                                               Moment as_of) {
  if (const auto known = find(collection); !known) return fail(known.error());
  std::vector<Way> ways;
  for (const Mode mode : {Mode::kMessaging, Mode::kOffload, Mode::kAdaptive}) {
    ways.push_back(search_by({collection, mode}, window, as_of));
  }
  return ways;
}

Result<Difference> ClientSource::difference(const std::string& collection, Moment from, Moment to) {
  return ask(collection, [&]<int D>(Client<D>& client) { return client.difference(from, to); });
}

Result<GroupInfo> ClientSource::cluster() {
  return ask(kDefaultCollection, []<int D>(Client<D>& client) { return client.cluster(); });
}

Result<ServerStatistics> ClientSource::server_statistics() {
  return ask(kDefaultCollection,
             []<int D>(Client<D>& client) { return client.server_statistics(); });
}

ClientStatistics ClientSource::statistics() const {
  ClientStatistics all = before_;
  for (const auto& [name, one] : clients_) add_statistics(one.client, all);
  return all;
}

}  // namespace silurus::gate
