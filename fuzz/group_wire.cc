// SPDX-License-Identifier: Apache-2.0

#include "fuzz/target.h"
#include "replication/group/wire.h"

// Messages between the members of a group, datagrams among them, and their hellos. An input: Head,
// then a message as it is; or a whole Envelope, body and payload, which encode_message() seals.

namespace silurus::fuzz {
namespace {

using namespace replication;
using namespace replication::group;
constexpr GroupId kGroup = 0x1234;

struct Head {
  std::uint8_t raw;  ///< not 0: a message as it is
  std::uint8_t reserved[7];
};

template <typename Body>
void check_again(std::span<const std::byte> message, const std::optional<Message<Body>>& decoded) {
  if (!decoded) return;
  std::vector<std::byte> again(message.size());
  const std::size_t bytes =
      encode_message(kGroup, decoded->envelope, std::as_bytes(std::span(&decoded->body, 1)),
                     decoded->payload, again);
  SILURUS_CHECK(is_equal(message, std::span(again).first(bytes)));
}

void try_message(std::span<const std::byte> message) {
  const auto envelope = decode_envelope(kGroup, message);
  if (!envelope) return;
  SILURUS_CHECK(!decode_envelope(kGroup + 1, message));
  const auto log = decode_log(*envelope, message);
  if (log) SILURUS_CHECK(log->body.lsn + log->payload.size() <= log->body.end);
  check_again(message, log);
  check_again(message, decode_row(*envelope, message));
  check_again(message, decode_fetch(*envelope, message));
  check_again(message, decode_probe(*envelope, message));
}

template <typename Body>
std::string sealed(Kind kind, std::uint8_t flags, const Body& body, const std::string& payload) {
  const Envelope envelope{.sender = 1, .incarnation = 2, .epoch = 3, .kind = kind, .flags = flags};
  return bytes_of(Head{}, envelope, body) + payload;
}

}  // namespace

void try_input(std::span<const std::byte> bytes) {
  for (const std::span<const std::byte> hello : {bytes, bytes.first(bytes.size() / 2)}) {
    if (const auto member = decode_member_hello(kGroup, hello)) {
      SILURUS_CHECK(member->member != 0 && member->incarnation != 0);
    }
    if (const auto window = decode_window_hello(kGroup, hello)) {
      SILURUS_CHECK(window->window_bytes % 64 == 0 && window->self.member != 0);
    }
  }
  Input input(bytes);
  if (input.take<Head>().raw != 0) return try_message(AlignedCopy(input.rest()).bytes());
  const auto envelope = input.take<Envelope>();
  const auto body = input.take_bytes(sizeof(std::uint64_t));
  const std::size_t size = sizeof(Envelope) + body.size() + input.rest().size();
  if (body.empty() || size > kMaxGroupMessageBytes) return;
  const AlignedCopy message({}, size);
  encode_message(kGroup, envelope, body, input.rest(), message.bytes());
  try_message(message.bytes());
}

std::vector<std::string> seeds() {
  const MemberHello hello{.group = kGroup, .member = 1, .incarnation = 2};
  const std::string payload(64, 'x');
  return {bytes_of(hello),
          bytes_of(WindowHello{.self = hello, .window_bytes = 4096}),
          sealed(Kind::kLog, 0, LogBody{64, 256, 5, 64, 9}, payload),
          sealed(Kind::kLog, 0, LogBody{64, 64, 5, 64, 9}, ""),
          sealed(Kind::kRow, kInStep, RowBody{64, 64, 64, 64, 1}, ""),
          sealed(Kind::kFetch, 0, FetchBody{64, 128}, ""),
          sealed(Kind::kFetched, 0, FetchBody{64, 64}, payload),
          sealed(Kind::kFetched, kTrimmed, FetchBody{64, 0}, ""),
          sealed(Kind::kProbe, 0, ProbeBody{1, 64}, "")};
}

}  // namespace silurus::fuzz
