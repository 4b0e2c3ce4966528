// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstdint>
#include <memory>
#include <string_view>

#include "common/result.h"
#include "replication/group/wire.h"

namespace silurus::replication {
class Log;
}

namespace silurus::replication::group {

class Links;
class LogReplicator;
struct ReplicatorOptions;

/// The ways in which the primary's log gets to the other members. All members of a group use one.
enum class ReplicationProtocol : std::uint8_t {
  kMulticast,  ///< multicast.h
  kLogWrite,   ///< log_write.h
  kChain,      ///< chain.h
};
/// "multicast", "log-write", "chain".
std::string_view to_string(ReplicationProtocol protocol);
/// kInvalidArgument names those that there are.
Result<ReplicationProtocol> parse_replication_protocol(std::string_view text);

/// Whether the protocol writes one-sidedly: then each member offers a window (LinksOptions).
bool pushes(ReplicationProtocol protocol);

/// log, links: must outlive it.
std::unique_ptr<LogReplicator> make_replicator(ReplicationProtocol protocol,
                                               const ReplicatorOptions& options, GroupId group,
                                               Log& log, Links& links);

}  // namespace silurus::replication::group
