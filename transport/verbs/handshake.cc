// SPDX-License-Identifier: Apache-2.0

#include "transport/verbs/handshake.h"

#include <algorithm>
#include <cstring>
#include <string>

#include "transport/ring.h"

namespace silurus::transport::verbs {
namespace {

template <typename T>
std::span<const std::byte> bytes_of(const T& value) {
  return std::as_bytes(std::span(&value, 1));
}

template <typename T>
Result<T> with_hello(std::span<const std::byte> hello) {
  T message{};
  if (hello.size() > message.hello.size()) {
    return fail(ErrorCode::kInvalidArgument, "hello of " + std::to_string(hello.size()) +
                                                 " bytes; at most " +
                                                 std::to_string(message.hello.size()) + " fit");
  }
  message.magic = kHandshakeMagic;
  message.version = kHandshakeVersion;
  message.hello_bytes = static_cast<std::uint8_t>(hello.size());
  std::copy(hello.begin(), hello.end(), message.hello.begin());
  return message;
}

template <typename T>
Result<T> parse(std::span<const std::byte> bytes, const std::string& peer) {
  T message{};
  if (bytes.size() >= sizeof(T)) std::memcpy(&message, bytes.data(), sizeof(T));
  if (message.magic != kHandshakeMagic) {
    return fail(ErrorCode::kProtocol, peer + " is not Silurus");
  }
  if (message.version != kHandshakeVersion) {
    return fail(ErrorCode::kProtocol, peer + " speaks version " + std::to_string(message.version) +
                                          " of the RDMA transport, we speak version " +
                                          std::to_string(kHandshakeVersion));
  }
  return message;
}

}  // namespace

Result<ChallengeRequest> make_challenge_request(std::span<const std::byte> hello) {
  auto request = with_hello<ChallengeRequest>(hello);
  if (!request) return request;
  request->kind = RequestKind::kForChallenge;
  request->nonce = access::make_nonce();
  return request;
}

ProofRequest make_proof_request(const Challenge& challenge, access::KeyId key) {
  ProofRequest request{};
  request.magic = kHandshakeMagic;
  request.version = kHandshakeVersion;
  request.kind = RequestKind::kWithProof;
  request.number = challenge.number;
  request.key = key;
  return request;
}

Challenge make_challenge(std::uint64_t number) {
  return {kHandshakeMagic, kHandshakeVersion, kChallengeCode, number, access::make_nonce()};
}

Result<RequestKind> kind_of_request(std::span<const std::byte> private_data) {
  const auto request = parse<ConnectRequest>(private_data, "the client");
  if (!request) return fail(request.error());
  if (request->kind > RequestKind::kWithProof) {
    return fail(ErrorCode::kProtocol, "the client's request is of an unknown kind");
  }
  return request->kind;
}

Result<ChallengeRequest> parse_challenge_request(std::span<const std::byte> private_data) {
  auto request = parse<ChallengeRequest>(private_data, "the client");
  if (request && request->hello_bytes > kMaxClientHelloBytes) {
    return fail(ErrorCode::kProtocol, "the client's request is malformed");
  }
  return request;
}

Result<ProofRequest> parse_proof_request(std::span<const std::byte> private_data) {
  auto request = parse<ProofRequest>(private_data, "the client");
  if (request && request->max_ring_bytes < kMinRingBytes) {
    return fail(ErrorCode::kProtocol, "the client's request is malformed");
  }
  return request;
}

std::optional<Challenge> parse_challenge(std::span<const std::byte> private_data) {
  const auto challenge = parse<Challenge>(private_data, "the server");
  if (!challenge || challenge->code != kChallengeCode) return std::nullopt;
  return *challenge;
}

access::Transcript said_before(const ChallengeRequest& request, const Challenge& challenge,
                               const ProofRequest& proof) {
  ProofRequest untagged = proof;
  untagged.tag = {};
  access::Transcript said("rdma");
  return said.add(bytes_of(request)).add(bytes_of(challenge)).add(bytes_of(untagged));
}

access::Transcript said_at_last(access::Transcript before, const ProofRequest& proof,
                                const ConnectReply& reply) {
  ConnectReply untagged = reply;
  untagged.tag = {};
  return before.add(proof.tag).add(bytes_of(untagged));
}

Result<ConnectRequest> make_request(std::span<const std::byte> hello) {
  return with_hello<ConnectRequest>(hello);
}

Result<ConnectRequest> parse_request(std::span<const std::byte> private_data) {
  auto request = parse<ConnectRequest>(private_data, "the client");
  if (!request) return request;
  if (request->hello_bytes > kMaxClientHelloBytes || request->max_ring_bytes < kMinRingBytes) {
    return fail(ErrorCode::kProtocol, "the client's request is malformed");
  }
  return request;
}

Result<ConnectReply> make_reply(std::span<const std::byte> hello) {
  return with_hello<ConnectReply>(hello);
}

Result<ConnectReply> parse_reply(std::span<const std::byte> private_data, std::string_view server) {
  auto reply = parse<ConnectReply>(private_data, std::string(server));
  if (!reply) return reply;
  if (reply->hello_bytes > kMaxHelloBytes || !is_ring_size(reply->ring_bytes)) {
    return fail(ErrorCode::kProtocol, std::string(server) + ": the answer is malformed");
  }
  return reply;
}

Refusal make_refusal(const Error& error) {
  Refusal refusal{};
  refusal.magic = kHandshakeMagic;
  refusal.version = kHandshakeVersion;
  refusal.code = static_cast<std::uint16_t>(error.code);
  std::copy_n(error.message.begin(), std::min(error.message.size(), refusal.text.size()),
              refusal.text.begin());
  return refusal;
}

Error parse_refusal(std::span<const std::byte> private_data, std::string_view server) {
  Refusal refusal{};
  if (!private_data.empty()) {
    std::memcpy(&refusal, private_data.data(), std::min(private_data.size(), sizeof(refusal)));
  }
  if (refusal.magic != kHandshakeMagic) {
    return {ErrorCode::kUnavailable, std::string(server) + ": no server listens there"};
  }
  // The text of a refusal is understood whatever the version: that is often what it is about.
  const auto end = std::find(refusal.text.begin(), refusal.text.end(), '\0');
  Error error = error_of_peer(refusal.code, std::string(refusal.text.begin(), end));
  error.message.insert(0, std::string(server) + ": ");
  return error;
}

}  // namespace silurus::transport::verbs
