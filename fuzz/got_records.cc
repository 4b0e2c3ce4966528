// SPDX-License-Identifier: Apache-2.0

#include "client/records.h"
#include "fuzz/target.h"
#include "geometry/record.h"
#include "protocol/messages.h"

// Answers with records, as a hostile server may give them to a client.

namespace silurus::fuzz {
namespace {

template <int D>
void try_answer(std::span<const std::byte> answer) {
  GetAnswer<D> got;
  const Status taken = client::append_got_records<D>(answer, got);
  SILURUS_CHECK(got.entries.size() == got.records.size());
  SILURUS_CHECK(taken || taken.error().code == ErrorCode::kProtocol ||
                taken.error().code == ErrorCode::kTooLarge);
}

template <int D>
std::string answer_seed() {
  const std::string record = geometry::encode({.geometry = {}, .properties = R"({"a":1})"}).value();
  protocol::GotRecord<D> one{.entry = {.id = 7, .box = {}, .version = 3}, .bytes = record.size()};
  std::string bytes = bytes_of(one) + record;
  bytes.resize(protocol::padded(bytes.size()));
  one = {.entry = {.id = 8, .box = {}, .version = 0}, .bytes = 0};
  return bytes + bytes_of(one);
}

}  // namespace

void try_input(std::span<const std::byte> bytes) {
  const AlignedCopy copy(bytes);
  try_answer<2>(copy.bytes());
  try_answer<3>(copy.bytes());
}

std::vector<std::string> seeds() { return {answer_seed<2>(), answer_seed<3>()}; }

}  // namespace silurus::fuzz
