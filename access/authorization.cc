#include "access/authorization.h"

#include <utility>

namespace silurus::access {

RuleBook::Known RuleBook::look_up(const Principal& principal) const {
  const std::lock_guard lock(mutex_);
  if (!principal.user) return {rules_.role_of(principal), principal.describe()};
  const auto found = users_.find(*principal.user);
  if (found != users_.end()) return found->second;
  if (users_.size() >= kMostUsers) users_.clear();
  Known known{rules_.role_of(principal), principal.describe()};
  return users_.emplace(*principal.user, std::move(known)).first->second;
}

void RuleBook::replace(Rules rules) {
  const std::lock_guard lock(mutex_);
  rules_ = std::move(rules);
  users_.clear();
  edition_.fetch_add(1, std::memory_order_release);
}

Authorization::Authorization(const RuleBook* book, Principal principal)
    : book_(book), principal_(std::move(principal)) {
  if (book_ != nullptr) look();
}

void Authorization::look() {
  edition_ = book_->edition();
  known_ = book_->look_up(principal_);
}

Role Authorization::role() {
  if (book_ != nullptr && book_->edition() != edition_) look();
  return known_.role;
}

std::string Authorization::describe() const {
  return known_.text.empty() ? principal_.describe() : known_.text;
}

Status Authorization::check(Role needed, std::string_view to_do) {
  const Role has = role();
  return has >= needed ? Status{} : fail(lacks_role(describe(), has, needed, to_do));
}

}  // namespace silurus::access
