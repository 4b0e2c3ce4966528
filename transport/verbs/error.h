// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <infiniband/verbs.h>

#include <string>
#include <string_view>

#include "common/result.h"

namespace silurus::transport::verbs {

/// Error of a call into rdma-core: `call` ("ibv_reg_mr"), `what` it was about ("64 MiB on rxe0"),
/// the errno, and the cure where there is one. docs/running-on-infiniband.md lists them all.
Error call_error(std::string_view call, std::string_view what, int errno_value);

/// What a failed work completion means: "transport retry counter exceeded: the peer does not
/// answer". `peer` as in Connection::peer().
Error completion_error(std::string_view peer, std::string_view device, ibv_wc_status status);

}  // namespace silurus::transport::verbs
