// SPDX-License-Identifier: Apache-2.0

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

bool send_note(int stream, NoteKind kind, const std::string& text) {
  const std::string_view sent = std::string_view(text).substr(0, kMaxText);
  const Frame frame = {FrameKind::kNote, static_cast<std::uint32_t>(kind), sent.size()};
  return write_all(stream, &frame, sizeof frame) && write_all(stream, sent.data(), sent.size());
}

/// What has been left out since `told`, if anything.
template <int D>
bool send_skipped(int stream, const Reader<D>& reader, std::uint64_t& told) {
  const std::uint64_t skipped = reader.skipped();
  if (skipped == told) return true;
  if (told == 0 && !send_note(stream, NoteKind::kFirstSkipped, reader.first_skipped())) {
    return false;
  }
  told = skipped;
  const Frame frame = {FrameKind::kSkipped, 0, skipped};
  return write_all(stream, &frame, sizeof frame);
}

template <int D>
void send_boxes(int stream, const Request& request, const Open<D>& open) {
  if (!open) {
    return send_error(stream, {ErrorCode::kUnsupported, request.path + ": its boxes are not of " +
                                                            std::to_string(D) +
                                                            " dimensions, which the tree has"});
  }
  auto reader = open(request);
  if (!reader) return send_error(stream, reader.error());
  const auto total = (*reader)->total_entries();
  Frame frame = {FrameKind::kOpened, opened_code(D), total ? *total + 1 : 0};
  if (!write_all(stream, &frame, sizeof frame)) return;
  for (const Note& note : (*reader)->notes()) {
    if (!send_note(stream, note.kind, note.text)) return;
  }
  std::vector<rtree::Entry<D>> batch(kBatchEntries);
  for (std::uint64_t skipped = 0;;) {
    const auto count = (*reader)->read(batch);
    if (!count) return send_error(stream, count.error());
    if (!send_skipped<D>(stream, **reader, skipped)) return;
    const auto thousandths = (*reader)->thousandths();
    frame = {*count > 0 ? FrameKind::kEntries : FrameKind::kEnd, thousandths ? *thousandths + 1 : 0,
             *count};
    if (!write_all(stream, &frame, sizeof frame) || *count == 0) return;
    if (!write_all(stream, batch.data(), *count * sizeof(rtree::Entry<D>))) return;
    renew_cpu_time();
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
    renew_cpu_time();
  }
}

[[noreturn]] void print_usage(int argc, char** argv, const std::string& why) {
  std::fprintf(stderr,
               "%susage: %s FILE [NAME=VALUE]... >PIPE\nReads files for silurus and "
               "silurus-server.\n",
               why.empty() ? "" : (why + "\n").c_str(), argc > 0 ? argv[0] : "reader");
  std::exit(kUsageStatus);
}

/// `send(stream, request)` in a process that has confined itself.
template <typename Send>
[[noreturn]] void serve_confined(int argc, char** argv, const FindNeeds& needs, const Send& send) {
  if (argc < 2 || ::isatty(STDOUT_FILENO) != 0) print_usage(argc, argv, "");
  const auto request = parse_request(std::vector<std::string>(argv + 1, argv + argc));
  if (!request) print_usage(argc, argv, request.error().message);
  const int stream = take_stream();
  try {
    confine(needs(*request));
    send(stream, *request);
  } catch (const std::bad_alloc&) {
    send_error(stream,
               {ErrorCode::kOutOfMemory, request->path + ": takes more than the " +
                                             std::to_string(kMaxMemoryBytes >> 20) +
                                             " MiB that its reader may use; is it damaged?"});
  }
  ::_exit(0);
}

}  // namespace

Needs needs_file_only(const Request& request) { return {.files = {request.path}}; }

void serve(int argc, char** argv, const Open<2>& open_2d, const Open<3>& open_3d,
           const FindNeeds& needs) {
  serve_confined(argc, argv, needs, [&](int stream, const Request& request) {
    if (request.dimensions == 3) {
      send_boxes<3>(stream, request, open_3d);
    } else {
      send_boxes<2>(stream, request, open_2d);
    }
  });
}

void serve_bytes(int argc, char** argv, const OpenUnpacker& open) {
  serve_confined(argc, argv, needs_file_only, [&](int stream, const Request& request) {
    send_bytes(stream, request.path, open);
  });
}

}  // namespace silurus::readers
