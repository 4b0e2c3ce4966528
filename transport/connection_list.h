// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <algorithm>
#include <cstddef>
#include <vector>

namespace silurus::transport {

/// Connections that want something of their poller at its next round. Any of them may be removed
/// (because it is being destroyed) while the list is being worked off. One thread.
template <typename T>
class ConnectionList {
 public:
  void add(T& item) { items_.push_back(&item); }
  void remove(const T& item) {
    std::replace(items_.begin(), items_.end(), const_cast<T*>(&item), static_cast<T*>(nullptr));
    std::replace(taken_.begin(), taken_.end(), const_cast<T*>(&item), static_cast<T*>(nullptr));
  }
  bool empty() const { return items_.empty(); }
  template <typename F>
  bool any_of(F&& f) const {
    return std::any_of(items_.begin(), items_.end(), [&](T* t) { return t != nullptr && f(*t); });
  }

  /// Empties the list, calling f for each that was on it; those added meanwhile wait for the next
  /// time. Not from within f.
  template <typename F>
  void take(F&& f) {
    taken_.swap(items_);
    for (std::size_t i = 0; i < taken_.size(); ++i) {
      if (taken_[i] != nullptr) f(*taken_[i]);
    }
    taken_.clear();
  }

 private:
  std::vector<T*> items_;
  std::vector<T*> taken_;
};

}  // namespace silurus::transport
