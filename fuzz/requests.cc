// SPDX-License-Identifier: Apache-2.0

#include "fuzz/target.h"
#include "protocol/decode.h"
#include "protocol/encode.h"

// Requests, as a server's session decodes them, of both dimensions. What is taken is encoded again
// and must be the same message.

namespace silurus::fuzz {
namespace {

using namespace protocol;
constexpr std::uint32_t kMaxBatch = 64;

void check_same(std::span<const std::byte> message, std::span<const std::byte> written,
                std::size_t bytes) {
  SILURUS_CHECK(is_equal(message, written.first(bytes)));
}

/// A search; of one in an at message the flags are nowhere written.
template <int D>
void try_search(std::span<const std::byte> message) {
  std::vector<std::byte> written(message.size() + sizeof(RangeRequest<3>));
  if (const auto range = decode_range<D>(message)) {
    SILURUS_CHECK(rtree::check_box(range->query.window));
    auto query = range->query;
    if (query.limit == UINT64_MAX) query.limit = kNoLimit;
    check_same(message, written,
               encode_range<D>(written, range->header.request_id, query, range->header.flags));
  }
  if (const auto nearest = decode_nearest<D>(message)) {
    SILURUS_CHECK(nearest->query.k >= 1 && rtree::check_point(nearest->query.point));
    check_same(message, written,
               encode_nearest<D>(written, nearest->header.request_id, nearest->query,
                                 nearest->header.flags));
    static_cast<void>(check_k(nearest->query.k));
  }
}

template <int D>
void try_writes(std::span<const std::byte> message) {
  std::vector<std::byte> written(message.size());
  if (const auto write = decode_write<D>(message, kMaxBatch)) {
    SILURUS_CHECK(write->operations.size() >= 1 && write->operations.size() <= kMaxBatch);
    SILURUS_CHECK(write->oldest <= write->sequence);
    std::vector<Operation<D>> operations;
    for (std::size_t i = 0; i < write->operations.size(); ++i) {
      operations.push_back(write->operations[i]);
      if (check_operation<D>(operations.back())) {
        SILURUS_CHECK(rtree::check_box(operations.back().box));
      }
    }
    const auto outstanding = static_cast<std::uint32_t>(write->sequence - write->oldest);
    std::uint64_t record_bytes = 0;
    for (const auto& operation : operations) record_bytes += operation.record_bytes;
    SILURUS_CHECK(check_record_bytes(record_bytes, write->records));
    const std::size_t bytes =
        encode_write<D>(written, write->header.request_id, write->sequence, operations, outstanding,
                        write->records.first(record_bytes));
    const std::size_t rest = write->records.size() - record_bytes;  // may be other than zeros
    check_same(message.first(bytes - rest), written, bytes - rest);
  }
  if (const auto load = decode_load_entries<D>(message)) {
    std::vector<rtree::Entry<D>> entries(1);
    if (append_entries<D>(load->entries, entries)) {
      SILURUS_CHECK(entries.size() == 1 + load->entries.size());
      check_same(
          message, written,
          encode_load_entries<D>(written, load->header.request_id, std::span(entries).subspan(1)));
    } else {
      SILURUS_CHECK(entries.size() == 1);
    }
  }
}

void try_others(std::span<const std::byte> message) {
  std::vector<std::byte> written(message.size());
  if (const auto commit = decode_load_commit(message)) {
    check_same(
        message, written,
        encode_load_commit(written, commit->header.request_id, commit->fill, commit->entries));
  }
  if (const auto bare = decode_bare(message)) {
    check_same(message, written, encode_bare(written, bare->type, bare->request_id, bare->flags));
  }
  if (const auto join = decode_join(message)) {
    check_same(message, written,
               encode_join(written, join->header.request_id, join->other, join->query));
  }
  if (const auto get = decode_get(message)) {
    std::vector<std::uint64_t> ids;
    for (std::size_t i = 0; i < get->ids.size(); ++i) ids.push_back(get->ids[i]);
    check_same(
        message, written,
        encode_get(written, get->header.request_id, ids, get->header.flags, get->with_records));
  }
  if (const auto segment = decode_segment(message)) {
    check_same(
        message, written,
        encode_segment(written, segment->header.request_id, segment->bytes, segment->more()));
  }
  if (const auto hold = decode_hold(message)) {
    check_same(message, written,
               encode_hold(written, hold->header.request_id, hold->moment, hold->header.flags));
  }
  if (const auto task = decode_task(message)) {
    check_same(message, written,
               encode_task(written, task->header.request_id, task->kind, task->from, task->to,
                           task->text, task->header.flags));
  }
  if (const auto at = decode_at(message)) {
    const std::size_t bytes =
        encode_at(written, at->header.request_id, at->moment, at->header.flags);
    check_same(message.first(bytes), written, bytes);
    try_search<2>(at->search.bytes);
    try_search<3>(at->search.bytes);
  }
}

template <int D>
void add_seeds(std::vector<std::string>& all) {
  std::vector<std::byte> out(4096);
  const auto add = [&](std::size_t bytes) { all.push_back(as_seed(std::span(out).first(bytes))); };
  rtree::Box<D> box;
  box.max.fill(1);
  add(encode_range<D>(out, 1, {.window = box}, kAnyMember));
  add(encode_nearest<D>(out, 2, {.point = {}, .k = 3}));
  const std::vector<Operation<D>> operations(
      2, {.id = 7, .kind = OperationKind::kUpdate, .record_bytes = 0, .box = box, .to = box});
  add(encode_write<D>(out, 3, 9, operations, 4));
  const Operation<D> put{
      .id = 7, .kind = OperationKind::kPut, .record_bytes = 13, .box = box, .expected = 0};
  add(encode_write<D>(out, 3, 9, std::span(&put, 1), 0, std::vector<std::byte>(13)));
  add(encode_segment(out, 3, std::vector<std::byte>(100), true));
  add(encode_load_entries<D>(out, 4, std::vector<rtree::Entry<D>>(2, {5, box})));
  const std::size_t front = encode_at(out, 5, 6);
  add(front + encode_range<D>(std::span(out).subspan(front), 5, {.window = box}));
}

}  // namespace

void try_input(std::span<const std::byte> message) {
  if (!decode_header(message)) return;
  try_search<2>(message);
  try_search<3>(message);
  try_writes<2>(message);
  try_writes<3>(message);
  try_others(message);
}

std::vector<std::string> seeds() {
  std::vector<std::string> all;
  add_seeds<2>(all);
  add_seeds<3>(all);
  std::vector<std::byte> out(4096);
  const auto add = [&](std::size_t bytes) { all.push_back(as_seed(std::span(out).first(bytes))); };
  add(encode_load_commit(out, 6, 0.7, 3));
  add(encode_bare(out, MessageType::kStats, 7));
  add(encode_get(out, 10, std::vector<std::uint64_t>{3, 4}));
  add(encode_hold(out, 8, kNewest));
  add(encode_task(out, 9, TaskKind::kBackup, 1, 2, "/tmp/backup"));
  return all;
}

}  // namespace silurus::fuzz
