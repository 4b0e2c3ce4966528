// SPDX-License-Identifier: Apache-2.0

#include "transport/keys.h"

#include <unistd.h>

#include <cstdlib>
#include <utility>

#include "access/own_key.h"

namespace silurus::transport {
namespace {

Result<std::optional<ClientKey>> key_of_file(const std::string& path) {
  auto key = access::Key::read(path, geteuid());
  if (!key) return fail(std::move(key.error()));
  return ClientKey{std::move(*key), "the file " + path};
}

bool is_this_host(const OtherEnd& other) {
  return other.host == other.own_host || other.host.starts_with("127.") || other.host == "::1";
}

}  // namespace

namespace {

/// As key_for(), needed or not.
Result<std::optional<ClientKey>> find_key(const Address& address, const ConnectOptions& options,
                                          const OtherEnd& other) {
  if (options.key) return ClientKey{*options.key, "the program"};
  if (!options.looks_for_key) return std::nullopt;
  if (!address.key.empty()) return key_of_file(address.key);
  if (is_this_host(other)) {
    for (const std::string& folder : access::own_key_folders()) {
      auto own = access::find_own_key(folder, {address.scheme, other.host, other.port});
      if (own) return ClientKey{std::move(*own), "a server of our own user, in " + folder};
    }
  }
  const char* const named = std::getenv("SILURUS_KEY");
  if (named != nullptr && named[0] != '\0') return key_of_file(named);
  return std::nullopt;
}

}  // namespace

Result<std::optional<ClientKey>> key_for(const Address& address, const ConnectOptions& options,
                                         const OtherEnd& other) {
  auto key = find_key(address, options, other);
  if (key && !*key && options.needs_key) {
    return fail(ErrorCode::kUnavailable,
                address.to_string() +
                    " has proved to hold a key before, and now there is none to ask it for: it is "
                    "another server, or one that has just started");
  }
  return key;
}

std::optional<access::KeyLabel> label_of(const std::optional<ClientKey>& key) {
  return key ? std::optional(key->key.label()) : std::nullopt;
}

Error false_key() {
  return {ErrorCode::kPermission,
          "the client names a key that this server does not know, or does not hold it"};
}

Error unproved_server(const std::string& server, const ClientKey& key) {
  return {ErrorCode::kPermission, server + " has not proved to hold the key " +
                                      key.key.label().to_string() + " (of " + key.from +
                                      "): it is not the server that this key is for"};
}

Error with_key(Error error, const ClientKey& key) {
  error.message += " (the key is " + key.key.label().to_string() + ", of " + key.from + ")";
  return error;
}

Result<access::KeyLabel> verify(AcceptHandler& handler, const Caller& caller, access::KeyId id,
                                const access::Transcript& said, const access::Tag& tag) {
  const auto key = handler.find_key(id);
  if (key && said.is_proved_by(tag, *key, access::Side::kClient)) return key->label();
  Error error = false_key();
  handler.on_false_key(caller, error);
  return fail(std::move(error));
}

}  // namespace silurus::transport
