// SPDX-License-Identifier: Apache-2.0

#include "fuzz/target.h"
#include "protocol/decode.h"
#include "protocol/encode.h"

// Answers, as a client decodes them: the header, and the payload as each kind of element.

namespace silurus::fuzz {
namespace {

using namespace protocol;

/// All elements, each read once; and the same bytes when they are put together again.
template <typename T>
void try_elements(const Answer& answer) {
  const auto elements = answer_array<T>(answer);
  if (!elements) return;
  SILURUS_CHECK(elements->size() == answer.count);
  std::string bytes;
  for (std::size_t i = 0; i < elements->size(); ++i) {
    const T element = (*elements)[i];
    bytes += bytes_of(element);
  }
  SILURUS_CHECK(bytes == as_text(answer.payload));
}

void try_error(const Answer& answer) {
  const Error error = answer_error(answer);
  SILURUS_CHECK(error.message == printable(error.message));
  SILURUS_CHECK(error.code >= ErrorCode::kInvalidArgument && error.code <= ErrorCode::kNoSpace);
}

std::vector<std::string> segments(AnswerEncoder answer) {
  std::vector<std::string> all;
  while (!answer.done()) {
    std::vector<std::byte> room(answer.next_bytes(kMinMessageBytes));
    answer.encode_next(room);
    all.push_back(as_seed(room));
  }
  return all;
}

}  // namespace

void try_input(std::span<const std::byte> message) {
  const auto answer = decode_answer(message);
  if (!answer) return;
  SILURUS_CHECK(answer->payload.size() + sizeof(AnswerHeader) == message.size());
  if (answer->is_error()) try_error(*answer);
  try_elements<std::uint64_t>(*answer);
  try_elements<rtree::Entry<2>>(*answer);
  try_elements<rtree::Entry<3>>(*answer);
  try_elements<rtree::Neighbor>(*answer);
  try_elements<FailedOperation>(*answer);
  try_elements<Operation<2>>(*answer);
  try_elements<char>(*answer);
  if (const auto held = decode_version_lease(*answer)) {
    SILURUS_CHECK(held->root != 0 && held->lease_ns <= kMaxHoldLeaseNs);
  }
}

std::vector<std::string> seeds() {
  std::vector<std::string> all;
  const auto add = [&](const AnswerEncoder& answer) {
    for (std::string& one : segments(answer)) all.push_back(std::move(one));
  };
  const AnswerTo to{.request_id = 1, .version = 2};
  rtree::RangeResult<2> result;
  result.count = 20;
  result.ids.resize(20, 3);
  result.boxes.resize(20);
  const std::vector<rtree::Neighbor> neighbors(3, {.id = 1, .distance = 0.5});
  const std::vector<FailedOperation> failed(1, {.index = 1, .code = 2});
  add(AnswerEncoder::count(to, 5));
  add(AnswerEncoder::range<2>(to, rtree::ResultShape::kEntries, result));
  add(AnswerEncoder::nearest(to, neighbors));
  add(AnswerEncoder::write(to, failed));
  add(AnswerEncoder::held(to, {.root = 7, .lease_ns = 1000}));
  add(AnswerEncoder::text(to, "{\"entries\": 3}"));
  add(AnswerEncoder::error(to, {ErrorCode::kTooLarge, "\x1b[2Jtoo large"}));
  return all;
}

}  // namespace silurus::fuzz
