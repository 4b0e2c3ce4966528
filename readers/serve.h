// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "common/result.h"
#include "readers/confine.h"
#include "readers/frames.h"
#include "readers/request.h"
#include "rtree/geometry.h"

namespace silurus::readers {

/// What a reader tells of its file.
struct Note {
  NoteKind kind;
  std::string text;
};

/// A file in a foreign format, read once from front to back.
template <int D>
class Reader {
 public:
  virtual ~Reader() = default;
  /// Fills the front of `batch` (not empty); returns how many, 0 at the end.
  virtual Result<std::size_t> read(std::span<rtree::Entry<D>> batch) = 0;
  /// How many entries there are in all, if that is known before they are read.
  virtual std::optional<std::uint64_t> total_entries() const = 0;
  /// What is known of the file once it is open.
  virtual std::vector<Note> notes() const { return {}; }
  /// Bad features left out so far, and why the first one was.
  virtual std::uint64_t skipped() const { return 0; }
  virtual std::string first_skipped() const { return {}; }
  /// How much of the file has been read, from 0 to kThousandths, if that is known.
  virtual std::optional<std::uint32_t> thousandths() const { return std::nullopt; }
};

/// A packed file, unpacked once from front to back.
class Unpacker {
 public:
  virtual ~Unpacker() = default;
  /// Fills the front of `into` (not empty); returns how many bytes, 0 at the end.
  virtual Result<std::size_t> read(std::span<char> into) = 0;
  /// How much of the file has been read, from 0 to kThousandths.
  virtual std::uint32_t thousandths() const = 0;
};

template <int D>
using Open = std::function<Result<std::unique_ptr<Reader<D>>>(const Request& request)>;
/// What opening and reading the file needs: files, folders, time.
using FindNeeds = std::function<Needs(const Request& request)>;
/// The file alone.
Needs needs_file_only(const Request& request);

/// The main() of a helper program "PROGRAM FILE [NAME=VALUE]..." (request.h): confines the process
/// (confine.h), opens FILE and writes its boxes to standard output, as frames. What libraries print
/// there goes to standard error instead. Ends the process without destructors, which a broken heap
/// would not survive. A program without one of the two functions refuses these dimensions.
[[noreturn]] void serve(int argc, char** argv, const Open<2>& open_2d, const Open<3>& open_3d,
                        const FindNeeds& needs = needs_file_only);

using OpenUnpacker = std::function<Result<std::unique_ptr<Unpacker>>(const std::string& path)>;

/// The same for a program that unpacks a file: writes its bytes.
[[noreturn]] void serve_bytes(int argc, char** argv, const OpenUnpacker& open);

}  // namespace silurus::readers
