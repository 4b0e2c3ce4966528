// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstddef>
#include <optional>
#include <span>
#include <string>
#include <type_traits>

#include "access/proof.h"
#include "common/clock.h"
#include "transport/keys.h"
#include "transport/setup.h"

// The set-up of a tcp connection. A client without a key sends a ClientSetup and gets a
// ServerSetup. One that has a key says so in its ClientSetup; then the server sends a Challenge,
// the client a ClientProof, and the server its ServerSetup and, unless that is a refusal, a Tag
// over all of it. Before the proof the server gives away nothing but a nonce.

namespace silurus::transport::tcp {

/// What a client gets that has proved its key.
struct Welcome {
  ServerSetup setup;
  access::Tag tag;
};
static_assert(std::has_unique_object_representations_v<Welcome>);

/// What has been said until the client proves its key; the tag of `proof` does not count.
access::Transcript said_before(const ClientSetup& setup, const Challenge& challenge,
                               const ClientProof& proof);
/// What has been said until the server proves it.
access::Transcript said_at_last(access::Transcript before, const ClientProof& proof,
                                const ServerSetup& answer);

/// The client's side: asks for a connection on a new socket, and proves the key if there is one.
/// The server's welcome, or why there is none. kPermission also if the server proves nothing.
Result<ServerSetup> shake_hands(int socket, std::span<const std::byte> hello,
                                const std::optional<ClientKey>& key, Nanoseconds deadline,
                                const std::string& name);

}  // namespace silurus::transport::tcp
