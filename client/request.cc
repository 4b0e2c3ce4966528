// SPDX-License-Identifier: Apache-2.0

#include "client/request.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <string>

#include "common/units.h"
#include "protocol/decode.h"
#include "protocol/encode.h"
#include "rtree/lonlat.h"

namespace silurus::client {
namespace {

/// Number of search classes for nearest searches: the last ones.
constexpr int kNearestClasses = 16;
constexpr int kRangeClasses = static_cast<int>(kSearchClasses) - kNearestClasses;

template <int D>
std::size_t bytes_of(const request::Write<D>& write) {
  return protocol::write_bytes<D>(write.operations.size(), write.records.size());
}

template <int D>
Status check_one(const request::Range<D>& range, const request::Limits& limits) {
  return rtree::check_coordinates(range.query.window, limits.lonlat, "window");
}

template <int D>
Status check_one(const request::Nearest<D>& nearest, const request::Limits& limits) {
  if (auto ok = rtree::check_coordinates(nearest.query.point, limits.lonlat); !ok) return ok;
  if (auto ok = protocol::check_max_distance(nearest.query.max_distance); !ok) return ok;
  return protocol::check_k(nearest.query.k);
}

template <int D>
Status check_one(const request::Write<D>& write, const request::Limits& limits) {
  const auto& operations = write.operations;
  if (operations.empty()) return fail(ErrorCode::kInvalidArgument, "a batch of no operations");
  if (operations.size() > limits.operations) {
    return fail(ErrorCode::kTooLarge, "a batch of " + std::to_string(operations.size()) +
                                          " operations; this connection takes " +
                                          std::to_string(limits.operations) +
                                          " at once: send several");
  }
  for (std::size_t i = 0; i < operations.size(); ++i) {
    if (auto ok = protocol::check_operation<D>(operations[i], limits.lonlat); !ok) {
      return fail(ok.error().code,
                  (operations.size() > 1 ? "operation " + std::to_string(i) + ": " : "") +
                      ok.error().message);
    }
  }
  const std::size_t bytes = bytes_of(write);
  if (bytes <= protocol::kMaxRequestBytes) return {};
  return fail(ErrorCode::kTooLarge,
              "a batch of " + std::to_string(bytes) + " bytes; a server takes " +
                  std::to_string(protocol::kMaxRequestBytes) + " at once: send several");
}

template <int D>
Status check_one(const request::Get<D>& get, const request::Limits& limits) {
  if (!get.ids.empty() && get.ids.size() <= limits.ids) return {};
  return fail(get.ids.empty() ? ErrorCode::kInvalidArgument : ErrorCode::kTooLarge,
              "entries of " + std::to_string(get.ids.size()) +
                  " ids asked for; this connection takes 1 to " + std::to_string(limits.ids));
}

Status check_one(const request::Join& join, const request::Limits&) {
  return protocol::check_join(join.query);
}

Status check_one(const request::Task& task, const request::Limits&) {
  if (task.text.size() <= protocol::kMaxTaskText) return {};
  return fail(ErrorCode::kTooLarge, "'" + std::string(task.text) + "' is longer than " +
                                        std::to_string(protocol::kMaxTaskText) + " bytes");
}

template <int D>
Status check_one(const request::LoadEntries<D>& load, const request::Limits& limits) {
  if (load.entries.empty() || load.entries.size() > limits.entries) {
    return fail(ErrorCode::kTooLarge, "a load batch of " + std::to_string(load.entries.size()) +
                                          " entries; this connection takes 1 to " +
                                          std::to_string(limits.entries));
  }
  for (const auto& entry : load.entries) {
    if (auto ok = rtree::check_coordinates(entry.box, limits.lonlat); !ok) {
      return fail(ok.error().code,
                  "entry with id " + std::to_string(entry.id) + ": " + ok.error().message);
    }
  }
  return {};
}

Status check_one(const request::LoadCommit& commit, const request::Limits&) {
  if (commit.fill >= 0 && commit.fill <= 1) return {};
  return fail(ErrorCode::kInvalidArgument,
              "fill is " + format_number(commit.fill) + ": it must be above 0 and at most 1");
}

template <request::Bare Kind>
Status check_one(const Kind&, const request::Limits&) {
  return {};
}

/// Bytes before the search itself, if it is a search at a moment.
constexpr std::size_t front_bytes(Moment as_of) {
  return as_of == 0 ? 0 : sizeof(protocol::AtRequest);
}

template <int D>
std::size_t bytes_of(const request::Range<D>& range) {
  return front_bytes(range.as_of) + sizeof(protocol::RangeRequest<D>);
}
template <int D>
std::size_t bytes_of(const request::Nearest<D>& nearest) {
  return front_bytes(nearest.as_of) + protocol::nearest_bytes(nearest.query);
}
std::size_t bytes_of(const request::Task& task) {
  return sizeof(protocol::TaskRequest) + task.text.size();
}
template <int D>
std::size_t bytes_of(const request::LoadEntries<D>& load) {
  return protocol::load_entries_bytes<D>(load.entries.size());
}
template <int D>
std::size_t bytes_of(const request::Get<D>& get) {
  return front_bytes(get.as_of) + protocol::get_bytes(get.ids.size());
}
std::size_t bytes_of(const request::Join&) { return sizeof(protocol::JoinRequest); }
std::size_t bytes_of(const request::LoadCommit&) { return sizeof(protocol::LoadCommit); }
template <request::Bare Kind>
std::size_t bytes_of(const Kind&) {
  return sizeof(protocol::Header);
}

template <typename Asked>
Status fit_one(Asked& one, bool lonlat) {
  if (one.query.lonlat == lonlat) return {};  // it was checked so
  one.query.lonlat = lonlat;
  return check_one(one, {.lonlat = lonlat});
}
template <int D>
Status fit_one(request::Get<D>&, bool) {
  return {};
}

template <typename OneSearch, typename Encode>
void encode_search(const OneSearch& search, const request::Envelope& envelope,
                   std::span<std::byte> out, Encode&& encode_query) {
  if (search.as_of == 0) return encode_query(out, envelope.flags);
  protocol::encode_at(out, envelope.id, search.as_of, envelope.flags);
  encode_query(out.subspan(sizeof(protocol::AtRequest)), std::uint8_t{0});
}
template <int D>
void encode_one(const request::Range<D>& range, const request::Envelope& envelope,
                std::span<std::byte> out) {
  encode_search(range, envelope, out, [&](std::span<std::byte> at, std::uint8_t flags) {
    protocol::encode_range<D>(at, envelope.id, range.query, flags);
  });
}
template <int D>
void encode_one(const request::Nearest<D>& nearest, const request::Envelope& envelope,
                std::span<std::byte> out) {
  encode_search(nearest, envelope, out, [&](std::span<std::byte> at, std::uint8_t flags) {
    protocol::encode_nearest<D>(at, envelope.id, nearest.query, flags);
  });
}
template <int D>
void encode_one(const request::Write<D>& write, const request::Envelope& envelope,
                std::span<std::byte> out) {
  protocol::encode_write<D>(out, envelope.id, envelope.sequence, write.operations,
                            envelope.outstanding, write.records);
}
template <request::Bare Kind>
void encode_one(const Kind&, const request::Envelope& envelope, std::span<std::byte> out) {
  protocol::encode_bare(out, Kind::kType, envelope.id, Kind::kFlags);
}
void encode_one(const request::Task& task, const request::Envelope& envelope,
                std::span<std::byte> out) {
  protocol::encode_task(out, envelope.id, task.kind, task.from, task.to, task.text);
}
template <int D>
void encode_one(const request::LoadEntries<D>& load, const request::Envelope& envelope,
                std::span<std::byte> out) {
  protocol::encode_load_entries<D>(out, envelope.id, load.entries);
}
template <int D>
void encode_one(const request::Get<D>& get, const request::Envelope& envelope,
                std::span<std::byte> out) {
  encode_search(get, envelope, out, [&](std::span<std::byte> at, std::uint8_t flags) {
    protocol::encode_get(at, envelope.id, get.ids, flags, get.with_records);
  });
}
void encode_one(const request::Join& join, const request::Envelope& envelope,
                std::span<std::byte> out) {
  protocol::encode_join(out, envelope.id, join.other, join.query);
}
void encode_one(const request::LoadCommit& commit, const request::Envelope& envelope,
                std::span<std::byte> out) {
  protocol::encode_load_commit(out, envelope.id, commit.fill, commit.entries);
}

/// Windows of like size, in octaves of their mean edge: 2^-40 and less are
/// class 0, 2^7 and more the last one.
template <int D>
std::uint8_t class_of(const request::Range<D>& range) {
  const rtree::Box<D>& window = range.query.window;
  int octaves = 0;
  for (int d = 0; d < D; ++d) {
    const double edge = window.max[d] - window.min[d];
    octaves += edge > 0 ? std::clamp(std::ilogb(edge), -40, 40) : -40;
  }
  return static_cast<std::uint8_t>(std::clamp(octaves / D + 40, 0, kRangeClasses - 1));
}
/// One entry is as much as the smallest window; twice as many are of the next class.
template <int D>
std::uint8_t class_of(const request::Get<D>& get) {
  const auto octaves = static_cast<int>(std::bit_width(get.ids.size())) - 1;
  return static_cast<std::uint8_t>(std::clamp(octaves, 0, kRangeClasses - 1));
}
template <int D>
std::uint8_t class_of(const request::Nearest<D>& nearest) {
  return static_cast<std::uint8_t>(kRangeClasses +
                                   std::min(std::ilogb(nearest.query.k), kNearestClasses - 1));
}

}  // namespace

template <int D>
Treatment treatment(const Request<D>& request) {
  Treatment how = std::visit([](const auto& one) { return one.kTreatment; }, request);
  // A backup that was begun has made its directory: it can't be begun again. Nor can an order to
  // collections, which may have been obeyed.
  const auto* task = std::get_if<request::Task>(&request);
  using protocol::TaskKind;
  const bool changes =
      task != nullptr && (task->kind == TaskKind::kBackup || task->kind >= TaskKind::kCreate);
  if (changes) how.is_repeatable = false;
  return how;
}

template <int D>
Status check(const Request<D>& request, const request::Limits& limits) {
  return std::visit([&](const auto& one) { return check_one(one, limits); }, request);
}

template <int D>
Status fit(Search<D>& search, bool lonlat) {
  return std::visit([&](auto& one) { return fit_one(one, lonlat); }, search);
}

template <typename... Kinds>
std::size_t message_bytes(const std::variant<Kinds...>& request) {
  return std::visit([](const auto& one) { return bytes_of(one); }, request);
}

template <typename... Kinds>
void encode(const std::variant<Kinds...>& request, const request::Envelope& envelope,
            std::span<std::byte> out) {
  std::visit([&](const auto& one) { encode_one(one, envelope, out); }, request);
}

template <int D>
std::uint8_t search_class(const Search<D>& search) {
  return std::visit([](const auto& one) { return class_of(one); }, search);
}

#define SILURUS_INSTANTIATE(D)                                                             \
  template Treatment treatment<D>(const Request<D>&);                                      \
  template Status check<D>(const Request<D>&, const request::Limits&);                     \
  template Status fit<D>(Search<D>&, bool);                                                \
  template std::size_t message_bytes(const Request<D>&);                                   \
  template std::size_t message_bytes(const Search<D>&);                                    \
  template void encode(const Request<D>&, const request::Envelope&, std::span<std::byte>); \
  template void encode(const Search<D>&, const request::Envelope&, std::span<std::byte>);  \
  template std::uint8_t search_class<D>(const Search<D>&);
SILURUS_INSTANTIATE(2)
SILURUS_INSTANTIATE(3)
#undef SILURUS_INSTANTIATE

}  // namespace silurus::client
