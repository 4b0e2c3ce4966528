// SPDX-License-Identifier: Apache-2.0

#include "replication/catalogue.h"

#include <algorithm>
#include <cstring>
#include <optional>
#include <utility>

namespace silurus::replication {
namespace {

bool is_letter_or_digit(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

std::string quoted(std::string_view text) {
  std::string quoted = "\"";
  for (const char c : text) quoted += c >= ' ' && c <= '~' ? c : '?';
  return quoted + "\"";
}

Error no_such(const std::string& which) {
  return {ErrorCode::kNotFound, "there is no collection " + which};
}

Status check_kind(std::uint32_t dimensions, std::uint32_t flags) {
  if (dimensions != 2 && dimensions != 3) {
    return fail(ErrorCode::kInvalidArgument,
                "a collection has 2 or 3 dimensions, not " + std::to_string(dimensions));
  }
  if ((flags & ~kAllCollectionFlags) != 0) {
    return fail(ErrorCode::kInvalidArgument, "a property of the collection is unknown");
  }
  if ((flags & kLonLat) != 0 && dimensions != 2) {
    return fail(ErrorCode::kInvalidArgument,
                "a collection of longitudes and latitudes has 2 dimensions");
  }
  if ((flags & kWithRecords) != 0 && (flags & kKeyed) == 0) {
    return fail(ErrorCode::kInvalidArgument,
                "a collection with records is keyed: a record is found by the id of its entry");
  }
  return {};
}

Status check_note(std::string_view note) {
  const bool is_printable = std::ranges::all_of(note, [](char c) { return c >= ' ' && c <= '~'; });
  if (is_printable) return {};
  return fail(ErrorCode::kInvalidArgument, "a note is printable ASCII text");
}

// --- how it is encoded: numbers of 8 bytes, texts with their length before them.

void put(std::vector<std::byte>& to, std::uint64_t number) {
  const auto bytes = std::as_bytes(std::span(&number, 1));
  to.insert(to.end(), bytes.begin(), bytes.end());
}

void put(std::vector<std::byte>& to, std::string_view text) {
  put(to, text.size());
  const auto bytes = std::as_bytes(std::span(text));
  to.insert(to.end(), bytes.begin(), bytes.end());
}

/// Reads what put() wrote; nothing where that is not what is there.
class Source {
 public:
  explicit Source(std::span<const std::byte> bytes) : rest_(bytes) {}

  std::optional<std::uint64_t> number() {
    std::uint64_t value = 0;
    if (rest_.size() < sizeof value) return std::nullopt;
    std::memcpy(&value, rest_.data(), sizeof value);
    rest_ = rest_.subspan(sizeof value);
    return value;
  }
  std::optional<std::string> text(std::size_t most) {
    const auto size = number();
    if (!size || *size > most || *size > rest_.size()) return std::nullopt;
    std::string text(reinterpret_cast<const char*>(rest_.data()), *size);
    rest_ = rest_.subspan(*size);
    return text;
  }
  bool is_at_end() const { return rest_.empty(); }

 private:
  std::span<const std::byte> rest_;
};

std::optional<CollectionInfo> read_info(Source& source) {
  const auto number = source.number();
  const auto dimensions = source.number();
  const auto flags = source.number();
  auto name = source.text(Catalogue::kMaxName);
  auto note = source.text(CollectionOrder::kMaxText);
  if (!number || !dimensions || !flags || !name || !note) return std::nullopt;
  if (*dimensions > 3 || *flags > kAllCollectionFlags) return std::nullopt;
  CollectionInfo info{.number = *number,
                      .name = std::move(*name),
                      .dimensions = static_cast<std::uint32_t>(*dimensions),
                      .flags = static_cast<std::uint32_t>(*flags),
                      .note = std::move(*note)};
  const bool is_sound = check_collection_name(info.name) && check_note(info.note) &&
                        check_kind(info.dimensions, info.flags);
  return is_sound ? std::optional(std::move(info)) : std::nullopt;
}

bool is_before(const CollectionInfo& a, const CollectionInfo& b) { return a.name < b.name; }

}  // namespace

Status check_collection_name(std::string_view name) {
  const auto may_stand = [](char c) {
    return is_letter_or_digit(c) || c == '_' || c == '-' || c == '.';
  };
  const bool is_good = !name.empty() && name.size() <= Catalogue::kMaxName &&
                       (is_letter_or_digit(name.front()) || name.front() == '_') &&
                       std::ranges::all_of(name, may_stand);
  if (is_good) return {};
  return fail(ErrorCode::kInvalidArgument,
              "a collection cannot be called " + quoted(name) + ": a name is 1 to " +
                  std::to_string(Catalogue::kMaxName) +
                  " letters, digits, '_', '-' and '.', and does not begin with '-' or '.'");
}

Result<CollectionOrder> CollectionOrder::make(CollectionAction action, std::uint64_t number,
                                              std::string_view text, std::uint32_t dimensions,
                                              std::uint32_t flags) {
  if (text.size() > kMaxText || text.find('\0') != std::string_view::npos) {
    return fail(ErrorCode::kInvalidArgument, "a name or note of " + std::to_string(text.size()) +
                                                 " bytes: at most " + std::to_string(kMaxText) +
                                                 ", none of them zero");
  }
  CollectionOrder order{action, number, dimensions, flags, {}};
  std::copy(text.begin(), text.end(), order.text.begin());
  return order;
}

std::string_view CollectionOrder::text_view() const {
  const auto end = std::find(text.begin(), text.end(), '\0');
  return {text.data(), static_cast<std::size_t>(end - text.begin())};
}

Catalogue::Catalogue(std::uint32_t dimensions) : next_number_(1) {
  collections_.push_back({.number = 0,
                          .name = std::string(kDefault),
                          .dimensions = dimensions,
                          .flags = 0,
                          .note = {}});
}

const CollectionInfo* Catalogue::find(std::string_view name) const {
  const auto found = std::ranges::lower_bound(collections_, name, {}, &CollectionInfo::name);
  return found != collections_.end() && found->name == name ? &*found : nullptr;
}

const CollectionInfo* Catalogue::find(std::uint64_t number) const {
  const auto found = std::ranges::find(collections_, number, &CollectionInfo::number);
  return found != collections_.end() ? &*found : nullptr;
}

CollectionInfo* Catalogue::at(std::uint64_t number) {
  return const_cast<CollectionInfo*>(std::as_const(*this).find(number));
}

Result<CollectionInfo> Catalogue::get(std::string_view name) const {
  if (const CollectionInfo* info = find(name)) return *info;
  return fail(no_such(quoted(name)));
}

Status Catalogue::check(const CollectionOrder& order) const {
  const std::string_view text = order.text_view();
  if (order.action == CollectionAction::kCreate) {
    if (Status named = check_collection_name(text); !named) return named;
    if (Status kind = check_kind(order.dimensions, order.flags); !kind) return kind;
    if (find(text) != nullptr) {
      return fail(ErrorCode::kConflict, "there is a collection " + quoted(text) + " already");
    }
    if (collections_.size() < kMaxCollections) return {};
    return fail(ErrorCode::kTooLarge, "there are " + std::to_string(kMaxCollections) +
                                          " collections, which is as many as can be");
  }
  const CollectionInfo* info = find(order.number);
  if (info == nullptr) return fail(no_such("of number " + std::to_string(order.number)));
  const bool is_default = info->name == kDefault;
  switch (order.action) {
    case CollectionAction::kClear:
      return {};
    case CollectionAction::kNote:
      return check_note(text);
    case CollectionAction::kDrop:
      if (!is_default) return {};
      return fail(ErrorCode::kConflict,
                  "the collection \"default\" is always there: it can be cleared, not dropped");
    case CollectionAction::kRename:
    case CollectionAction::kReplace: {
      if (Status named = check_collection_name(text); !named) return named;
      if (is_default) {
        return fail(ErrorCode::kConflict,
                    "the collection \"default\" is always there: it cannot be renamed");
      }
      if (info->name == text) {
        return fail(ErrorCode::kConflict, "the collection is called " + quoted(text) + " already");
      }
      const CollectionInfo* other = find(text);
      if (order.action == CollectionAction::kReplace || other == nullptr) return {};
      return fail(ErrorCode::kConflict, "there is a collection " + quoted(text) + " already");
    }
    default:
      return fail(ErrorCode::kInvalidArgument, "an order to a collection is unknown");
  }
}

Result<CatalogueChange> Catalogue::obey(const CollectionOrder& order) {
  if (Status allowed = check(order); !allowed) return fail(allowed.error());
  CatalogueChange change{.number = order.number, .old_number = order.number, .replaced = {}};
  const std::string text(order.text_view());
  switch (order.action) {
    case CollectionAction::kCreate:
      change.number = change.old_number = next_number_++;
      insert({change.number, text, order.dimensions, order.flags, {}});
      break;
    case CollectionAction::kDrop:
      erase(order.number);
      break;
    case CollectionAction::kClear:
      break;
    case CollectionAction::kNote:
      at(order.number)->note = text;
      break;
    case CollectionAction::kRename:
    case CollectionAction::kReplace: {
      CollectionInfo info = *find(order.number);
      if (const CollectionInfo* other = find(text)) change.replaced = other->number;
      if (change.replaced) erase(*change.replaced);
      erase(order.number);
      info.name = text;
      change.number = info.number = next_number_++;
      insert(std::move(info));
      break;
    }
  }
  return change;
}

void Catalogue::insert(CollectionInfo info) {
  const auto place = std::ranges::upper_bound(collections_, info, is_before);
  collections_.insert(place, std::move(info));
}

void Catalogue::erase(std::uint64_t number) {
  std::erase_if(collections_, [&](const CollectionInfo& one) { return one.number == number; });
}

std::vector<std::byte> Catalogue::encode() const {
  std::vector<std::byte> bytes;
  put(bytes, next_number_);
  put(bytes, std::uint64_t{collections_.size()});
  for (const CollectionInfo& one : collections_) {
    put(bytes, one.number);
    put(bytes, std::uint64_t{one.dimensions});
    put(bytes, std::uint64_t{one.flags});
    put(bytes, std::string_view(one.name));
    put(bytes, std::string_view(one.note));
  }
  return bytes;
}

Result<Catalogue> Catalogue::decode(std::span<const std::byte> bytes) {
  const auto damaged = [] {
    return fail(ErrorCode::kProtocol, "the catalogue of collections is damaged");
  };
  Source source(bytes);
  Catalogue catalogue;
  const auto next = source.number();
  const auto count = source.number();
  if (!next || !count || *count > kMaxCollections) return damaged();
  catalogue.next_number_ = *next;
  for (std::uint64_t i = 0; i < *count; ++i) {
    auto info = read_info(source);
    if (!info || info->number >= *next) return damaged();
    const bool is_behind = i == 0 || is_before(catalogue.collections_.back(), *info);
    if (!is_behind || catalogue.find(info->number) != nullptr) return damaged();
    catalogue.collections_.push_back(std::move(*info));
  }
  if (!source.is_at_end() || catalogue.find(kDefault) == nullptr) return damaged();
  return catalogue;
}

}  // namespace silurus::replication
