// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <sys/types.h>

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "access/key.h"
#include "common/result.h"

namespace silurus::access {

/// What a principal may do. Each role may do what those before it may, too.
enum class Role : std::uint8_t {
  kNone = 0,
  kReader = 1,    ///< searches, older versions, statistics
  kWriter = 2,    ///< inserts, erasures, updates
  kOperator = 3,  ///< bulk loads, compactions, backups, the replacement of a shard by others
};
/// "none", "reader", "writer", "operator".
std::string_view to_string(Role role);

/// What a principal may do, and to which collections. A value.
struct Rights {
  /// The role for all collections, and for what is not of one: statistics, backups, orders.
  Role everywhere = Role::kNone;
  /// Greater roles, for some collections, by their names.
  std::map<std::string, Role, std::less<>> in_some = {};

  /// The role for one collection.
  Role in(std::string_view collection) const;
  /// The greatest role that it has for any.
  Role greatest() const;
  /// Whether it may read all collections: else it reads nothing one-sidedly, since the memory that
  /// such reads reach holds the nodes of all.
  bool reads_all() const { return everywhere >= Role::kReader; }
  /// For messages: "reader", "reader (writer of 'roads')".
  std::string to_string() const;
};

/// The owner of a connection.
struct Principal {
  std::optional<uid_t> user;         ///< a user of this machine, as its kernel says
  std::string from;                  ///< where it comes from, for people: "10.0.0.7"
  std::optional<KeyLabel> key = {};  ///< which it has proved to hold
  /// For messages: "user 1000 (bob)", "the key alice from 10.0.0.7", "a client of 10.0.0.7".
  std::string describe() const;
};

/// Who has which role. Several rules may be about one principal, which then has the greatest of
/// their roles. A value.
class Rules {
 public:
  /// `own` (the user that the server runs as) and root are operators; all others have the role
  /// `others`.
  static Rules of_user(uid_t own, Role others = Role::kNone);
  /// Those of a file's text, TOML; `own` and root are operators besides. A rule with `collections`
  /// gives its role for those alone:
  ///
  ///   [[principal]]
  ///   user = "bob"          # or a number; or group = "staff"; or key = "FILE", which is
  ///                         # looked for beside this file; or anyone = true
  ///   role = "writer"       # or "reader", "operator"
  ///   collections = ["roads", "rivers"]
  ///
  /// kInvalidArgument names `name`, the line, and what is wrong: unknown fields, users and groups,
  /// files of keys that cannot be used.
  static Result<Rules> parse(std::string_view text, const std::string& name, uid_t own);
  /// The same of a file. kPermission unless it belongs to `own`, and no other user may read or
  /// write it (mode 0600 or less), or to root, and no other user may write it.
  static Result<Rules> read(const std::string& path, uid_t own);

  Rights rights_of(const Principal& principal) const;
  /// The role for all collections.
  Role role_of(const Principal& principal) const { return rights_of(principal).everywhere; }
  /// A key that a rule is about; null if there is none.
  const Key* key(KeyId id) const;

 private:
  enum class Kind : std::uint8_t { kUser, kGroup, kKey, kAnyone };
  struct Rule {
    Kind kind;
    std::uint64_t id;  ///< uid, gid or KeyId
    Role role;
    std::vector<std::string> collections = {};  ///< for these alone; none: for all
  };
  friend struct Parser;

  bool is_about(const Rule& rule, const Principal& principal) const;

  std::vector<Rule> rules_;
  std::map<KeyId, Key> keys_;
};

/// The error that tells a principal (Principal::describe()) what it has, and which role it needs
/// `to_do`: "to insert". `collection`: for which; empty: for all.
Error lacks_role(const std::string& who, const Rights& has, Role needs, std::string_view to_do,
                 std::string_view collection = {});

}  // namespace silurus::access
