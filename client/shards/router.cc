// SPDX-License-Identifier: Apache-2.0

#include "silurus/router.h"

#include <algorithm>
#include <limits>
#include <numeric>
#include <utility>

#include "client/backoff.h"
#include "client/environment.h"
#include "client/internal.h"
#include "client/shards/internal.h"
#include "common/home_process.h"
#include "common/json.h"
#include "protocol/decode.h"

namespace silurus {
namespace {

using protocol::Operation;
using protocol::OperationKind;

/// Sweeps over all connections in vain before one of them is slept on.
constexpr int kPolls = 64;
/// Between two attempts while a shard is being replaced: it refuses calls for a short moment only.
constexpr Nanoseconds kLongestPause = 50 * kMillisecond;

/// Whether the error may be that of a map which isn't in force any more.
bool may_be_stale(const Error& error) {
  return error.code == ErrorCode::kMoved || error.code == ErrorCode::kConnectionLost ||
         error.code == ErrorCode::kUnavailable || error.code == ErrorCode::kNotFound;
}

/// Whether a write that ended so has certainly not happened.
bool is_certain(const Error& error) {
  return error.code != ErrorCode::kInDoubt && error.code != ErrorCode::kDeadlineExceeded;
}

}  // namespace

/// Routes by the map; members in order of creation.
template <int D>
struct Router<D>::Impl {
  /// A shard as this router knows it.
  struct Link {
    std::uint32_t id;
    std::uint64_t first;
    std::string url;
    bool everywhere;  ///< has key 0, and with it what no cell holds
    std::vector<Box<D>> reach;
    std::optional<Client<D>> client;
  };
  using Indices = std::vector<std::size_t>;

  Impl(client::Environment& given, std::unique_ptr<shards::MapStore> maps, const ClientOptions& how)
      : environment(given), clock(given.clock()), store(std::move(maps)), options(how) {}

  client::Environment& environment;
  const Clock& clock;
  std::unique_ptr<shards::MapStore> store;
  const ClientOptions options;
  shards::StoredMap stored;
  std::optional<shards::Space<D>> space;
  std::vector<Link> links;
  std::uint64_t visits = 0;
  std::vector<std::uint32_t> loading;  ///< ids of shards
  const HomeProcess home = {};

  ~Impl() {
    // In a child the store's connection is the parent's: it is left as it is (links do the same).
    if (home.is_left()) static_cast<void>(store.release());
  }

  /// kInvalidArgument in a child of the process that connected.
  Status check_process() const {
    if (!home.is_left()) return {};
    return fail(ErrorCode::kInvalidArgument,
                "this router was connected before fork() and is the parent's: a child has to "
                "connect a router of its own");
  }

  // --- the map

  Status load_map() {
    auto loaded = store->load();
    if (!loaded) return fail(loaded.error());
    if (loaded->map.dimensions != D) {
      return fail(ErrorCode::kUnsupported, "the cluster has " +
                                               std::to_string(loaded->map.dimensions) +
                                               " dimensions, not " + std::to_string(D));
    }
    if (loaded->revision == stored.revision) return {};
    stored = std::move(*loaded);
    space.emplace(stored.map);
    std::vector<Link> before = std::exchange(links, {});
    for (std::size_t i = 0; i < stored.map.shards.size(); ++i) {
      const shards::Shard& shard = stored.map.shards[i];
      Link& link = links.emplace_back(Link{.id = shard.id,
                                           .first = shard.first,
                                           .url = shard.url(),
                                           .everywhere = shard.first == 0,
                                           .reach = {},
                                           .client = {}});
      link.reach = space->reach(shard.first, stored.map.last_key(i));
      const auto same = [&](const Link& old) { return old.id == link.id && old.url == link.url; };
      const auto old = std::ranges::find_if(before, same);
      if (old != before.end()) link.client = std::move(old->client);
    }
    return {};
  }

