// SPDX-License-Identifier: Apache-2.0

#include "datasets/helper.h"

#include <fcntl.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

#include "readers/confine.h"
#include "readers/frames.h"

namespace silurus::datasets {
namespace {

using readers::Frame;
using readers::FrameKind;
using rtree::Entry;

constexpr std::size_t kMaxLastWords = 400;  // bytes of what a process printed that an error repeats
/// All that a helper gets of the environment.
constexpr std::array<const char*, 5> kKeptVariables = {
    "LD_LIBRARY_PATH", "HDF5_USE_FILE_LOCKING", "ASAN_OPTIONS", "TSAN_OPTIONS", "UBSAN_OPTIONS"};

/// A file descriptor of ours.
class Descriptor {
 public:
  explicit Descriptor(int fd = -1) : fd_(fd) {}
  Descriptor(Descriptor&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  Descriptor& operator=(Descriptor&& other) noexcept {
    std::swap(fd_, other.fd_);
    return *this;
  }
  ~Descriptor() {
    if (fd_ >= 0) ::close(fd_);
  }
  int get() const { return fd_; }

 private:
  int fd_;
};

struct Pipe {
  Descriptor read_end;
  Descriptor write_end;
};

Result<Pipe> make_pipe(const std::string& file, int flags) {
  std::array<int, 2> ends{};
  if (::pipe2(ends.data(), O_CLOEXEC | flags) != 0) {
    return fail(errno_error(ErrorCode::kIo, "cannot make a pipe to read " + file, errno));
  }
  return Pipe{Descriptor(ends[0]), Descriptor(ends[1])};
}

/// What a process ended with.
struct End {
  bool by_signal = false;
  int number = 0;  // number of the signal, or the exit status
  std::string text;
};

/// The helper's process and our ends of its pipes. Reaps it, by force if need be.
class Process {
 public:
  Process(pid_t pid, Descriptor frames, Descriptor prints)
      : pid_(pid), frames_(std::move(frames)), prints_(std::move(prints)) {}
  Process(Process&& other) noexcept
      : pid_(std::exchange(other.pid_, -1)),
        frames_(std::move(other.frames_)),
        prints_(std::move(other.prints_)) {}
  Process& operator=(Process&&) = delete;
  ~Process() { reap(); }

  int frames() const { return frames_.get(); }

  /// Ends it, if it does not end by itself; what it ended with, and what it printed. A process
  /// whose stream is at its end has ended, or is to be ended: the signal does not change what it
  /// ended with.
  End reap() {
    if (pid_ <= 0) return {false, 0, "is gone"};
    ::kill(pid_, SIGKILL);
    int status = 0;
    while (::waitpid(pid_, &status, 0) < 0 && errno == EINTR) {
    }
    pid_ = -1;
    End end;
    end.by_signal = WIFSIGNALED(status);
    end.number = end.by_signal ? WTERMSIG(status) : WEXITSTATUS(status);
    end.text = (end.by_signal ? "died of signal " : "ended with status ") +
               std::to_string(end.number) + last_words();
    return end;
  }

 private:
  std::string last_words() const {
    std::string text;
    std::array<char, 4096> buffer{};
    for (ssize_t count = 0; (count = ::read(prints_.get(), buffer.data(), buffer.size())) > 0;) {
      text.append(buffer.data(), static_cast<std::size_t>(count));
      if (text.size() > kMaxLastWords) text.erase(0, text.size() - kMaxLastWords);
    }
    while (!text.empty() && text.back() == '\n') text.pop_back();
    for (char& c : text) {
      if (static_cast<unsigned char>(c) < ' ') c = ' ';
    }
    return text.empty() ? text : " (it printed: " + text + ")";
  }

