#include "client/tool/arguments.h"

#include <algorithm>
#include <array>
#include <chrono>
#include <cmath>
#include <filesystem>
#include <optional>
#include <string_view>
#include <utility>

#include "client/shards/shard_map.h"
#include "client/tool/cluster.h"
#include "client/tool/help.h"
#include "client/tool/moment.h"
#include "common/flags.h"
#include "protocol/default_url.h"

namespace silurus::tool {
namespace {

tl::unexpected<Error> usage(std::string message) {
  return fail(ErrorCode::kInvalidArgument, std::move(message));
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

/// All options of all commands. (Their help is written in help.h.)
const std::vector<flags::Option>& option_table() {
  static const std::vector<flags::Option> table{
      {.name = "server", .letter = 's', .argument = "URL"},
      {.name = "mode", .letter = 'm', .argument = "MODE"},
      {.name = "policy", .argument = "P"},
      {.name = "format", .letter = 'f', .argument = "F"},
      {.name = "timeout", .argument = "D"},
      {.name = "read", .argument = "FROM"},
      {.name = "max-staleness", .argument = "D"},
      {.name = "predicate", .argument = "P"},
      {.name = "count"},
      {.name = "limit", .argument = "N"},
      {.name = "k", .argument = "K"},
      {.name = "fill", .argument = "F"},
      {.name = "skip-bad"},
      {.name = "as-of", .argument = "M"},
      {.name = "from", .argument = "M"},
      {.name = "to", .argument = "M"},
      {.name = "at", .argument = "KEY"},
      {.name = "edge", .argument = "E"},
      {.name = "card", .argument = "DEVICE"},
      {.name = "abort"},
      {.name = "help", .letter = 'h'},
      {.name = "version", .letter = 'V'}};
  return table;
}

constexpr flags::Names<client::Mode, 3> kModes{{{"messaging", client::Mode::kMessaging},
                                                {"offload", client::Mode::kOffload},
                                                {"adaptive", client::Mode::kAdaptive}}};
constexpr flags::Names<client::PolicyKind, 2> kPolicies{
    {{"cost", client::PolicyKind::kCost}, {"catfish", client::PolicyKind::kCatfish}}};
constexpr flags::Names<client::ReadFrom, 2> kReadFrom{
    {{"primary", client::ReadFrom::kPrimary}, {"any", client::ReadFrom::kAny}}};
constexpr flags::Names<Format, 3> kFormats{
    {{"text", Format::kText}, {"json", Format::kJson}, {"csv", Format::kCsv}}};
constexpr flags::Names<rtree::Predicate, 3> kPredicates{
    {{"intersects", rtree::Predicate::kIntersects},
     {"within", rtree::Predicate::kWithin},
     {"contains", rtree::Predicate::kContains}}};

/// A whole number that is no option.
Result<std::uint64_t> whole_word(const std::string& what, const std::string& text) {
  auto number = flags::parse_whole(text, 0, UINT64_MAX);
  if (!number) return usage(what + ": " + number.error().message);
  return number;
}

Status read_settings(const flags::Values& given, Settings& settings) {
  settings.url = given.has("server") ? given.text("server") : protocol::default_url();
  flags::Reader reader(given);
  reader.one_of("mode", kModes, settings.client.mode);
  reader.one_of("policy", kPolicies, settings.client.policy);
  reader.one_of("read", kReadFrom, settings.client.read.from);
  reader.duration("max-staleness", settings.client.read.max_staleness);
  reader.one_of("format", kFormats, settings.format);
  Nanoseconds timeout = settings.client.deadline;
  reader.duration("timeout", timeout);
  if (timeout == 0) reader.refuse("timeout", "nothing can be answered in no time");
  if (given.has("timeout")) settings.client.deadline = settings.client.connect_timeout = timeout;
  return reader.status();
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
    const auto value = flags::as_number(text);
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
  const auto id = whole_word("ID", words[0]);
  if (!id) return fail(id.error());
  auto box = coordinates(command, words.subspan(1), 2);
  if (!box) return fail(box.error());
  return Write{.id = *id, .box = std::move(*box)};
}

Result<Command> parse_update(const CommandHelp& command, std::span<const std::string> words) {
  if (words.empty()) return usage("no ID\n" + usage_of(command));
  const auto id = whole_word("ID", words[0]);
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
Result<protocol::Moment> moment_option(const flags::Values& given, const char* option) {
  if (!given.has(option)) return protocol::Moment{0};
  const auto now = std::chrono::system_clock::now().time_since_epoch();
  const auto moment = parse_moment(
      given.text(option), std::chrono::duration_cast<std::chrono::nanoseconds>(now).count());
  if (!moment) return usage("--" + std::string(option) + ": " + moment.error().message);
  return moment;
}

Result<Command> parse_diff(const CommandHelp& command, std::span<const std::string> words,
                           const flags::Values& given) {
  if (!words.empty() || !given.has("from")) {
    return usage("diff takes a moment to begin from\n" + usage_of(command));
  }
  const auto from = moment_option(given, "from");
  if (!from) return fail(from.error());
  if (!given.has("to")) return DiffCommand{*from, protocol::kNewest};
  const auto to = moment_option(given, "to");
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
                                      const flags::Values& given) {
  auto cluster = parse_cluster(words);
  if (!cluster) return fail(cluster.error());
  const bool replaces =
      cluster->action == ClusterAction::kSplit || cluster->action == ClusterAction::kMove;
  cluster->abort = given.has("abort");
  if ((cluster->abort && !replaces) ||
      (given.has("at") && cluster->action != ClusterAction::kSplit) ||
      (given.has("edge") && cluster->action != ClusterAction::kInit)) {
    return usage("--at is of split, --abort of split and move, --edge of init");
  }
  if (given.has("at")) {
    const auto key = shards::parse_key(given.text("at"));
    if (!key) return usage("--at: " + key.error().message);
    cluster->at = *key;
  }
  if (given.has("edge")) {
    const std::string text = given.text("edge");
    cluster->edge = flags::as_number(text);
    if (!cluster->edge || !(*cluster->edge >= 0) || !std::isfinite(*cluster->edge)) {
      return usage("--edge is '" + text + "': it must be a number, 0 or more");
    }
  }
  return std::move(*cluster);
}

Result<Command> parse_range(const CommandHelp& command, std::span<const std::string> words,
                            const flags::Values& given) {
  RangeCommand range;
  auto window = coordinates(command, words, 2);
  if (!window) return fail(window.error());
  range.window = std::move(*window);
  const auto as_of = moment_option(given, "as-of");
  if (!as_of) return fail(as_of.error());
  range.as_of = *as_of;
  range.count_only = given.has("count");
  flags::Reader reader(given);
  reader.number("limit", 0, UINT64_MAX, range.limit);
  reader.one_of("predicate", kPredicates, range.predicate);
  if (!reader.status()) return fail(reader.status().error());
  return range;
}

Result<Command> parse_nearest(const CommandHelp& command, std::span<const std::string> words,
                              const flags::Values& given) {
  NearestCommand nearest;
  auto point = coordinates(command, words, 1);
  if (!point) return fail(point.error());
  nearest.point = std::move(*point);
  const auto as_of = moment_option(given, "as-of");
  if (!as_of) return fail(as_of.error());
  nearest.as_of = *as_of;
  nearest.count_only = given.has("count");
  flags::Reader reader(given);
  reader.number("k", 1, UINT32_MAX, nearest.k);
  if (!reader.status()) return fail(reader.status().error());
  return nearest;
}

Result<Command> parse_load(const CommandHelp& command, std::span<const std::string> words,
                           const flags::Values& given) {
  if (words.size() != 1) return usage("load takes one data set\n" + usage_of(command));
  LoadCommand load{.source = words[0], .skip_bad = given.has("skip-bad")};
  if (given.has("fill")) {
    const std::string text = given.text("fill");
    const auto fill = flags::as_number(text);
    if (!fill || !(*fill > 0 && *fill <= 1)) {
      return usage("--fill is '" + text + "': it must be above 0 and at most 1");
    }
    load.fill = *fill;
  }
  return load;
}

Result<Command> parse_command(const CommandHelp& command, std::span<const std::string> words,
                              const flags::Values& given) {
  for (const char* option : {"predicate", "count", "limit", "k", "fill", "skip-bad", "as-of",
                             "from", "to", "at", "edge", "abort", "card"}) {
    const std::string padded = " " + std::string(command.options) + " ";
    if (given.has(option) && padded.find(" " + std::string(option) + " ") == std::string::npos) {
      return usage(std::string(command.name) + " has no option " + flags::spelled(option));
    }
  }
  if (command.name == "range") return parse_range(command, words, given);
  if (command.name == "nearest") return parse_nearest(command, words, given);
  if (command.name == "insert") return parse_write<InsertCommand>(command, words);
  if (command.name == "erase") return parse_write<EraseCommand>(command, words);
  if (command.name == "update") return parse_update(command, words);
  if (command.name == "load") return parse_load(command, words, given);
  if (command.name == "diff") return parse_diff(command, words, given);
  if (command.name == "cluster") return parse_cluster_command(words, given);
  if (command.name == "backup") return parse_backup(command, words);
  if (!words.empty()) return usage(std::string(command.name) + " takes no arguments");
  if (command.name == "doctor") {
    DoctorCommand doctor{.server_is_named = given.has("server")};
    if (given.has("card")) doctor.card = given.text("card");
    return doctor;
  }
  if (command.name == "history") return HistoryCommand{};
  return StatsCommand{};
}

Result<Invocation> interpret(const flags::Values& given) {
  const std::vector<std::string>& words = given.words();
  Invocation invocation;
  if (given.has("version")) {
    invocation.command = PrintCommand{"silurus " SILURUS_VERSION "\n"};
    return invocation;
  }
  const CommandHelp* command = words.empty() ? nullptr : find_command(words[0]);
  if (given.has("help") || (!words.empty() && words[0] == "help")) {
    if (command == nullptr && words.size() > 1) command = find_command(words[1]);
    invocation.command = PrintCommand{command == nullptr ? general_help() : command_help(*command)};
    return invocation;
  }
  if (words.empty()) return usage("no command; silurus --help lists them");
  if (command == nullptr) {
    return usage("unknown command '" + words[0] + "'; silurus --help lists them");
  }
  if (auto ok = read_settings(given, invocation.settings); !ok) return fail(ok.error());
  auto parsed_command = parse_command(*command, std::span(words).subspan(1), given);
  if (!parsed_command) return fail(parsed_command.error());
  invocation.command = std::move(*parsed_command);
  return invocation;
}

}  // namespace

Result<Invocation> parse_arguments(const std::vector<std::string>& arguments) {
  const auto given = flags::parse(option_table(), arguments);
  if (!given) return usage(given.error().message + " (silurus --help lists the options)");
  return interpret(*given);
}

}  // namespace silurus::tool
