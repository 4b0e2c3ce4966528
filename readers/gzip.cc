// SPDX-License-Identifier: Apache-2.0

#include "readers/gzip.h"

#include <sys/stat.h>
#include <zlib.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <utility>
#include <vector>

#include "readers/frames.h"

namespace silurus::readers {
namespace {

constexpr std::size_t kInputBytes = 1 << 16;            // read at a time
constexpr int kGzipWithLargestWindow = 16 + MAX_WBITS;  // for inflateInit2
constexpr Bytef kFirstByte = 0x1f;                      // first byte of each gzip member

struct CloseStdio {
  void operator()(std::FILE* file) const { std::fclose(file); }
};
using StdioFile = std::unique_ptr<std::FILE, CloseStdio>;

struct EndInflate {
  void operator()(z_stream* stream) const {
    ::inflateEnd(stream);
    delete stream;
  }
};
using Inflate = std::unique_ptr<z_stream, EndInflate>;

class GzipUnpacker final : public Unpacker {
 public:
  GzipUnpacker(std::string path, StdioFile file, std::uint64_t size, Inflate inflate)
      : path_(std::move(path)),
        file_(std::move(file)),
        size_(size),
        inflate_(std::move(inflate)),
        input_(kInputBytes) {}

  Result<std::size_t> read(std::span<char> into) override {
    inflate_->next_out = reinterpret_cast<Bytef*>(into.data());
    inflate_->avail_out = static_cast<uInt>(into.size());
    while (inflate_->avail_out == into.size() && !is_at_end_) {
      if (auto ok = inflate_->avail_in == 0 ? fill() : Status(); !ok) return fail(ok.error());
      if (auto ok = is_between_members_ ? begin_member() : inflate_some(); !ok) {
        return fail(ok.error());
      }
    }
    return into.size() - inflate_->avail_out;
  }

  std::uint32_t thousandths() const override {
    const std::uint64_t done = std::min(position(), size_);
    return size_ == 0 ? kThousandths : static_cast<std::uint32_t>(done * kThousandths / size_);
  }

 private:
  /// In the file, of what is unpacked next.
  std::uint64_t position() const { return taken_ - inflate_->avail_in; }

  tl::unexpected<Error> damaged(const std::string& what) const {
    return fail(ErrorCode::kProtocol, path_ + ": " + what + " at byte " +
                                          std::to_string(position()) +
                                          " (truncated or damaged: gzip -t tests it)");
  }

  Status fill() {
    const std::size_t count = std::fread(input_.data(), 1, input_.size(), file_.get());
    if (count == 0 && std::ferror(file_.get()) != 0) {
      return fail(errno_error(ErrorCode::kIo, "cannot read " + path_, errno));
    }
    taken_ += count;
    inflate_->next_in = input_.data();
    inflate_->avail_in = static_cast<uInt>(count);
    if (count > 0) return {};
    if (!is_between_members_) return damaged("the file ends within packed data");
    is_at_end_ = true;
    return {};
  }

  /// Behind a member there may be another one, or zeros up to the end of a tape's block.
  Status begin_member() {
    if (is_at_end_) return {};
    while (inflate_->avail_in > 0 && *inflate_->next_in == 0) {
      is_padded_ = true;
      ++inflate_->next_in;
      --inflate_->avail_in;
    }
    if (inflate_->avail_in == 0) return {};
    if (is_padded_ || *inflate_->next_in != kFirstByte) {
      return damaged("neither gzip nor the end of the file");
    }
    is_between_members_ = false;
    if (::inflateReset(inflate_.get()) != Z_OK) return damaged("cannot be unpacked");
    return {};
  }

  Status inflate_some() {
    const int result = ::inflate(inflate_.get(), Z_NO_FLUSH);
    if (result == Z_STREAM_END) {
      is_between_members_ = true;
      return {};
    }
    // Z_BUF_ERROR: neither input nor output is left, which the next round mends.
    if (result == Z_OK || (result == Z_BUF_ERROR && inflate_->avail_in == 0)) return {};
    if (result == Z_MEM_ERROR) return fail(ErrorCode::kOutOfMemory, path_ + ": no memory for zlib");
    return damaged(inflate_->msg != nullptr ? inflate_->msg : "cannot be unpacked");
  }

  std::string path_;
  StdioFile file_;
  std::uint64_t size_;
  Inflate inflate_;
  std::vector<Bytef> input_;
  std::uint64_t taken_ = 0;  // bytes of the file, what is left in input_ included
  bool is_between_members_ = false;
  bool is_padded_ = false;
  bool is_at_end_ = false;
};

}  // namespace

Result<std::unique_ptr<Unpacker>> open_gzip(const std::string& path) {
  StdioFile file(std::fopen(path.c_str(), "rbe"));
  if (file == nullptr) {
    const ErrorCode code = errno == ENOENT   ? ErrorCode::kNotFound
                           : errno == EACCES ? ErrorCode::kPermission
                                             : ErrorCode::kIo;
    return fail(errno_error(code, "cannot open " + path, errno));
  }
  struct stat info = {};
  if (::fstat(::fileno(file.get()), &info) != 0 || !S_ISREG(info.st_mode)) {
    return fail(ErrorCode::kInvalidArgument, path + " is not a regular file");
  }
  auto stream = std::make_unique<z_stream>();
  if (::inflateInit2(stream.get(), kGzipWithLargestWindow) != Z_OK) {
    return fail(ErrorCode::kOutOfMemory, path + ": no memory for zlib");
  }
  return std::make_unique<GzipUnpacker>(
      path, std::move(file), static_cast<std::uint64_t>(info.st_size), Inflate(stream.release()));
}

}  // namespace silurus::readers
