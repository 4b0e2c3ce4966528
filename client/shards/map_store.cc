// SPDX-License-Identifier: Apache-2.0

#include "silurus/map_store.h"

#include <string>
#include <utility>

#include "client/shards/internal.h"
#include "common/clock.h"
#include "etcd/gateway.h"

namespace silurus::shards {
namespace {

/// A change that etcd didn't answer is asked for again, with such pauses.
constexpr Nanoseconds kPause = 200 * kMillisecond;

class EtcdMapStore final : public MapStore {
 public:
  EtcdMapStore(const etcd::Address& address, std::unique_ptr<etcd::Gateway> gateway,
               client::Environment& environment, Nanoseconds timeout)
      : environment_(environment),
        timeout_(timeout),
        name_(address.name),
        key_("silurus/" + name_ + "/map"),
        asks_several_(address.endpoints.size() > 1),
        gateway_(std::move(gateway)) {}

  Result<StoredMap> load() override {
    const auto found = gateway_->read(key_);
    if (!found) return fail(found.error());
    if (found->revision == 0) {
      return fail(ErrorCode::kNotFound,
                  "cluster " + name_ +
                      " has no shard map yet: silurus cluster init makes one (silurus help "
                      "cluster shows how)");
    }
    auto map = decode(found->value);
    if (!map) return fail(map.error());
    return StoredMap{std::move(*map), found->revision};
  }

  Result<StoredMap> replace(const StoredMap& base, ShardMap next) override {
    next.epoch = base.map.epoch + 1;
    next.written_by = environment_.random_id();
    if (auto ok = check(next); !ok) return fail(ok.error());
    const std::string text = encode(next);
    if (text.size() > kMaxMapBytes) return fail(ErrorCode::kTooLarge, "the shard map is too long");
    std::string why;
    const Nanoseconds until = environment_.clock().now() + timeout_;
    for (int attempt = 0; attempt == 0 || environment_.clock().now() + kPause < until; ++attempt) {
      if (attempt > 0) environment_.sleep(kPause);
      const auto replaced = gateway_->replace(key_, base.revision, text);
      if (!replaced) {
        why = replaced.error().message;
        continue;
      }
      if (*replaced != 0) return StoredMap{std::move(next), *replaced};
      // Another one is there: of another command, or what an attempt without an answer did, if
      // there was one (of several endpoints the gateway may have asked more than the one that
      // answered).
      auto now = load();
      if (now && now->map.written_by == next.written_by) return now;
      const bool may_be_done = attempt > 0 || asks_several_;
      // A map that replaces ours has a later epoch than ours; of that one there is a single map.
      if (may_be_done && (!now || now->map.epoch > next.epoch)) {
        why = now ? "another command has changed it since" : now.error().message;
        break;
      }
      return fail(ErrorCode::kConflict,
                  "another command has changed the shard map meanwhile: nothing was done; see "
                  "silurus cluster status and try again");
    }
    return fail(ErrorCode::kInDoubt, "whether the shard map was changed is unknown: " + why);
  }

 private:
  client::Environment& environment_;
  const Nanoseconds timeout_;
  const std::string name_;
  const std::string key_;
  const bool asks_several_;
  std::unique_ptr<etcd::Gateway> gateway_;
};

}  // namespace

Result<std::unique_ptr<MapStore>> open_map_store(std::string_view url,
                                                 client::Environment& environment,
                                                 Nanoseconds timeout) {
  const auto address = etcd::Address::parse(url);
  if (!address) return fail(address.error());
  auto gateway = environment.open_etcd(*address, etcd::timeout_of_each(*address, timeout));
  if (!gateway) return fail(gateway.error());
  return std::unique_ptr<MapStore>(
      std::make_unique<EtcdMapStore>(*address, std::move(*gateway), environment, timeout));
}

Result<std::unique_ptr<MapStore>> open_map_store(std::string_view url, Nanoseconds timeout) {
  return open_map_store(url, client::real_environment(), timeout);
}

}  // namespace silurus::shards
