// SPDX-License-Identifier: Apache-2.0

#include <hwy/targets.h>

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <memory>
#include <thread>
#include <vector>

#include "client/core.h"
#include "common/clock.h"
#include "common/random.h"
#include "server/core.h"
#include "server/executor.h"

// A client and a server in one thread, over shm: searches by message, one at a time, for
// tests/instructions/count, which counts the instructions of the functions named counted_... by
// callgrind. Prints how many searches each of them makes.

namespace {

using namespace silurus;

constexpr std::size_t kEntries = 300'000;
constexpr std::size_t kSearches = 2'000;
constexpr std::size_t kWarmUp = 200;
constexpr double kEdge = 0.0001;
constexpr double kSmallEdge = 0.00001;

/// Both ends, and the searches that go from one to the other.
struct Pair {
  ManualClock clock;
  server::InlineExecutor executor;
  std::unique_ptr<transport::Fabric> fabric;
  std::unique_ptr<transport::Poller> poller;
  std::unique_ptr<server::Core<2>> server;
  std::unique_ptr<client::OneFabric> network;
  std::unique_ptr<client::ClientCore<2>> client;
  std::vector<rtree::RangeQuery<2>> queries;
  std::uint64_t answered = 0;
  std::uint64_t found = 0;
};

}  // namespace

// Not in line, and with names as in C: callgrind is told to collect in these functions alone.
extern "C" {

__attribute__((noinline)) bool counted_ask(Pair& pair, const rtree::RangeQuery<2>& query) {
  const auto begun = pair.client->submit(client::request::Range<2>{query},
                                         [&pair](Result<RangeAnswer<2>*> answer) {
                                           ++pair.answered;
                                           if (answer) pair.found += (*answer)->count;
                                         });
  pair.client->flush();
  return begun.has_value();
}

__attribute__((noinline)) bool counted_serve(Pair& pair) { return pair.server->worker(0).sweep(); }

__attribute__((noinline)) std::size_t counted_answer(Pair& pair) {
  return pair.poller->progress() + pair.client->settle();
}

__attribute__((noinline)) bool counted_message(Pair& pair, std::size_t first, std::size_t count) {
  for (std::size_t i = first; i < first + count; ++i) {
    pair.clock.advance(kMicrosecond);
    if (!counted_ask(pair, pair.queries[i]) || !counted_serve(pair)) return false;
    if (counted_answer(pair) == 0) return false;
  }
  return true;
}

}  // extern "C"

namespace {

Status fill(server::Core<2>& server, Random& random) {
  std::vector<rtree::Entry<2>> entries(kEntries);
  for (std::size_t i = 0; i < kEntries; ++i) {
    entries[i].id = i;
    for (int d = 0; d < 2; ++d) {
      entries[i].box.min[d] = random.uniform();
      entries[i].box.max[d] = entries[i].box.min[d] + kEdge * random.uniform();
    }
  }
  const auto loaded = server.load(std::move(entries));
  return loaded ? Status{} : fail(loaded.error());
}

Status set_up(Pair& pair, const std::string& url) {
  auto fabric = transport::make_fabric("shm");
  if (!fabric) return fail(fabric.error());
  pair.fabric = std::move(*fabric);
  auto core =
      server::Core<2>::create({.memory_budget_bytes = std::uint64_t{256} << 20, .build_threads = 1},
                              pair.clock, pair.executor);
  if (!core) return fail(core.error());
  pair.server = std::move(*core);
  Random random(1);
  if (auto ok = fill(*pair.server, random); !ok) return ok;
  const auto address = transport::Address::parse(url);
  const auto bound = pair.server->listen(*pair.fabric, *address, {});
  if (!bound) return fail(bound.error());
  auto poller = pair.fabric->create_poller();
  if (!poller) return fail(poller.error());
  pair.poller = std::move(*poller);
  pair.network = std::make_unique<client::OneFabric>(*pair.fabric, *pair.poller);
  Status connected;
  std::atomic<bool> is_done{false};
  std::thread connecting([&] {
    auto client = client::ClientCore<2>::connect(bound->to_string(), *pair.network, pair.clock,
                                                 {.mode = Mode::kMessaging});
    if (client) {
      pair.client = std::move(*client);
    } else {
      connected = fail(client.error());
    }
    // release: pairs with the load below, so that the client is whole.
    is_done.store(true, std::memory_order_release);
  });
  // acquire: pairs with the store above.
  while (!is_done.load(std::memory_order_acquire)) pair.server->worker(0).sweep();
  connecting.join();
  for (std::size_t i = 0; i < kWarmUp + kSearches; ++i) {
    rtree::RangeQuery<2> query;
    for (int d = 0; d < 2; ++d) {
      query.window.min[d] = random.uniform();
      query.window.max[d] = query.window.min[d] + kSmallEdge;
    }
    pair.queries.push_back(query);
  }
  return connected;
}

/// One search, outside of the counted functions.
bool warm_up(Pair& pair, const rtree::RangeQuery<2>& query) {
  const std::uint64_t answered = pair.answered;
  (void)pair.client->submit(client::request::Range<2>{query},
                            [&pair](Result<RangeAnswer<2>*>) { ++pair.answered; });
  for (int turns = 0; pair.answered == answered && turns < 1000; ++turns) {
    pair.client->flush();
    pair.server->worker(0).sweep();
    pair.poller->progress();
    pair.client->settle();
  }
  return pair.answered != answered;
}

int run(const std::string& url) {
  Pair pair;
  if (auto ok = set_up(pair, url); !ok) {
    std::fprintf(stderr, "%s\n", ok.error().message.c_str());
    return 1;
  }
  for (std::size_t i = 0; i < kWarmUp; ++i) {
    if (!warm_up(pair, pair.queries[i])) return 1;
  }
  if (!counted_message(pair, kWarmUp, kSearches) || pair.answered != kWarmUp + kSearches) return 1;
  std::printf("%zu searches each, %llu found\n", kSearches,
              static_cast<unsigned long long>(pair.found));
  pair.client.reset();
  return 0;
}

}  // namespace

int main() {
  // The bounds are those of one instruction set, which valgrind knows, too.
  hwy::DisableTargets(HWY_AVX2 - 1);
  if ((hwy::SupportedTargets() & HWY_AVX2) == 0) {
    std::puts("no AVX2");
    return 77;
  }
  std::string folder = (std::filesystem::temp_directory_path() / "silurus-count-XXXXXX").string();
  if (mkdtemp(folder.data()) == nullptr) return 1;
  const int status = run("shm://" + folder + "/socket");
  std::filesystem::remove_all(folder);
  return status;
}
