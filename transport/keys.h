// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <optional>
#include <string>

#include "access/key.h"
#include "access/proof.h"
#include "common/result.h"
#include "transport/fabric.h"

// Which key a client proves to hold, and what a server says of it: the same over tcp and rdma.

namespace silurus::transport {

/// A key, and where a client has it from, for messages.
struct ClientKey {
  access::Key key;
  std::string from;  ///< "the file /home/bob/bob.key"
};

/// The other end as the operating system knows it, once there is a way to it.
struct OtherEnd {
  std::string host;  ///< its address as numbers; "127.0.0.1"
  std::string port;
  std::string own_host;  ///< our own on that way: the same as `host` if it is on this host
};

/// The key for a connection, the first that there is of: ConnectOptions::key; the file that the
/// address names; what a server of our own user has left for us, if the other end is on this host
/// (access/own_key.h); the file that $SILURUS_KEY names. The last three only if the options say
/// that a key is looked for. Nothing: the client has no key, and takes the server for what it says.
/// An error: a file that is named and cannot be used; ConnectOptions::needs_key, and there is none.
Result<std::optional<ClientKey>> key_for(const Address& address, const ConnectOptions& options,
                                         const OtherEnd& other);
/// Label of the key, if there is one.
std::optional<access::KeyLabel> label_of(const std::optional<ClientKey>& key);

/// A server's answer to a client that does not hold the key it names, or names one that is unknown.
Error false_key();
/// What a client makes of a server that lets it in without having proved to hold the key.
Error unproved_server(const std::string& server, const ClientKey& key);
/// A refusal of the server's, with the key that was in use.
Error with_key(Error error, const ClientKey& key);

/// What a listener makes of a proof: the key's label, or why not. Tells the handler of false keys.
Result<access::KeyLabel> verify(AcceptHandler& handler, const Caller& caller, access::KeyId id,
                                const access::Transcript& said, const access::Tag& tag);

}  // namespace silurus::transport