  Result<Client<D>*> client_of(Link& link) {
    if (!link.client) {
      auto made = client::Internal::connect<D>(link.url, options, environment);
      if (!made) {
        return fail(made.error().code,
                    "shard " + std::to_string(link.id) + ": " + made.error().message);
      }
      link.client.emplace(std::move(*made));
    }
    ++visits;
    return &*link.client;
  }

  Link& link_of(const Box<D>& box) {
    const std::uint64_t key = space->key(box);
    const auto after = std::ranges::upper_bound(links, key, {}, &Link::first);
    return *std::prev(after);
  }

  /// The connection by which a bulk load of the shard was begun.
  Result<Client<D>*> loader(std::uint32_t id) {
    const auto link = std::ranges::find(links, id, &Link::id);
    if (link != links.end() && link->client) return &*link->client;
    return fail(ErrorCode::kMoved, "shard " + std::to_string(id) + " was replaced meanwhile");
  }

  /// After `error`: nothing if it is worth trying again, by a newer map or after a pause.
  Status reconsider(const Error& error, Nanoseconds deadline, client::Backoff& backoff) {
    if (!may_be_stale(error)) return fail(error);
    const std::uint64_t revision = stored.revision;
    const Status loaded = load_map();
    // etcd may be away for as long as the shard is: both come back.
    const bool is_away = !loaded && loaded.error().code == ErrorCode::kUnavailable;
    if (!loaded && !(is_away && error.code == ErrorCode::kMoved)) {
      return fail(loaded.error().code, error.message + "; " + loaded.error().message);
    }
    if (stored.revision != revision) return {};
    if (error.code != ErrorCode::kMoved) return fail(error);
    const Nanoseconds pause = backoff.next();
    if (clock.now() + pause >= deadline) {
      return fail(ErrorCode::kDeadlineExceeded,
                  "nothing was done in time, since a shard is being replaced: " + error.message);
    }
    environment.sleep(pause);
    return {};
  }

  /// Does something that can be done again, until it is done by a map that is in force.
  template <typename Attempt>
  auto until_done(Attempt&& attempt) -> decltype(attempt()) {
    const Nanoseconds deadline = clock.now() + options.deadline;
    client::Backoff backoff(options.seed ^ static_cast<std::uint64_t>(deadline), kLongestPause);
    for (;;) {
      auto done = attempt();
      if (done) return done;
      if (auto again = reconsider(done.error(), deadline, backoff); !again) {
        return fail(again.error());
      }
    }
  }

  /// Until nothing is in flight at any of them, whatever has failed: callbacks refer to callers.
  void wait_for(std::span<Link* const> asked) {
    for (int i = 0; i < kPolls; ++i) {
      bool any = false;
      for (Link* link : asked) {
        if (!link->client || link->client->in_flight() == 0) continue;
        link->client->poll();
        any = true;
      }
      if (!any) return;
    }
    for (Link* link : asked) {
      if (link->client) link->client->wait();
    }
  }

  /// Asks all of them the same at once. The first error ends it.
  template <typename Kind>
  Result<std::vector<typename Kind::Answer>> ask(std::span<Link* const> asked,
                                                 const Kind& request) {
    using Answer = typename Kind::Answer;
    std::vector<Answer> answers(asked.size());
    std::optional<Error> error;
    for (std::size_t i = 0; i < asked.size() && !error; ++i) {
      auto client = client_of(*asked[i]);
      if (!client) {
        error = client.error();
        break;
      }
      const Status begun = client::Internal::core(**client).submit(
          request, [&answers, &error, i](Result<Answer*> answer) {
            if (answer) {
              std::swap(answers[i], **answer);
            } else if (!error || answer.error().code == ErrorCode::kMoved) {
              error = std::move(answer.error());
            }
          });
      if (!begun) error = begun.error();
    }
    wait_for(asked);
    if (error) return fail(*error);
    return answers;
  }

  // --- searches

  std::vector<Link*> links_meeting(const Box<D>& window) {
    std::vector<Link*> met;
    for (Link& link : links) {
      const auto meets = [&](const Box<D>& box) { return rtree::intersects(box, window); };
      if (link.everywhere || std::ranges::any_of(link.reach, meets)) met.push_back(&link);
    }
    return met;
  }

