#include "bench/command_line.h"

#include <unistd.h>

#include <cstdio>
#include <cxxopts.hpp>

namespace silurus::bench {

struct CommandLine::Impl {
  Impl(std::string called, const std::string& summary)
      : name("silurus-bench " + std::move(called)), options(name, summary) {}

  std::string name;
  cxxopts::Options options;
  std::string json;
  std::string format = "table";
  std::vector<std::function<void()>> take_lists;  ///< once all is read

  template <typename T>
  void add(const std::string& option, const std::string& help, T& into,
           const std::string& argument) {
    options.add_options()(option, help, cxxopts::value(into), argument);
  }
  template <typename T>
  void add_list(const std::string& option, const std::string& help, std::vector<T>& into) {
    auto given = std::make_shared<std::vector<T>>();
    options.add_options()(option, help, cxxopts::value(*given), "LIST");
    take_lists.push_back([given, &into] {
      if (!given->empty()) into = *given;
    });
  }
};

namespace {

/// While it lives, what is printed goes to stderr, so that stdout can hold the rows alone.
class StdoutAside {
 public:
  explicit StdoutAside(bool wanted) {
    if (!wanted) return;
    std::fflush(stdout);
    stdout_ = dup(STDOUT_FILENO);
    dup2(STDERR_FILENO, STDOUT_FILENO);
  }
  StdoutAside(const StdoutAside&) = delete;
  StdoutAside& operator=(const StdoutAside&) = delete;
  ~StdoutAside() {
    if (stdout_ < 0) return;
    std::fflush(stdout);
    dup2(stdout_, STDOUT_FILENO);
    close(stdout_);
  }

 private:
  int stdout_ = -1;
};

}  // namespace

CommandLine::CommandLine(std::string name, const std::string& summary)
    : impl_(std::make_unique<Impl>(std::move(name), summary)) {}
CommandLine::~CommandLine() = default;

void CommandLine::option(const std::string& name, const std::string& help, bool& into) {
  impl_->add(name, help, into, "");
}
void CommandLine::option(const std::string& name, const std::string& help, std::string& into,
                         const std::string& argument) {
  impl_->add(name, help, into, argument);
}
void CommandLine::option(const std::string& name, const std::string& help, double& into) {
  impl_->add(name, help, into, "");
}
void CommandLine::option(const std::string& name, const std::string& help, std::uint32_t& into) {
  impl_->add(name, help, into, "");
}
void CommandLine::option(const std::string& name, const std::string& help, std::uint64_t& into) {
  impl_->add(name, help, into, "");
}
void CommandLine::option(const std::string& name, const std::string& help,
                         std::vector<std::string>& into) {
  impl_->add_list(name, help, into);
}
void CommandLine::option(const std::string& name, const std::string& help,
                         std::vector<std::uint32_t>& into) {
  impl_->add_list(name, help, into);
}
void CommandLine::argument(const std::string& name, const std::string& help, std::string& into) {
  impl_->options.positional_help(name);
  impl_->add("file", help, into, name);
  impl_->options.parse_positional({"file"});
}

std::optional<int> CommandLine::parse(int argc, char** argv, const std::function<bool()>& sensible,
                                      const std::string& rule) {
  impl_->options.add_options()("h,help", "print this text");
  try {
    const auto given = impl_->options.parse(argc, argv);
    for (const auto& take : impl_->take_lists) take();
    if (given.count("help") != 0) {
      std::printf("%s", impl_->options.help().c_str());
      return 0;
    }
    const bool known = impl_->format == "table" || impl_->format == "json";
    if (given.unmatched().empty() && known && sensible()) return {};
    std::fprintf(stderr, "%s: %s%s; there are no other arguments (--help lists the options)\n",
                 impl_->name.c_str(), rule.c_str(), known ? "" : "; --format is table or json");
  } catch (const cxxopts::exceptions::exception& error) {
    std::fprintf(stderr, "%s: %s\n", impl_->name.c_str(), error.what());
  }
  return 2;
}

int CommandLine::end(const Status& done) const {
  if (done) return 0;
  std::fprintf(stderr, "%s: %s\n", impl_->name.c_str(), done.error().message.c_str());
  return 1;
}

int CommandLine::measure(int argc, char** argv, const std::string& whole_line, const Work& work) {
  option("json", "write the rows to FILE", impl_->json, "FILE");
  option("format", "of what is printed: table, or json (the rows)", impl_->format, "FORMAT");
  if (const auto status = parse(argc, argv, work.sensible, work.rule)) return *status;
  Report report(whole_line);
  Status done;
  {
    const StdoutAside aside(impl_->format == "json");
    done = work.run(report);
    report.print_summary();
  }
  if (done && !impl_->json.empty()) done = report.write_json(impl_->json);
  if (done && impl_->format == "json") std::printf("%s\n", report.json().c_str());
  return end(done);
}

int CommandLine::perform(int argc, char** argv, const std::function<bool()>& sensible,
                         const std::string& rule, const std::function<Status()>& run) {
  if (const auto status = parse(argc, argv, sensible, rule)) return *status;
  return end(run());
}

}  // namespace silurus::bench
