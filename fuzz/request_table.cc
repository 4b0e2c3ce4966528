// SPDX-License-Identifier: Apache-2.0

#include "fuzz/target.h"
#include "replication/group/requests.h"

// The table of clients' writes, as it lies in a checkpoint and comes from another member; then
// used.

namespace silurus::fuzz {
namespace {

using namespace replication;
using namespace replication::group;

/// What is asked of a table, and told to it, may not depend on how it came to be.
void use(RequestTable& table, std::span<const std::byte> bytes) {
  Input input(bytes);
  for (int i = 0; i < 8; ++i) {
    const auto request = input.take<RequestPayload>();
    static_cast<void>(table.is_done(request.client, request.sequence));
    const Outcome outcome{.version = request.first, .failed = {{1, 2}}};
    table.note(request, outcome);
    SILURUS_CHECK(table.is_done(request.client, request.sequence));
    table.correct(request.client, request.sequence, 5);
  }
}

}  // namespace

void try_input(std::span<const std::byte> bytes) {
  auto table = RequestTable::decode(bytes);
  if (!table) return;
  SILURUS_CHECK(is_equal(table->encode(), bytes));
  SILURUS_CHECK(table->clients() <= RequestTable::kMaxClients);
  use(*table, bytes);
  const auto encoded = table->encode();
  const auto again = RequestTable::decode(encoded);
  SILURUS_CHECK(again && again->encode() == encoded && again->weight() == table->weight());
}

std::vector<std::string> seeds() {
  RequestTable table;
  std::vector<std::string> all = {as_seed(table.encode())};
  for (std::uint64_t i = 1; i <= 5; ++i) {
    table.note({.client = i % 3 + 1, .sequence = i, .first = i / 2},
               {.version = i, .failed = std::vector<Failure>(i % 3, {1, 2})});
    all.push_back(as_seed(table.encode()));
  }
  return all;
}

}  // namespace silurus::fuzz
