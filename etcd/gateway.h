// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "common/clock.h"
#include "common/result.h"

namespace silurus::etcd {

/// Whether a cluster can be called so: letters, digits, - and _.
bool is_cluster_name(std::string_view name);

/// "etcd://127.0.0.1:2379/name" or, with more members of the etcd cluster,
/// "etcd://a:2379,b:2379/name".
struct Address {
  std::vector<std::string> endpoints;  ///< "http://127.0.0.1:2379"
  std::string name;                    ///< name of the Silurus cluster: letters, digits, - and _
  static Result<Address> parse(std::string_view url);
};
/// What each endpoint may take to answer, so that all of them together take no longer than `all`.
Nanoseconds timeout_of_each(const Address& address, Nanoseconds all);
/// Whether that is meant to be one.
inline bool is_address(std::string_view url) { return url.starts_with("etcd://"); }

/// "etcd://host:port/name/7": the group of replicas that was started as shard 7 there.
struct GroupAddress {
  Address cluster;
  std::optional<std::uint32_t> shard;  ///< nothing, where none is named
  static Result<GroupAddress> parse(std::string_view url);
};

struct KeyValue {
  std::string key;
  std::string value;
  std::uint64_t revision = 0;  ///< revision of the last change, for replace()
};

/// Requests to etcd by its JSON gateway (etcd 3.4 or later), to whichever endpoint answers. Each
/// blocks, for the timeout with each endpoint at most. One thread. Errors: kUnavailable if no
/// endpoint answers (what was asked for may have been done all the same), kProtocol for what etcd
/// doesn't say.
///
///   auto gateway = etcd::Gateway::create(*etcd::Address::parse(url), kSecond);
///   const auto found = (*gateway)->read("silurus/name/0/view");
///   (*gateway)->replace("silurus/name/0/view", found->revision, next);
class Gateway {
 public:
  static Result<std::unique_ptr<Gateway>> create(const Address& address, Nanoseconds timeout);
  virtual ~Gateway() = default;

  /// The value of a key; one of revision 0 if there is none.
  virtual Result<KeyValue> read(const std::string& key) = 0;
  /// All keys that begin so, in their order.
  virtual Result<std::vector<KeyValue>> read_prefix(const std::string& prefix) = 0;
  /// Puts a value in the place of the one of that revision (0: of none): its own revision, or 0 if
  /// it was another one there.
  virtual Result<std::uint64_t> replace(const std::string& key, std::uint64_t revision,
                                        const std::string& value) = 0;
  /// Puts a value that ends with a lease.
  virtual Status put(const std::string& key, const std::string& value, std::uint64_t lease) = 0;
  /// A new lease of `seconds` seconds.
  virtual Result<std::uint64_t> grant(std::int64_t seconds) = 0;
  /// Renews it; false if it is over.
  virtual Result<bool> renew(std::uint64_t lease) = 0;
};

}  // namespace silurus::etcd
