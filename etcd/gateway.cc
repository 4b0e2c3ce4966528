// SPDX-License-Identifier: Apache-2.0

#include "etcd/gateway.h"

#include <curl/curl.h>

#include <algorithm>
#include <charconv>
#include <nlohmann/json.hpp>
#include <optional>
#include <utility>

#include "etcd/answers.h"

namespace silurus::etcd {
namespace {

using nlohmann::json;

constexpr std::size_t kMaxAnswerBytes = std::size_t{1} << 20;
constexpr std::size_t kMaxNameBytes = 64;
constexpr std::size_t kMaxEndpoints = 16;

std::size_t take_bytes(char* bytes, std::size_t size, std::size_t count, void* to) {
  auto& answer = *static_cast<std::string*>(to);
  if (answer.size() + size * count > kMaxAnswerBytes) return 0;  // ends the transfer
  answer.append(bytes, size * count);
  return size * count;
}

struct CurlDeleter {
  void operator()(CURL* curl) const { curl_easy_cleanup(curl); }
};
struct ListDeleter {
  void operator()(curl_slist* list) const { curl_slist_free_all(list); }
};

class CurlGateway final : public Gateway {
 public:
  CurlGateway(const Address& address, Nanoseconds timeout)
      : endpoints_(address.endpoints),
        timeout_ms_(static_cast<long>(timeout / kMillisecond)),
        curl_(curl_easy_init()),
        headers_(curl_slist_append(nullptr, "Content-Type: application/json")) {}
  bool is_valid() const { return curl_ != nullptr && headers_ != nullptr; }

  Result<KeyValue> read(const std::string& key) override {
    auto found = range({{"key", to_base64(key)}}, key);
    if (!found) return fail(found.error());
    if (found->empty()) return KeyValue{key, {}, 0};
    return std::move(found->front());
  }

  Result<std::vector<KeyValue>> read_prefix(const std::string& prefix) override {
    std::string end = prefix;
    ++end.back();
    return range({{"key", to_base64(prefix)}, {"range_end", to_base64(end)}}, prefix);
  }

  Result<std::uint64_t> replace(const std::string& key, std::uint64_t revision,
                                const std::string& value) override {
    const std::string name = to_base64(key);
    const auto answer =
        post("/v3/kv/txn",
             {{"compare",
               {{{"key", name},
                 {"target", "MOD"},
                 {"result", "EQUAL"},
                 {"mod_revision", std::to_string(revision)}}}},
              {"success", {{{"request_put", {{"key", name}, {"value", to_base64(value)}}}}}}});
    if (!answer) return fail(answer.error());
    return revision_of(*answer);
  }

  Status put(const std::string& key, const std::string& value, std::uint64_t lease) override {
    const auto answer = post(
        "/v3/kv/put",
        {{"key", to_base64(key)}, {"value", to_base64(value)}, {"lease", std::to_string(lease)}});
    return answer ? Status() : fail(answer.error());
  }

  Result<std::uint64_t> grant(std::int64_t seconds) override {
    const auto granted = post("/v3/lease/grant", {{"TTL", std::to_string(seconds)}});
    if (!granted) return fail(granted.error());
    return lease_of(*granted);
  }

  Result<bool> renew(std::uint64_t lease) override {
    const auto kept = post("/v3/lease/keepalive", {{"ID", std::to_string(lease)}});
    if (!kept) return fail(kept.error());
    return is_renewed(*kept);
  }

 private:
  Result<std::vector<KeyValue>> range(const json& body, const std::string& prefix) {
    const auto answer = post("/v3/kv/range", body);
    if (!answer) return fail(answer.error());
    return key_values_of(*answer, prefix);
  }

  /// kUnavailable if no endpoint answers: the request may have been carried out all the same.
  Result<json> post(const std::string& path, const json& body) {
    std::string why;
    for (std::size_t i = 0; i < endpoints_.size(); ++i) {
      auto answer = post_once(endpoints_[current_] + path, body.dump(), why);
      if (answer) return std::move(*answer);
      current_ = (current_ + 1) % endpoints_.size();
    }
    return fail(ErrorCode::kUnavailable, "etcd: " + why);
  }

