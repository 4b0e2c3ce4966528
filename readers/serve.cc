#include "readers/serve.h"

#include <fcntl.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <new>
#include <string_view>
#include <vector>

#include "readers/confine.h"
#include "readers/frames.h"

namespace silurus::readers {
namespace {

constexpr int kUsageStatus = 2;

/// Standard output, under another number.
int take_stream() {
  const int stream = ::fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
  ::dup2(STDERR_FILENO, STDOUT_FILENO);
  return stream;
}

void send_error(int stream, const Error& error) {
  const std::string_view text = std::string_view(error.message).substr(0, kMaxText);
  const Frame frame = {FrameKind::kFailed, static_cast<std::uint32_t>(error.code), text.size()};
  if (write_all(stream, &frame, sizeof frame)) write_all(stream, text.data(), text.size());
}

template <int D>
void send_boxes(int stream, const std::string& path, const Open<D>& open) {
  auto reader = open(path);
  if (!reader) return send_error(stream, reader.error());
  const auto total = (*reader)->total_entries();
  Frame frame = {FrameKind::kOpened, opened_code(D), total ? *total + 1 : 0};
  if (!write_all(stream, &frame, sizeof frame)) return;
  std::vector<rtree::Entry<D>> batch(kBatchEntries);
  for (;;) {
    const auto count = (*reader)->read(batch);
    if (!count) return send_error(stream, count.error());
    frame = {*count > 0 ? FrameKind::kEntries : FrameKind::kEnd, 0, *count};
    if (!write_all(stream, &frame, sizeof frame) || *count == 0) return;
    if (!write_all(stream, batch.data(), *count * sizeof(rtree::Entry<D>))) return;
  }
}

void send_bytes(int stream, const std::string& path, const OpenUnpacker& open) {
  auto unpacker = open(path);
  if (!unpacker) return send_error(stream, unpacker.error());
  Frame frame = {FrameKind::kOpened, opened_code(0), 0};
  if (!write_all(stream, &frame, sizeof frame)) return;
  std::vector<char> bytes(kMaxBytes);
  for (;;) {
    const auto count = (*unpacker)->read(bytes);
    if (!count) return send_error(stream, count.error());
    frame = {*count > 0 ? FrameKind::kBytes : FrameKind::kEnd, (*unpacker)->thousandths(), *count};
    if (!write_all(stream, &frame, sizeof frame) || *count == 0) return;
    if (!write_all(stream, bytes.data(), *count)) return;
  }
}

/// `send(stream, path)` in a process that has confined itself.
template <typename Send>
[[noreturn]] void serve_confined(int argc, char** argv, const Send& send) {
  if (argc != 2 || ::isatty(STDOUT_FILENO) != 0) {
    std::fprintf(stderr, "usage: %s FILE >PIPE\nReads files for silurus and silurus-server.\n",
                 argc > 0 ? argv[0] : "reader");
    std::exit(kUsageStatus);
  }
  const std::string path = argv[1];
  const int stream = take_stream();
  try {
    confine(path);
    send(stream, path);
  } catch (const std::bad_alloc&) {
    send_error(stream, {ErrorCode::kOutOfMemory,
                        path + ": takes more than the " + std::to_string(kMaxMemoryBytes >> 20) +
                            " MiB that its reader may use; is it damaged?"});
  }
  ::_exit(0);
}

}  // namespace

template <int D>
void serve(int argc, char** argv, const Open<D>& open) {
  serve_confined(argc, argv,
                 [&](int stream, const std::string& path) { send_boxes<D>(stream, path, open); });
}

void serve_bytes(int argc, char** argv, const OpenUnpacker& open) {
  serve_confined(argc, argv,
                 [&](int stream, const std::string& path) { send_bytes(stream, path, open); });
}

template void serve<2>(int, char**, const Open<2>&);
template void serve<3>(int, char**, const Open<3>&);

}  // namespace silurus::readers