  Result<RangeAnswer<D>> range_once(const rtree::RangeQuery<D>& query) {
    const std::vector<Link*> asked = links_meeting(query.window);
    auto answers = ask(std::span<Link* const>(asked), client::request::Range<D>{query});
    if (!answers) return fail(answers.error());
    RangeAnswer<D> all = std::move(answers->front());
    for (std::size_t i = 1; i < answers->size(); ++i) {
      const RangeAnswer<D>& one = (*answers)[i];
      all.count += one.count;
      all.ids.insert(all.ids.end(), one.ids.begin(), one.ids.end());
      all.boxes.insert(all.boxes.end(), one.boxes.begin(), one.boxes.end());
      all.version = 0;
    }
    all.count = std::min(all.count, query.limit);
    if (all.ids.size() > query.limit) all.ids.resize(query.limit);
    if (all.boxes.size() > query.limit) all.boxes.resize(query.limit);
    return all;
  }

  /// Best first (Hjaltason and Samet, "Distance browsing in spatial databases", ACM TODS 24(2),
  /// 1999, with shards for nodes): those at distance 0 all at once, the others one by one while
  /// they may have something nearer than the k-th found.
  Result<NearestAnswer> nearest_once(const rtree::NearestQuery<D>& query) {
    std::vector<std::pair<double, Link*>> order;
    for (Link& link : links) {
      double distance = link.everywhere ? 0 : std::numeric_limits<double>::infinity();
      for (const Box<D>& box : link.reach) {
        distance = std::min(distance, rtree::distance(query.point, box));
      }
      order.emplace_back(distance, &link);
    }
    std::ranges::stable_sort(order, {}, &std::pair<double, Link*>::first);
    NearestAnswer all;
    std::size_t asked_of = 0;
    for (std::size_t next = 0; next < order.size();) {
      const bool full = all.size() >= query.k;
      if (full && order[next].first > all.neighbors[query.k - 1].distance) break;
      if (order[next].first > query.max_distance) break;
      std::vector<Link*> asked;
      do {
        asked.push_back(order[next].second);
      } while (++next < order.size() && order[next].first == 0);
      auto answers = ask(std::span<Link* const>(asked), client::request::Nearest<D>{query});
      if (!answers) return fail(answers.error());
      asked_of += asked.size();
      for (const NearestAnswer& one : *answers) merge(all, one, query.k);
    }
    if (asked_of > 1) all.version = 0;
    return all;
  }

  static void merge(NearestAnswer& all, const NearestAnswer& one, std::uint32_t k) {
    const auto is_before = [](const rtree::Neighbor& a, const rtree::Neighbor& b) {
      return a.distance != b.distance ? a.distance < b.distance : a.id < b.id;
    };
    rtree::NearestResult merged;
    std::ranges::merge(all.neighbors, one.neighbors, std::back_inserter(merged), is_before);
    if (merged.size() > k) merged.resize(k);
    all.neighbors = std::move(merged);
    all.version = one.version;
    all.access = one.access;
  }

  // --- writes

  bool crosses(const Operation<D>& operation) {
    return operation.kind == OperationKind::kUpdate &&
           &link_of(operation.box) != &link_of(operation.to);
  }

  /// What a batch is to be done with: which of its operations wait, and what became of the others.
  struct Writing {
    const std::vector<Operation<D>>& operations;
    WriteAnswer answer;
    std::size_t parts = 0;
    Nanoseconds deadline = 0;
  };

