// SPDX-License-Identifier: Apache-2.0

#pragma once

#include "replication/log.h"
#include "replication/record.h"

namespace silurus::testing_support {

/// Appends the insertion of an entry to a log, as a batch of its own. False: the log is full.
template <int D>
bool log_insert(replication::Log& log, std::uint64_t id, const rtree::Box<D>& box) {
  const replication::EntryPayload<D> payload{.id = id, .box = box};
  const bool fits = log.append({.checksum = 0,
                                .lsn = 0,
                                .stamp = 1,
                                .epoch = 1,
                                .length = 0,
                                .type = replication::RecordType::kInsert,
                                .flags = 0},
                               std::as_bytes(std::span(&payload, 1)));
  log.end_batch();
  return fits;
}

}  // namespace silurus::testing_support
