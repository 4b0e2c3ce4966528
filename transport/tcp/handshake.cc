// SPDX-License-Identifier: Apache-2.0

#include "transport/tcp/handshake.h"

#include <sys/socket.h>

#include <cstring>
#include <utility>

#include "transport/tcp/socket.h"

namespace silurus::transport::tcp {
namespace {

template <typename T>
std::span<const std::byte> bytes_of(const T& value) {
  return std::as_bytes(std::span(&value, 1));
}

/// A new socket has room for this; should it fail, then the server has hung up.
void send_all(int socket, std::span<const std::byte> bytes) {
  send(socket, bytes.data(), bytes.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
}

/// The rest of something whose first word, a magic, has come.
template <typename T>
Result<T> receive_rest(int socket, std::uint64_t magic, Nanoseconds deadline,
                       const std::string& name) {
  T value{};
  value.magic = magic;
  const auto bytes = std::as_writable_bytes(std::span(&value, 1)).subspan(sizeof(magic));
  if (auto ok = receive_all(socket, bytes, deadline, name); !ok) return fail(std::move(ok.error()));
  return value;
}

/// The server's answer, whose magic has come.
Result<ServerSetup> take_answer(int socket, std::uint64_t magic, Nanoseconds deadline,
                                const std::string& name) {
  ServerSetup answer{};
  answer.magic = magic;
  // A stranger may never send as much as a server's answer.
  if (magic == kTcpMagic) {
    auto whole = receive_rest<ServerSetup>(socket, magic, deadline, name);
    if (!whole) return whole;
    answer = *whole;
  }
  if (auto ok = check(answer, kTcpMagic, name); !ok) return fail(std::move(ok.error()));
  return answer;
}

Result<std::uint64_t> receive_magic(int socket, Nanoseconds deadline, const std::string& name) {
  std::uint64_t magic = 0;
  const auto bytes = std::as_writable_bytes(std::span(&magic, 1));
  if (auto ok = receive_all(socket, bytes, deadline, name); !ok) return fail(std::move(ok.error()));
  return magic;
}

/// What follows a challenge, whose magic has come.
Result<ServerSetup> prove(int socket, const ClientSetup& setup, const ClientKey& key,
                          Nanoseconds deadline, const std::string& name) {
  const auto challenge = receive_rest<Challenge>(socket, kChallengeMagic, deadline, name);
  if (!challenge) return fail(challenge.error());
  ClientProof proof{key.key.label().id, access::make_nonce(), {}};
  const auto before = said_before(setup, *challenge, proof);
  proof.tag = before.tag(key.key, access::Side::kClient);
  send_all(socket, bytes_of(proof));
  const auto magic = receive_magic(socket, deadline, name);
  if (!magic) return fail(magic.error());
  auto answer = take_answer(socket, *magic, deadline, name);
  if (!answer) return fail(with_key(std::move(answer.error()), key));
  access::Tag tag{};
  if (auto ok = receive_all(socket, tag, deadline, name); !ok) return fail(std::move(ok.error()));
  const auto said = said_at_last(before, proof, *answer);
  if (!said.is_proved_by(tag, key.key, access::Side::kServer)) {
    return fail(unproved_server(name, key));
  }
  return answer;
}

}  // namespace

access::Transcript said_before(const ClientSetup& setup, const Challenge& challenge,
                               const ClientProof& proof) {
  access::Transcript said("tcp");
  said.add(bytes_of(setup)).add(bytes_of(challenge));
  return said.add(bytes_of(proof.key)).add(proof.nonce);
}

access::Transcript said_at_last(access::Transcript before, const ClientProof& proof,
                                const ServerSetup& answer) {
  return before.add(proof.tag).add(bytes_of(answer));
}

Result<ServerSetup> shake_hands(int socket, std::span<const std::byte> hello,
                                const std::optional<ClientKey>& key, Nanoseconds deadline,
                                const std::string& name) {
  auto setup = make_client_setup(kTcpMagic, hello);
  if (!setup) return fail(std::move(setup.error()));
  setup->has_key = key ? 1 : 0;
  send_all(socket, bytes_of(*setup));
  const auto magic = receive_magic(socket, deadline, name);
  if (!magic) return fail(magic.error());
  if (key && *magic == kChallengeMagic) return prove(socket, *setup, *key, deadline, name);
  auto answer = take_answer(socket, *magic, deadline, name);
  // A server that does not ask for the proof could be any.
  if (answer && key) return fail(unproved_server(name, *key));
  return answer;
}

}  // namespace silurus::transport::tcp
