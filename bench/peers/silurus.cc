// SPDX-License-Identifier: Apache-2.0

#include "bench/peers/silurus.h"

namespace silurus::bench {
namespace {

/// Asynchronous searches of one client, all in flight together.
class SilurusSession final : public PeerSession {
 public:
  explicit SilurusSession(Client<2> client) : client_(std::move(client)) {}

  Status begin(std::span<const PeerQuery> queries) override {
    answers_.resize(queries.size());
    for (std::size_t i = 0; i < queries.size(); ++i) {
      if (auto ok = begin(queries[i], answers_[i]); !ok) return ok;
    }
    client_.poll();
    return {};
  }

  Status finish(std::span<PeerAnswer> answers) override {
    client_.wait();
    if (failure_) return fail(*failure_);
    for (std::size_t i = 0; i < answers_.size(); ++i) answers[i].swap(answers_[i]);
    return {};
  }

 private:
  Status begin(const PeerQuery& query, PeerAnswer& into) {
    if (query.k == 0) {
      return client_.range_async({.window = query.window},
                                 [this, &into](Result<RangeAnswer<2>*> answer) {
                                   if (answer) {
                                     into.swap((*answer)->ids);
                                   } else {
                                     failure_ = answer.error();
                                   }
                                 });
    }
    return client_.nearest_async({query.point(), query.k},
                                 [this, &into](Result<NearestAnswer*> answer) {
                                   if (!answer) {
                                     failure_ = answer.error();
                                     return;
                                   }
                                   into.clear();
                                   for (const Neighbor& near : **answer) into.push_back(near.id);
                                 });
  }

  std::vector<PeerAnswer> answers_;
  std::optional<Error> failure_;
  Client<2> client_;  // last, for its callbacks use the others
};

}  // namespace

Result<SilurusPeer> SilurusPeer::start(const PeerPlace& place, const std::string& data) {
  auto server =
      ServerProcess::start({"--listen", "shm://" + place.folder + "/silurus.sock", "--threads", "1",
                            "--cpus", std::to_string(place.cpus.front()), "--load", data});
  if (!server) return fail(server.error());
  return SilurusPeer(std::move(*server));
}

Result<Client<2>> SilurusPeer::client() const {
  return Client<2>::connect(server_.address("shm://"));
}

Result<std::unique_ptr<PeerSession>> SilurusPeer::connect() {
  auto connected = client();
  if (!connected) return fail(connected.error());
  return std::make_unique<SilurusSession>(std::move(*connected));
}

}  // namespace silurus::bench
