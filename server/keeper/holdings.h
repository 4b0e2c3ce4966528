// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <utility>

#include "server/keeper/life_page.h"
#include "transport/unique_fd.h"

namespace silurus::server::keeper {

/// What a keeper holds of one life of the server: as long as it does, connections and registered
/// memory of that life are there, though its process may have ended. One thread.
class Holdings {
 public:
  /// More than a server has clients; what comes on top is not held.
  static constexpr std::size_t kMost = std::size_t{1} << 17;

  void hold(std::uint64_t ticket, transport::UniqueFd fd) {
    if (fd && fds_.size() < kMost) fds_.insert_or_assign(ticket, std::move(fd));
  }
  void release(std::uint64_t ticket) { fds_.erase(ticket); }
  void set_page(LifePage page) { page_ = std::move(page); }
  std::size_t size() const { return fds_.size(); }

  /// The life is over for readers: first no read that begins later is believed, then what is held
  /// is closed, by which clients learn that they have to connect again.
  void let_go() {
    if (page_) page_->end_life();
    fds_.clear();
    page_.reset();
  }

 private:
  std::optional<LifePage> page_;
  std::map<std::uint64_t, transport::UniqueFd> fds_;
};

}  // namespace silurus::server::keeper
