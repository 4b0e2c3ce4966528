// SPDX-License-Identifier: Apache-2.0

#include "silurus/shard_map.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <set>
#include <utility>

#include "client/cluster_info.h"
#include "client/shards/hilbert.h"
#include "common/json.h"
#include "etcd/gateway.h"
#include "transport/fabric.h"

namespace silurus::shards {
namespace {

using nlohmann::json;

constexpr std::uint64_t kFormat = 1;

tl::unexpected<Error> wrong(std::string what) {
  return fail(ErrorCode::kInvalidArgument, "shard map: " + std::move(what));
}

std::string name_of(const Part& part) { return "shard " + std::to_string(part.id); }

/// Sees every server and every id once.
struct Seen {
  std::set<std::string> urls;
  std::set<std::uint32_t> ids;

  Status server(const std::string& url) {
    const bool is_group = etcd::is_address(url);
    if (url.empty() || url.size() > kMaxUrlBytes ||
        (!is_group && url.find(',') != std::string::npos)) {
      return wrong("'" + url.substr(0, kMaxUrlBytes) + "' is not the address of one server");
    }
    const auto is_plain = [](char c) { return c > ' ' && c < '\x7f'; };
    if (!std::ranges::all_of(url, is_plain)) return wrong("an address holds odd characters");
    if (auto ok = address(url, is_group); !ok) return ok;
    if (!urls.insert(url).second) return wrong(url + " is named twice");
    return {};
  }
  static Status address(const std::string& url, bool is_group) {
    if (!is_group) {
      const auto address = transport::Address::parse(url);
      return address ? Status() : wrong(address.error().message);
    }
    const auto group = etcd::GroupAddress::parse(url);
    if (!group) return wrong(group.error().message);
    return group->shard ? Status() : wrong(url + " does not say which of its groups");
  }
  Status part(const Part& part, std::uint32_t next_id) {
    if (part.id >= next_id) return wrong(name_of(part) + " is not below next_id");
    if (!ids.insert(part.id).second) return wrong(name_of(part) + " is there twice");
    if (part.servers.empty() || part.servers.size() > kMaxServers) {
      return wrong(name_of(part) + " has " + std::to_string(part.servers.size()) +
                   " servers: it must have 1 to " + std::to_string(kMaxServers));
    }
    return servers(part.servers);
  }
  Status servers(const std::vector<std::string>& of_one_part) {
    for (const std::string& url : of_one_part) {
      if (etcd::is_address(url) && of_one_part.size() > 1) {
        return wrong(url + " is a group: it has no servers beside it");
      }
      if (auto ok = server(url); !ok) return ok;
    }
    return {};
  }
};

Status check_frame(const ShardMap& map) {
  const auto size = static_cast<std::size_t>(map.dimensions);
  if (map.frame_min.size() != size || map.frame_max.size() != size || map.limit.size() != size) {
    return wrong("frame and limit must have " + std::to_string(size) + " numbers each");
  }
  for (std::size_t d = 0; d < size; ++d) {
    const double extent = map.frame_max[d] - map.frame_min[d];
    // Twice: bounds of cells grown by the limit stay finite, whatever is rounded.
    if (!std::isfinite(map.frame_min[d]) || !std::isfinite(map.frame_max[d]) ||
        !std::isfinite(2 * extent) || !(extent > 0)) {
      return wrong("the frame has no extent, or no finite one, in dimension " + std::to_string(d));
    }
    const double reach = std::max(std::abs(map.frame_min[d]), std::abs(map.frame_max[d]));
    if (!(map.limit[d] >= 0) || !std::isfinite(2 * (reach + map.limit[d]))) {
      return wrong("the limit is negative or too large in dimension " + std::to_string(d));
    }
  }
  return {};
}

Status check_successors(const ShardMap& map, std::size_t index, Seen& seen) {
  const Shard& shard = map.shards[index];
  if (shard.successors.empty()) return {};
  if (shard.successors.size() > kMaxSuccessors) {
    return wrong(name_of(shard) + " has too many successors");
  }
  if (shard.successors.front().first != shard.first ||
      shard.successors.back().first > map.last_key(index)) {
    return wrong("the successors of " + name_of(shard) + " have another range than it");
  }
  for (std::size_t i = 0; i < shard.successors.size(); ++i) {
    const Part& part = shard.successors[i];
    if (i > 0 && part.first <= shard.successors[i - 1].first) {
      return wrong("the ranges of the successors of " + name_of(shard) + " are not in order");
    }
    if (auto ok = seen.part(part, map.next_id); !ok) return ok;
  }
  return {};
}

// --- JSON

json to_json(const Part& part) {
  return {{"id", part.id}, {"first", key_text(part.first)}, {"servers", part.servers}};
}

/// A field of an object: nothing if it is missing or something else than was expected.
template <typename T>
bool take(const json& object, const char* name, T& value) {
  const auto found = object.find(name);
  if (found == object.end()) return false;
  if constexpr (std::is_same_v<T, std::vector<double>>) {
    if (!found->is_array()) return false;
    for (const json& one : *found) {
      if (!one.is_number()) return false;
      value.push_back(one.get<double>());
    }
  } else if constexpr (std::is_same_v<T, std::vector<std::string>>) {
    if (!found->is_array()) return false;
    for (const json& one : *found) {
      if (!one.is_string()) return false;
      value.push_back(one.get<std::string>());
    }
  } else {
    if (!found->is_number_unsigned()) return false;
    const auto number = found->get<std::uint64_t>();
    if (number > std::numeric_limits<T>::max()) return false;
    value = static_cast<T>(number);
  }
  return true;
}

bool take_key(const json& object, const char* name, std::uint64_t& value) {
  const auto found = object.find(name);
  if (found == object.end() || !found->is_string()) return false;
  const auto key = parse_key(found->get_ref<const std::string&>());
  if (key) value = *key;
  return key.has_value();
}

bool take_part(const json& object, Part& part) {
  return object.is_object() && take(object, "id", part.id) &&
         take_key(object, "first", part.first) && take(object, "servers", part.servers);
}

bool take_shards(const json& object, std::vector<Shard>& shards) {
  const auto list = object.find("shards");
  if (list == object.end() || !list->is_array()) return false;
  for (const json& one : *list) {
    Shard shard;
    if (!take_part(one, shard)) return false;
    if (const auto next = one.find("successors"); next != one.end()) {
      if (!next->is_array()) return false;
      for (const json& successor : *next) {
        if (!take_part(successor, shard.successors.emplace_back())) return false;
      }
    }
    if (one.contains("ticket") && !take(one, "ticket", shard.fencing_token)) return false;
    shards.push_back(std::move(shard));
  }
  return true;
}

}  // namespace

std::string Part::url() const {
  std::string all;
  for (const std::string& one : servers) all += (all.empty() ? "" : ",") + one;
  return all;
}

std::vector<std::string> servers_of(std::string_view url) {
  if (etcd::is_address(url)) return {std::string(url)};
  return client::split_urls(url);
}

const Shard* ShardMap::find(std::uint32_t id) const {
  const auto found = std::ranges::find(shards, id, &Shard::id);
  return found == shards.end() ? nullptr : &*found;
}

Status check(const ShardMap& map) {
  if (map.dimensions != 2 && map.dimensions != 3) return wrong("dimensions must be 2 or 3");
  if (auto ok = check_frame(map); !ok) return ok;
  if (map.shards.empty() || map.shards.size() > kMaxShards) {
    return wrong("there must be 1 to " + std::to_string(kMaxShards) + " shards");
  }
  if (map.shards.front().first != 0) return wrong("no shard has key 0");
  Seen seen;
  for (std::size_t i = 0; i < map.shards.size(); ++i) {
    if (i > 0 && map.shards[i].first <= map.shards[i - 1].first) {
      return wrong("the ranges of shards are not in order at " + name_of(map.shards[i]));
    }
    if (auto ok = seen.part(map.shards[i], map.next_id); !ok) return ok;
    if (auto ok = check_successors(map, i, seen); !ok) return ok;
    if (map.shards[i].fencing_token > map.epoch) return wrong("a fencing token of a later epoch");
  }
  if (map.spares.size() > kMaxSpares) return wrong("too many spare servers");
  for (const std::string& url : map.spares) {
    const auto servers = servers_of(url);
    if (servers.empty()) return wrong("a spare server has no address");
    if (auto ok = seen.servers(servers); !ok) return ok;
  }
  return {};
}

std::string encode(const ShardMap& map) {
  json shards = json::array();
  for (const Shard& shard : map.shards) {
    json one = to_json(shard);
    for (const Part& part : shard.successors) one["successors"].push_back(to_json(part));
    if (shard.fencing_token != 0) one["ticket"] = shard.fencing_token;
    shards.push_back(std::move(one));
  }
  return json_text(json{{"format", kFormat},
                        {"epoch", map.epoch},
                        {"written_by", key_text(map.written_by)},
                        {"dimensions", map.dimensions},
                        {"frame_min", map.frame_min},
                        {"frame_max", map.frame_max},
                        {"limit", map.limit},
                        {"next_id", map.next_id},
                        {"shards", shards},
                        {"spares", map.spares}});
}

Result<ShardMap> decode(std::string_view text) {
  const auto broken = [](const std::string& what) {
    return fail(ErrorCode::kProtocol, "what lies in etcd is no shard map: " + what);
  };
  if (text.size() > kMaxMapBytes) return broken("it is too long");
  const json object = parse_json(text);
  std::uint64_t format = 0;
  if (!object.is_object() || !take(object, "format", format)) return broken("it is no JSON object");
  if (format != kFormat) {
    return fail(ErrorCode::kUnsupported, "the shard map has format " + std::to_string(format) +
                                             ": this program knows " + std::to_string(kFormat));
  }
  ShardMap map;
  std::uint32_t dimensions = 0;
  if (!take(object, "epoch", map.epoch) || !take_key(object, "written_by", map.written_by) ||
      !take(object, "dimensions", dimensions) || !take(object, "frame_min", map.frame_min) ||
      !take(object, "frame_max", map.frame_max) || !take(object, "limit", map.limit) ||
      !take(object, "next_id", map.next_id) || !take(object, "spares", map.spares)) {
    return broken("a field is missing, or is of another kind");
  }
  if (!take_shards(object, map.shards)) return broken("its shards are none");
  map.dimensions = dimensions <= 3 ? static_cast<int>(dimensions) : 0;
  if (auto ok = check(map); !ok) return broken(ok.error().message);
  return map;
}

std::string key_text(std::uint64_t key) {
  constexpr std::string_view kDigits = "0123456789abcdef";
  std::string text(16, '0');
  for (int i = 15; i >= 0; --i, key >>= 4) text[static_cast<std::size_t>(i)] = kDigits[key & 15];
  return text;
}

Result<std::uint64_t> parse_key(std::string_view text) {
  std::string digits(text);
  digits.resize(16, '0');
  std::uint64_t key = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + 16, key, 16);
  if (text.empty() || text.size() > 16 || error != std::errc() || end != digits.data() + 16 ||
      text.front() == '-') {
    return fail(ErrorCode::kInvalidArgument,
                "'" + std::string(text.substr(0, 40)) +
                    "' is no key: up to 16 hexadecimal digits are meant");
  }
  return key;
}

