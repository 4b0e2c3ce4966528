// SPDX-License-Identifier: Apache-2.0

// Many operations in flight on one thread: each calls back when it is done. For programs that ask
// all the time. A connection carries as many at once as its server's ring has room for, and answers
// come in any order.
//
//   silurus-server --listen shm:///tmp/silurus.sock &
//   silurus-example-asynchronous shm:///tmp/silurus.sock

#include <cstdio>
#include <vector>

#include "silurus/client.h"

namespace {

using silurus::Box;
using silurus::Client;
using silurus::Error;
using silurus::RangeAnswer;
using silurus::Result;
using silurus::WriteAnswer;
using silurus::WriteBatch;

constexpr std::uint64_t kBoxes = 10'000;
constexpr std::uint64_t kRow = 100;
constexpr std::size_t kInFlight = 64;

Box<2> box_of(std::uint64_t id) {
  const auto x = static_cast<double>(id % kRow);
  const auto y = static_cast<double>(id / kRow);
  return {{x, y}, {x + 0.5, y + 0.5}};
}

int report(const Error& error) {
  std::fprintf(stderr, "%s\n", error.message.c_str());
  return 1;
}

/// What callbacks have counted. It outlives all that is in flight.
struct Counted {
  std::uint64_t answers = 0;
  std::uint64_t found = 0;
  std::uint64_t failed = 0;
};

/// Batches of writes, a few in flight at once; `add` fills them.
template <typename Add>
void write_all(Client<2>& client, Counted& counted, const Add& add) {
  WriteBatch<2> batch;
  for (std::uint64_t id = 0; id < kBoxes;) {
    batch.clear();
    for (std::size_t i = 0; i < client.max_batch() && id < kBoxes; ++i) add(batch, id++);
    const auto begun = client.write_async(batch, [&counted](Result<WriteAnswer*> answer) {
      counted.failed += answer ? (*answer)->failed.size() : 1;
    });
    if (!begun) ++counted.failed;
    client.wait_below(4);
  }
  client.wait();
}

}  // namespace

int main(int argc, char** argv) {
  auto client = Client<2>::connect(argc > 1 ? argv[1] : silurus::default_url());
  if (!client) return report(client.error());

  Counted counted;
  write_all(*client, counted, [](WriteBatch<2>& batch, auto id) { batch.insert(id, box_of(id)); });

  // A window about each box: it meets the box and seven of its neighbours at most.
  for (std::uint64_t id = 0; id < kBoxes; ++id) {
    Box<2> window = box_of(id);
    for (double& side : window.max) side += 0.6;
    const auto begun =
        client->range_async({.window = window}, [&counted](Result<RangeAnswer<2>*> answer) {
          ++counted.answers;
          counted.found += answer ? (*answer)->ids.size() : 0;
          counted.failed += answer ? 0 : 1;
        });
    if (!begun) return report(begun.error());
    client->wait_below(kInFlight);  // runs callbacks of what has come meanwhile
  }
  client->wait();
  std::printf("%lu answers, %lu boxes found\n", counted.answers, counted.found);

  write_all(*client, counted, [](WriteBatch<2>& batch, auto id) { batch.erase(id, box_of(id)); });
  std::printf("%lu operations failed\n", counted.failed);
  return counted.failed == 0 ? 0 : 1;
}
