// SPDX-License-Identifier: Apache-2.0

#include "replication/group/protocol.h"

#include <array>
#include <string>

#include "common/check.h"
#include "replication/group/chain.h"
#include "replication/group/log_write.h"
#include "replication/group/multicast.h"

namespace silurus::replication::group {
namespace {

constexpr std::array kProtocols = {ReplicationProtocol::kMulticast, ReplicationProtocol::kLogWrite,
                                   ReplicationProtocol::kChain};

}  // namespace

std::string_view to_string(ReplicationProtocol protocol) {
  switch (protocol) {
    case ReplicationProtocol::kMulticast:
      return "multicast";
    case ReplicationProtocol::kLogWrite:
      return "log-write";
    case ReplicationProtocol::kChain:
      return "chain";
  }
  return "?";
}

Result<ReplicationProtocol> parse_replication_protocol(std::string_view text) {
  for (const ReplicationProtocol one : kProtocols) {
    if (text == to_string(one)) return one;
  }
  return fail(ErrorCode::kInvalidArgument, "no way of replication is called \"" +
                                               std::string(text) +
                                               "\": multicast, log-write or chain");
}

bool pushes(ReplicationProtocol protocol) { return protocol != ReplicationProtocol::kMulticast; }

std::unique_ptr<LogReplicator> make_replicator(ReplicationProtocol protocol,
                                               const ReplicatorOptions& options, GroupId group,
                                               Log& log, Links& links) {
  switch (protocol) {
    case ReplicationProtocol::kMulticast:
      return std::make_unique<MulticastReplicator>(options, group, log, links);
    case ReplicationProtocol::kLogWrite:
      return std::make_unique<LogWriteReplicator>(options, group, log, links);
    case ReplicationProtocol::kChain:
      return std::make_unique<ChainReplicator>(options, group, log, links);
  }
  SILURUS_CHECK(false);
}

}  // namespace silurus::replication::group
