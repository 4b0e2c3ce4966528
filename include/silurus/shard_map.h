// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "silurus/api.h"
#include "silurus/result.h"
#include "silurus/types.h"

namespace silurus::shards {

constexpr std::size_t kMaxShards = 1024;    ///< shards in one cluster
constexpr std::size_t kMaxServers = 16;     ///< servers of one shard
constexpr std::size_t kMaxSuccessors = 16;  ///< successors of one shard
constexpr std::size_t kMaxSpares = 1024;    ///< empty servers that are named in a map
constexpr std::size_t kMaxUrlBytes = 200;
constexpr std::size_t kMaxMapBytes = std::size_t{512} << 10;  ///< size of a map as it lies in etcd

/// Part of the range of keys, and the server or group that holds the entries there.
struct SILURUS_API Part {
  std::uint32_t id = 0;
  std::uint64_t first = 0;  ///< key; the range ends where the next one's begins
  /// URLs of one replica each, the primary anywhere among them; or "etcd://host:port/name/7" alone,
  /// which stands for the present members of that group.
  std::vector<std::string> servers;
  std::string url() const;  ///< as Client::connect takes it
  friend bool operator==(const Part&, const Part&) = default;
};

/// The servers in what Part::url() makes.
SILURUS_API std::vector<std::string> servers_of(std::string_view url);

/// One shard. A shard never gets more or less to hold while it lives: it is replaced, by its
/// successors, as a whole (docs/sharding.md).
struct Shard : Part {
  std::vector<Part> successors;  ///< shards that are being filled; together they have its range
  /// The epoch in which the coordinator that fills them took the shard over. 0: none has.
  std::uint64_t fencing_token = 0;
  friend bool operator==(const Shard&, const Shard&) = default;
};

/// Who holds what: the one thing that all who use a cluster must agree on. Lies in etcd, and is
/// changed only by compare-and-swap (map_store.h). A value.
struct SILURUS_API ShardMap {
  std::uint64_t epoch = 0;        ///< counts changes
  std::uint64_t written_by = 0;   ///< random: of the change that made this one
  int dimensions = 2;             ///< 2 or 3
  std::vector<double> frame_min;  ///< what centres are normalised to, for keys
  std::vector<double> frame_max;
  /// Half the extent, at most, of a box that a shard holds by its centre.
  std::vector<double> limit;
  std::uint32_t next_id = 0;        ///< for the next shard: above all ids
  std::vector<Shard> shards;        ///< by first key; the first one's is 0
  std::vector<std::string> spares;  ///< empty servers or groups, for those who split and move
  friend bool operator==(const ShardMap&, const ShardMap&) = default;

  const Shard* find(std::uint32_t id) const;
  /// The last key of a shard's range.
  std::uint64_t last_key(std::size_t index) const {
    return index + 1 < shards.size() ? shards[index + 1].first - 1 : UINT64_MAX;
  }
};

/// Checks a map. kInvalidArgument names what makes no sense: ranges that don't cover all keys once,
/// a server named twice, or a frame without extent, for example.
SILURUS_API Status check(const ShardMap& map);
/// Returns the JSON text of a map that check() finds right.
SILURUS_API std::string encode(const ShardMap& map);
/// Reads any text. kProtocol if it is no map, or one that check() refuses.
SILURUS_API Result<ShardMap> decode(std::string_view text);

/// Keys as people read and write them: 16 hexadecimal digits, or fewer with zeros behind.
SILURUS_API std::string key_text(std::uint64_t key);
SILURUS_API Result<std::uint64_t> parse_key(std::string_view text);

/// Which shard an entry belongs to, and where the entries of a shard can be: both follow from the
/// map alone, so that neither is ever stale.
///
/// An entry is *ordinary* if its centre lies in the frame, and its box in the centre's cell of the
/// grid grown by `limit`. It belongs to the shard that has the key of that cell. All others belong
/// to the shard that has key 0. So every entry of any other shard lies in the cover of the shard's
/// range by cells grown by `limit`: its reach. Bounds of cells are computed in one way, which is
/// monotone in every rounding, so that a coarse cell's box contains its fine cells' boxes exactly.
template <int D>
class SILURUS_API Space {
 public:
  /// `map`: one that check() finds right, of D dimensions.
  explicit Space(const ShardMap& map);

  std::uint64_t key(const Box<D>& box) const;
  /// Boxes that together contain every ordinary entry whose key is in [first, last]; no more than
  /// kMaxReachBoxes.
  std::vector<Box<D>> reach(std::uint64_t first, std::uint64_t last) const;
  static constexpr std::size_t kMaxReachBoxes = 64;

 private:
  double bound(int d, std::uint64_t step) const;
  Box<D> grown_cell(std::uint64_t key, int depth) const;

  std::array<double, D> min_;
  std::array<double, D> extent_;
  std::array<double, D> max_;
  std::array<double, D> limit_;
};

}  // namespace silurus::shards
