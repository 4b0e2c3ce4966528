#include "client/tool/arguments.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <chrono>
#include <cmath>
#define CXXOPTS_VECTOR_DELIMITER '\0'  // arguments are whole: a group's servers have commas
#include <cxxopts.hpp>
#include <filesystem>
#include <optional>
#include <string_view>
#include <utility>

#include "client/shards/shard_map.h"
#include "client/tool/cluster.h"
#include "client/tool/help.h"
#include "client/tool/moment.h"
#include "common/units.h"
#include "protocol/default_url.h"

namespace silurus::tool {
namespace {

/// Stands before a number that would otherwise look like an option; no argument begins with it.
constexpr char kNumberMark = '\x01';

tl::unexpected<Error> usage(std::string message) {
  return fail(ErrorCode::kInvalidArgument, std::move(message));
}

std::string unmarked(const std::string& text) {
  return text.starts_with(kNumberMark) ? text.substr(1) : text;
}

const CommandHelp* find_command(std::string_view name) {
  const auto* found = std::ranges::find(kCommands, name, &CommandHelp::name);
  return found == std::end(kCommands) ? nullptr : found;
}

std::string general_help() {
  std::string text =
      "silurus: asks a Silurus server\n\nUsage: silurus [OPTIONS] COMMAND ARGUMENTS [OPTIONS]\n\n"
      "Commands (silurus COMMAND --help tells more):\n";
  for (const CommandHelp& command : kCommands) {
    std::string name(command.name);
    name.resize(10, ' ');
    text += "  " + name + std::string(command.summary) + "\n";
  }
  text += "\n" + std::string(kGeneralOptions) +
          "\nExit status: 0; 1 if something failed (the reason is on stderr); 2 if the command "
          "line\nmakes no sense.\n";
  return text;
}

std::string command_help(const CommandHelp& command) {
  std::string text = "silurus " + std::string(command.name) + ": " + std::string(command.summary) +
                     "\n\nUsage: silurus [OPTIONS] " + std::string(command.name) + " " +
                     std::string(command.arguments) + "\n";
  if (command.arguments.find("XMIN") != std::string_view::npos) {
    text += "(for a tree of three dimensions: XMIN YMIN ZMIN XMAX YMAX ZMAX)\n";
  }
  if (!command.details.empty()) text += "\n" + std::string(command.details);
  return text + "\n" + std::string(kGeneralOptions);
}

std::string usage_of(const CommandHelp& command) {
  return "usage: silurus " + std::string(command.name) + " " + std::string(command.arguments);
}

cxxopts::Options make_options() {
  cxxopts::Options options("silurus");
  const auto text = [] { return cxxopts::value<std::string>(); };
  options.add_options()("s,server", "", text())("m,mode", "", text())("policy", "", text())(
      "f,format", "", text())("timeout", "", text())("read", "", text())(
      "max-staleness", "", text())("predicate", "", text())("count", "")("limit", "", text())(
      "k", "", text())("fill", "", text())("skip-bad", "")("as-of", "", text())("from", "", text())(
      "to", "", text())("at", "", text())("edge", "", text())("abort", "")("h,help", "")(
      "version", "")("arguments", "", cxxopts::value<std::vector<std::string>>());
  options.parse_positional({"arguments"});
  return options;
}

/// One of some words; the error lists them.
template <typename T, std::size_t N>
Result<T> choice(std::string_view option, const std::string& given,
                 const std::array<std::pair<std::string_view, T>, N>& words) {
  std::string all;
  for (const auto& [word, value] : words) {
    if (given == word) return value;
    all += (all.empty() ? "" : ", ") + std::string(word);
  }
  return usage("--" + std::string(option) + " is '" + given + "': it must be one of " + all);
}

Result<std::uint64_t> whole_number(std::string_view what, const std::string& text,
                                   std::uint64_t least, std::uint64_t greatest) {
  std::uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || value < least ||
      value > greatest) {
    return usage(std::string(what) + " is '" + text + "': it must be a whole number from " +
                 std::to_string(least) + " to " + std::to_string(greatest));
  }
  return value;
}

Status read_settings(const cxxopts::ParseResult& parsed, Settings& settings) {
  const auto given = [&](const char* name) { return unmarked(parsed[name].as<std::string>()); };
  settings.url = parsed.count("server") != 0 ? given("server") : protocol::default_url();
  if (parsed.count("mode") != 0) {
    const auto mode = choice<client::Mode, 3>("mode", given("mode"),
                                              {{{"messaging", client::Mode::kMessaging},
                                                {"offload", client::Mode::kOffload},
                                                {"adaptive", client::Mode::kAdaptive}}});
    if (!mode) return fail(mode.error());
    settings.client.mode = *mode;
  }
  if (parsed.count("policy") != 0) {
    const auto policy = choice<client::PolicyKind, 2>(
        "policy", given("policy"),
        {{{"cost", client::PolicyKind::kCost}, {"catfish", client::PolicyKind::kCatfish}}});
    if (!policy) return fail(policy.error());
    settings.client.policy = *policy;
  }
  if (parsed.count("read") != 0) {
    const auto from = choice<client::ReadFrom, 2>(
        "read", given("read"),
        {{{"primary", client::ReadFrom::kPrimary}, {"any", client::ReadFrom::kAny}}});
    if (!from) return fail(from.error());
    settings.client.read.from = *from;
  }
  if (parsed.count("max-staleness") != 0) {
    const auto staleness = parse_duration(given("max-staleness"));
    if (!staleness) return usage("--max-staleness: " + staleness.error().message);
    settings.client.read.max_staleness = *staleness;
  }
  if (parsed.count("format") != 0) {
    const auto format = choice<Format, 3>(
        "format", given("format"),
        {{{"text", Format::kText}, {"json", Format::kJson}, {"csv", Format::kCsv}}});
    if (!format) return fail(format.error());
    settings.format = *format;
  }
  if (parsed.count("timeout") != 0) {
    const auto timeout = parse_duration(given("timeout"));
    if (!timeout) return usage("--timeout: " + timeout.error().message);
    if (*timeout == 0) return usage("--timeout is 0: nothing can be answered in no time");
    settings.client.deadline = *timeout;
    settings.client.connect_timeout = *timeout;
  }
  return {};
}

/// Coordinates of `parts` points: 2 each, or 3 each.
Result<std::vector<double>> coordinates(const CommandHelp& command,
                                        std::span<const std::string> texts, std::size_t parts) {
  if (texts.size() != 2 * parts && texts.size() != 3 * parts) {
    return usage(std::string(command.name) + " needs " + std::to_string(2 * parts) + " numbers (" +
                 std::to_string(3 * parts) + " in three dimensions), there are " +
                 std::to_string(texts.size()) + "\n" + usage_of(command));
  }
  std::vector<double> values;
  for (const std::string& text : texts) {
    const auto value = as_number(text);
    if (!value) return usage("'" + text + "' is not a number\n" + usage_of(command));
    if (!std::isfinite(*value)) {
      return usage("'" + text + "' is not finite: coordinates must be\n" + usage_of(command));
    }
    values.push_back(*value);
  }
  return values;
}

template <typename Write>
Result<Command> parse_write(const CommandHelp& command, std::span<const std::string> words) {
  if (words.empty()) return usage("no ID\n" + usage_of(command));
  const auto id = whole_number("ID", words[0], 0, UINT64_MAX);
  if (!id) return fail(id.error());
  auto box = coordinates(command, words.subspan(1), 2);
  if (!box) return fail(box.error());
  return Write{.id = *id, .box = std::move(*box)};
}

Result<Command> parse_update(const CommandHelp& command, std::span<const std::string> words) {
  if (words.empty()) return usage("no ID\n" + usage_of(command));
  const auto id = whole_number("ID", words[0], 0, UINT64_MAX);
  if (!id) return fail(id.error());
  std::vector<std::string> numbers(words.begin() + 1, words.end());
  const auto between = static_cast<std::ptrdiff_t>(numbers.size() / 2);
  if (numbers.size() % 2 == 1 && (numbers[between] == "to" || numbers[between] == "TO")) {
    numbers.erase(numbers.begin() + between);
  }
  auto boxes = coordinates(command, numbers, 4);
  if (!boxes) return fail(boxes.error());
  const auto half = boxes->begin() + static_cast<std::ptrdiff_t>(boxes->size() / 2);
  return UpdateCommand{.id = *id, .from = {boxes->begin(), half}, .to = {half, boxes->end()}};
}

/// The moment that an option names; 0 if it isn't given.
Result<protocol::Moment> moment_option(const cxxopts::ParseResult& parsed, const char* option) {
  if (parsed.count(option) == 0) return protocol::Moment{0};
  const auto now = std::chrono::system_clock::now().time_since_epoch();
  const auto moment =
      parse_moment(unmarked(parsed[option].as<std::string>()),
                   std::chrono::duration_cast<std::chrono::nanoseconds>(now).count());
  if (!moment) return usage("--" + std::string(option) + ": " + moment.error().message);
  return moment;
}

Result<Command> parse_diff(const CommandHelp& command, std::span<const std::string> words,
                           const cxxopts::ParseResult& parsed) {
  if (!words.empty() || parsed.count("from") == 0) {
    return usage("diff takes a moment to begin from\n" + usage_of(command));
  }
  const auto from = moment_option(parsed, "from");
  if (!from) return fail(from.error());
  if (parsed.count("to") == 0) return DiffCommand{*from, protocol::kNewest};
  const auto to = moment_option(parsed, "to");
  if (!to) return fail(to.error());
  return DiffCommand{*from, *to};
}

Result<Command> parse_backup(const CommandHelp& command, std::span<const std::string> words) {
  if (words.size() != 1 || words[0].empty()) {
    return usage("backup takes the path of a new directory\n" + usage_of(command));
  }
  return BackupCommand{std::filesystem::absolute(words[0]).lexically_normal().string()};
}

Result<Command> parse_cluster_command(std::span<const std::string> words,
                                      const cxxopts::ParseResult& parsed) {
  auto cluster = parse_cluster(words);
  if (!cluster) return fail(cluster.error());
  const bool replaces =
      cluster->action == ClusterAction::kSplit || cluster->action == ClusterAction::kMove;
  cluster->abort = parsed.count("abort") != 0;
  if ((cluster->abort && !replaces) ||
      (parsed.count("at") != 0 && cluster->action != ClusterAction::kSplit) ||
      (parsed.count("edge") != 0 && cluster->action != ClusterAction::kInit)) {
    return usage("--at is of split, --abort of split and move, --edge of init");
  }
  if (parsed.count("at") != 0) {
    const auto key = shards::parse_key(unmarked(parsed["at"].as<std::string>()));
    if (!key) return usage("--at: " + key.error().message);
    cluster->at = *key;
  }
  if (parsed.count("edge") != 0) {
    const std::string text = unmarked(parsed["edge"].as<std::string>());
    cluster->edge = as_number(text);
    if (!cluster->edge || !(*cluster->edge >= 0) || !std::isfinite(*cluster->edge)) {
      return usage("--edge is '" + text + "': it must be a number, 0 or more");
    }
  }
  return std::move(*cluster);
}

Result<Command> parse_range(const CommandHelp& command, std::span<const std::string> words,
                            const cxxopts::ParseResult& parsed) {
  RangeCommand range;
  auto window = coordinates(command, words, 2);
  if (!window) return fail(window.error());
  range.window = std::move(*window);
  const auto as_of = moment_option(parsed, "as-of");
  if (!as_of) return fail(as_of.error());
  range.as_of = *as_of;
  range.count_only = parsed.count("count") != 0;
  if (parsed.count("limit") != 0) {
    const auto limit =
        whole_number("--limit", unmarked(parsed["limit"].as<std::string>()), 0, UINT64_MAX);
    if (!limit) return fail(limit.error());
    range.limit = *limit;
  }
  if (parsed.count("predicate") != 0) {
    const auto predicate =
        choice<rtree::Predicate, 3>("predicate", unmarked(parsed["predicate"].as<std::string>()),
                                    {{{"intersects", rtree::Predicate::kIntersects},
                                      {"within", rtree::Predicate::kWithin},
                                      {"contains", rtree::Predicate::kContains}}});
    if (!predicate) return fail(predicate.error());
    range.predicate = *predicate;
  }
  return range;
}

Result<Command> parse_nearest(const CommandHelp& command, std::span<const std::string> words,
                              const cxxopts::ParseResult& parsed) {
  NearestCommand nearest;
  auto point = coordinates(command, words, 1);
  if (!point) return fail(point.error());
  nearest.point = std::move(*point);
  const auto as_of = moment_option(parsed, "as-of");
  if (!as_of) return fail(as_of.error());
  nearest.as_of = *as_of;
  nearest.count_only = parsed.count("count") != 0;
  if (parsed.count("k") != 0) {
    const auto k = whole_number("k", unmarked(parsed["k"].as<std::string>()), 1, UINT32_MAX);
    if (!k) return fail(k.error());
    nearest.k = static_cast<std::uint32_t>(*k);
  }
  return nearest;
}

Result<Command> parse_load(const CommandHelp& command, std::span<const std::string> words,
                           const cxxopts::ParseResult& parsed) {
  if (words.size() != 1) return usage("load takes one data set\n" + usage_of(command));
  LoadCommand load{.source = words[0], .skip_bad = parsed.count("skip-bad") != 0};
  if (parsed.count("fill") != 0) {
    const std::string text = unmarked(parsed["fill"].as<std::string>());
    const auto fill = as_number(text);
    if (!fill || !(*fill > 0 && *fill <= 1)) {
      return usage("--fill is '" + text + "': it must be above 0 and at most 1");
    }
    load.fill = *fill;
  }
  return load;
}

Result<Command> parse_command(const CommandHelp& command, std::span<const std::string> words,
                              const cxxopts::ParseResult& parsed) {
  for (const char* option : {"predicate", "count", "limit", "k", "fill", "skip-bad", "as-of",
                             "from", "to", "at", "edge", "abort"}) {
    const std::string padded = " " + std::string(command.options) + " ";
    if (parsed.count(option) != 0 &&
        padded.find(" " + std::string(option) + " ") == std::string::npos) {
      return usage(std::string(command.name) + " has no option " +
                   (std::string_view(option).size() == 1 ? "-" : "--") + option);
    }
  }
  if (command.name == "range") return parse_range(command, words, parsed);
  if (command.name == "nearest") return parse_nearest(command, words, parsed);
  if (command.name == "insert") return parse_write<InsertCommand>(command, words);
  if (command.name == "erase") return parse_write<EraseCommand>(command, words);
  if (command.name == "update") return parse_update(command, words);
  if (command.name == "load") return parse_load(command, words, parsed);
  if (command.name == "diff") return parse_diff(command, words, parsed);
  if (command.name == "cluster") return parse_cluster_command(words, parsed);
  if (command.name == "backup") return parse_backup(command, words);
  if (!words.empty()) return usage(std::string(command.name) + " takes no arguments");
  if (command.name == "history") return HistoryCommand{};
  return StatsCommand{};
}

Result<Invocation> interpret(const cxxopts::ParseResult& parsed) {
  std::vector<std::string> words;
  if (parsed.count("arguments") != 0) {
    words = parsed["arguments"].as<std::vector<std::string>>();
    for (std::string& word : words) word = unmarked(word);
  }
  Invocation invocation;
  if (parsed.count("version") != 0) {
    invocation.command = PrintCommand{"silurus " SILURUS_VERSION "\n"};
    return invocation;
  }
  const CommandHelp* command = words.empty() ? nullptr : find_command(words[0]);
  if (parsed.count("help") != 0 || (!words.empty() && words[0] == "help")) {
    if (command == nullptr && words.size() > 1) command = find_command(words[1]);
    invocation.command = PrintCommand{command == nullptr ? general_help() : command_help(*command)};
    return invocation;
  }
  if (words.empty()) return usage("no command; silurus --help lists them");
  if (command == nullptr) {
    return usage("unknown command '" + words[0] + "'; silurus --help lists them");
  }
  if (auto ok = read_settings(parsed, invocation.settings); !ok) return fail(ok.error());
  auto parsed_command = parse_command(*command, std::span(words).subspan(1), parsed);
  if (!parsed_command) return fail(parsed_command.error());
  invocation.command = std::move(*parsed_command);
  return invocation;
}

}  // namespace

std::optional<double> as_number(std::string_view text) {
  if (text.starts_with('+')) text.remove_prefix(1);
  double value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

Result<Invocation> parse_arguments(const std::vector<std::string>& arguments) {
  std::vector<std::string> marked{"silurus"};
  for (const std::string& argument : arguments) {
    const bool negative = argument.starts_with('-') && as_number(argument).has_value();
    marked.push_back(negative ? kNumberMark + argument : argument);
  }
  std::vector<const char*> argv;
  for (const std::string& argument : marked) argv.push_back(argument.c_str());
  try {
    auto options = make_options();
    return interpret(options.parse(static_cast<int>(argv.size()), argv.data()));
  } catch (const cxxopts::exceptions::exception& error) {
    return usage(std::string(error.what()) + "; silurus --help lists the options");
  }
}

}  // namespace silurus::tool
