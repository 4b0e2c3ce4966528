// SPDX-License-Identifier: Apache-2.0

#include "access/authorization.h"

#include <unistd.h>

#include <utility>

namespace silurus::access {

RuleBook::Known RuleBook::look_up(const Principal& principal) const {
  std::shared_ptr<const Rules> rules;
  bool has_own_key = false;
  {
    const std::lock_guard lock(mutex_);
    rules = rules_;
    has_own_key = principal.key && own_key_ && own_key_->label().id == principal.key->id;
    const auto found =
        principal.key || !principal.user ? users_.end() : users_.find(*principal.user);
    if (found != users_.end()) return found->second;
  }
  if (has_own_key) {
    const bool is_own = !principal.user || *principal.user == geteuid() || *principal.user == 0;
    const Principal user{is_own ? geteuid() : *principal.user, principal.from};
    return {{.everywhere = is_own ? Role::kOperator : Role::kNone}, user.describe()};
  }
  if (principal.key || !principal.user) {
    return {rules->rights_of({{}, principal.from, principal.key}), principal.describe()};
  }
  Known known{rules->rights_of(principal), principal.describe()};
  const std::lock_guard lock(mutex_);
  if (rules != rules_) return known;  // the rules were replaced meanwhile: not stored
  if (users_.size() >= kMostUsers) users_.clear();
  users_.insert_or_assign(*principal.user, known);
  return known;
}

void RuleBook::replace(Rules rules) {
  const std::lock_guard lock(mutex_);
  rules_ = std::make_shared<const Rules>(std::move(rules));
  users_.clear();
  edition_.fetch_add(1, std::memory_order_release);
}

void RuleBook::set_own_key(Key key) {
  const std::lock_guard lock(mutex_);
  own_key_ = std::move(key);
  edition_.fetch_add(1, std::memory_order_release);
}

std::optional<Key> RuleBook::key(KeyId id) const {
  const std::lock_guard lock(mutex_);
  if (own_key_ && own_key_->label().id == id) return own_key_;
  const Key* const found = rules_->key(id);
  return found == nullptr ? std::nullopt : std::optional(*found);
}

Authorization::Authorization(const RuleBook* book, Principal principal)
    : book_(book), principal_(std::move(principal)) {
  if (book_ != nullptr) look();
}

void Authorization::look() {
  edition_ = book_->edition();
  known_ = book_->look_up(principal_);
}

const Rights& Authorization::rights() {
  if (book_ != nullptr && book_->edition() != edition_) look();
  return known_.rights;
}

std::string Authorization::describe() const {
  return known_.text.empty() ? principal_.describe() : known_.text;
}

Status Authorization::check(Role needed, std::string_view to_do) {
  const Rights& has = rights();
  return has.everywhere >= needed ? Status{} : fail(lacks_role(describe(), has, needed, to_do));
}

Status Authorization::check_in(std::string_view collection, Role needed, std::string_view to_do) {
  const Rights& has = rights();
  if (has.in(collection) >= needed) return {};
  return fail(lacks_role(describe(), has, needed, to_do, collection));
}

Status Authorization::check_anywhere(Role needed, std::string_view to_do) {
  const Rights& has = rights();
  return has.greatest() >= needed ? Status{} : fail(lacks_role(describe(), has, needed, to_do));
}

}  // namespace silurus::access
