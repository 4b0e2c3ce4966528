// SPDX-License-Identifier: Apache-2.0

#include "transport/verbs/error.h"

#include <array>
#include <cerrno>

namespace silurus::transport::verbs {
namespace {

struct Cure {
  std::string_view call;
  int errno_value;
  ErrorCode code;
  std::string_view text;
};

constexpr std::string_view kNoRdma =
    "this host has no RDMA: load the module rdma_ucm, and look for a device with \"rdma link\" "
    "(soft-RoCE: \"rdma link add rxe0 type rxe netdev eth0\")";
constexpr std::string_view kNotAllowed =
    "allow this user to open /dev/infiniband/rdma_cm and /dev/infiniband/uverbs*";
constexpr std::string_view kMemlock =
    "raise the limit of locked memory (\"ulimit -l unlimited\", LimitMEMLOCK=infinity)";

constexpr std::array kCures{
    Cure{"rdma_create_event_channel", ENOENT, ErrorCode::kUnsupported, kNoRdma},
    Cure{"rdma_create_event_channel", ENODEV, ErrorCode::kUnsupported, kNoRdma},
    Cure{"rdma_create_event_channel", EACCES, ErrorCode::kPermission, kNotAllowed},
    Cure{"rdma_get_devices", ENODEV, ErrorCode::kUnsupported, kNoRdma},
    Cure{"rdma_get_devices", EACCES, ErrorCode::kPermission, kNotAllowed},
    Cure{"rdma_bind_addr", EADDRINUSE, ErrorCode::kConflict,
         "another program listens there: choose another port"},
    Cure{"rdma_bind_addr", EADDRNOTAVAIL, ErrorCode::kInvalidArgument,
         "listen on an address of this host (\"ip address\")"},
    Cure{"rdma_bind_addr", ENODEV, ErrorCode::kInvalidArgument,
         "no RDMA device has this address: see \"rdma link\", and the GIDs in \"ibv_devinfo -v\""},
    Cure{"rdma_resolve_addr", ENODEV, ErrorCode::kUnavailable,
         "no RDMA device leads to this address: see \"ip route get\", \"rdma link\", and the GIDs "
         "in \"ibv_devinfo -v\""},
    Cure{"rdma_resolve_addr", ENETUNREACH, ErrorCode::kUnavailable,
         "no route to this address: see \"ip route get\""},
    Cure{"rdma_resolve_addr", ETIMEDOUT, ErrorCode::kUnavailable,
         "no host answers for this address: see \"ip neighbour\""},
    Cure{"rdma_resolve_route", ETIMEDOUT, ErrorCode::kUnavailable,
         "no path: on InfiniBand, is a subnet manager running?"},
    Cure{"rdma_join_multicast", ENODEV, ErrorCode::kUnavailable,
         "give the RDMA network the route 224.0.0.0/4"},
    Cure{"ibv_reg_mr", ENOMEM, ErrorCode::kIo, kMemlock},
    Cure{"ibv_reg_mr", EAGAIN, ErrorCode::kIo, kMemlock},
    Cure{"ibv_reg_mr", EOPNOTSUPP, ErrorCode::kUnsupported,
         "files with DAX cannot be registered: use devdax or DRAM"},
    Cure{"ibv_create_cq", ENOMEM, ErrorCode::kIo, kMemlock},
    Cure{"ibv_create_srq", ENOMEM, ErrorCode::kIo, kMemlock},
    Cure{"ibv_create_qp", ENOMEM, ErrorCode::kIo,
         "raise the limit of locked memory, or connect fewer clients to this device"},
};

}  // namespace

Error call_error(std::string_view call, std::string_view what, int errno_value) {
  const Cure* found = nullptr;
  for (const Cure& cure : kCures) {
    if (cure.call == call && cure.errno_value == errno_value) found = &cure;
  }
  std::string text(call);
  if (!what.empty()) text.append(" ").append(what);
  Error error =
      errno_error(found == nullptr ? ErrorCode::kIo : found->code, std::move(text), errno_value);
  if (found != nullptr) error.message.append("; ").append(found->text);
  return error;
}

Error completion_error(std::string_view peer, std::string_view device, ibv_wc_status status) {
  std::string text(peer);
  text.append(": connection lost: ").append(ibv_wc_status_str(status));
  if (status == IBV_WC_RETRY_EXC_ERR) text.append(", the peer does not answer");
  if (status == IBV_WC_REM_ACCESS_ERR) text.append(", the peer's card refused the access");
  text.append(" (").append(device).append(")");
  return {status == IBV_WC_REM_ACCESS_ERR ? ErrorCode::kPermission : ErrorCode::kConnectionLost,
          std::move(text)};
}

}  // namespace silurus::transport::verbs