  /// Those operations, in their order at each shard. Operations of a shard that has moved are left
  /// for the shards that have taken its place.
  Status write_all(Writing& writing, Indices indices) {
    client::Backoff backoff(options.seed ^ static_cast<std::uint64_t>(writing.deadline),
                            kLongestPause);
    while (!indices.empty()) {
      // Up to the first that is two writes at two shards.
      const auto crossing = std::ranges::find_if(
          indices, [&](std::size_t i) { return crosses(writing.operations[i]); });
      if (crossing == indices.begin()) {
        if (auto ok = cross(writing, indices.front()); !ok) return ok;
        indices.erase(indices.begin());
        continue;
      }
      const Indices run(indices.begin(), crossing);
      std::optional<Error> moved;
      auto left = write_run(writing, run, moved);
      if (!left) return fail(left.error());
      left->insert(left->end(), crossing, indices.end());
      indices = std::move(*left);
      if (!moved) continue;
      if (auto again = reconsider(*moved, writing.deadline, backoff); !again) {
        return fail(again.error());
      }
    }
    return {};
  }

  /// Sends each shard its part at once; returns what must be sent again by another map.
  Result<Indices> write_run(Writing& writing, const Indices& run, std::optional<Error>& moved) {
    std::vector<std::pair<Link*, Indices>> parts;
    for (const std::size_t i : run) {
      Link* link = &link_of(writing.operations[i].box);
      auto part = std::ranges::find(parts, link, &std::pair<Link*, Indices>::first);
      if (part == parts.end()) part = parts.insert(part, {link, {}});
      part->second.push_back(i);
    }
    Indices left;
    std::optional<Error> error;
    // No larger batch than a server takes; one of each shard in flight.
    for (bool any = true; any && !error && !moved;) {
      any = false;
      std::vector<Link*> asked;
      std::vector<Indices> sent;
      std::vector<std::optional<Result<WriteAnswer>>> outcomes(parts.size());
      for (std::size_t p = 0; p < parts.size(); ++p) {
        sent.push_back(send_part(parts[p].first, parts[p].second, writing, outcomes[p]));
        asked.push_back(parts[p].first);
        any = any || !parts[p].second.empty();
      }
      wait_for(asked);
      for (std::size_t p = 0; p < parts.size(); ++p) {
        take_outcome(outcomes[p], sent[p], writing, left, moved, error);
      }
    }
    for (const auto& [link, rest] : parts) left.insert(left.end(), rest.begin(), rest.end());
    if (error) return fail(*error);
    std::ranges::sort(left);
    return left;
  }

  /// Begins the next batch of a part, which it takes off it.
  Indices send_part(Link* link, Indices& part, const Writing& writing,
                    std::optional<Result<WriteAnswer>>& outcome) {
    if (part.empty()) return {};
    auto client = client_of(*link);
    if (!client) {
      outcome = fail(client.error());
      return std::exchange(part, {});
    }
    const std::size_t count = std::min(part.size(), (*client)->max_batch());
    const Indices sent(part.begin(), part.begin() + static_cast<std::ptrdiff_t>(count));
    part.erase(part.begin(), part.begin() + static_cast<std::ptrdiff_t>(count));
    std::vector<Operation<D>> batch;
    for (const std::size_t i : sent) batch.push_back(writing.operations[i]);
    const Status begun = client::Internal::core(**client).submit(
        client::request::Write<D>{batch}, [&outcome](Result<WriteAnswer*> answer) {
          if (answer) {
            outcome = std::exchange(**answer, {});
          } else {
            outcome = fail(std::move(answer.error()));
          }
        });
    if (!begun) outcome = fail(begun.error());
    return sent;
  }

  static void take_outcome(std::optional<Result<WriteAnswer>>& outcome, const Indices& sent,
                           Writing& writing, Indices& left, std::optional<Error>& moved,
                           std::optional<Error>& error) {
    if (sent.empty() || !outcome) return;
    if (*outcome) {
      for (const auto& one : (*outcome)->failed) {
        writing.answer.failed.push_back({sent[one.index], one.code});
      }
      writing.answer.version = writing.parts++ == 0 ? (*outcome)->version : 0;
      return;
    }
    const Error& why = outcome->error();
    // Nothing of it has happened: a connection lost in mid-write says kInDoubt.
    if (may_be_stale(why)) {
      if (!moved || why.code == ErrorCode::kMoved) moved = why;
      left.insert(left.end(), sent.begin(), sent.end());
    } else if (!error) {
      error = why;
    }
  }

