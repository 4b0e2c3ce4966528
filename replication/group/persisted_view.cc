// SPDX-License-Identifier: Apache-2.0

#include "replication/group/persisted_view.h"

#include <xxhash.h>

#include <cerrno>
#include <cinttypes>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "common/durable_file.h"

namespace silurus::replication::group {
namespace {

/// The view as JSON in the first line, its checksum in the second.
std::string checksum_line(const std::string& text) {
  char line[24];
  std::snprintf(line, sizeof line, "%016" PRIx64 "\n", XXH3_64bits(text.data(), text.size()));
  return line;
}

std::string name_of(const View& view) {
  return "view " + std::to_string(view.epoch) + " of member " + std::to_string(view.primary);
}

}  // namespace

Result<std::optional<PersistedView>> read_persisted_view(const std::string& path) {
  std::error_code ignored;
  if (!std::filesystem::exists(path, ignored)) return std::optional<PersistedView>();
  std::ifstream file(path);
  std::stringstream content;
  content << file.rdbuf();
  if (!file) return fail(errno_error(ErrorCode::kIo, "cannot read " + path, errno));
  const std::string text = content.str();
  const std::size_t end = text.find('\n');
  const std::string json = text.substr(0, end);
  auto kept = decode_persisted_view(json);
  const bool is_whole = end != text.npos && text.substr(end + 1) == checksum_line(json);
  if (kept && is_whole) return std::optional(std::move(*kept));
  return fail(ErrorCode::kProtocol,
              path + " does not say which view this member was in (" +
                  (kept ? "its checksum is wrong" : kept.error().message) +
                  "): restore that file; or, if another member of the group has everything, start "
                  "with an empty directory, not as the one that leads");
}

Status write_persisted_view(const std::string& path, const PersistedView& kept) {
  const std::string json = encode(kept);
  return write_durably(path, json + "\n" + checksum_line(json));
}

Status may_follow(const PersistedView& known, const PersistedView& told) {
  const std::string either =
      "Give it its directory back; or, if that is permanently lost and this member was in the last "
      "view, have this one lead (--lead --take-over); or, if that group is right, empty this "
      "member's directory";
  if (told.founder != known.founder) {
    return fail(ErrorCode::kConflict,
                "the group that the first member leads was founded by another store, " +
                    std::to_string(told.founder) + ", than this member's, " +
                    std::to_string(known.founder) +
                    ": the first member's data directory was lost or emptied, and nothing is taken "
                    "over from it. " +
                    either);
  }
  // A term begins above all epochs before it: one that did not has forgotten some of them.
  const bool is_older =
      told.view.epoch < known.view.epoch ||
      (!told.view.is_same_term(known.view) && told.view.since <= known.view.epoch);
  if (is_older || (told.view.epoch == known.view.epoch && told.view != known.view)) {
    return fail(ErrorCode::kConflict,
                "the first member leads " + name_of(told.view) + ", but this member knows of " +
                    name_of(known.view) +
                    ": the first member's data directory is an old copy, or another member has "
                    "taken its place, and nothing is taken over from it. " +
                    either);
  }
  const bool is_heir = told.view.primary != known.view.primary;
  if (is_heir && known.view.epoch > told.taken_over_at && !known.view.has(told.view.primary)) {
    return fail(ErrorCode::kConflict,
                "member " + std::to_string(told.view.primary) +
                    " has taken the first one's place as of view " +
                    std::to_string(told.taken_over_at) + ", but it was not in " +
                    name_of(known.view) +
                    ", which this member knows of: it may lack what was acknowledged then. Have "
                    "a member of that view take over; or empty this member's directory, and lose "
                    "that");
  }
  return {};
}

Status may_take_over(const PersistedView& known, MemberId self) {
  if (!known.view.has(self)) {
    return fail(ErrorCode::kConflict,
                "--take-over: this member was not in the last view that it "
                "knows of, " +
                    name_of(known.view) +
                    ", and may lack what was acknowledged then: have a "
                    "member of that view take over");
  }
  if (known.view.ack != Ack::kAll) {
    return fail(ErrorCode::kConflict,
                "--take-over: with --ack " + std::string(to_string(known.view.ack)) +
                    " no single member but the first is sure to have what was acknowledged");
  }
  return {};
}

}  // namespace silurus::replication::group
