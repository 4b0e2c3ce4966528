// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstddef>
#include <cstdint>
#include <type_traits>

#include "rtree/geometry.h"

namespace silurus::readers {

/// What a reader's stream consists of: kOpened, any number of kEntries, or of kBytes if it unpacks
/// a file, then kEnd, with kNote and kSkipped between them; or, at any place, kFailed and nothing
/// more.
enum class FrameKind : std::uint32_t {
  kOpened = 1,   ///< code: opened_code(); count: entries in all plus 1, 0 if unknown
  kEntries = 2,  ///< count entries follow, as they lie in memory; code: thousandths of the file
                 ///< that have been read plus 1, 0 if unknown
  kFailed = 3,   ///< code: an ErrorCode; count bytes of text follow
  kEnd = 4,
  kBytes = 5,    ///< count bytes follow; code: thousandths of the file that have been read
  kNote = 6,     ///< code: a NoteKind; count bytes of text follow
  kSkipped = 7,  ///< count: bad features that have been left out so far
};

/// What a reader tells of its file, in words.
enum class NoteKind : std::uint32_t {
  kDescription = 1,   ///< how the file was understood: which layer, what of it, which columns
  kHint = 2,          ///< what its user should know of it: its coordinate system, for example
  kFirstSkipped = 3,  ///< why the first feature that was left out was bad
};

/// A frame's head. Reader and receiver run on one machine, so nothing has to be portable, but they
/// may come from different builds.
struct Frame {
  FrameKind kind;
  std::uint32_t code;
  std::uint64_t count;
};
static_assert(sizeof(Frame) == 16 && std::is_trivially_copyable_v<rtree::Entry<3>>);

constexpr std::uint32_t kStreamVersion = 2;
constexpr std::size_t kBatchEntries = 4096;  ///< entries in a frame, at most
constexpr std::size_t kMaxText = 4096;       ///< bytes of an error's or a note's text, at most
constexpr std::size_t kMaxNotes = 16;        ///< notes in a stream, at most
constexpr std::size_t kMaxBytes = 1 << 16;   ///< bytes in a frame of unpacked ones, at most
constexpr std::uint32_t kThousandths = 1000;

/// Version of the stream and number of dimensions, which the receiver expects to be its own; 0
/// dimensions: the reader unpacks a file.
constexpr std::uint32_t opened_code(int dimensions) {
  return kStreamVersion << 8 | static_cast<std::uint32_t>(dimensions);
}

/// All of `data`, however many calls it takes; false if the other end is closed or broken.
bool write_all(int fd, const void* data, std::size_t size);
bool read_all_bytes(int fd, void* data, std::size_t size);

}  // namespace silurus::readers
