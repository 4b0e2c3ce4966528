// SPDX-License-Identifier: Apache-2.0

#include "bench/replicated/etcd_cluster.h"

namespace silurus::bench {

Result<std::unique_ptr<EtcdCluster>> EtcdCluster::start(const std::string&) {
  return fail(ErrorCode::kUnsupported,
              "this build has no gRPC to talk to etcd with: scripts/setup --peers installs it, "
              "then build again");
}

}  // namespace silurus::bench
