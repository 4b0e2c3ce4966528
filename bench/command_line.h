// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "bench/report.h"
#include "common/result.h"

namespace silurus::bench {

/// What a subcommand reads from its command line, and how it runs and ends: all have --help,
/// --version, --json FILE (the rows) and --format table or json (the rows on stdout, and nothing
/// else there).
///
///   CommandLine line("silurus-bench clients", "What idle clients cost the busy ones");
///   line.option("active", "busy clients", chosen.active);
///   return line.measure(argc, argv, {.sensible = [&] { return chosen.active > 1; },
///                                    .rule = "--active is at least 2",
///                                    .run = [&](Report& report) { return run(chosen, report); }});
class CommandLine {
 public:
  CommandLine(std::string name, const std::string& summary);
  CommandLine(const CommandLine&) = delete;
  CommandLine& operator=(const CommandLine&) = delete;
  ~CommandLine();

  /// Adds an option that is read into a variable, which holds the default and outlives this. A list
  /// (a,b,c) takes the place of the default. `argument` stands for the value in the help.
  void option(const std::string& name, const std::string& help, bool& into);
  void option(const std::string& name, const std::string& help, std::string& into,
              const std::string& argument = "");
  void option(const std::string& name, const std::string& help, double& into);
  void option(const std::string& name, const std::string& help, std::uint32_t& into);
  void option(const std::string& name, const std::string& help, std::uint64_t& into);
  void option(const std::string& name, const std::string& help, std::vector<std::string>& into);
  void option(const std::string& name, const std::string& help, std::vector<std::uint32_t>& into);
  /// The one argument that is no option.
  void argument(const std::string& name, const std::string& help, std::string& into);

  struct Work {
    std::function<bool()> sensible;  ///< whether the options, once read, make sense
    std::string rule;                ///< said if they don't: "--active is at least 2"
    std::function<Status(Report&)> run;
  };
  /// Reads the options (argv[0] is the subcommand's name), runs, prints the summary, writes the
  /// rows, says on stderr what failed: the exit status. 2 if the command line made no sense.
  int measure(int argc, char** argv, const std::string& whole_line, const Work& work);
  /// The same for a command that measures nothing: no rows. `run` is called without a report.
  int perform(int argc, char** argv, const std::function<bool()>& sensible, const std::string& rule,
              const std::function<Status()>& run);

 private:
  struct Impl;
  /// Reads the options; an exit status if the program ends with that.
  std::optional<int> parse(int argc, char** argv, const std::function<bool()>& sensible,
                           const std::string& rule);
  int end(const Status& done) const;

  std::unique_ptr<Impl> impl_;
};

}  // namespace silurus::bench
