// SPDX-License-Identifier: Apache-2.0

// One-sided reads: what the cards of both sides do. The server's host has no part in it.
#include <algorithm>
#include <array>
#include <cstring>
#include <utility>

#include "transport/sim/endpoint.h"
#include "transport/sim/listener.h"
#include "transport/sim/world.h"

namespace silurus::transport::sim {
namespace {

constexpr std::size_t kReadWord = 8;
constexpr std::size_t kMaxReadPieces = 16;

/// Cuts [0, length) into up to `count` pieces at places where the target's address is a multiple
/// of a word.
std::vector<std::size_t> cut_points(Random& random, const std::byte* start, std::size_t length,
                                    std::size_t count) {
  const std::size_t first =
      (kReadWord - reinterpret_cast<std::uintptr_t>(start) % kReadWord) % kReadWord;
  std::vector<std::size_t> points = {0, length};
  for (std::size_t i = 1; i < count && first < length; ++i) {
    points.push_back(first + random.below((length - first) / kReadWord + 1) * kReadWord);
  }
  std::sort(points.begin(), points.end());
  points.erase(std::unique(points.begin(), points.end()), points.end());
  while (points.back() > length) points.pop_back();
  return points;
}

}  // namespace

PostStatus Endpoint::check(const ReadRequest& request) const {
  if (end_reason || is_closing) return PostStatus::kClosed;
  if (request.region >= known_regions) return PostStatus::kUnknownRegion;
  const std::uint64_t region_bytes = listener->regions[request.region].size();
  if (request.length == 0 || request.length > limits.max_read_bytes ||
      request.offset > region_bytes || request.length > region_bytes - request.offset) {
    return PostStatus::kInvalid;
  }
  const std::uint64_t buffer_bytes = request.buffer->bytes().size();
  if (request.buffer_offset > buffer_bytes ||
      request.length > buffer_bytes - request.buffer_offset) {
    return PostStatus::kInvalid;
  }
  return reads.size() >= limits.max_reads_in_flight ? PostStatus::kWouldBlock : PostStatus::kPosted;
}

Connection::PostResult Endpoint::post_reads(std::span<const ReadRequest> requests) {
  std::vector<std::shared_ptr<ReadOperation>> operations;
  PostStatus status = PostStatus::kPosted;
  for (const auto& read : requests) {
    status = check(read);
    if (status != PostStatus::kPosted) break;
    auto operation = std::make_shared<ReadOperation>();
    operation->request = read;
    operation->target = static_cast<const SimBuffer&>(*read.buffer).lines();
    operation->target_bytes = read.buffer->bytes().subspan(read.buffer_offset, read.length);
    operation->posted_at = host.world().now() + host.ahead();
    // A client that looks before it is done sees something, but nothing that was written.
    std::fill(operation->target_bytes.begin(), operation->target_bytes.end(), std::byte{0xa5});
    reads.push_back(operation);
    ++counters.reads;
    counters.read_bytes += read.length;
    operations.push_back(std::move(operation));
  }
  if (status == PostStatus::kWouldBlock) ++counters.would_block;
  const std::size_t posted = operations.size();
  if (posted > 0) {
    ++counters.doorbells;
    const CpuModel& cpu = host.options().cpu;
    host.charge_within_step(cpu.doorbell + static_cast<Nanoseconds>(posted) * cpu.post_read);
    request(std::move(operations), host.awake_time());
  }
  return {posted, status};
}

/// Sends the requests to the server's card; again later, if they don't get there.
void Endpoint::request(std::vector<std::shared_ptr<ReadOperation>> operations,
                       Nanoseconds first_try) {
  World& world = host.world();
  if (end_reason) return;
  if (!poller || !poller->alive()) return;
  if (host.awake_time() - first_try >= options.give_up) return give_up("reads are not answered");
  const auto arrival =
      world.transmit(host, listener->host, kPacketOverheadBytes * operations.size(),
                     {.sender = operations.size(), .receiver = 0});
  const auto go = [self = shared_from_this(), operations, first_try,
                   arrived = arrival.has_value()] {
    if (self->end_reason) return;
    if (!arrived || !self->listener->answers_reads()) {
      self->request(operations, first_try);
      return;
    }
    for (const auto& operation : operations) self->carry_out(operation, first_try);
  };
  const bool arrives = arrival && listener->answers_reads();
  world.at(arrives ? *arrival : world.now() + 10 * options.retry, go);
}

/// At the server's card: reads piece by piece.
void Endpoint::carry_out(const std::shared_ptr<ReadOperation>& operation, Nanoseconds first_try) {
  Host& server = listener->host;
  World& world = host.world();
  const NicModel& nic = server.options().nic;
  const std::size_t length = operation->request.length;
  const Nanoseconds start = server.take_read_slot();
  const Nanoseconds duration =
      nic.read_latency +
      static_cast<Nanoseconds>(static_cast<double>(length) / nic.bytes_per_second * 1e9);
  operation->staged.assign(length, std::byte{0x5a});
  if (!listener->has_memory()) return give_up("the region is gone");
  const std::byte* source =
      listener->regions[operation->request.region].data() + operation->request.offset;
  const auto points = cut_points(world.random(), source, length,
                                 std::min<std::size_t>(nic.max_read_pieces, kMaxReadPieces));
  operation->pieces_left = static_cast<unsigned>(points.size() - 1);
  for (std::size_t i = 0; i + 1 < points.size(); ++i) {
    const auto delay = nic.max_read_pieces == 1 ? duration
                                                : static_cast<Nanoseconds>(world.random().below(
                                                      static_cast<std::uint64_t>(duration) + 1));
    world.at(start + delay,
             [self = shared_from_this(), operation, from = points[i], to = points[i + 1],
              first_try] { self->read_piece(operation, from, to, first_try); });
  }
}

void Endpoint::read_piece(const std::shared_ptr<ReadOperation>& operation, std::size_t from,
                          std::size_t to, Nanoseconds first_try) {
  if (end_reason) return;
  if (listener->answers_reads()) {
    if (!listener->has_memory()) return give_up("the region is gone");
    const std::byte* source =
        listener->regions[operation->request.region].data() + operation->request.offset;
    std::memcpy(operation->staged.data() + from, source + from, to - from);
    host.world().trace(Trace::kReadPiece, id, operation->request.offset + from);
  }
  if (--operation->pieces_left == 0) respond(operation, first_try);
}

/// The bytes travel back and land; a lost answer has the whole read done again.
void Endpoint::respond(const std::shared_ptr<ReadOperation>& operation, Nanoseconds first_try) {
  World& world = host.world();
  std::optional<Nanoseconds> arrival;
  if (listener->answers_reads()) {
    arrival = world.transmit(listener->host, host, operation->staged.size() + kPacketOverheadBytes,
                             {.sender = 0, .receiver = 0, .is_of_card = true});
  }
  if (!arrival) {
    world.after(options.retry, [self = shared_from_this(), operation, first_try] {
      self->request({operation}, first_try);
    });
    return;
  }
  world.at(*arrival, [self = shared_from_this(), operation, first_try] {
    if (self->host.suspended()) return self->request({operation}, first_try);
    self->land(operation);
  });
}

void Endpoint::land(const std::shared_ptr<ReadOperation>& operation) {
  if (end_reason || poller == nullptr || !poller->alive()) return;
  if (peer_ended && operation->posted_at - *peer_ended >= listener->options.proof_of_life) {
    return give_up("its process has ended");
  }
  std::copy(operation->staged.begin(), operation->staged.end(), operation->target_bytes.begin());
  operation->is_done = true;
  host.world().trace(Trace::kReadDone, id, operation->request.cookie);
  make_ready();
}

}  // namespace silurus::transport::sim
