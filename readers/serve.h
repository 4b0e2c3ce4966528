#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>

#include "common/result.h"
#include "rtree/geometry.h"

namespace silurus::readers {

/// A file in a foreign format, read once from front to back.
template <int D>
class Reader {
 public:
  virtual ~Reader() = default;
  /// Fills the front of `batch` (not empty); returns how many, 0 at the end.
  virtual Result<std::size_t> read(std::span<rtree::Entry<D>> batch) = 0;
  /// How many entries there are in all, if that is known before they are read.
  virtual std::optional<std::uint64_t> total_entries() const = 0;
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
using Open = std::function<Result<std::unique_ptr<Reader<D>>>(const std::string& path)>;

/// The main() of a helper program "PROGRAM FILE": confines the process (confine.h), opens FILE and
/// writes its boxes to standard output, as frames. What libraries print there goes to standard
/// error instead. Ends the process without destructors, which a broken heap would not survive.
template <int D>
[[noreturn]] void serve(int argc, char** argv, const Open<D>& open);

using OpenUnpacker = std::function<Result<std::unique_ptr<Unpacker>>(const std::string& path)>;

/// The same for a program that unpacks a file: writes its bytes.
[[noreturn]] void serve_bytes(int argc, char** argv, const OpenUnpacker& open);

}  // namespace silurus::readers