  pid_t pid_;
  Descriptor frames_;
  Descriptor prints_;
};

/// How posix_spawn is to start a helper: nothing open but its three descriptors, no signal blocked
/// or ignored.
class SpawnPlan {
 public:
  SpawnPlan(int frames, int prints) {
    ::posix_spawn_file_actions_init(&actions_);
    ::posix_spawn_file_actions_addopen(&actions_, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
    ::posix_spawn_file_actions_adddup2(&actions_, frames, STDOUT_FILENO);
    ::posix_spawn_file_actions_adddup2(&actions_, prints, STDERR_FILENO);
    ::posix_spawn_file_actions_addclosefrom_np(&actions_, STDERR_FILENO + 1);
    ::posix_spawnattr_init(&attributes_);
    sigset_t signals;
    ::sigfillset(&signals);
    ::posix_spawnattr_setsigdefault(&attributes_, &signals);
    ::sigemptyset(&signals);
    ::posix_spawnattr_setsigmask(&attributes_, &signals);
    ::posix_spawnattr_setflags(&attributes_, POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSIGMASK);
  }
  SpawnPlan(const SpawnPlan&) = delete;
  SpawnPlan& operator=(const SpawnPlan&) = delete;
  ~SpawnPlan() {
    ::posix_spawn_file_actions_destroy(&actions_);
    ::posix_spawnattr_destroy(&attributes_);
  }

  /// 0 or an errno.
  int start(pid_t& pid, const std::string& program, const readers::Request& request) const {
    std::vector<std::string> kept;
    for (const char* name : kKeptVariables) {
      if (const char* value = std::getenv(name)) kept.push_back(std::string(name) + "=" + value);
    }
    std::vector<char*> environment;
    for (auto& variable : kept) environment.push_back(variable.data());
    environment.push_back(nullptr);
    std::vector<std::string> words = readers::to_arguments(request);
    words.insert(words.begin(), program);
    std::vector<char*> arguments;
    for (auto& word : words) arguments.push_back(word.data());
    arguments.push_back(nullptr);
    return ::posix_spawn(&pid, program.c_str(), &actions_, &attributes_, arguments.data(),
                         environment.data());
  }

 private:
  posix_spawn_file_actions_t actions_{};
  posix_spawnattr_t attributes_{};
};

std::string install_hint(const Helper& helper) {
  return std::string(": install Debian's package ") + helper.package +
         ", or name its folder in SILURUS_LIBEXEC";
}

/// Text of a file, which a terminal shall show as it is.
void make_printable(std::string& text) {
  for (char& c : text) {
    if (static_cast<unsigned char>(c) < ' ' || c == '\x7f') c = ' ';
  }
}

Result<std::string> find_helper(const Helper& helper, const std::string& file) {
  std::vector<std::filesystem::path> folders;
  if (const char* folder = ::secure_getenv("SILURUS_LIBEXEC")) {
    folders.emplace_back(folder);
  } else {
    std::error_code error;
    const auto self = std::filesystem::read_symlink("/proc/self/exe", error);
    if (!error) {
      folders.push_back(self.parent_path().parent_path() / "libexec" / "silurus");
    }
    folders.emplace_back(SILURUS_LIBEXEC_DIR);
  }
  std::string tried;
  for (const auto& folder : folders) {
    const auto path = folder / helper.name;
    if (::access(path.c_str(), X_OK) == 0) return path.string();
    tried += (tried.empty() ? "" : " or ") + folder.string();
  }
  return fail(ErrorCode::kUnsupported, file + ": needs the program " + helper.name +
                                           ", which is not in " + tried + install_hint(helper));
}

/// What a helper tells of its file besides entries.
struct Told {
  std::string description;
  std::vector<std::string> notes;
  std::string first_skipped;
  std::uint64_t skipped = 0;
  std::size_t count = 0;  // number of notes
};

/// A running helper and the frames that it sends. After an error there is nothing more.
class HelperStream {
 public:
  /// Starts the program; `code`: what it must open with.
  static Result<HelperStream> start(const Helper& helper, const readers::Request& request,
                                    std::uint32_t code) {
    const std::string& file = request.path;
    auto program = find_helper(helper, file);
    if (!program) return fail(program.error());
    auto frames = make_pipe(file, 0);
    if (!frames) return fail(frames.error());
    // A process that prints more than fits loses the rest, and is not held up.
    auto prints = make_pipe(file, O_NONBLOCK);
    if (!prints) return fail(prints.error());
    pid_t pid = -1;
    const SpawnPlan plan(frames->write_end.get(), prints->write_end.get());
    if (const int error = plan.start(pid, *program, request); error != 0) {
      return fail(
          errno_error(ErrorCode::kIo, "cannot start " + *program + " to read " + file, error));
    }
    frames->write_end = Descriptor();
    prints->write_end = Descriptor();
    HelperStream stream(helper, *program, file,
                        Process(pid, std::move(frames->read_end), std::move(prints->read_end)));
    if (auto status = stream.open(code); !status) return fail(status.error());
    return stream;
  }

  /// Number that kOpened told.
  std::uint64_t count_when_opened() const { return count_when_opened_; }

  /// By notes that have come up to now.
  const Told& told() const { return told_; }

