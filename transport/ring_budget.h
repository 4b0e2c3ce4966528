#pragma once

#include <cstdint>
#include <string>

#include "common/result.h"
#include "transport/fabric.h"

namespace silurus::transport {

/// Shares a listener's memory for message rings among its connections: full rings while they are
/// few, halved again and again as they come, refused when nothing is left. One thread (or the
/// caller's lock).
class RingBudget {
 public:
  RingBudget(const ListenOptions& options, std::string listener_name)
      : options_(options), listener_name_(std::move(listener_name)) {}

  /// Ring size of one direction for a new connection, taken twice from the budget; kTooLarge, with
  /// the limit's name, when the budget or the number of connections is used up.
  Result<std::uint32_t> take();
  /// Gives back what take() answered.
  void give_back(std::uint32_t ring_bytes);

  std::uint64_t bytes() const { return bytes_; }
  std::uint32_t connections() const { return connections_; }

 private:
  ListenOptions options_;
  std::string listener_name_;
  std::uint64_t bytes_ = 0;
  std::uint32_t connections_ = 0;
};

}  // namespace silurus::transport
