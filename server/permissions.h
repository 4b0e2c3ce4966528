// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <algorithm>
#include <cstdint>
#include <string>
#include <string_view>

#include "access/authorization.h"
#include "access/rules.h"
#include "protocol/messages.h"

namespace silurus::server {

/// What a request is about, and what for a principal must have its role.
enum class Scope : std::uint8_t {
  kCollection,  ///< the collection that the connection is for
  kServer,      ///< all collections
  kAnywhere,  ///< it is enough to have the role for one: what else it needs is told by its content
};

/// What a request asks of the principal that sends it.
struct Demand {
  access::Role role;
  std::string_view to_do;  ///< for the refusal
  Scope scope = Scope::kCollection;
};

/// What a request demands; of tasks, what any of them demands: the rest goes by its kind.
inline Demand demand_of(protocol::MessageType type) {
  using protocol::MessageType;
  switch (type) {
    case MessageType::kWrite:
    case MessageType::kSegment:  // a write: no other request is as long
      return {access::Role::kWriter, "write"};
    case MessageType::kLoadBegin:
    case MessageType::kLoadEntries:
    case MessageType::kLoadCommit:
      return {access::Role::kOperator, "load in bulk"};
    case MessageType::kRange:
    case MessageType::kNearest:
    case MessageType::kAt:
    case MessageType::kHold:
    case MessageType::kJoin:
    case MessageType::kGet:
      break;
    case MessageType::kStats:
      return {access::Role::kReader, "read statistics", Scope::kServer};
    case MessageType::kCluster:
    case MessageType::kTask:
      return {access::Role::kReader, "read", Scope::kAnywhere};
    case MessageType::kLoadAbort:  // a load of that connection, which others wait for
    case MessageType::kAnswer:
      break;
  }
  return {access::Role::kReader, "read"};
}

inline Demand demand_of(protocol::TaskKind kind) {
  using protocol::TaskKind;
  switch (kind) {
    case TaskKind::kHistory:
    case TaskKind::kDiff:
    case TaskKind::kExport:
    case TaskKind::kExportPage:
      return {access::Role::kReader, "read"};
    case TaskKind::kCollections:  // it is told of those that it may read
      return {access::Role::kReader, "read", Scope::kAnywhere};
    case TaskKind::kBackup:
      return {access::Role::kOperator, "have files written", Scope::kServer};
    case TaskKind::kCompact:
      return {access::Role::kOperator, "compact"};
    case TaskKind::kCreate:
    case TaskKind::kDrop:
    case TaskKind::kClear:
    case TaskKind::kRename:
    case TaskKind::kReplace:
    case TaskKind::kNote:
      return {access::Role::kOperator, "change collections", Scope::kAnywhere};
    case TaskKind::kExportChanges:
    case TaskKind::kFill:
    case TaskKind::kFreeze:
    case TaskKind::kRetire:
    case TaskKind::kServe:
      break;
  }
  return {access::Role::kOperator, "replace the shard by others", Scope::kServer};
}

/// kPermission unless it may read the collection of that key (protocol::collection_key()); `name`:
/// null if there is none. A refusal does not tell whether there is one: it has the same words for a
/// collection that is not there, and is not named by the principal's rules.
inline Status check_readable(access::Authorization& authorization, std::uint64_t key,
                             const std::string* name, std::string_view to_do) {
  constexpr access::Role kNeeded = access::Role::kReader;
  const access::Rights& rights = authorization.rights();
  const bool may = name != nullptr ? rights.in(*name) >= kNeeded
                                   : std::ranges::any_of(rights.in_some, [&](const auto& one) {
                                       return protocol::collection_key(one.first) == key;
                                     });
  return may ? Status() : authorization.check(kNeeded, to_do);
}

}  // namespace silurus::server