  /// The next frame: `kind`, with at most `most` elements, or kEnd. Takes notes in between.
  Result<Frame> next(FrameKind kind, std::uint64_t most) {
    for (;;) {
      Frame frame{};
      if (!readers::read_all_bytes(process_.frames(), &frame, sizeof frame)) return broken_off();
      if (auto ok = check_no_error(frame); !ok) return fail(ok.error());
      if (frame.kind == FrameKind::kNote) {
        if (auto ok = take_note(frame); !ok) return fail(ok.error());
      } else if (frame.kind == FrameKind::kSkipped && frame.count > told_.skipped) {
        told_.skipped = frame.count;
      } else if (frame.kind == FrameKind::kEnd || (frame.kind == kind && frame.count <= most)) {
        return frame;
      } else {
        return nonsense();
      }
    }
  }

  /// What follows a frame's head.
  Status read(void* data, std::size_t size) {
    if (readers::read_all_bytes(process_.frames(), data, size)) return {};
    return broken_off();
  }

  tl::unexpected<Error> nonsense() {
    process_.reap();
    return damaged("sent what makes no sense");
  }

 private:
  HelperStream(const Helper& helper, std::string program, std::string file, Process process)
      : helper_(helper),
        program_(std::move(program)),
        file_(std::move(file)),
        process_(std::move(process)) {}

  /// The helper's first word.
  Status open(std::uint32_t code) {
    Frame frame{};
    if (!readers::read_all_bytes(process_.frames(), &frame, sizeof frame)) return not_started();
    if (auto ok = check_no_error(frame); !ok) return ok;
    if (frame.kind != FrameKind::kOpened) return nonsense();
    if (frame.code != code) {
      return fail(ErrorCode::kUnsupported,
                  program_ + " is of another version of Silurus" + install_hint(helper_));
    }
    count_when_opened_ = frame.count;
    return {};
  }

  Status check_no_error(const Frame& frame) {
    if (frame.kind != FrameKind::kFailed) return {};
    if (frame.count > readers::kMaxText) return nonsense();
    std::string text(frame.count, '\0');
    if (auto ok = read(text.data(), text.size()); !ok) return ok;
    make_printable(text);
    return fail(static_cast<ErrorCode>(frame.code), std::move(text));
  }

  Status take_note(const Frame& frame) {
    if (frame.count > readers::kMaxText || told_.count++ == readers::kMaxNotes) return nonsense();
    std::string text(frame.count, '\0');
    if (auto ok = read(text.data(), text.size()); !ok) return ok;
    make_printable(text);
    switch (static_cast<readers::NoteKind>(frame.code)) {
      case readers::NoteKind::kDescription:
        told_.description = std::move(text);
        return {};
      case readers::NoteKind::kHint:
        told_.notes.push_back(std::move(text));
        return {};
      case readers::NoteKind::kFirstSkipped:
        told_.first_skipped = std::move(text);
        return {};
    }
    return nonsense();
  }

  tl::unexpected<Error> damaged(const std::string& what) const {
    return fail(ErrorCode::kProtocol, file_ + ": the file is damaged: the process reading it " +
                                          what + "; get an intact copy");
  }
  /// The stream ended where it should not.
  tl::unexpected<Error> broken_off() { return ended(process_.reap()); }

  /// By a limit of its own, or else by the file.
  tl::unexpected<Error> ended(const End& end) const {
    if (!end.by_signal || end.number != SIGXCPU) return damaged(end.text);
    return fail(ErrorCode::kTooLarge,
                file_ +
                    ": its reader used up the processor time that it has for each part of a "
                    "file (" +
                    std::to_string(readers::kMaxCpuSeconds) +
                    " s for a batch of entries): very large features, or a damaged file");
  }

  /// It said nothing at all: libraries are missing (which ends in the statuses of a shell's failed
  /// commands), or the file made it crash.
  tl::unexpected<Error> not_started() {
    const End end = process_.reap();
    if (end.by_signal || (end.number != 126 && end.number != 127)) return ended(end);
    return fail(ErrorCode::kUnsupported,
                file_ + ": its reader " + program_ + " does not work: it " + end.text);
  }

  Helper helper_;
  std::string program_;
  std::string file_;
  Process process_;
  std::uint64_t count_when_opened_ = 0;
  Told told_;
};

template <int D>
class HelperSource final : public Source<D> {
 public:
  explicit HelperSource(HelperStream stream) : stream_(std::move(stream)) {
    if (stream_.count_when_opened() > 0) total_ = stream_.count_when_opened() - 1;
  }

