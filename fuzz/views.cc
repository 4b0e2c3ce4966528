// SPDX-License-Identifier: Apache-2.0

#include "fuzz/target.h"
#include "replication/group/persisted_view.h"
#include "replication/group/view.h"

// What a group keeps in etcd, at its first member, or in a member's data directory: JSON.

namespace silurus::fuzz {
namespace {

using namespace replication::group;

View view_of_two() {
  return {.epoch = 5,
          .members = {{1, "tcp://127.0.0.1:7001", "tcp://127.0.0.1:7000"},
                      {2, "rdma://[::1]:7001", ""}},
          .primary = 1,
          .incarnation = 9,
          .since = 3,
          .ack = Ack::kQuorum,
          .min_members = 2,
          .most_members = 2};
}

}  // namespace

void try_input(std::span<const std::byte> bytes) {
  const std::string_view text = as_text(bytes);
  if (const auto view = decode_view(text)) {
    SILURUS_CHECK(view->has(view->primary) && view->members.size() <= kMaxMembers);
    const auto again = decode_view(encode(*view));
    SILURUS_CHECK(again && *again == *view);
    SILURUS_CHECK(!too_few_members(*view).empty());
  }
  if (const auto registration = decode_registration(text)) {
    const std::string written = encode(*registration);
    const auto again = decode_registration(written);
    SILURUS_CHECK(again && encode(*again) == written);
  }
  if (const auto kept = decode_persisted_view(text)) {
    const auto again = decode_persisted_view(encode(*kept));
    SILURUS_CHECK(again && *again == *kept);
    static_cast<void>(may_follow(*kept, {.founder = 1, .taken_over_at = 0, .view = view_of_two()}));
    static_cast<void>(may_take_over(*kept, 1));
  }
}

std::vector<std::string> seeds() {
  const View view = view_of_two();
  return {encode(view),
          encode(Registration{.member = view.members[0], .incarnation = 9, .durable = 64}),
          encode(PersistedView{.founder = 1, .taken_over_at = 2, .view = view}),
          "[[[[[[[[[[[]]]]]]]]]]]"};
}

}  // namespace silurus::fuzz
