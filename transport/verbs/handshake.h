#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <type_traits>

#include "common/result.h"
#include "transport/fabric.h"

// What travels as private data in the connection manager's messages: who is there, which memory may
// be written, the limits; or why not. The whole handshake, in no extra round trip.

namespace silurus::transport::verbs {

constexpr std::uint32_t kHandshakeMagic = 0x56524c53;  ///< "SLRV"
/// Of this handshake and of the layout of inboxes and immediates.
constexpr std::uint16_t kHandshakeVersion = 1;

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
  std::uint8_t reserved;
  std::uint64_t inbox_address;  ///< where the server writes: an Inbox with a region table
  std::uint32_t inbox_key;
  std::uint32_t max_ring_bytes;  ///< that fit the inbox
  std::array<std::byte, kMaxClientHelloBytes> hello;
};

/// Server to client.
struct ConnectReply {
  std::uint32_t magic;
  std::uint16_t version;
  std::uint8_t hello_bytes;
  std::uint8_t reserved;
  std::uint64_t inbox_address;  ///< where the client writes
  std::uint32_t inbox_key;
  std::uint32_t ring_bytes;  ///< of each direction
  std::uint32_t max_reads_in_flight;
  std::uint32_t max_read_bytes;
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
static_assert(sizeof(ConnectReply) == 160 && sizeof(ConnectReply) <= kMaxReplyBytes);
static_assert(sizeof(Refusal) == kMaxRefusalBytes);
static_assert(std::has_unique_object_representations_v<ConnectRequest> &&
              std::has_unique_object_representations_v<ConnectReply> &&
              std::has_unique_object_representations_v<Refusal>);

/// kInvalidArgument if the hello is too long.
Result<ConnectRequest> make_request(std::span<const std::byte> hello);
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