  /// One operation that is not an update across shards. Nothing, or why it had no effect.
  Result<std::optional<ErrorCode>> write_one(const Operation<D>& operation, Nanoseconds deadline) {
    const std::vector<Operation<D>> alone{operation};
    Writing writing{.operations = alone, .answer = {}, .parts = 0, .deadline = deadline};
    if (auto ok = write_all(writing, {0}); !ok) return fail(ok.error());
    if (writing.answer.failed.empty()) return std::optional<ErrorCode>();
    return std::optional(writing.answer.failed.front().code);
  }

  /// An update whose entry moves to another shard. It is inserted there first, so that whatever
  /// happens it is somewhere; a call that finds it gone here when it is erased takes back the
  /// insertion.
  Status cross(Writing& writing, std::size_t index) {
    const Operation<D>& update = writing.operations[index];
    writing.parts += 2;
    writing.answer.version = 0;
    const auto found = until_done([&] {
      return range_once({.window = update.box,
                         .predicate = Predicate::kContains,
                         .shape = ResultShape::kEntries});
    });
    if (!found) return fail(found.error());
    bool is_there = false;
    for (std::size_t i = 0; i < found->ids.size(); ++i) {
      is_there = is_there || (found->ids[i] == update.id && found->boxes[i] == update.box);
    }
    if (!is_there) {
      writing.answer.failed.push_back({index, ErrorCode::kNotFound});
      return {};
    }
    const Operation<D> insert{update.id, OperationKind::kInsert, 0, update.to, {}};
    const Operation<D> erase{update.id, OperationKind::kErase, 0, update.box, {}};
    const Operation<D> undo{update.id, OperationKind::kErase, 0, update.to, {}};
    const auto inserted = write_one(insert, writing.deadline);
    if (!inserted) return fail(inserted.error());
    if (*inserted) {
      writing.answer.failed.push_back({index, **inserted});
      return {};
    }
    const auto erased = write_one(erase, writing.deadline);
    if (erased && !*erased) return {};
    const auto in_doubt = [&](const Error& why) {
      return fail(ErrorCode::kInDoubt, "id " + std::to_string(update.id) +
                                           " may be at both its places now: " + why.message);
    };
    if (!erased && !is_certain(erased.error())) return in_doubt(erased.error());
    const auto undone = write_one(undo, writing.deadline);
    if (!undone) return in_doubt(undone.error());
    if (!erased) return fail(erased.error());
    writing.answer.failed.push_back({index, **erased});
    return {};
  }

  Result<WriteAnswer> write(const std::vector<Operation<D>>& operations) {
    for (std::size_t i = 0; i < operations.size(); ++i) {
      const std::string name = "operation " + std::to_string(i);
      if (auto ok = rtree::check_box(operations[i].box, name + ": box"); !ok) {
        return fail(ok.error());
      }
      if (operations[i].kind != OperationKind::kUpdate) continue;
      if (auto ok = rtree::check_box(operations[i].to, name + ": to"); !ok) return fail(ok.error());
    }
    Writing writing{.operations = operations,
                    .answer = {},
                    .parts = 0,
                    .deadline = clock.now() + options.deadline};
    Indices all(operations.size());
    std::iota(all.begin(), all.end(), std::size_t{0});
    if (auto ok = write_all(writing, std::move(all)); !ok) return fail(ok.error());
    std::ranges::sort(writing.answer.failed, {}, &FailedWrite::index);
    return std::move(writing.answer);
  }

