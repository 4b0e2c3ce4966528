// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

#include "common/result.h"

namespace silurus::replication {

/// What a collection is, beside its dimensions: decided when it is created.
enum CollectionFlag : std::uint32_t {
  kKeyed = 1,        ///< an id is unique in it
  kLonLat = 2,       ///< coordinates are degrees of longitude and latitude
  kWithRecords = 4,  ///< an entry may carry a record
};
constexpr std::uint32_t kAllCollectionFlags = kKeyed | kLonLat | kWithRecords;

/// A named tree of a server.
struct CollectionInfo {
  /// Tells it from all others that ever were (rtree::Tree::number); a collection that is renamed
  /// gets another one.
  std::uint64_t number = 0;
  std::string name;
  std::uint32_t dimensions = 2;  ///< 2 or 3
  std::uint32_t flags = 0;       ///< bits of CollectionFlag
  std::string note;              ///< text of its owner: printable ASCII
  friend bool operator==(const CollectionInfo&, const CollectionInfo&) = default;
};

enum class CollectionAction : std::uint64_t {
  kCreate = 1,   ///< `text`: the name
  kDrop = 2,     ///< with all entries
  kClear = 3,    ///< takes all entries out
  kRename = 4,   ///< `text`: the new name, which no other has
  kReplace = 5,  ///< the same, in the place of the collection of that name, which is dropped
  kNote = 6,     ///< `text`: the note
};

/// A change of the catalogue, as it lies in the log.
struct CollectionOrder {
  static constexpr std::size_t kMaxText = 96;

  CollectionAction action;
  std::uint64_t number;             ///< the collection; kCreate ignores it
  std::uint32_t dimensions;         ///< for kCreate
  std::uint32_t flags;              ///< for kCreate
  std::array<char, kMaxText> text;  ///< with zeros behind it

  /// kInvalidArgument: too long, or with a zero in it.
  static Result<CollectionOrder> make(CollectionAction action, std::uint64_t number,
                                      std::string_view text, std::uint32_t dimensions = 0,
                                      std::uint32_t flags = 0);
  std::string_view text_view() const;
};
static_assert(sizeof(CollectionOrder) == 120 &&
              std::has_unique_object_representations_v<CollectionOrder>);

/// What an order has changed.
struct CatalogueChange {
  std::uint64_t number = 0;               ///< the collection has it now, or had it (kDrop)
  std::uint64_t old_number = 0;           ///< that it had before
  std::optional<std::uint64_t> replaced;  ///< the collection that kReplace has dropped
  friend bool operator==(const CatalogueChange&, const CatalogueChange&) = default;
};

/// The collections of a server. What comes of an order depends on the orders before it alone, so a
/// log that has them all leads to the same catalogue again, and members of a group agree on theirs.
///
/// There is always a collection called "default": at first that of number 0. One thread.
class Catalogue {
 public:
  static constexpr std::size_t kMaxCollections = 1024;
  static constexpr std::size_t kMaxName = 63;
  static constexpr std::string_view kDefault = "default";

  /// With the default collection alone.
  explicit Catalogue(std::uint32_t dimensions);

  /// In the order of their names.
  const std::vector<CollectionInfo>& collections() const { return collections_; }
  /// nullptr: there is none.
  const CollectionInfo* find(std::string_view name) const;
  const CollectionInfo* find(std::uint64_t number) const;
  /// The same, where nullptr would be an error: kNotFound.
  Result<CollectionInfo> get(std::string_view name) const;

  /// What would come of an order: kNotFound, kConflict (the name is taken, or it is the default
  /// collection that would be no more), kTooLarge (too many), kInvalidArgument.
  Status check(const CollectionOrder& order) const;
  /// Obeys it; where check() refuses it, nothing changes.
  Result<CatalogueChange> obey(const CollectionOrder& order);

  /// For a checkpoint.
  std::vector<std::byte> encode() const;
  /// kProtocol if the bytes are not what encode() made.
  static Result<Catalogue> decode(std::span<const std::byte> bytes);

  friend bool operator==(const Catalogue&, const Catalogue&) = default;

 private:
  Catalogue() = default;
  CollectionInfo* at(std::uint64_t number);
  void insert(CollectionInfo info);
  void erase(std::uint64_t number);

  std::vector<CollectionInfo> collections_;  ///< sorted by name
  std::uint64_t next_number_ = 0;
};

/// 1 to Catalogue::kMaxName letters, digits, '_', '-' and '.', of which the first is a letter, a
/// digit or '_': so it can stand in a path, a URL and a shell's command as it is.
Status check_collection_name(std::string_view name);

}  // namespace silurus::replication
