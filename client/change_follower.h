// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

#include "client/index_roots.h"
#include "client/node_cache.h"
#include "rtree/changes.h"
#include "rtree/node_ref.h"

namespace silurus::client {

/// Keeps the inner nodes in a NodeCache those of the newest version, by the records of changes that
/// the server writes beside its root (rtree/changes.h, docs/decisions/0017). It knows the version
/// that it has come to, and where in the ring the record of the next one lies. Says what to read of
/// the ring, and takes what was read; what it has no record of it leaves to searches, which read
/// nodes that they don't find. It notes which root the id index has in the versions that it comes
/// by.
///
/// Versions are counted over all trees of a server, so how many records lie between two versions of
/// one tree is not known before they are read. It goes by how many versions there were from one
/// record to the next of late: one, where no other tree is written to.
///
/// Whether a record is right does not depend on when it is read: it says what is true of nodes that
/// never change. So there is no lease here. One thread; no clock, no network.
template <int D>
class ChangeFollower {
 public:
  /// A part of the ring, in bytes. It begins with the record of the version after the one whose
  /// root has this birth (NodeRef::birth), if that is known.
  struct Piece {
    std::uint32_t offset = 0;
    std::uint32_t length = 0;
    std::optional<rtree::Version> birth;
  };

  /// No piece is longer than `most_bytes`.
  ChangeFollower(NodeCache& cache, IndexRoots& indexes, std::size_t most_bytes);

  /// Goes on from the version of that root, where the record of the next one begins at `offset`,
  /// behind that number of `records`.
  void begin(rtree::NodeRef root, std::size_t offset, std::uint64_t records);
  /// Knows no place in the ring any more, until begin().
  void lose() { is_following_ = false; }
  bool is_following() const { return is_following_; }

  /// Is to be told of each root word that is read, and of what was read ahead() with it.
  void observe(rtree::NodeRef root, Piece ahead);
  /// Whether it is worth reading records: as many bytes as they have between two root words are
  /// fewer than those of what they spare.
  bool is_worthwhile() const;
  /// What is likely to hold the records of all versions up to the one that a root word, which is
  /// read just before, will name. Empty if that has seldom changed of late.
  Piece ahead() const;
  /// Whether the cache is that of this root's version, or of a later one.
  bool has_reached(rtree::NodeRef root) const;
  /// What is likely to hold the records that are missing up to that root's; empty if that is more
  /// than they are worth.
  Piece rest(rtree::NodeRef root) const;
  /// Takes a piece that was read, in which it looks for records up to that root's. Whether there
  /// was one.
  bool apply(std::span<const std::byte> bytes, Piece piece, rtree::NodeRef root);

 private:
  rtree::Version behind(rtree::NodeRef root) const;
  double records_in(rtree::Version versions) const;
  void learn_gap(rtree::Version versions, std::uint64_t records);
  void take(const rtree::ChangeRecord<D>& record);
  void expect(std::size_t bytes);
  Piece piece_of(double bytes) const;

  NodeCache& cache_;
  IndexRoots& indexes_;
  std::size_t most_bytes_;
  bool is_following_ = false;
  rtree::Version birth_ = 0;   ///< low bits of the newest followed root's birth
  std::uint64_t records_ = 0;  ///< that lie before that of the next version; 0: never followed
  std::size_t offset_ = 0;     ///< where the next version's record lies
  /// The beginning of that record was seen, and tells its size; or 0.
  std::size_t next_bytes_ = 0;
  double records_a_read_ = 1;  ///< moving average: records between two root words
  double bytes_a_record_;      ///< moving average: size of a record
  double most_a_record_;       ///< few records are larger
  /// Moving average: the binary logarithm of the versions from one record to the next. A few rests
  /// of a tree that is written to in bursts don't move it far.
  double gap_ = 0;
  bool knows_gap_ = false;  ///< by a record at least
};

}  // namespace silurus::client