  std::optional<json> post_once(const std::string& url, const std::string& body, std::string& why) {
    std::string answer;
    CURL* const curl = curl_.get();
    curl_easy_reset(curl);
    curl_easy_setopt(curl, CURLOPT_URL, url.c_str());
    curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(curl, CURLOPT_NOPROXY, "*");
    curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, timeout_ms_);
    curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers_.get());
    curl_easy_setopt(curl, CURLOPT_POSTFIELDS, body.c_str());
    curl_easy_setopt(curl, CURLOPT_POSTFIELDSIZE, static_cast<long>(body.size()));
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, &take_bytes);
    curl_easy_setopt(curl, CURLOPT_WRITEDATA, &answer);
    if (const CURLcode code = curl_easy_perform(curl); code != CURLE_OK) {
      why = url + ": " + curl_easy_strerror(code);
      return std::nullopt;
    }
    long status = 0;
    curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status);
    auto parsed = parse_answer(answer);
    if (status != 200 || !parsed) {
      why = url + ": status " + std::to_string(status) + ", " + printable(answer.substr(0, 200));
      return std::nullopt;
    }
    return parsed;
  }

  const std::vector<std::string> endpoints_;
  const long timeout_ms_;
  std::unique_ptr<CURL, CurlDeleter> curl_;
  std::unique_ptr<curl_slist, ListDeleter> headers_;
  std::size_t current_ = 0;
};

}  // namespace

bool is_cluster_name(std::string_view name) {
  const bool is_plain = std::ranges::all_of(name, [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
           c == '_';
  });
  return is_plain && !name.empty() && name.size() <= kMaxNameBytes;
}

Result<Address> Address::parse(std::string_view url) {
  constexpr std::string_view kScheme = "etcd://";
  const auto bad = [&](const char* what) {
    return fail(ErrorCode::kInvalidArgument,
                "\"" + std::string(url) + "\": " + what + "; expected etcd://host:port/name");
  };
  if (!url.starts_with(kScheme)) return bad("not an etcd:// address");
  std::string_view rest = url.substr(kScheme.size());
  const std::size_t slash = rest.find('/');
  if (slash == std::string_view::npos || slash + 1 == rest.size())
    return bad("no cluster is named");
  Address address;
  address.name = rest.substr(slash + 1);
  if (!is_cluster_name(address.name)) return bad("not a name of a cluster");
  rest = rest.substr(0, slash);
  while (!rest.empty()) {
    const std::size_t comma = std::min(rest.find(','), rest.size());
    const std::string_view one = rest.substr(0, comma);
    if (one.find(':') == std::string_view::npos || one.find_first_of(" @?#\"\\") != one.npos) {
      return bad("an endpoint that is no host:port");
    }
    address.endpoints.push_back("http://" + std::string(one));
    rest = rest.substr(std::min(comma + 1, rest.size()));
  }
  if (address.endpoints.empty() || address.endpoints.size() > kMaxEndpoints) {
    return bad("no endpoint, or too many");
  }
  return address;
}

Nanoseconds timeout_of_each(const Address& address, Nanoseconds all) {
  const auto count = static_cast<Nanoseconds>(std::max<std::size_t>(address.endpoints.size(), 1));
  return std::max(all / count, kMillisecond);
}

Result<GroupAddress> GroupAddress::parse(std::string_view url) {
  GroupAddress group;
  const std::size_t slash = url.rfind('/');
  if (std::ranges::count(url, '/') > 3) {
    const std::string_view digits = url.substr(slash + 1);
    std::uint32_t shard = 0;
    const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), shard);
    if (error != std::errc() || end != digits.data() + digits.size()) {
      return fail(ErrorCode::kInvalidArgument, "\"" + std::string(url) +
                                                   "\": not a number of a shard; expected "
                                                   "etcd://host:port/name/7");
    }
    group.shard = shard;
    url = url.substr(0, slash);
  }
  auto cluster = Address::parse(url);
  if (!cluster) return fail(cluster.error());
  group.cluster = std::move(*cluster);
  return group;
}

Result<std::unique_ptr<Gateway>> Gateway::create(const Address& address, Nanoseconds timeout) {
  // Thread-safe in libcurl since 7.84, and counted.
  if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK) {
    return fail(ErrorCode::kIo, "libcurl cannot be used");
  }
  if (address.endpoints.empty() || timeout < kMillisecond) {
    return fail(ErrorCode::kInvalidArgument, "etcd needs an endpoint and a timeout");
  }
  auto gateway = std::make_unique<CurlGateway>(address, timeout);
  if (!gateway->is_valid()) return fail(ErrorCode::kIo, "libcurl cannot be used");
  return gateway;
}

}  // namespace silurus::etcd
