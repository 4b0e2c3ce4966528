// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <gtest/gtest.h>

#include <cstdint>

#include "common/log.h"
#include "server/limits.h"
#include "tests/unit/server/world.h"

namespace silurus::server::test {

/// What sessions do for their clients; the tests are in several files.
class SessionTest : public testing::Test {
 protected:
  SessionTest() { log::set_level(log::Level::kOff); }
  ~SessionTest() override { log::set_level(log::Level::kInfo); }
  /// Entries that a stream counts in some thirty slices, a leaf being fuller than half.
  static constexpr std::uint64_t kOfManySlices = 25 * kSliceNodes * rtree::kLeafFanout<2>;
  void fill(std::uint64_t entries) { SILURUS_CHECK(world_.shard->load(row(entries)).has_value()); }

  World world_;
};

}  // namespace silurus::server::test
