#pragma once

#include <string_view>

#include "access/rules.h"
#include "protocol/messages.h"

namespace silurus::server {

/// What a request asks of the principal that sends it.
struct Demand {
  access::Role role;
  std::string_view to_do;  ///< for the refusal
};

/// What a request demands; of tasks, what any of them demands: the rest goes by its kind.
inline Demand demand_of(protocol::MessageType type) {
  using protocol::MessageType;
  switch (type) {
    case MessageType::kWrite:
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
    case MessageType::kStats:
    case MessageType::kCluster:
    case MessageType::kTask:
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
    case TaskKind::kCollections:
    case TaskKind::kExport:
    case TaskKind::kExportPage:
      return {access::Role::kReader, "read"};
    case TaskKind::kBackup:
      return {access::Role::kOperator, "have files written"};
    case TaskKind::kCompact:
      return {access::Role::kOperator, "compact"};
    case TaskKind::kCreate:
    case TaskKind::kDrop:
    case TaskKind::kClear:
    case TaskKind::kRename:
    case TaskKind::kReplace:
    case TaskKind::kNote:
      return {access::Role::kOperator, "change collections"};
    case TaskKind::kExportChanges:
    case TaskKind::kFill:
    case TaskKind::kFreeze:
    case TaskKind::kRetire:
    case TaskKind::kServe:
      break;
  }
  return {access::Role::kOperator, "replace the shard by others"};
}

}  // namespace silurus::server
