#include "client/network.h"

#include <algorithm>
#include <utility>

namespace silurus::client {

Result<Network::Way> RealNetwork::way_to(const transport::Address& address) {
  const auto found = std::ranges::find(endpoints_, address.scheme, &Endpoint::scheme);
  if (found != endpoints_.end()) return Way{found->fabric.get(), found->poller.get()};
  auto fabric = transport::make_fabric(address.scheme);
  if (!fabric) return fail(fabric.error());
  auto poller = (*fabric)->create_poller();
  if (!poller) return fail(poller.error());
  const Endpoint& made =
      endpoints_.emplace_back(Endpoint{address.scheme, std::move(*fabric), std::move(*poller)});
  pollers_.push_back(made.poller.get());
  return Way{made.fabric.get(), made.poller.get()};
}

std::vector<std::string> split_urls(std::string_view text) {
  std::vector<std::string> urls;
  while (!text.empty()) {
    const std::size_t comma = std::min(text.find(','), text.size());
    if (comma != 0) urls.emplace_back(text.substr(0, comma));
    text.remove_prefix(std::min(comma + 1, text.size()));
  }
  return urls;
}

}  // namespace silurus::client
