// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <type_traits>
#include <vector>

#include "access/proof.h"
#include "common/result.h"
#include "transport/fabric.h"

// The first words of a connection, the same over shm and tcp: the client says who it is, the server
// answers with the connection's limits or with the reason why not. Fixed-size, no padding.

namespace silurus::transport {

/// Version of this wire format; both sides must have the same.
constexpr std::uint32_t kSetupVersion = 1;
constexpr std::uint64_t kShmMagic = 0x316d687353524c53;  ///< "SLRSshm1"
constexpr std::uint64_t kTcpMagic = 0x3170637453524c53;  ///< "SLRStcp1"
constexpr std::size_t kMaxRefusalBytes = 512;

struct ClientSetup {
  std::uint64_t magic;
  std::uint32_t version;
  std::uint16_t hello_bytes;
  std::uint16_t has_key;  ///< 1: it will prove to hold a key (tcp: tcp/handshake.h); else 0
  std::array<std::byte, kMaxClientHelloBytes> hello;
};

struct ServerSetup {
  std::uint64_t magic;
  std::uint32_t version;
  std::uint32_t code;        ///< 0: welcome; else an ErrorCode, with text
  std::uint32_t ring_bytes;  ///< size of each direction's ring
  std::uint32_t max_message_bytes;
  std::uint32_t max_reads_in_flight;
  std::uint32_t max_read_bytes;
  std::uint32_t hello_bytes;
  std::uint32_t text_bytes;
  std::array<std::byte, kMaxHelloBytes> hello;
  std::array<char, kMaxRefusalBytes> text;
};

/// tcp only: what the server sends to a client that has a key, and what the client answers with.
struct Challenge {
  std::uint64_t magic;  ///< kChallengeMagic
  access::Nonce nonce;
};
struct ClientProof {
  access::KeyId key;
  access::Nonce nonce;
  access::Tag tag;  ///< over the ClientSetup, the Challenge, and what stands before it here
};
constexpr std::uint64_t kChallengeMagic = 0x316b637453524c53;  ///< "SLRStck1"

static_assert(sizeof(Challenge) == 24 && sizeof(ClientProof) == 40);
static_assert(std::has_unique_object_representations_v<Challenge> &&
              std::has_unique_object_representations_v<ClientProof>);
static_assert(sizeof(ClientSetup) == 48 && sizeof(ServerSetup) == 40 + 128 + 512);
static_assert(std::has_unique_object_representations_v<ClientSetup> &&
              std::has_unique_object_representations_v<ServerSetup>);

/// kInvalidArgument if the hello is too long.
Result<ClientSetup> make_client_setup(std::uint64_t magic, std::span<const std::byte> hello);
/// kProtocol for anything but a client of this fabric and version.
Status check(const ClientSetup& setup, std::uint64_t magic);
/// What the client said of itself; after check().
std::span<const std::byte> hello_of(const ClientSetup& setup);

ServerSetup make_welcome(std::uint64_t magic, std::uint32_t ring_bytes,
                         const ConnectionLimits& limits, std::span<const std::byte> hello);
ServerSetup make_refusal(std::uint64_t magic, const Error& error);
/// The server's refusal as it was given, prefixed with whose it is; kProtocol for anything that is
/// not an answer of this fabric and version.
Status check(const ServerSetup& setup, std::uint64_t magic, std::string_view server_name);
std::span<const std::byte> hello_of(const ServerSetup& setup);
ConnectionLimits limits_of(const ServerSetup& setup);

/// Asks the handler, and checks that its answer fits.
Result<std::vector<std::byte>> ask(AcceptHandler& handler, const ClientSetup& setup,
                                   const Caller& caller);

}  // namespace silurus::transport