// --- Space

template <int D>
Space<D>::Space(const ShardMap& map) {
  for (std::size_t d = 0; d < D; ++d) {
    min_[d] = map.frame_min[d];
    max_[d] = map.frame_max[d];
    extent_[d] = map.frame_max[d] - map.frame_min[d];
    limit_[d] = map.limit[d];
  }
}

template <int D>
double Space<D>::bound(int d, std::uint64_t step) const {
  constexpr auto kSteps = static_cast<double>(std::uint64_t{1} << kGridBits<D>);
  return min_[d] + extent_[d] * (static_cast<double>(step) / kSteps);
}

/// The cell of `depth` halvings of the frame in which the key's cell lies, grown by the limit.
template <int D>
rtree::Box<D> Space<D>::grown_cell(std::uint64_t key, int depth) const {
  const GridCell<D> cell = hilbert_cell<D>(key);
  rtree::Box<D> box;
  for (int d = 0; d < D; ++d) {
    const int below = kGridBits<D> - depth;
    const std::uint64_t first = std::uint64_t{cell[d]} >> below << below;
    box.min[d] = bound(d, first) - limit_[d];
    box.max[d] = bound(d, first + (std::uint64_t{1} << below)) + limit_[d];
  }
  return box;
}

template <int D>
std::uint64_t Space<D>::key(const rtree::Box<D>& box) const {
  constexpr auto kSteps = static_cast<double>(std::uint64_t{1} << kGridBits<D>);
  GridCell<D> cell;
  for (int d = 0; d < D; ++d) {
    const double centre = box.min[d] / 2 + box.max[d] / 2;
    if (!(centre >= min_[d] && centre <= max_[d])) return 0;
    const double step = std::floor((centre - min_[d]) / extent_[d] * kSteps);
    cell[d] = static_cast<std::uint32_t>(std::clamp(step, 0.0, kSteps - 1));
  }
  const std::uint64_t key = hilbert_key<D>(cell);
  return rtree::contains(grown_cell(key, kGridBits<D>), box) ? key : 0;
}

