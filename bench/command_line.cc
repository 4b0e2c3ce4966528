// SPDX-License-Identifier: Apache-2.0

#include "bench/command_line.h"

#include <unistd.h>

#include <charconv>
#include <cstdio>

#include "common/flags.h"

namespace silurus::bench {

struct CommandLine::Impl {
  using Take = std::function<void(flags::Reader&)>;

  void add(const std::string& option, const std::string& help, const std::string& argument,
           const std::string& fallback, Take take) {
    options.push_back({.name = option, .argument = argument, .help = help, .fallback = fallback});
    takes.push_back(std::move(take));
  }

  std::string name;
  std::string summary;
  std::vector<flags::Option> options = {};
  std::vector<Take> takes = {};  ///< move the values to their places, once all is read
  std::string word_name = {};
  std::string* word = nullptr;
  std::string json = {};
  std::string format = "table";
};

namespace {

std::string shortest(double number) {
  char text[32];
  return {text, std::to_chars(text, text + sizeof text, number).ptr};
}

std::string joined(const std::vector<std::string>& parts) {
  std::string all;
  for (const std::string& part : parts) all += (all.empty() ? "" : ",") + part;
  return all;
}

Result<std::vector<std::uint32_t>> parse_numbers(std::string_view text) {
  std::vector<std::uint32_t> numbers;
  for (const std::string& part : flags::split(text)) {
    const auto number = flags::parse_whole(part, 0, UINT32_MAX);
    if (!number) return fail(number.error());
    numbers.push_back(static_cast<std::uint32_t>(*number));
  }
  return numbers;
}

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
    : impl_(new Impl{.name = std::move(name), .summary = summary}) {}
CommandLine::~CommandLine() = default;

void CommandLine::option(const std::string& name, const std::string& help, bool& into) {
  impl_->add(name, help, "", "", [=, &into](flags::Reader& reader) {
    if (reader.values().has(name)) into = true;
  });
}
void CommandLine::option(const std::string& name, const std::string& help, std::string& into,
                         const std::string& argument) {
  impl_->add(name, help, argument.empty() ? "TEXT" : argument, into,
             [=, &into](flags::Reader& reader) { reader.text(name, into); });
}
void CommandLine::option(const std::string& name, const std::string& help, double& into) {
  impl_->add(name, help, "X", shortest(into),
             [=, &into](flags::Reader& reader) { reader.real(name, into); });
}
void CommandLine::option(const std::string& name, const std::string& help, std::uint32_t& into) {
  impl_->add(name, help, "N", std::to_string(into),
             [=, &into](flags::Reader& reader) { reader.number(name, 0, UINT32_MAX, into); });
}
void CommandLine::option(const std::string& name, const std::string& help, std::uint64_t& into) {
  impl_->add(name, help, "N", std::to_string(into),
             [=, &into](flags::Reader& reader) { reader.number(name, 0, UINT64_MAX, into); });
}
void CommandLine::option(const std::string& name, const std::string& help,
                         std::vector<std::string>& into) {
  const auto parse = [](std::string_view text) {
    return Result<std::vector<std::string>>(flags::split(text));
  };
  impl_->add(name, help, "LIST", joined(into),
             [=, &into](flags::Reader& reader) { reader.read(name, parse, into); });
}
void CommandLine::option(const std::string& name, const std::string& help,
                         std::vector<std::uint32_t>& into) {
  std::vector<std::string> texts;
  for (const std::uint32_t number : into) texts.push_back(std::to_string(number));
  impl_->add(name, help, "LIST", joined(texts),
             [=, &into](flags::Reader& reader) { reader.read(name, parse_numbers, into); });
}
void CommandLine::argument(const std::string& name, const std::string& help, std::string& into) {
  impl_->word_name = name;
  impl_->word = &into;
  impl_->summary += "\n  " + name + ": " + help;
}

std::optional<int> CommandLine::parse(int argc, char** argv, const std::function<bool()>& sensible,
                                      const std::string& rule) {
  const auto complain = [&](const std::string& what) {
    std::fprintf(stderr, "%s: %s (--help lists the options)\n", impl_->name.c_str(), what.c_str());
    return 2;
  };
  impl_->add("help", "print this text", "", "", [](flags::Reader&) {});
  impl_->options.back().letter = 'h';
  impl_->add("version", "print the version", "", "", [](flags::Reader&) {});
  impl_->options.back().letter = 'V';
  const std::vector<std::string> arguments(argv + 1, argv + argc);
  const auto values = flags::parse(impl_->options, arguments);
  if (!values) return complain(values.error().message);
  if (values->has("help")) {
    std::printf("%s\n\nUsage: %s [OPTION...] %s\n\n%s", impl_->summary.c_str(), impl_->name.c_str(),
                impl_->word_name.c_str(), flags::describe(impl_->options).c_str());
    return 0;
  }
  if (values->has("version")) {
    std::printf("%s %s\n", impl_->name.c_str(), kVersion);
    return 0;
  }
  flags::Reader reader(*values);
  for (const auto& take : impl_->takes) take(reader);
  if (!reader.status()) return complain(reader.status().error().message);
  const std::size_t most_words = impl_->word == nullptr ? 0 : 1;
  if (values->words().size() > most_words) {
    return complain("'" + values->words()[most_words] + "' is not an option");
  }
  if (!values->words().empty()) *impl_->word = values->words().front();
  if (impl_->format != "table" && impl_->format != "json") {
    return complain("--format is table or json");
  }
  if (sensible()) return {};
  return complain(rule);
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
