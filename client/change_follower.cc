// SPDX-License-Identifier: Apache-2.0

#include "client/change_follower.h"

#include <algorithm>
#include <cmath>

namespace silurus::client {
namespace {

/// Versions come round after 2^36 in names; what is farther ahead than half of that lies behind.
constexpr rtree::Version kBirths = rtree::Version{1} << rtree::NodeRef::kBirthBits;

/// Versions from one root's to another's, by what their names say.
constexpr rtree::Version versions_between(rtree::Version from, rtree::Version to) {
  const rtree::Version ahead = (to - from) & (kBirths - 1);
  return ahead > kBirths / 2 ? 0 : ahead;
}

constexpr double kRate = 1.0 / 16;
constexpr double kGapRate = 1.0 / 4;
/// The part of the records that a piece read ahead is to have room for.
constexpr double kMost = 0.9;
/// Below this gap the number of records is taken for known.
constexpr double kSmallGap = 0.25;
/// An insert into a tree of four levels takes 176 bytes.
constexpr double kUsualRecordBytes = 192;
/// With fewer records between two root words than this none is read ahead: the round trip that is
/// needed when there is one after all costs less.
constexpr double kFewRecords = 0.05;
/// More are not counted, so that a client that has slept is soon as it was.
constexpr double kManyRecords = 256;
/// Between two root words, records are worth this number of bytes: no more than a mirrored root and
/// an inner node, which would be read instead.
constexpr double kWorth = rtree::kMostChangeBytes;
constexpr double kPieceUnit = 64;

}  // namespace

template <int D>
ChangeFollower<D>::ChangeFollower(NodeCache& cache, IndexRoots& indexes, std::size_t most_bytes)
    : cache_(cache),
      indexes_(indexes),
      most_bytes_(std::min(most_bytes, rtree::kMostChangeBytes)),
      bytes_a_record_(kUsualRecordBytes),
      most_a_record_(kUsualRecordBytes) {}

template <int D>
void ChangeFollower<D>::begin(rtree::NodeRef root, std::size_t offset, std::uint64_t records) {
  // What it did not follow is known by its number at least.
  if (records_ != 0 && records > records_) learn_gap(behind(root), records - records_);
  is_following_ = true;
  birth_ = root.birth();
  records_ = records;
  offset_ = offset;
  next_bytes_ = 0;
}

template <int D>
void ChangeFollower<D>::learn_gap(rtree::Version versions, std::uint64_t records) {
  if (versions < records) return;
  const double gap = std::log2(static_cast<double>(versions) / static_cast<double>(records));
  gap_ += kGapRate * (gap - gap_);
  knows_gap_ = true;
}

/// How many records some versions are likely to have, of which the last one is the tree's own.
template <int D>
double ChangeFollower<D>::records_in(rtree::Version versions) const {
  if (versions == 0) return 0;
  return std::max(1.0, std::ceil(static_cast<double>(versions) / std::exp2(gap_)));
}

template <int D>
rtree::Version ChangeFollower<D>::behind(rtree::NodeRef root) const {
  return versions_between(birth_, root.birth());
}

template <int D>
bool ChangeFollower<D>::has_reached(rtree::NodeRef root) const {
  return is_following_ && behind(root) == 0;
}

template <int D>
void ChangeFollower<D>::observe(rtree::NodeRef root, Piece ahead) {
  if (!ahead.birth) return;
  const double records = records_in(versions_between(*ahead.birth, root.birth()));
  records_a_read_ += kRate * (std::min(records, kManyRecords) - records_a_read_);
}

template <int D>
bool ChangeFollower<D>::is_worthwhile() const {
  return records_a_read_ * bytes_a_record_ <= kWorth;
}

template <int D>
auto ChangeFollower<D>::piece_of(double bytes) const -> Piece {
  const double rounded = std::ceil(bytes / kPieceUnit) * kPieceUnit;
  const std::size_t most = std::min(most_bytes_, rtree::kChangeRingBytes - offset_) / 8 * 8;
  return {.offset = static_cast<std::uint32_t>(offset_),
          .length = static_cast<std::uint32_t>(std::min(rounded, static_cast<double>(most))),
          .birth = birth_};
}

template <int D>
auto ChangeFollower<D>::ahead() const -> Piece {
  if (!is_following_) return {};
  if (records_a_read_ < kFewRecords || !is_worthwhile()) return piece_of(0);
  // What a random number of this average is seldom above.
  const double records = std::ceil(records_a_read_ + std::sqrt(records_a_read_));
  return piece_of((records - 1) * bytes_a_record_ + most_a_record_);
}

template <int D>
auto ChangeFollower<D>::rest(rtree::NodeRef root) const -> Piece {
  if (!is_following_ || has_reached(root)) return {};
  const double others = (records_in(behind(root)) - 1) * bytes_a_record_;
  const double next = next_bytes_ != 0 ? static_cast<double>(next_bytes_) : bytes_a_record_;
  // Where other trees are written to, there may be fewer: one look at as many as may be read says;
  // where it is not known whether others are, at the next one.
  if (next + others > static_cast<double>(most_bytes_) && gap_ < kSmallGap) {
    return knows_gap_ ? Piece{} : piece_of(1.25 * next);
  }
  // A quarter more, since sizes differ: a record that is missing in the end is a round trip lost.
  return piece_of(1.25 * (next + others));
}

/// The next record has that size: counted once, whether it is read at once or its beginning first.
template <int D>
void ChangeFollower<D>::expect(std::size_t bytes) {
  if (next_bytes_ != 0 || bytes == 0) return;
  next_bytes_ = bytes;
  const auto size = static_cast<double>(bytes);
  // A step up for each that is larger, and a smaller one down for each that is not.
  most_a_record_ += kRate * bytes_a_record_ * (size > most_a_record_ ? kMost : kMost - 1);
  bytes_a_record_ += kRate * (size - bytes_a_record_);
}

template <int D>
bool ChangeFollower<D>::apply(std::span<const std::byte> bytes, Piece piece, rtree::NodeRef root) {
  bool has_found = false;
  while (is_following_ && !has_reached(root)) {
    if (offset_ < piece.offset || offset_ - piece.offset >= piece.length) return has_found;
    const auto here = bytes.first(piece.length).subspan(offset_ - piece.offset);
    const auto record = rtree::ChangeRecord<D>::read(here, birth_);
    expect(rtree::ChangeRecord<D>::expected_bytes(here, birth_));
    if (!record) return has_found;
    const rtree::NodeRef next(0, record->version());
    if (behind(next) == 0 || behind(next) > behind(root)) return has_found;
    take(*record);
    has_found = true;
    learn_gap(behind(next), 1);
    birth_ = next.birth();
    ++records_;
    offset_ = rtree::next_change(offset_, record->bytes());
    next_bytes_ = 0;
  }
  return has_found;
}

template <int D>
void ChangeFollower<D>::take(const rtree::ChangeRecord<D>& record) {
  indexes_.note(record.version(), record.index());
  record.for_each([&](const rtree::ChangedNode<D>& changed) {
    const std::byte* cached = cache_.find(changed.before());
    if (cached == nullptr) return;
    if (!changed.fits(*reinterpret_cast<const rtree::Node<D>*>(cached))) return;
    std::byte* renamed = cache_.rename(changed.before(), changed.after());
    if (renamed != nullptr) changed.apply(*reinterpret_cast<rtree::Node<D>*>(renamed));
  });
}

template class ChangeFollower<2>;
template class ChangeFollower<3>;

}  // namespace silurus::client
