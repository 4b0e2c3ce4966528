// SPDX-License-Identifier: Apache-2.0

#include "transport/setup.h"

#include <algorithm>
#include <cstring>
#include <string>

#include "common/check.h"
#include "transport/ring.h"

namespace silurus::transport {

Result<ClientSetup> make_client_setup(std::uint64_t magic, std::span<const std::byte> hello) {
  if (hello.size() > kMaxClientHelloBytes) {
    return fail(ErrorCode::kInvalidArgument, "hello of " + std::to_string(hello.size()) +
                                                 " bytes; kMaxClientHelloBytes is " +
                                                 std::to_string(kMaxClientHelloBytes));
  }
  ClientSetup setup{};
  setup.magic = magic;
  setup.version = kSetupVersion;
  setup.hello_bytes = static_cast<std::uint16_t>(hello.size());
  std::copy(hello.begin(), hello.end(), setup.hello.begin());
  return setup;
}

Status check(const ClientSetup& setup, std::uint64_t magic) {
  if (setup.magic != magic) return fail(ErrorCode::kProtocol, "not a Silurus client");
  if (setup.version != kSetupVersion) {
    return fail(ErrorCode::kProtocol, "transport version " + std::to_string(setup.version) +
                                          " of the client, " + std::to_string(kSetupVersion) +
                                          " of the server: use the same release on both sides");
  }
  if (setup.hello_bytes > kMaxClientHelloBytes) return fail(ErrorCode::kProtocol, "hello too long");
  if (setup.has_key > 1) return fail(ErrorCode::kProtocol, "a field of the hello makes no sense");
  return {};
}

std::span<const std::byte> hello_of(const ClientSetup& setup) {
  return std::span(setup.hello).first(setup.hello_bytes);
}

ServerSetup make_welcome(std::uint64_t magic, std::uint32_t ring_bytes,
                         const ConnectionLimits& limits, std::span<const std::byte> hello) {
  SILURUS_CHECK(hello.size() <= kMaxHelloBytes);
  ServerSetup setup{};
  setup.magic = magic;
  setup.version = kSetupVersion;
  setup.ring_bytes = ring_bytes;
  setup.max_message_bytes = limits.max_message_bytes;
  setup.max_reads_in_flight = limits.max_reads_in_flight;
  setup.max_read_bytes = limits.max_read_bytes;
  setup.hello_bytes = static_cast<std::uint32_t>(hello.size());
  std::copy(hello.begin(), hello.end(), setup.hello.begin());
  return setup;
}

ServerSetup make_refusal(std::uint64_t magic, const Error& error) {
  ServerSetup setup{};
  setup.magic = magic;
  setup.version = kSetupVersion;
  setup.code = static_cast<std::uint32_t>(error.code);
  setup.text_bytes =
      static_cast<std::uint32_t>(std::min<std::size_t>(error.message.size(), kMaxRefusalBytes));
  std::memcpy(setup.text.data(), error.message.data(), setup.text_bytes);
  return setup;
}

Status check(const ServerSetup& setup, std::uint64_t magic, std::string_view server_name) {
  const std::string name(server_name);
  if (setup.magic != magic) {
    return fail(ErrorCode::kProtocol, name + " is not a Silurus server (it answered otherwise)");
  }
  if (setup.text_bytes > kMaxRefusalBytes || setup.hello_bytes > kMaxHelloBytes) {
    return fail(ErrorCode::kProtocol, name + " answered with impossible lengths");
  }
  if (setup.code != 0) {
    Error error = error_of_peer(setup.code, {setup.text.data(), setup.text_bytes});
    error.message.insert(0, name + " refused: ");
    return fail(std::move(error));
  }
  if (setup.version != kSetupVersion) {
    return fail(ErrorCode::kProtocol,
                name + " speaks transport version " + std::to_string(setup.version) + ", not " +
                    std::to_string(kSetupVersion) + ": use the same release on both sides");
  }
  if (!is_ring_size(setup.ring_bytes) ||
      setup.max_message_bytes != max_message_bytes(setup.ring_bytes) ||
      setup.max_reads_in_flight > kMostReadsInFlight || setup.max_read_bytes > kMostReadBytes) {
    return fail(ErrorCode::kProtocol, name + " answered with impossible limits");
  }
  return {};
}

std::span<const std::byte> hello_of(const ServerSetup& setup) {
  return std::span(setup.hello).first(setup.hello_bytes);
}

ConnectionLimits limits_of(const ServerSetup& setup) {
  return {setup.max_message_bytes, setup.max_reads_in_flight, setup.max_read_bytes};
}

Result<std::vector<std::byte>> ask(AcceptHandler& handler, const ClientSetup& setup,
                                   const Caller& caller) {
  auto answer = handler.on_hello(hello_of(setup), caller);
  SILURUS_CHECK(!answer || answer->size() <= kMaxHelloBytes);
  return answer;
}

}  // namespace silurus::transport
