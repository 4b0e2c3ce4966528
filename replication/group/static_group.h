// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <string>
#include <string_view>

#include "common/result.h"
#include "transport/fabric.h"

namespace silurus::replication::group {

/// A group without etcd and without fail-over: its first member always leads it and keeps its
/// views (docs/decisions/0120). "static://10.0.0.1:7400/maps", the same for all members, says where
/// that one listens for the others; over shm "static:///run/first.sock/maps".
struct StaticAddress {
  transport::Address keeper;
  std::string name;  ///< letters, digits, - and _

  /// `scheme`: of the fabric that members talk over. kInvalidArgument says what would be right.
  static Result<StaticAddress> parse(std::string_view url, std::string_view scheme);
  static bool is_meant(std::string_view url) { return url.starts_with("static://"); }
  /// What its stores and messages are marked with: no cluster in etcd is called so.
  std::string cluster() const { return "static:" + name; }
};

struct StaticGroup {
  StaticAddress address;
  bool leads = false;       ///< this is the first member
  bool takes_over = false;  ///< leads from now on, for the first member is permanently lost
  std::string view_file;    ///< where this member keeps the newest view that it knows of
};

}  // namespace silurus::replication::group
