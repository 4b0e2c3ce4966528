#include <algorithm>
#include <cmath>
#include <cstring>
#include <utility>

#include "client/core.h"
#include "common/check.h"
#include "common/log.h"
#include "common/units.h"
#include "protocol/decode.h"
#include "protocol/encode.h"

namespace silurus::client {
namespace {

/// Of search classes, the last are for nearest searches.
constexpr int kNearestClasses = 16;
constexpr int kRangeClasses = static_cast<int>(kSearchClasses) - kNearestClasses;

/// Windows of like size, in octaves of their mean edge: 2^-40 and less are class 0, 2^7 and more
/// the last one.
template <int D>
std::uint8_t range_class(const rtree::Box<D>& window) {
  int octaves = 0;
  for (int d = 0; d < D; ++d) {
    const double edge = window.max[d] - window.min[d];
    octaves += edge > 0 ? std::clamp(std::ilogb(edge), -40, 40) : -40;
  }
  return static_cast<std::uint8_t>(std::clamp(octaves / D + 40, 0, kRangeClasses - 1));
}

std::uint8_t nearest_class(std::uint32_t k) {
  return static_cast<std::uint8_t>(kRangeClasses + std::min(std::ilogb(k), kNearestClasses - 1));
}

}  // namespace

template <int D>
Status ClientCore<D>::check_ready() const {
  if (lost_) return fail(*lost_);
  if (free_.empty() && operations_.size() >= kMaxInFlight) {
    return fail(ErrorCode::kUnavailable, std::to_string(kMaxInFlight) +
                                             " operations are in flight on this client: wait for "
                                             "some of them");
  }
  return {};
}

template <int D>
Status ClientCore<D>::range(const rtree::RangeQuery<D>& query, Callback<RangeAnswer<D>> callback,
                            protocol::Moment as_of, const Freshness* any) {
  if (auto ok = rtree::check_box(query.window, "window"); !ok) return ok;
  if (auto ok = check_ready(); !ok) return ok;
  const std::uint32_t index = acquire(CallKind::kRange, options_.deadline);
  Call<D>& operation = operations_[index];
  operation.range_query = query;
  // What the wire can't say is no limit at all: both ways must mean the same.
  if (query.limit >= protocol::kNoLimit) operation.range_query.limit = UINT64_MAX;
  operation.as_of = as_of;
  if (any != nullptr) {
    operation.any = true;
    operation.freshness = *any;
  }
  operation.search_class = range_class(query.window);
  operation.range.clear();
  operation.on_range = std::move(callback);
  begin_search(index);
  return {};
}

template <int D>
Status ClientCore<D>::nearest(const rtree::NearestQuery<D>& query, Callback<NearestAnswer> callback,
                              protocol::Moment as_of, const Freshness* any) {
  if (auto ok = rtree::check_point(query.point); !ok) return ok;
  if (auto ok = protocol::check_k(query.k); !ok) return ok;
  if (auto ok = check_ready(); !ok) return ok;
  const std::uint32_t index = acquire(CallKind::kNearest, options_.deadline);
  Call<D>& operation = operations_[index];
  operation.nearest_query = query;
  operation.as_of = as_of;
  if (any != nullptr) {
    operation.any = true;
    operation.freshness = *any;
  }
  operation.search_class = nearest_class(query.k);
  operation.nearest.neighbors.clear();
  operation.on_nearest = std::move(callback);
  begin_search(index);
  return {};
}

template <int D>
void ClientCore<D>::begin_search(std::uint32_t index) {
  Call<D>& operation = operations_[index];
  operation.chosen = Access::kMessaging;
  operation.chosen_by_policy = false;
  // Without a lease the message is what gets one again.
  if (offloader_ != nullptr && (!needs_lease(operation) || lease_lasts())) {
    operation.chosen = Access::kOffload;
    operation.chosen_by_policy = options_.mode == Mode::kAdaptive;
    if (operation.chosen_by_policy) {
      look_at_heartbeat(operation.started);
      operation.chosen = policy_->choose(operation.search_class);
    }
  }
  operation.range.access = operation.nearest.access = operation.chosen;
  if (operation.chosen == Access::kMessaging) {
    send_search(index);
    return;
  }
  if (operation.as_of != 0) {
    begin_search_of_old_version(index);
  } else {
    start_offload(index, std::nullopt);
  }
}

template <int D>
void ClientCore<D>::begin_search_of_old_version(std::uint32_t index) {
  Call<D>& operation = operations_[index];
  // What the policy learns about is searches of the current version.
  if (std::exchange(operation.chosen_by_policy, false)) policy_->forget(operation.chosen);
  if (const auto held = held_.find(operation.as_of, clock_.now())) {
    start_offload(index, held);
    return;
  }
  operation.holding = true;
  send(index, sizeof(protocol::HoldRequest), [&](std::span<std::byte> out) {
    protocol::encode_hold(out, request_id(index), operation.as_of);
  });
}

template <int D>
void ClientCore<D>::start_offload(std::uint32_t index, const std::optional<HeldRoot>& held) {
  Call<D>& operation = operations_[index];
  operation.state = CallState::kOffloading;
  if (operation.kind == CallKind::kRange) {
    offloader_->start_range(index, operation.range_query, operation.range, held);
  } else {
    offloader_->start_nearest(index, operation.nearest_query, operation.nearest.neighbors, held);
  }
}

template <int D>
Status ClientCore<D>::check_write(std::span<const protocol::Operation<D>> operations,
                                  std::size_t max_batch) {
  if (operations.empty()) {
    return fail(ErrorCode::kInvalidArgument, "a batch of no operations");
  }
  if (operations.size() > max_batch) {
    return fail(ErrorCode::kTooLarge, "a batch of " + std::to_string(operations.size()) +
                                          " operations; this connection takes " +
                                          std::to_string(max_batch) + " at once: send several");
  }
  for (std::size_t i = 0; i < operations.size(); ++i) {
    if (auto ok = protocol::check_operation<D>(operations[i]); !ok) {
      return fail(ok.error().code,
                  (operations.size() > 1 ? "operation " + std::to_string(i) + ": " : "") +
                      ok.error().message);
    }
  }
  return {};
}

template <int D>
Status ClientCore<D>::write(std::span<const protocol::Operation<D>> operations,
                            Callback<WriteAnswer> callback) {
  if (auto ok = check_write(operations, max_batch()); !ok) return ok;
  if (auto ok = check_ready(); !ok) return ok;
  const auto sequence = family_->writes.next();
  if (!sequence) {
    return fail(ErrorCode::kUnavailable, "a write has had no answer for " +
                                             std::to_string(protocol::kMaxOutstandingWrites) +
                                             " others: wait for it");
  }
  const std::uint32_t index = acquire(CallKind::kWrite, options_.deadline);
  Call<D>& operation = operations_[index];
  operation.write.failed.clear();
  operation.on_write = std::move(callback);
  operation.sequence = *sequence;
  send(index, protocol::write_bytes<D>(operations.size()), [&](std::span<std::byte> out) {
    protocol::encode_write<D>(out, request_id(index), *sequence, operations,
                              family_->writes.outstanding(*sequence));
  });
  return {};
}

template <int D>
template <typename Encode>
Status ClientCore<D>::text_request(std::size_t bytes, Nanoseconds patience, bool harmless,
                                   Callback<StatsAnswer> callback, Encode&& encode) {
  if (auto ok = check_ready(); !ok) return ok;
  const std::uint32_t index = acquire(CallKind::kText, options_.deadline, patience);
  Call<D>& operation = operations_[index];
  operation.harmless = harmless;
  operation.text.json.clear();
  operation.on_text = std::move(callback);
  send(index, bytes, [&](std::span<std::byte> out) { encode(out, request_id(index)); });
  return {};
}

template <int D>
Status ClientCore<D>::stats(Callback<StatsAnswer> callback) {
  return text_request(sizeof(protocol::Header), 0, true, std::move(callback),
                      [](std::span<std::byte> out, std::uint32_t id) {
                        protocol::encode_bare(out, protocol::MessageType::kStats, id,
                                              protocol::kAnyMember);
                      });
}

template <int D>
Status ClientCore<D>::cluster(Callback<StatsAnswer> callback, bool harmless) {
  return text_request(sizeof(protocol::Header), 0, harmless, std::move(callback),
                      [](std::span<std::byte> out, std::uint32_t id) {
                        protocol::encode_bare(out, protocol::MessageType::kCluster, id,
                                              protocol::kAnyMember);
                      });
}

template <int D>
Status ClientCore<D>::task(protocol::TaskKind kind, protocol::Moment from, protocol::Moment to,
                           std::string_view text, Callback<StatsAnswer> callback) {
  if (text.size() > protocol::kMaxTaskText) {
    return fail(ErrorCode::kTooLarge, "'" + std::string(text) + "' is longer than " +
                                          std::to_string(protocol::kMaxTaskText) + " bytes");
  }
  // A backup that was begun has made its directory: it can't be begun again.
  const bool harmless = kind != protocol::TaskKind::kBackup;
  return text_request(sizeof(protocol::TaskRequest) + text.size(), options_.patience, harmless,
                      std::move(callback), [&](std::span<std::byte> out, std::uint32_t id) {
                        protocol::encode_task(out, id, kind, from, to, text);
                      });
}

template <int D>
template <typename Encode>
Status ClientCore<D>::load_step(std::size_t bytes, Nanoseconds patience, bool harmless,
                                Callback<LoadAnswer> callback, Encode&& encode) {
  if (auto ok = check_ready(); !ok) return ok;
  const std::uint32_t index = acquire(CallKind::kLoad, options_.deadline, patience);
  operations_[index].harmless = harmless;
  operations_[index].load = {};
  operations_[index].on_load = std::move(callback);
  send(index, bytes, [&](std::span<std::byte> out) { encode(out, request_id(index)); });
  return {};
}

template <int D>
Status ClientCore<D>::load_begin(Callback<LoadAnswer> callback) {
  // What has begun ends with its connection.
  return load_step(sizeof(protocol::Header), 0, true, std::move(callback),
                   [](std::span<std::byte> out, std::uint32_t id) {
                     protocol::encode_bare(out, protocol::MessageType::kLoadBegin, id);
                   });
}

template <int D>
Status ClientCore<D>::load_entries(std::span<const rtree::Entry<D>> entries,
                                   Callback<LoadAnswer> callback) {
  if (entries.empty() || entries.size() > max_load_batch()) {
    return fail(ErrorCode::kTooLarge, "a load batch of " + std::to_string(entries.size()) +
                                          " entries; this connection takes 1 to " +
                                          std::to_string(max_load_batch()));
  }
  for (const auto& entry : entries) {
    if (auto ok = rtree::check_box(entry.box); !ok) {
      return fail(ok.error().code,
                  "entry with id " + std::to_string(entry.id) + ": " + ok.error().message);
    }
  }
  return load_step(protocol::load_entries_bytes<D>(entries.size()), options_.patience, false,
                   std::move(callback), [&](std::span<std::byte> out, std::uint32_t id) {
                     protocol::encode_load_entries<D>(out, id, entries);
                   });
}

template <int D>
Status ClientCore<D>::load_commit(double fill, std::uint64_t entries,
                                  Callback<LoadAnswer> callback) {
  if (!(fill >= 0 && fill <= 1)) {
    return fail(ErrorCode::kInvalidArgument,
                "fill is " + format_number(fill) + ": it must be above 0 and at most 1");
  }
  return load_step(sizeof(protocol::LoadCommit), options_.patience, false, std::move(callback),
                   [&](std::span<std::byte> out, std::uint32_t id) {
                     protocol::encode_load_commit(out, id, fill, entries);
                   });
}

template <int D>
Status ClientCore<D>::load_abort(Callback<LoadAnswer> callback) {
  return load_step(sizeof(protocol::Header), 0, false, std::move(callback),
                   [](std::span<std::byte> out, std::uint32_t id) {
                     protocol::encode_bare(out, protocol::MessageType::kLoadAbort, id);
                   });
}

#define SILURUS_INSTANTIATE(D)                                                                   \
  template Status ClientCore<D>::check_ready() const;                                            \
  template Status ClientCore<D>::range(const rtree::RangeQuery<D>&, Callback<RangeAnswer<D>>,    \
                                       protocol::Moment, const Freshness*);                      \
  template Status ClientCore<D>::nearest(const rtree::NearestQuery<D>&, Callback<NearestAnswer>, \
                                         protocol::Moment, const Freshness*);                    \
  template void ClientCore<D>::begin_search(std::uint32_t);                                      \
  template void ClientCore<D>::start_offload(std::uint32_t, const std::optional<HeldRoot>&);     \
  template Status ClientCore<D>::check_write(std::span<const protocol::Operation<D>>,            \
                                             std::size_t);                                       \
  template Status ClientCore<D>::write(std::span<const protocol::Operation<D>>,                  \
                                       Callback<WriteAnswer>);                                   \
  template Status ClientCore<D>::stats(Callback<StatsAnswer>);                                   \
  template Status ClientCore<D>::cluster(Callback<StatsAnswer>, bool);                           \
  template Status ClientCore<D>::task(protocol::TaskKind, protocol::Moment, protocol::Moment,    \
                                      std::string_view, Callback<StatsAnswer>);                  \
  template Status ClientCore<D>::load_begin(Callback<LoadAnswer>);                               \
  template Status ClientCore<D>::load_entries(std::span<const rtree::Entry<D>>,                  \
                                              Callback<LoadAnswer>);                             \
  template Status ClientCore<D>::load_commit(double, std::uint64_t, Callback<LoadAnswer>);       \
  template Status ClientCore<D>::load_abort(Callback<LoadAnswer>);
SILURUS_INSTANTIATE(2)
SILURUS_INSTANTIATE(3)
#undef SILURUS_INSTANTIATE

}  // namespace silurus::client
