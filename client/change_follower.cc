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
/// An insert into a tree of four levels takes 176 bytes.
constexpr double kUsualRecordBytes = 192;
/// With fewer versions between two root words than this no record is read ahead: the round trip
/// that is needed when there is one after all costs less.
constexpr double kFewVersions = 0.05;
/// More are not counted, so that a client that has slept is soon as it was.
constexpr rtree::Version kManyVersions = 256;
/// Between two root words, records are worth this number of bytes: no more than a mirrored root and
/// an inner node, which would be read instead.
constexpr double kWorth = rtree::kMostChangeBytes;
constexpr double kPieceUnit = 64;

}  // namespace

template <int D>
ChangeFollower<D>::ChangeFollower(NodeCache& cache, std::size_t most_bytes)
    : cache_(cache),
      most_bytes_(std::min(most_bytes, rtree::kMostChangeBytes)),
      bytes_a_version_(kUsualRecordBytes) {}

template <int D>
void ChangeFollower<D>::begin(rtree::NodeRef root, std::size_t offset) {
  is_following_ = true;
  birth_ = root.birth();
  offset_ = offset;
  next_bytes_ = 0;
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
  const rtree::Version versions =
      std::min(versions_between(*ahead.birth, root.birth()), kManyVersions);
  versions_a_read_ += kRate * (static_cast<double>(versions) - versions_a_read_);
}

template <int D>
bool ChangeFollower<D>::is_worthwhile() const {
  return versions_a_read_ * bytes_a_version_ <= kWorth;
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
  if (versions_a_read_ < kFewVersions || !is_worthwhile()) return piece_of(0);
  // What a random number of this average is seldom above.
  const double versions = std::ceil(versions_a_read_ + std::sqrt(versions_a_read_));
  return piece_of(versions * bytes_a_version_);
}

template <int D>
auto ChangeFollower<D>::rest(rtree::NodeRef root) const -> Piece {
  if (!is_following_ || has_reached(root) || behind(root) > kManyVersions) return {};
  const double others = static_cast<double>(behind(root) - 1) * bytes_a_version_;
  const double next = next_bytes_ != 0 ? static_cast<double>(next_bytes_) : bytes_a_version_;
  if (next + others > static_cast<double>(most_bytes_)) return {};
  // A quarter more, since sizes differ: a record that is missing in the end is a round trip lost.
  return piece_of(1.25 * (next + others));
}

/// The next record has that size: counted once, whether it is read at once or its beginning first.
template <int D>
void ChangeFollower<D>::expect(std::size_t bytes) {
  if (next_bytes_ != 0 || bytes == 0) return;
  next_bytes_ = bytes;
  bytes_a_version_ += kRate * (static_cast<double>(bytes) - bytes_a_version_);
}

template <int D>
bool ChangeFollower<D>::apply(std::span<const std::byte> bytes, Piece piece, rtree::NodeRef root) {
  bool has_found = false;
  while (is_following_ && !has_reached(root)) {
    if (offset_ < piece.offset || offset_ - piece.offset >= piece.length) return has_found;
    const auto here = bytes.first(piece.length).subspan(offset_ - piece.offset);
    const rtree::Version next = (birth_ + 1) & (kBirths - 1);
    const auto record = rtree::ChangeRecord<D>::read(here, next);
    expect(rtree::ChangeRecord<D>::expected_bytes(here, next));
    if (!record) return has_found;
    take(*record);
    has_found = true;
    birth_ = next;
    offset_ = rtree::next_change(offset_, record->bytes());
    next_bytes_ = 0;
  }
  return has_found;
}

template <int D>
void ChangeFollower<D>::take(const rtree::ChangeRecord<D>& record) {
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
