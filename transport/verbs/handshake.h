// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>
#include <type_traits>

#include "access/proof.h"
#include "common/result.h"
#include "transport/fabric.h"

// What travels as private data in the connection manager's messages: who is there, which memory may
// be written, the limits; or why not. The whole handshake, in no extra round trip; for a client
// with a key, in one: its first request is rejected with a challenge, the second one proves the
// key. Before the proof the server has made nothing for the client, and gives away nothing but a
// nonce.

namespace silurus::transport::verbs {

constexpr std::uint32_t kHandshakeMagic = 0x56524c53;  ///< "SLRV"
/// Version of this handshake and of the layout of inboxes and immediates.
constexpr std::uint16_t kHandshakeVersion = 2;

/// What a request is.
enum class RequestKind : std::uint8_t {
  kWithoutKey = 0,    ///< ConnectRequest
  kForChallenge = 1,  ///< ChallengeRequest
  kWithProof = 2,     ///< ProofRequest
};

/// What the manager leaves to us for RDMA_PS_TCP over IP: 92, 196 and 148 bytes, less its own 36 in
/// the request (rdma_connect(3), rdma_accept(3), rdma_reject(3)).
constexpr std::size_t kMaxRequestBytes = 56;
constexpr std::size_t kMaxReplyBytes = 196;
constexpr std::size_t kMaxRefusalBytes = 148;

/// Client to server.
struct ConnectRequest {
  std::uint32_t magic;
  std::uint16_t version;
  std::uint8_t hello_bytes;
  RequestKind kind;
  std::uint64_t inbox_address;  ///< where the server writes: an Inbox with a region table
  std::uint32_t inbox_key;
  std::uint32_t max_ring_bytes;  ///< that fit the inbox
  std::array<std::byte, kMaxClientHelloBytes> hello;
};

/// Client to server, which answers with a Challenge.
struct ChallengeRequest {
  std::uint32_t magic;
  std::uint16_t version;
  std::uint8_t hello_bytes;
  RequestKind kind;
  access::Nonce nonce;
  std::array<std::byte, kMaxClientHelloBytes> hello;
};

/// Server to client: a rejection, in place of a Refusal, which it begins like.
struct Challenge {
  std::uint32_t magic;
  std::uint16_t version;
  std::uint16_t code;    ///< kChallengeCode
  std::uint64_t number;  ///< by which the server knows it again
  access::Nonce nonce;
};
constexpr std::uint16_t kChallengeCode = 0xffff;

/// Client to server, with the number of a challenge.
struct ProofRequest {
  std::uint32_t magic;
  std::uint16_t version;
  std::uint8_t reserved;
  RequestKind kind;
  std::uint64_t inbox_address;
  std::uint32_t inbox_key;
  std::uint32_t max_ring_bytes;
  std::uint64_t number;
  access::KeyId key;
  access::Tag tag;  ///< over the ChallengeRequest, the Challenge, and this up to here
};

/// Server to client.
struct ConnectReply {
  std::uint32_t magic;
  std::uint16_t version;
  std::uint8_t hello_bytes;
  std::uint8_t reserved;
  std::uint64_t inbox_address;  ///< where the client writes
  std::uint32_t inbox_key;
  std::uint32_t ring_bytes;  ///< size of each direction's ring
  std::uint32_t max_reads_in_flight;
  std::uint32_t max_read_bytes;
  access::Tag tag;  ///< after a ProofRequest: over that, too, and over this with zeros here
  std::array<std::byte, kMaxHelloBytes> hello;
};

/// Server to client, instead.
struct Refusal {
  std::uint32_t magic;
  std::uint16_t version;
  std::uint16_t code;          ///< ErrorCode
  std::array<char, 140> text;  ///< padded with 0
};

static_assert(sizeof(ConnectRequest) == kMaxRequestBytes);
static_assert(sizeof(ChallengeRequest) == kMaxRequestBytes &&
              sizeof(ProofRequest) == kMaxRequestBytes && sizeof(Challenge) <= kMaxRefusalBytes);
static_assert(sizeof(ConnectReply) == 176 && sizeof(ConnectReply) <= kMaxReplyBytes);
static_assert(sizeof(Refusal) == kMaxRefusalBytes);
static_assert(std::has_unique_object_representations_v<ConnectRequest> &&
              std::has_unique_object_representations_v<ConnectReply> &&
              std::has_unique_object_representations_v<ChallengeRequest> &&
              std::has_unique_object_representations_v<Challenge> &&
              std::has_unique_object_representations_v<ProofRequest> &&
              std::has_unique_object_representations_v<Refusal>);

/// kInvalidArgument if the hello is too long.
Result<ConnectRequest> make_request(std::span<const std::byte> hello);
/// Makes a request for a challenge, with a nonce and the same hello.
Result<ChallengeRequest> make_challenge_request(std::span<const std::byte> hello);
ProofRequest make_proof_request(const Challenge& challenge, access::KeyId key);
Challenge make_challenge(std::uint64_t number);
/// What a request is: kProtocol for anything but a client of this fabric and version.
Result<RequestKind> kind_of_request(std::span<const std::byte> private_data);
Result<ChallengeRequest> parse_challenge_request(std::span<const std::byte> private_data);
Result<ProofRequest> parse_proof_request(std::span<const std::byte> private_data);
/// The challenge in a rejection; nothing: it is a refusal.
std::optional<Challenge> parse_challenge(std::span<const std::byte> private_data);
/// What was said until the client proves its key, and until the server does; tags of what is
/// proved do not count.
access::Transcript said_before(const ChallengeRequest& request, const Challenge& challenge,
                               const ProofRequest& proof);
access::Transcript said_at_last(access::Transcript before, const ProofRequest& proof,
                                const ConnectReply& reply);
/// kProtocol for anything but a client of this fabric and version.
Result<ConnectRequest> parse_request(std::span<const std::byte> private_data);
/// kInvalidArgument if the hello is too long.
Result<ConnectReply> make_reply(std::span<const std::byte> hello);
/// kProtocol for anything but a server of this fabric and version with sensible limits.
Result<ConnectReply> parse_reply(std::span<const std::byte> private_data, std::string_view server);
/// Cuts the text to what fits.
Refusal make_refusal(const Error& error);
/// The server's refusal as it was given, prefixed with whose it is; or that it was not a server of
/// ours that refused.
Error parse_refusal(std::span<const std::byte> private_data, std::string_view server);

template <typename T>
std::span<const std::byte> hello_of(const T& message) {
  return std::span(message.hello).first(message.hello_bytes);
}

}  // namespace silurus::transport::verbs
