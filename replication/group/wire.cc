// SPDX-License-Identifier: Apache-2.0

#include "replication/group/wire.h"

#include <xxhash.h>

#include <cstring>

#include "common/check.h"

namespace silurus::replication::group {
namespace {

constexpr std::size_t kChecksumBytes = sizeof(Envelope::checksum);

std::uint64_t checksum_of(GroupId group, std::span<const std::byte> message) {
  return XXH3_64bits_withSeed(message.data() + kChecksumBytes, message.size() - kChecksumBytes,
                              group);
}

template <typename Body>
std::optional<Message<Body>> decode_body(const Envelope& envelope,
                                         std::span<const std::byte> message) {
  if (message.size() < sizeof(Envelope) + sizeof(Body)) return std::nullopt;
  Message<Body> decoded{envelope, {}, message.subspan(sizeof(Envelope) + sizeof(Body))};
  std::memcpy(&decoded.body, message.data() + sizeof(Envelope), sizeof(Body));
  return decoded;
}

bool is_hello(GroupId group, const MemberHello& hello, std::uint32_t magic) {
  return hello.magic == magic && hello.format == kGroupFormat && hello.group == group &&
         hello.member != 0 && hello.incarnation != 0;
}

}  // namespace

GroupId group_id(std::string_view cluster, std::uint32_t shard) {
  return XXH3_64bits_withSeed(cluster.data(), cluster.size(), shard);
}

std::optional<Envelope> decode_envelope(GroupId group, std::span<const std::byte> message) {
  Envelope envelope;
  if (message.size() < sizeof envelope || message.size() > kMaxGroupMessageBytes) {
    return std::nullopt;
  }
  std::memcpy(&envelope, message.data(), sizeof envelope);
  const bool is_known = envelope.kind >= Kind::kLog && envelope.kind <= Kind::kProbed;
  if (!is_known || envelope.length != message.size() || envelope.sender == 0 ||
      envelope.incarnation == 0 || envelope.epoch == 0 ||
      envelope.checksum != checksum_of(group, message)) {
    return std::nullopt;
  }
  return envelope;
}

std::optional<Message<LogBody>> decode_log(const Envelope& envelope,
                                           std::span<const std::byte> message) {
  auto decoded = decode_body<LogBody>(envelope, message);
  if (!decoded || envelope.kind != Kind::kLog || envelope.flags != 0) return std::nullopt;
  const LogBody& body = decoded->body;
  const std::size_t bytes = decoded->payload.size();
  if (body.commit > body.end || body.end % 8 != 0 || body.lsn % 8 != 0 || bytes % 8 != 0 ||
      body.lsn > body.end || bytes > body.end - body.lsn) {
    return std::nullopt;
  }
  return decoded;
}

std::optional<Message<RowBody>> decode_row(const Envelope& envelope,
                                           std::span<const std::byte> message) {
  auto decoded = decode_body<RowBody>(envelope, message);
  if (!decoded || envelope.kind != Kind::kRow ||
      (envelope.flags & ~(kInStep | kReturned | kCopies)) != 0 || !decoded->payload.empty()) {
    return std::nullopt;
  }
  if ((envelope.flags & kInStep) != 0 && (envelope.flags & kCopies) != 0) return std::nullopt;
  const RowBody& body = decoded->body;
  if (body.durable > body.received || body.applied > body.received) return std::nullopt;
  return decoded;
}

std::optional<Message<FetchBody>> decode_fetch(const Envelope& envelope,
                                               std::span<const std::byte> message) {
  auto decoded = decode_body<FetchBody>(envelope, message);
  if (!decoded || decoded->body.lsn % 8 != 0 || decoded->body.bytes % 8 != 0) return std::nullopt;
  switch (envelope.kind) {
    case Kind::kFetch:
      if (!decoded->payload.empty() || envelope.flags != 0 || decoded->body.bytes == 0) break;
      return decoded;
    case Kind::kFetched:
      if (decoded->payload.size() != decoded->body.bytes ||
          (envelope.flags & ~(kTrimmed | kBeyond)) != 0 ||
          (envelope.flags != 0 && decoded->body.bytes != 0)) {
        break;
      }
      return decoded;
    default:
      break;
  }
  return std::nullopt;
}

std::optional<Message<ProbeBody>> decode_probe(const Envelope& envelope,
                                               std::span<const std::byte> message) {
  auto decoded = decode_body<ProbeBody>(envelope, message);
  const bool is_probe = envelope.kind == Kind::kProbe || envelope.kind == Kind::kProbed;
  if (!decoded || !is_probe || envelope.flags != 0 || !decoded->payload.empty() ||
      decoded->body.committed % 8 != 0) {
    return std::nullopt;
  }
  return decoded;
}

std::size_t encode_message(GroupId group, Envelope envelope, std::span<const std::byte> body,
                           std::span<const std::byte> payload, std::span<std::byte> to) {
  const std::size_t bytes = sizeof envelope + body.size() + payload.size();
  SILURUS_CHECK(bytes <= to.size() && bytes <= kMaxGroupMessageBytes);
  envelope.length = static_cast<std::uint16_t>(bytes);
  std::memcpy(to.data(), &envelope, sizeof envelope);
  std::memcpy(to.data() + sizeof envelope, body.data(), body.size());
  if (!payload.empty()) {
    std::memcpy(to.data() + sizeof envelope + body.size(), payload.data(), payload.size());
  }
  envelope.checksum = checksum_of(group, to.first(bytes));
  std::memcpy(to.data(), &envelope.checksum, kChecksumBytes);
  return bytes;
}

std::optional<MemberHello> decode_member_hello(GroupId group, std::span<const std::byte> bytes,
                                               std::uint32_t magic) {
  MemberHello hello;
  if (bytes.size() < sizeof hello) return std::nullopt;
  std::memcpy(&hello, bytes.data(), sizeof hello);
  return is_hello(group, hello, magic) ? std::optional(hello) : std::nullopt;
}

std::optional<WindowHello> decode_window_hello(GroupId group, std::span<const std::byte> bytes) {
  WindowHello hello;
  if (bytes.size() < sizeof hello) return std::nullopt;
  std::memcpy(&hello, bytes.data(), sizeof hello);
  if (!is_hello(group, hello.self, kGroupMagic) || hello.window_bytes % 64 != 0) {
    return std::nullopt;
  }
  return hello;
}

}  // namespace silurus::replication::group
