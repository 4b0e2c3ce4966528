// SPDX-License-Identifier: Apache-2.0

#include <fcntl.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <filesystem>
#include <fstream>

#include "bench/command_line.h"
#include "bench/file.h"
#include "bench/plot.h"

extern char** environ;

namespace silurus::bench {
namespace {

namespace fs = std::filesystem;

/// A file that is gone with this object.
class ScratchFile {
 public:
  explicit ScratchFile(std::string path) : path_(std::move(path)) {}
  ScratchFile(const ScratchFile&) = delete;
  ScratchFile& operator=(const ScratchFile&) = delete;
  ~ScratchFile() {
    std::error_code ignored;
    fs::remove(path_, ignored);
  }
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

/// Runs gnuplot on a script; what it says goes into the file `said`. Its exit status.
Result<int> run_gnuplot(const std::string& script, const std::string& said) {
  // -d: no start-up files of the user's, so that all draw the same.
  std::string words[] = {"gnuplot", "-d", script};
  char* argv[] = {words[0].data(), words[1].data(), words[2].data(), nullptr};
  posix_spawn_file_actions_t files;
  posix_spawn_file_actions_init(&files);
  posix_spawn_file_actions_addopen(&files, STDOUT_FILENO, said.c_str(),
                                   O_WRONLY | O_CREAT | O_APPEND, 0600);
  posix_spawn_file_actions_adddup2(&files, STDOUT_FILENO, STDERR_FILENO);
  pid_t pid = 0;
  const int failed = posix_spawnp(&pid, argv[0], &files, nullptr, argv, environ);
  posix_spawn_file_actions_destroy(&files);
  if (failed == ENOENT) {
    return fail(ErrorCode::kUnsupported,
                "drawing needs gnuplot, which is not installed: run scripts/setup (or apt-get "
                "install gnuplot-nox)");
  }
  if (failed != 0) return fail(errno_error(ErrorCode::kIo, "cannot start gnuplot", failed));
  int status = 0;
  while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {
  }
  return status;
}

/// Bytes at most that are kept of gnuplot's messages.
constexpr std::size_t kMaxSaid = std::size_t{1} << 16;

struct Chosen {
  std::string input;
  std::string output;  ///< without the ending
  std::string format = "all";
  bool latency = false;
};

Status plot(const Chosen& chosen) {
  const auto recorded = read_recorded(chosen.input);
  if (!recorded) return fail(recorded.error());
  const PictureKind kind = chosen.latency ? PictureKind::kLatency : PictureKind::kUsual;
  const auto write = [&](PictureFormat format, const char* ending) -> Status {
    if (chosen.format != "all" && chosen.format != ending) return {};
    const std::string output = chosen.output + "." + ending;
    if (auto drawn = draw(*recorded, format, output, kind); !drawn) {
      return fail(drawn.error().code, chosen.input + ": " + drawn.error().message);
    }
    std::printf("%s\n", output.c_str());
    return {};
  };
  if (auto drawn = write(PictureFormat::kSvg, "svg"); !drawn) return drawn;
  return write(PictureFormat::kPng, "png");
}

}  // namespace

Status draw(const Recorded& recorded, PictureFormat format, const std::string& output,
            PictureKind kind) {
  const ScratchFile part(output + ".part");
  const ScratchFile script(output + ".gnuplot");
  const ScratchFile said(output + ".said");
  const auto text = gnuplot_script(recorded, format, part.path(), kind);
  if (!text) return fail(text.error());
  std::ofstream file(script.path());
  file << *text;
  file.close();
  if (!file) return fail(errno_error(ErrorCode::kIo, "cannot write " + script.path(), errno));
  const auto status = run_gnuplot(script.path(), said.path());
  if (!status) return fail(status.error());
  std::error_code error;
  const auto bytes = fs::file_size(part.path(), error);
  if (*status != 0 || error || bytes == 0) {
    return fail(ErrorCode::kIo,
                "gnuplot failed: " +
                    read_file(said.path(), kMaxSaid).value_or("it said nothing that can be read"));
  }
  fs::rename(part.path(), output, error);
  if (error) return fail(ErrorCode::kIo, "cannot make " + output + ": " + error.message());
  return {};
}

int plot_command(int argc, char** argv, const std::string&) {
  Chosen chosen;
  CommandLine line("silurus-bench plot",
                   "Draws what a benchmark wrote with --json FILE, as FILE.svg and .png");
  line.option("output", "pictures to write, without the ending; else named like FILE",
              chosen.output, "PATH");
  line.option("format", "svg, png or all", chosen.format);
  line.option("latency", "draw the distributions of latencies, as FILE-latency", chosen.latency);
  line.argument("FILE", "the JSON of a benchmark", chosen.input);
  return line.perform(
      argc, argv,
      [&] {
        const bool known =
            chosen.format == "svg" || chosen.format == "png" || chosen.format == "all";
        return known && !chosen.input.empty();
      },
      "there is one FILE, the JSON of a benchmark; --format is svg, png or all",
      [&] {
        if (chosen.output.empty()) {
          chosen.output = fs::path(chosen.input).replace_extension().string() +
                          (chosen.latency ? "-latency" : "");
        }
        return plot(chosen);
      });
}

}  // namespace silurus::bench