  Result<std::size_t> read(std::span<Entry<D>> batch) override {
    auto count = read_some(batch);
    if (!count) {
      is_at_end_ = true;
      left_in_frame_ = 0;
    }
    return count;
  }
  std::optional<std::uint64_t> total_entries() const override { return total_; }
  Progress progress() const override {
    if (!total_ && thousandths_ > 0) return {thousandths_, readers::kThousandths};
    return {done_, total_.value_or(0)};
  }
  std::uint64_t skipped() const override { return stream_.told().skipped; }
  std::string first_skipped() const override { return stream_.told().first_skipped; }
  std::string description() const override { return stream_.told().description; }
  std::vector<std::string> notes() const override { return stream_.told().notes; }

 private:
  Result<std::size_t> read_some(std::span<Entry<D>> batch) {
    if (left_in_frame_ == 0 && !is_at_end_) {
      auto frame = stream_.next(FrameKind::kEntries, readers::kBatchEntries);
      if (!frame) return fail(frame.error());
      is_at_end_ = frame->kind == FrameKind::kEnd;
      left_in_frame_ = is_at_end_ ? 0 : frame->count;
      if (frame->code > 0) thousandths_ = std::min(frame->code - 1, readers::kThousandths);
    }
    const std::size_t count = std::min<std::uint64_t>(batch.size(), left_in_frame_);
    if (auto ok = stream_.read(batch.data(), count * sizeof(Entry<D>)); !ok) {
      return fail(ok.error());
    }
    // A process whose heap is broken may send anything.
    for (const auto& entry : batch.first(count)) {
      if (!rtree::check_box(entry.box)) return stream_.nonsense();
    }
    left_in_frame_ -= count;
    done_ += count;
    return count;
  }

  HelperStream stream_;
  std::optional<std::uint64_t> total_;
  std::uint32_t thousandths_ = 0;
  std::uint64_t done_ = 0;
  std::uint64_t left_in_frame_ = 0;
  bool is_at_end_ = false;
};

class HelperBytes final : public Bytes {
 public:
  explicit HelperBytes(HelperStream stream) : stream_(std::move(stream)) {}

  Result<std::size_t> read(std::span<char> into) override {
    auto count = read_some(into);
    if (!count) {
      is_at_end_ = true;
      left_in_frame_ = 0;
    }
    return count;
  }
  Progress progress() const override { return {thousandths_, readers::kThousandths}; }

 private:
  Result<std::size_t> read_some(std::span<char> into) {
    if (left_in_frame_ == 0 && !is_at_end_) {
      auto frame = stream_.next(FrameKind::kBytes, readers::kMaxBytes);
      if (!frame) return fail(frame.error());
      is_at_end_ = frame->kind == FrameKind::kEnd;
      // A frame without bytes would be taken for the end.
      if (!is_at_end_ && frame->count == 0) return stream_.nonsense();
      left_in_frame_ = is_at_end_ ? 0 : frame->count;
      thousandths_ = std::min(frame->code, readers::kThousandths);
    }
    const std::size_t count = std::min<std::uint64_t>(into.size(), left_in_frame_);
    if (auto ok = stream_.read(into.data(), count); !ok) return fail(ok.error());
    left_in_frame_ -= count;
    return count;
  }

  HelperStream stream_;
  std::uint64_t left_in_frame_ = 0;
  std::uint32_t thousandths_ = 0;
  bool is_at_end_ = false;
};

}  // namespace

template <int D>
Result<std::unique_ptr<Source<D>>> open_with_helper(const Helper& helper,
                                                    readers::Request request) {
  request.dimensions = D;
  auto stream = HelperStream::start(helper, request, readers::opened_code(D));
  if (!stream) return fail(stream.error());
  return std::make_unique<HelperSource<D>>(std::move(*stream));
}

Result<std::unique_ptr<Bytes>> unpack_with_helper(const Helper& helper, const std::string& file) {
  auto stream = HelperStream::start(helper, {.path = file}, readers::opened_code(0));
  if (!stream) return fail(stream.error());
  return std::make_unique<HelperBytes>(std::move(*stream));
}

template Result<std::unique_ptr<Source<2>>> open_with_helper<2>(const Helper&, readers::Request);
template Result<std::unique_ptr<Source<3>>> open_with_helper<3>(const Helper&, readers::Request);

}  // namespace silurus::datasets
