// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <sys/types.h>

#include <atomic>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>

#include "access/rules.h"

namespace silurus::access {

/// The rules that are in force now. Any thread.
class RuleBook {
 public:
  /// What is known of a principal.
  struct Known {
    Rights rights;
    std::string text;  ///< Principal::describe()
  };

  explicit RuleBook(Rules rules) : rules_(std::make_shared<const Rules>(std::move(rules))) {}
  RuleBook(const RuleBook&) = delete;
  RuleBook& operator=(const RuleBook&) = delete;

  /// Asks the system's name service once for each user and edition of the rules; others need not
  /// wait meanwhile.
  Known look_up(const Principal& principal) const;
  void replace(Rules rules);
  /// The key that this server has made for its own user at its start: its holder is an operator,
  /// whatever the rules say. One; it takes the place of the one before.
  void set_own_key(Key key);
  /// The key with that id that a rule is about, or our own one.
  std::optional<Key> key(KeyId id) const;
  /// Counts replacements: a remembered role is looked up again when it has changed.
  std::uint64_t edition() const { return edition_.load(std::memory_order_acquire); }

 private:
  static constexpr std::size_t kMostUsers = 4096;  ///< remembered

  mutable std::mutex mutex_;
  std::shared_ptr<const Rules> rules_;    ///< guarded by mutex_
  std::optional<Key> own_key_;            ///< guarded by mutex_
  mutable std::map<uid_t, Known> users_;  ///< guarded by mutex_
  /// Release: pairs with edition(), after which look_up() tells of that edition or later ones.
  std::atomic<std::uint64_t> edition_{0};
};

/// The rights of one principal, as the book has them now. One thread.
class Authorization {
 public:
  /// Without a book every principal is an operator. The book must outlive it.
  Authorization(const RuleBook* book, Principal principal);

  /// The role for all collections.
  Role role() { return rights().everywhere; }
  const Rights& rights();
  /// Who it is, for messages.
  std::string describe() const;
  /// kPermission if the role for all collections is less than that.
  Status check(Role needed, std::string_view to_do);
  /// The same of the role for one collection.
  Status check_in(std::string_view collection, Role needed, std::string_view to_do);
  /// The same of the greatest role that it has for any.
  Status check_anywhere(Role needed, std::string_view to_do);

 private:
  void look();

  const RuleBook* const book_;
  const Principal principal_;
  std::uint64_t edition_ = 0;
  RuleBook::Known known_{{.everywhere = Role::kOperator}, {}};
};

}  // namespace silurus::access
