#include "transport/verbs/handshake.h"

#include <algorithm>
#include <cstring>
#include <string>

#include "transport/ring.h"

namespace silurus::transport::verbs {
namespace {

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

Result<ConnectRequest> make_request(std::span<const std::byte> hello) {
  return with_hello<ConnectRequest>(hello);
}

Result<ConnectRequest> parse_request(std::span<const std::byte> private_data) {
  auto request = parse<ConnectRequest>(private_data, "the client");
  if (!request) return request;
  if (request->hello_bytes > kMaxClientHelloBytes || request->max_ring_bytes < kMinRingBytes) {
    return fail(ErrorCode::kProtocol, "the client's request makes no sense");
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
    return fail(ErrorCode::kProtocol, std::string(server) + ": the answer makes no sense");
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
    return {ErrorCode::kUnavailable, std::string(server) + ": nobody listens there"};
  }
  // The text of a refusal is understood whatever the version: that is often what it is about.
  const auto end = std::find(refusal.text.begin(), refusal.text.end(), '\0');
  Error error = error_of_peer(refusal.code, std::string(refusal.text.begin(), end));
  error.message.insert(0, std::string(server) + ": ");
  return error;
}

}  // namespace silurus::transport::verbs
