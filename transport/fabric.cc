// SPDX-License-Identifier: Apache-2.0

#include "transport/fabric.h"

#include "transport/shm/fabric.h"
#include "transport/tcp/fabric.h"
#include "transport/verbs/fabric.h"

namespace silurus::transport {

Result<std::unique_ptr<Fabric>> make_fabric(std::string_view scheme) {
  if (scheme == "shm") return shm::make_fabric();
  if (scheme == "tcp") return tcp::make_fabric();
  if (scheme == "rdma") return verbs::make_fabric();
  return fail(ErrorCode::kUnsupported,
              "unknown scheme \"" + std::string(scheme) +
                  "://\"; a server's address begins with shm://, tcp:// or rdma://");
}

}  // namespace silurus::transport
