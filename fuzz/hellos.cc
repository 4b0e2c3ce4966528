// SPDX-License-Identifier: Apache-2.0

#include "fuzz/target.h"
#include "protocol/decode.h"
#include "transport/ring.h"
#include "transport/setup.h"
#include "transport/verbs/handshake.h"

// The first words of a connection, of each fabric, and the hellos of clients and servers in them.

namespace silurus::fuzz {
namespace {

using namespace transport;

void check_limits(const ConnectionLimits& limits) {
  SILURUS_CHECK(limits.max_message_bytes <= kMaxMessageBytes);
  SILURUS_CHECK(limits.max_reads_in_flight <= kMostReadsInFlight);
  SILURUS_CHECK(limits.max_read_bytes <= kMostReadBytes);
}

void try_hellos(std::span<const std::byte> hello) {
  for (const std::uint32_t dimensions : {2u, 3u}) {
    static_cast<void>(protocol::decode_client_hello(hello, dimensions));
  }
  for (const std::uint32_t dimensions : {0u, 2u, 3u}) {
    const auto server = protocol::decode_server_hello(hello, dimensions);
    if (!server) continue;
    SILURUS_CHECK(dimensions == 0 || server->dimensions == dimensions);
    SILURUS_CHECK(server->max_batch != 0 && server->one_sided <= 1);
  }
}

void try_client(std::span<const std::byte> bytes, std::uint64_t magic) {
  const auto setup = Input(bytes).take<ClientSetup>();
  if (!check(setup, magic)) return;
  const auto again = make_client_setup(magic, hello_of(setup));
  SILURUS_CHECK(again && check(*again, magic));
  SILURUS_CHECK(is_equal(hello_of(*again), hello_of(setup)));
  try_hellos(hello_of(setup));
}

void try_server(std::span<const std::byte> bytes, std::uint64_t magic) {
  const auto setup = Input(bytes).take<ServerSetup>();
  const Status checked = check(setup, magic, "the server");
  if (!checked) {
    SILURUS_CHECK(checked.error().message == printable(checked.error().message));
    return;
  }
  check_limits(limits_of(setup));
  const auto again = make_welcome(magic, setup.ring_bytes, limits_of(setup), hello_of(setup));
  SILURUS_CHECK(check(again, magic, "the server"));
  SILURUS_CHECK(is_equal(hello_of(again), hello_of(setup)));
  try_hellos(hello_of(setup));
}

void try_verbs(std::span<const std::byte> bytes) {
  if (const auto request = verbs::parse_request(bytes)) try_hellos(verbs::hello_of(*request));
  if (const auto reply = verbs::parse_reply(bytes, "the server")) {
    SILURUS_CHECK(is_ring_size(reply->ring_bytes));
    try_hellos(verbs::hello_of(*reply));
  }
  const auto kind = verbs::kind_of_request(bytes);
  if (const auto request = verbs::parse_challenge_request(bytes)) {
    SILURUS_CHECK(verbs::hello_of(*request).size() <= kMaxClientHelloBytes);
    const auto proof = verbs::parse_proof_request(bytes);
    SILURUS_CHECK(!proof || (kind && proof->max_ring_bytes >= kMinRingBytes));
  }
  const auto challenge = verbs::parse_challenge(bytes);
  SILURUS_CHECK(!challenge || challenge->code == verbs::kChallengeCode);
  const Error refusal = verbs::parse_refusal(bytes, "the server");
  SILURUS_CHECK(refusal.message == printable(refusal.message));
}

}  // namespace

void try_input(std::span<const std::byte> bytes) {
  for (const std::uint64_t magic : {kShmMagic, kTcpMagic}) {
    try_client(bytes, magic);
    try_server(bytes, magic);
  }
  try_verbs(bytes);
  try_hellos(bytes);
}

std::vector<std::string> seeds() {
  const protocol::ClientHello client{.dimensions = 2, .client = 5};
  const protocol::ServerHello server{.dimensions = 2,
                                     .grace_ns = 1000,
                                     .chunk_bytes = 1344,
                                     .chunks_per_region = 16384,
                                     .max_batch = 256,
                                     .one_sided = 1};
  const auto client_bytes = std::as_bytes(std::span(&client, 1));
  const auto server_bytes = std::as_bytes(std::span(&server, 1));
  const ConnectionLimits limits{max_message_bytes(kMinRingBytes), 16, 4096};
  auto request = *verbs::make_request(client_bytes);
  request.max_ring_bytes = kMaxRingBytes;
  auto reply = *verbs::make_reply(server_bytes);
  reply.ring_bytes = kMinRingBytes;
  const Error error{ErrorCode::kPermission, "no\nentry"};
  return {bytes_of(client),
          bytes_of(server),
          bytes_of(*make_client_setup(kShmMagic, client_bytes)),
          bytes_of(make_welcome(kTcpMagic, kMinRingBytes, limits, server_bytes)),
          bytes_of(transport::make_refusal(kShmMagic, error)),
          bytes_of(request),
          bytes_of(reply),
          bytes_of(*verbs::make_challenge_request(client_bytes)),
          bytes_of(verbs::make_challenge(7)),
          bytes_of(verbs::make_proof_request(verbs::make_challenge(7), 9)),
          bytes_of(verbs::make_refusal(error))};
}

}  // namespace silurus::fuzz