template <int D>
std::vector<rtree::Box<D>> Space<D>::reach(std::uint64_t first, std::uint64_t last) const {
  struct Cell {
    std::uint64_t first;
    int depth;
    std::uint64_t last() const { return first + (D * depth >= 64 ? 0 : UINT64_MAX >> (D * depth)); }
  };
  constexpr std::size_t kChildren = std::size_t{1} << D;
  std::vector<Cell> cells{{0, 0}};
  // Only the cells at the two ends of the range reach out of it, so each pass splits two at most.
  for (int depth = 0; depth < kGridBits<D>; ++depth) {
    std::vector<Cell> next;
    bool split = false;
    for (const Cell& cell : cells) {
      if (cell.depth < depth || (cell.first >= first && cell.last() <= last)) {
        next.push_back(cell);
        continue;
      }
      split = true;
      const std::uint64_t step = (UINT64_MAX >> (D * (depth + 1) - 1)) / 2 + 1;
      for (std::size_t i = 0; i < kChildren; ++i) {
        const Cell child{cell.first + i * step, depth + 1};
        if (child.first <= last && child.last() >= first) next.push_back(child);
      }
    }
    if (next.size() > kMaxReachBoxes) break;
    cells = std::move(next);
    if (!split) break;
  }
  std::vector<rtree::Box<D>> boxes;
  for (const Cell& cell : cells) boxes.push_back(grown_cell(cell.first, cell.depth));
  return boxes;
}

template class Space<2>;
template class Space<3>;

}  // namespace silurus::shards
