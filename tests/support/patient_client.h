// SPDX-License-Identifier: Apache-2.0

#pragma once

#include "silurus/options.h"
#include "tests/support/patience.h"

namespace silurus::testing_support {

/// These options of a client, with the time limits that they have on an idle machine made as long
/// as a machine that is as busy as this one needs.
inline ClientOptions patient(ClientOptions options = {}) {
  for (Nanoseconds* const limit : {&options.deadline, &options.patience, &options.connect_timeout,
                                   &options.reconnect_for, &options.silence}) {
    *limit = patient(*limit);
  }
  return options;
}

}  // namespace silurus::testing_support
