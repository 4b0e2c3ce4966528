#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "client/group.h"
#include "common/result.h"
#include "transport/fabric.h"

namespace silurus::client {

/// The fabrics of this machine, each made when an address of it comes up, with one poller each. One
/// thread.
class RealNetwork final : public Network {
 public:
  Result<Way> way_to(const transport::Address& address) override;
  /// More as more fabrics are made.
  const std::vector<transport::Poller*>& pollers() const { return pollers_; }

 private:
  struct Endpoint {
    std::string scheme;
    std::unique_ptr<transport::Fabric> fabric;
    std::unique_ptr<transport::Poller> poller;
  };
  std::vector<Endpoint> endpoints_;
  std::vector<transport::Poller*> pollers_;
};

/// Servers as people name them: "shm:///run/silurus.sock"; or those of one group, parted by commas.
std::vector<std::string> split_urls(std::string_view text);

}  // namespace silurus::client