  Result<Version> write_single(const WriteBatch<D>& batch) {
    const auto answer = write(batch.operations());
    if (!answer) return fail(answer.error());
    if (answer->failed.empty()) return answer->version;
    const ErrorCode code = answer->failed.front().code;
    return fail(code, "id " + std::to_string(batch.operations().front().id) + ": " +
                          (code == ErrorCode::kNotFound
                               ? "there is no such entry (id and box must both match)"
                               : std::string(to_string(code))));
  }
};

template <int D>
Router<D>::Router(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
template <int D>
Router<D>::Router(Router&&) noexcept = default;
template <int D>
Router<D>& Router<D>::operator=(Router&&) noexcept = default;
template <int D>
Router<D>::~Router() = default;

template <int D>
Result<Router<D>> Router<D>::connect(std::string_view url, const ClientOptions& options) {
  return client::Internal::connect_router<D>(url, options, client::real_environment());
}

template <int D>
Result<Router<D>> client::Internal::connect_router(std::string_view url,
                                                   const ClientOptions& options,
                                                   Environment& environment) {
  auto store = shards::open_map_store(url, environment, options.connect_timeout);
  if (!store) return fail(store.error());
  auto impl = std::make_unique<typename Router<D>::Impl>(environment, std::move(*store), options);
  if (auto ok = impl->load_map(); !ok) return fail(ok.error());
  return Router<D>(std::move(impl));
}

template <int D>
Result<RangeAnswer<D>> Router<D>::range(const Box<D>& window, const RangeOptions& options) {
  if (auto ok = impl_->check_process(); !ok) return fail(ok.error());
  if (auto ok = rtree::check_box(window, "window"); !ok) return fail(ok.error());
  if (options.as_of != 0) {
    return fail(ErrorCode::kUnsupported, "shards have versions of their own: ask a shard's server");
  }
  return impl_->until_done([&] {
    return impl_->range_once({.window = window,
                              .predicate = options.predicate,
                              .shape = options.shape,
                              .limit = options.limit});
  });
}

template <int D>
Result<std::uint64_t> Router<D>::count(const Box<D>& window, Predicate predicate) {
  const auto found = range(window, {.predicate = predicate, .shape = ResultShape::kCount});
  if (!found) return fail(found.error());
  return found->count;
}

template <int D>
Result<NearestAnswer> Router<D>::nearest(const Point<D>& point, std::uint32_t k,
                                         double max_distance) {
  if (auto ok = impl_->check_process(); !ok) return fail(ok.error());
  if (auto ok = rtree::check_point(point); !ok) return fail(ok.error());
  if (auto ok = protocol::check_k(k); !ok) return fail(ok.error());
  if (auto ok = protocol::check_max_distance(max_distance); !ok) return fail(ok.error());
  return impl_->until_done(
      [&] { return impl_->nearest_once({.point = point, .k = k, .max_distance = max_distance}); });
}

template <int D>
Result<Version> Router<D>::insert(std::uint64_t id, const Box<D>& box) {
  if (auto ok = impl_->check_process(); !ok) return fail(ok.error());
  return impl_->write_single(WriteBatch<D>().insert(id, box));
}
template <int D>
Result<Version> Router<D>::erase(std::uint64_t id, const Box<D>& box) {
  if (auto ok = impl_->check_process(); !ok) return fail(ok.error());
  return impl_->write_single(WriteBatch<D>().erase(id, box));
}
template <int D>
Result<Version> Router<D>::update(std::uint64_t id, const Box<D>& from, const Box<D>& to) {
  if (auto ok = impl_->check_process(); !ok) return fail(ok.error());
  return impl_->write_single(WriteBatch<D>().update(id, from, to));
}
template <int D>
Result<WriteAnswer> Router<D>::write(const WriteBatch<D>& batch) {
  if (auto ok = impl_->check_process(); !ok) return fail(ok.error());
  if (!batch.records().empty()) {
    return fail(ErrorCode::kUnsupported, "a sharded cluster has no records");
  }
  return impl_->write(batch.operations());
}

// --- bulk load

template <int D>
Status Router<D>::load_begin() {
  if (auto ok = impl_->check_process(); !ok) return ok;
  Impl& impl = *impl_;
  impl.loading.clear();
  for (auto& link : impl.links) {
    auto client = impl.client_of(link);
    if (!client) return fail(client.error());
    if (auto ok = (*client)->load_begin(); !ok) {
      const Error why = ok.error();
      // The first error is the one to tell.
      static_cast<void>(load_abort());
      return fail(why.code, "shard " + std::to_string(link.id) + ": " + why.message);
    }
    impl.loading.push_back(link.id);
  }
  return {};
}

template <int D>
Status Router<D>::load_add(std::span<const Entry<D>> entries) {
  if (auto ok = impl_->check_process(); !ok) return ok;
  Impl& impl = *impl_;
  std::vector<std::vector<Entry<D>>> parts(impl.links.size());
  for (const Entry<D>& entry : entries) {
    if (auto ok = rtree::check_box(entry.box); !ok) return ok;
    parts[static_cast<std::size_t>(&impl.link_of(entry.box) - impl.links.data())].push_back(entry);
  }
  for (std::size_t i = 0; i < parts.size(); ++i) {
    if (parts[i].empty()) continue;
    auto client = impl.loader(impl.links[i].id);
    if (!client) return fail(client.error());
    if (auto ok = (*client)->load_add(parts[i]); !ok) return ok;
  }
  return {};
}

template <int D>
Result<LoadAnswer> Router<D>::load_commit(double fill) {
  if (auto ok = impl_->check_process(); !ok) return fail(ok.error());
  // All of them at once: each builds for as long as the largest.
  const std::vector<std::uint32_t> ids = std::exchange(impl_->loading, {});
  std::vector<Result<LoadAnswer>> loaded(ids.size(), LoadAnswer{});
  std::vector<Client<D>*> asked;
  for (std::size_t i = 0; i < ids.size(); ++i) {
    auto client = impl_->loader(ids[i]);
    const Status begun = client ? (*client)->load_commit_async(
                                      fill, Callback<LoadAnswer>([&one = loaded[i]](auto answer) {
                                        one = answer ? Result<LoadAnswer>(**answer)
                                                     : Result<LoadAnswer>(fail(answer.error()));
                                      }))
                                : Status(fail(client.error()));
    if (!begun) loaded[i] = fail(begun.error());
    if (client) asked.push_back(*client);
  }
  for (Client<D>* client : asked) client->wait();
  LoadAnswer all;
  for (std::size_t i = 0; i < ids.size(); ++i) {
    if (!loaded[i]) {
      return fail(loaded[i].error().code,
                  "shard " + std::to_string(ids[i]) +
                      " was not loaded, others may have been: " + loaded[i].error().message);
    }
    all.entries += loaded[i]->entries;
    all.version = ids.size() == 1 ? loaded[i]->version : 0;
  }
  return all;
}

template <int D>
Status Router<D>::load_abort() {
  if (auto ok = impl_->check_process(); !ok) return ok;
  Status first;
  for (const std::uint32_t id : std::exchange(impl_->loading, {})) {
    auto client = impl_->loader(id);
    const Status ok = client ? (*client)->load_abort() : Status(fail(client.error()));
    if (!ok && first) first = ok;
  }
  return first;
}

// --- about it

template <int D>
const shards::ShardMap& Router<D>::map() const {
  return impl_->stored.map;
}

template <int D>
std::uint64_t Router<D>::visits() const {
  return impl_->visits;
}

template <int D>
Result<std::vector<ShardStatistics>> Router<D>::server_statistics() {
  if (auto ok = impl_->check_process(); !ok) return fail(ok.error());
  if (auto ok = impl_->load_map(); !ok) return fail(ok.error());
  std::vector<ShardStatistics> all;
  for (auto& link : impl_->links) {
    auto client = impl_->client_of(link);
    all.push_back({*impl_->stored.map.find(link.id),
                   client ? (*client)->server_statistics() : fail(client.error())});
  }
  return all;
}

template class Router<2>;
template class Router<3>;

template Result<Router<2>> client::Internal::connect_router<2>(std::string_view,
                                                               const ClientOptions&, Environment&);
template Result<Router<3>> client::Internal::connect_router<3>(std::string_view,
                                                               const ClientOptions&, Environment&);

}  // namespace silurus
