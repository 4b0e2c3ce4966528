// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <type_traits>
#include <utility>
#include <variant>

#include "gate/source.h"
#include "silurus/client.h"

namespace silurus::gate {

/// The collection that every server has.
constexpr const char* kDefaultCollection = "default";

/// A server as a source: connects when it is first asked, and again after it was away. A connection
/// is for one collection and one mode; those of the kMaxClientsOfSource asked last are kept.
class ClientSource : public Source {
 public:
  ClientSource(std::string url, const ClientOptions& options);

  Result<std::vector<Collection>> collections() override;
  Result<Collection> find(const std::string& collection) override;
  Result<Found> range(const std::string& collection, const Area& window,
                      const Search& search) override;
  Result<NearestAnswer> nearest(const std::string& collection, const Point<3>& point,
                                std::uint32_t k, Moment as_of) override;
  Result<std::vector<KeptVersion>> history(const std::string& collection) override;
  Result<std::vector<Way>> compare(const std::string& collection, const Area& window,
                                   Moment as_of) override;
  Result<Difference> difference(const std::string& collection, Moment from, Moment to) override;
  Result<GroupInfo> cluster() override;
  Result<ServerStatistics> server_statistics() override;
  ClientStatistics statistics() const override;

 private:
  using AnyClient = std::variant<std::monostate, Client<2>, Client<3>>;
  struct Used {
    AnyClient client;
    std::uint64_t used;  ///< number of its last use
  };
  using Name = std::pair<std::string, Mode>;
  using Clients = std::map<Name, Used>;

  Result<AnyClient*> client_of(const Name& name);
  Way search_by(const Name& name, const Area& window, Moment as_of);
  void forget(Clients::iterator one);
  static void add_statistics(const AnyClient& client, ClientStatistics& to);
  /// Calls f with the client of a collection; after an error that says that the server is away, or
  /// the collection gone, the next call connects anew.
  template <typename F>
  auto ask(const Name& name, const F& f) -> std::invoke_result_t<F, Client<2>&>;
  template <typename F>
  auto ask(const std::string& collection, const F& f) -> std::invoke_result_t<F, Client<2>&>;

  const std::string url_;
  const ClientOptions options_;
  Clients clients_;
  std::uint64_t uses_ = 0;
  ClientStatistics before_;  ///< figures of clients that are gone
};

}  // namespace silurus::gate
