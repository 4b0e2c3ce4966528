#include "datasets/bytes.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <utility>

#include "datasets/helper.h"

namespace silurus::datasets {
namespace {

constexpr std::size_t kFirstBytes = 16;  // of a file: no signature below is longer
constexpr std::string_view kGzipSignature = "\x1f\x8b";

/// What a file begins with that is no text of ours, and what to do with such a file.
struct Signature {
  std::string_view bytes;
  const char* what;
};
constexpr std::array<Signature, 11> kForeign = {
    {{kGzipSignature, "gzip, piped or packed twice: unpack it first (zcat FILE | ...)"},
     {"\x89HDF\r\n\x1a\n", "netCDF or HDF5: name the file itself, neither piped nor packed"},
     {"CDF", "netCDF: name the file itself, neither piped nor packed"},
     {"\x28\xb5\x2f\xfd", "zstd: unpack it first (zstdcat FILE | ...)"},
     {"\xfd"
      "7zXZ",
      "xz: unpack it first (xzcat FILE | ...)"},
     {"BZh", "bzip2: unpack it first (bzcat FILE | ...)"},
     {"PK\x03\x04", "a zip archive (or a spreadsheet): unpack it, or export it as CSV"},
     {"SQLite format 3", "an SQLite database: export it as CSV (sqlite3 -header -csv)"},
     {"PAR1", "Parquet: export it as CSV"},
     {"\xff\xfe", "text in UTF-16: make it UTF-8 first (iconv -f UTF-16 -t UTF-8)"},
     {"\xfe\xff", "text in UTF-16: make it UTF-8 first (iconv -f UTF-16 -t UTF-8)"}}};

ErrorCode code_of_open(int error) {
  if (error == ENOENT || error == ENOTDIR) return ErrorCode::kNotFound;
  return error == EACCES ? ErrorCode::kPermission : ErrorCode::kIo;
}

/// A file, a pipe or standard input, as it lies there. Owns its descriptor.
class PlainBytes final : public Bytes {
 public:
  PlainBytes(int fd, std::string name, std::uint64_t total)
      : fd_(fd), name_(std::move(name)), total_(total) {}
  PlainBytes(const PlainBytes&) = delete;
  PlainBytes& operator=(const PlainBytes&) = delete;
  ~PlainBytes() override {
    if (fd_ > STDIN_FILENO) ::close(fd_);
  }

  Result<std::size_t> read(std::span<char> into) override {
    ssize_t count = 0;
    do {
      count = ::read(fd_, into.data(), into.size());
    } while (count < 0 && errno == EINTR);
    if (count < 0) return fail(errno_error(ErrorCode::kIo, "cannot read " + name_, errno));
    done_ += static_cast<std::uint64_t>(count);
    return static_cast<std::size_t>(count);
  }
  Progress progress() const override { return {done_, total_}; }

 private:
  int fd_;
  std::string name_;
  std::uint64_t done_ = 0;
  std::uint64_t total_;
};

}  // namespace

FileFormat format_of(std::string_view first_bytes) {
  if (first_bytes.starts_with(kGzipSignature)) return FileFormat::kGzip;
  if (first_bytes.starts_with("\x89HDF\r\n\x1a\n")) return FileFormat::kNetcdf;
  // The classic forms of netCDF: a version follows, which no text has.
  const bool is_classic = first_bytes.starts_with("CDF") && first_bytes.size() > 3 &&
                          first_bytes[3] >= 1 && first_bytes[3] <= 5;
  return is_classic ? FileFormat::kNetcdf : FileFormat::kText;
}

std::string first_bytes_of(const std::string& path) {
  struct stat info = {};
  if (::stat(path.c_str(), &info) != 0 || !S_ISREG(info.st_mode)) return {};
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return {};
  std::string bytes(kFirstBytes, '\0');
  const ssize_t count = ::pread(fd, bytes.data(), bytes.size(), 0);
  ::close(fd);
  bytes.resize(count > 0 ? static_cast<std::size_t>(count) : 0);
  return bytes;
}

Status check_is_text(std::string_view first_bytes, const std::string& name) {
  for (const Signature& signature : kForeign) {
    if (!first_bytes.starts_with(signature.bytes)) continue;
    if (signature.bytes == "CDF" && format_of(first_bytes) != FileFormat::kNetcdf) continue;
    return fail(ErrorCode::kProtocol, name + ": not text, but " + signature.what);
  }
  if (first_bytes.find('\0') != std::string_view::npos) {
    return fail(ErrorCode::kProtocol,
                name + ": neither text nor another format that is read (text, gzip, netCDF-4)");
  }
  return {};
}

Result<std::unique_ptr<Bytes>> open_bytes(const std::string& path) {
  const bool is_stdin = path == "-";
  const int fd = is_stdin ? STDIN_FILENO : ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return fail(errno_error(code_of_open(errno), "cannot open " + path, errno));
  struct stat info = {};
  const bool is_known = ::fstat(fd, &info) == 0;
  const std::uint64_t total =
      is_known && S_ISREG(info.st_mode) ? static_cast<std::uint64_t>(info.st_size) : 0;
  auto bytes = std::make_unique<PlainBytes>(fd, is_stdin ? "standard input" : path, total);
  if (!is_known) return fail(errno_error(ErrorCode::kIo, "cannot look at " + path, errno));
  if (S_ISDIR(info.st_mode)) {
    return fail(ErrorCode::kInvalidArgument, path + " is a directory: name a file");
  }
  if (!is_stdin && format_of(first_bytes_of(path)) == FileFormat::kGzip) {
    return unpack_with_helper("silurus-read-gzip", path);
  }
  return bytes;
}

}  // namespace silurus::datasets
