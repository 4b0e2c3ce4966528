// SPDX-License-Identifier: Apache-2.0

#include "client/tool/arguments.h"

#include <algorithm>
#include <array>
#include <chrono>
#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <optional>
#include <string_view>
#include <utility>

#include "client/cluster_info.h"
#include "client/tool/cluster.h"
#include "client/tool/collections.h"
#include "client/tool/help.h"
#include "client/tool/moment.h"
#include "common/flags.h"
#include "common/units.h"
#include "etcd/gateway.h"
#include "protocol/decode.h"
#include "protocol/default_url.h"
#include "silurus/shard_map.h"
#include "transport/fabric.h"

namespace silurus::tool {
namespace {

constexpr flags::Names<Mode, 3> kModes{
    {{"messaging", Mode::kMessaging}, {"offload", Mode::kOffload}, {"adaptive", Mode::kAdaptive}}};
constexpr flags::Names<PolicyKind, 3> kPolicies{
    {{"cost", PolicyKind::kCost},
     {"catfish", PolicyKind::kCatfish},
     {"catfish-doubling", PolicyKind::kCatfishDoubling}}};
constexpr flags::Names<ReadFrom, 2> kMembers{
    {{"primary", ReadFrom::kPrimary}, {"any", ReadFrom::kAny}}};
constexpr flags::Names<Format, 3> kFormats{
    {{"text", Format::kText}, {"json", Format::kJson}, {"csv", Format::kCsv}}};
constexpr flags::Names<Features, 2> kFeatures{
    {{"geojson", Features::kCollection}, {"geojsonseq", Features::kSequence}}};
constexpr flags::Names<ExportFormat, 3> kExportFormats{{{"csv", ExportFormat::kCsv},
                                                        {"npy", ExportFormat::kNpy},
                                                        {"geojsonseq", ExportFormat::kGeoJsonSeq}}};
constexpr flags::Names<rtree::Predicate, 3> kPredicates{
    {{"intersects", rtree::Predicate::kIntersects},
     {"within", rtree::Predicate::kWithin},
     {"contains", rtree::Predicate::kContains}}};

using Words = std::span<const std::string>;

tl::unexpected<Error> usage(std::string message) {
  return fail(ErrorCode::kInvalidArgument, std::move(message));
}
tl::unexpected<Error> usage(const CommandTable& command, const std::string& message) {
  return usage(message + "\n" + usage_of(command));
}

// --- options of all commands

/// Whether a command has the format that is asked for to itself.
bool has_own_format(const flags::Values& values, std::string_view command) {
  const std::string& format = values.text("format");
  return command == "export" || ((command == "get" || command == "range") &&
                                 (format == "geojson" || format == "geojsonseq"));
}

Status read_settings(const flags::Values& values, std::string_view command, Settings& settings) {
  flags::Reader reader(values);
  settings.url = values.has("server") ? values.text("server") : protocol::default_url();
  settings.has_default_url = !values.has("server") && std::getenv("SILURUS_SERVER") == nullptr;
  if (const char* named = std::getenv("SILURUS_COLLECTION"); named != nullptr) {
    settings.client.collection = named;
  }
  reader.text("collection", settings.client.collection);
  reader.one_of("mode", kModes, settings.client.mode);
  reader.one_of("policy", kPolicies, settings.client.policy);
  reader.one_of("read", kMembers, settings.client.read.from);
  if (!has_own_format(values, command)) reader.one_of("format", kFormats, settings.format);
  reader.duration("max-staleness", settings.client.read.max_staleness);
  Nanoseconds timeout = 0;
  reader.duration("timeout", timeout);
  if (timeout < kMillisecond) reader.refuse("timeout", "it must be at least 1ms");
  settings.client.deadline = timeout;
  settings.client.patience = timeout;
  settings.client.connect_timeout = timeout;
  settings.client.reconnect_for = timeout;
  return reader.status();
}

/// The server's address, where it was said: an unknown scheme is a mistake in the command line.
Status check_url(const flags::Values& values, const std::string& url) {
  const std::string place = values.has("server")                       ? "--server"
                            : std::getenv("SILURUS_SERVER") != nullptr ? "$SILURUS_SERVER"
                                                                       : "the default server";
  if (auto ok = check_server(url); !ok) return usage(place + ": " + ok.error().message);
  return {};
}

// --- arguments of commands

Result<std::uint64_t> id_of(const CommandTable& command, Words words) {
  if (words.empty()) return usage(command, "no ID");
  auto id = flags::parse_whole(words[0], 0, UINT64_MAX);
  if (!id) return usage("ID: " + id.error().message);
  return id;
}

/// Coordinates of `parts` points: 2 each, or 3 each.
Result<std::vector<double>> coordinates(const CommandTable& command, Words texts,
                                        std::size_t parts) {
  if (texts.size() != 2 * parts && texts.size() != 3 * parts) {
    return usage(command, std::string(command.name) + " needs " + std::to_string(2 * parts) +
                              " numbers (" + std::to_string(3 * parts) +
                              " in three dimensions), there are " + std::to_string(texts.size()));
  }
  std::vector<double> values;
  for (const std::string& text : texts) {
    const auto value = flags::as_number(text);
    if (!value) return usage(command, "'" + text + "' is not a number");
    if (!std::isfinite(*value)) {
      return usage(command, "'" + text + "' is not finite: coordinates must be");
    }
    values.push_back(*value);
  }
  return values;
}

/// The next box of those, all minima and then all maxima.
Result<std::vector<double>> box_of(const CommandTable& command, const std::vector<double>& numbers,
                                   std::size_t first, std::size_t dimensions) {
  for (std::size_t d = first; d < first + dimensions; ++d) {
    const double low = numbers[d];
    const double high = numbers[d + dimensions];
    if (low <= high) continue;
    // In degrees, that is a box across the antimeridian; whether it is one the collection tells.
    if (dimensions == 2 && d == first && low <= 180 && high >= -180) continue;
    const char axis = "XYZ"[d - first];
    return usage(command, std::string(1, axis) + "MIN is " + format_number(low) + ", above " +
                              axis + "MAX, which is " + format_number(high));
  }
  const auto begin = numbers.begin() + static_cast<std::ptrdiff_t>(first);
  return std::vector<double>(begin, begin + static_cast<std::ptrdiff_t>(2 * dimensions));
}

Result<std::vector<double>> box_of(const CommandTable& command, Words texts) {
  const auto numbers = coordinates(command, texts, 2);
  if (!numbers) return fail(numbers.error());
  return box_of(command, *numbers, 0, numbers->size() / 2);
}

/// The moment that an option names, if it is given.
void read_moment(flags::Reader& reader, std::string_view option, Moment& into) {
  const auto now = std::chrono::system_clock::now().time_since_epoch();
  const std::int64_t now_ns = std::chrono::duration_cast<std::chrono::nanoseconds>(now).count();
  reader.read(
      option, [&](std::string_view text) { return parse_moment(text, now_ns); }, into);
}

Result<Command> parse_range(const CommandTable& command, Words words, const flags::Values& values) {
  RangeCommand range{.window = {}};
  flags::Reader reader(values);
  reader.text("geometry", range.geometry);
  if (range.geometry.empty() || !words.empty()) {
    auto window = box_of(command, words);
    if (!window) return fail(window.error());
    range.window = std::move(*window);
  }
  if (!range.geometry.empty() && !words.empty()) {
    reader.refuse("geometry", "a window is searched, or a geometry");
  }
  reader.toggle("exact", range.exact);
  if (range.exact && range.geometry.empty()) reader.refuse("exact", "it is of --geometry");
  reader.text("where", range.where);
  reader.toggle("records", range.records);
  if (has_own_format(values, command.name)) reader.one_of("format", kFeatures, range.features);
  reader.one_of("predicate", kPredicates, range.predicate);
  reader.toggle("count", range.count_only);
  reader.toggle("boxes", range.boxes);
  reader.number("limit", 0, UINT64_MAX, range.limit);
  read_moment(reader, "as-of", range.as_of);
  if (!reader.status()) return fail(reader.status().error());
  return range;
}

/// What nearest and radius have in common.
Result<Command> read_nearest(flags::Reader& reader, NearestCommand nearest) {
  reader.number("k", 1, protocol::kMaxK, nearest.k);
  reader.toggle("count", nearest.count_only);
  read_moment(reader, "as-of", nearest.as_of);
  if (!reader.status()) return fail(reader.status().error());
  return nearest;
}

Result<Command> parse_nearest(const CommandTable& command, Words words,
                              const flags::Values& values) {
  auto point = coordinates(command, words, 1);
  if (!point) return fail(point.error());
  NearestCommand nearest{.point = std::move(*point)};
  flags::Reader reader(values);
  if (values.has("max-distance")) reader.real("max-distance", nearest.max_distance);
  if (!(nearest.max_distance >= 0)) reader.refuse("max-distance", "it must be at least 0");
  return read_nearest(reader, std::move(nearest));
}

Result<Command> parse_radius(const CommandTable& command, Words words,
                             const flags::Values& values) {
  if (words.size() != 3 && words.size() != 4) {
    return usage(command,
                 "radius needs 2 coordinates (3 in three dimensions) and a distance, there are " +
                     std::to_string(words.size()) + " numbers");
  }
  auto point = coordinates(command, words.first(words.size() - 1), 1);
  if (!point) return fail(point.error());
  const auto distance = flags::as_number(words.back());
  if (!distance || !(*distance >= 0)) {
    return usage(command, "'" + words.back() + "' is not a distance: it must be at least 0");
  }
  flags::Reader reader(values);
  return read_nearest(
      reader, {.point = std::move(*point), .k = protocol::kMaxK, .max_distance = *distance});
}

Result<Command> parse_insert(const CommandTable& command, Words words) {
  const auto id = id_of(command, words);
  if (!id) return fail(id.error());
  auto box = box_of(command, words.subspan(1));
  if (!box) return fail(box.error());
  return InsertCommand{.id = *id, .box = std::move(*box)};
}

Result<std::vector<std::uint64_t>> ids_of(const CommandTable& command, Words words) {
  std::vector<std::uint64_t> ids;
  do {
    const auto id = id_of(command, words);
    if (!id) return fail(id.error());
    ids.push_back(*id);
    words = words.subspan(1);
  } while (!words.empty());
  return ids;
}

/// A box, or a point, which is one without extent.
Result<std::vector<double>> box_or_point_of(const CommandTable& command, Words texts) {
  if (texts.size() != 2 && texts.size() != 3) return box_of(command, texts);
  auto point = coordinates(command, texts, 1);
  if (point) point->insert(point->end(), point->begin(), point->end());
  return point;
}

void read_if_version(flags::Reader& reader, IfVersion& into) {
  reader.number("if-version", 1, UINT64_MAX, into.version);
}

Result<Command> parse_erase(const CommandTable& command, Words words, const flags::Values& values) {
  EraseCommand erase;
  auto ids = ids_of(command, words);
  auto box = words.empty() ? Result<std::vector<double>>() : box_of(command, words.subspan(1));
  if (!ids && !box) return fail(words.size() > 2 ? box.error() : ids.error());
  if (ids) erase.ids = std::move(*ids);
  if (box) {
    const auto id = id_of(command, words);
    if (!id) return fail(id.error());
    erase.id = *id;
    erase.box = std::move(*box);
  }
  flags::Reader reader(values);
  read_if_version(reader, erase.if_version);
  if (erase.if_version.version != 0 && erase.ids.size() != 1) {
    reader.refuse("if-version", "it is of one id");
  }
  if (!reader.status()) return fail(reader.status().error());
  return erase;
}

Result<Command> parse_put(const CommandTable& command, Words words, const flags::Values& values) {
  const auto id = id_of(command, words);
  if (!id) return fail(id.error());
  PutCommand put{.id = *id, .box = {}};
  flags::Reader reader(values);
  reader.text("geometry", put.geometry);
  reader.text("properties", put.properties);
  if (put.geometry.empty() || words.size() != 1) {
    auto box = box_or_point_of(command, words.subspan(1));
    if (!box) return fail(box.error());
    put.box = std::move(*box);
  }
  reader.toggle("if-absent", put.if_absent);
  read_if_version(reader, put.if_version);
  if (put.if_absent && put.if_version.version != 0) {
    reader.refuse("if-absent", "an entry that is absent has no version");
  }
  if (!reader.status()) return fail(reader.status().error());
  return put;
}

Result<Command> parse_get(const CommandTable& command, Words words, const flags::Values& values) {
  auto ids = ids_of(command, words);
  if (!ids) return fail(ids.error());
  GetCommand get{.ids = std::move(*ids)};
  flags::Reader reader(values);
  read_moment(reader, "as-of", get.as_of);
  reader.toggle("records", get.records);
  if (has_own_format(values, command.name)) reader.one_of("format", kFeatures, get.features);
  if (!reader.status()) return fail(reader.status().error());
  return get;
}

Result<Command> parse_update(const CommandTable& command, Words words,
                             const flags::Values& values) {
  const auto id = id_of(command, words);
  if (!id) return fail(id.error());
  UpdateCommand update{.id = *id, .from = {}, .to = {}};
  flags::Reader reader(values);
  read_if_version(reader, update.if_version);
  if (!reader.status()) return fail(reader.status().error());
  if (words.size() <= 1 + 6) {
    auto box = box_or_point_of(command, words.subspan(1));
    if (!box) return fail(box.error());
    update.to = std::move(*box);
    return update;
  }
  if (update.if_version.version != 0) {
    return usage(command, "--if-version is of an update by id alone, without the old box");
  }
  std::vector<std::string> texts(words.begin() + 1, words.end());
  const auto between = static_cast<std::ptrdiff_t>(texts.size() / 2);
  if (texts.size() % 2 == 1 && (texts[between] == "to" || texts[between] == "TO")) {
    texts.erase(texts.begin() + between);
  }
  const auto numbers = coordinates(command, texts, 4);
  if (!numbers) return fail(numbers.error());
  const std::size_t dimensions = numbers->size() / 4;
  auto from = box_of(command, *numbers, 0, dimensions);
  if (!from) return fail(from.error());
  auto to = box_of(command, *numbers, 2 * dimensions, dimensions);
  if (!to) return fail(to.error());
  update.from = std::move(*from);
  update.to = std::move(*to);
  return update;
}

/// A number of entries, or all of them.
Result<std::uint64_t> parse_check(std::string_view text) {
  if (text == "all") return UINT64_MAX;
  auto entries = flags::parse_whole(text, 0, UINT64_MAX);
  if (!entries) return usage(entries.error().message + " (or all)");
  return entries;
}

Result<Command> parse_load(const CommandTable& command, Words words, const flags::Values& values) {
  if (words.size() != 1) return usage(command, "load takes one data set");
  LoadCommand load{.source = words[0]};
  flags::Reader reader(values);
  reader.toggle("skip-bad", load.skip_bad);
  reader.number("skip", 0, UINT64_MAX, load.skip);
  reader.read("check", parse_check, load.check);
  reader.number("limit", 0, UINT64_MAX, load.limit);
  reader.read("as", datasets::parse_as, load.as);
  const std::initializer_list<std::pair<const char*, std::string*>> texts = {
      {"columns", &load.columns}, {"layer", &load.layer}, {"where", &load.where}, {"id", &load.id}};
  for (const auto& [name, text] : texts) {
    reader.text(name, *text);
    if (values.has(name) && text->empty()) reader.refuse(name, "it is empty");
  }
  reader.toggle("dry-run", load.dry_run);
  reader.number("dimensions", 2, 3, load.dimensions);
  if (values.has("dimensions") && !load.dry_run) {
    reader.refuse("dimensions", "it means nothing without --dry-run: the tree has its own");
  }
  for (const char* name : {"skip", "check"}) {
    if (load.dry_run && values.has(name)) reader.refuse(name, "it means nothing with --dry-run");
  }
  reader.real("fill", load.fill);
  if (values.has("fill") && !(load.fill > 0 && load.fill <= 1)) {
    reader.refuse("fill", "'" + values.text("fill") + "' is not above 0 and at most 1");
  }
  if (!reader.status()) return fail(reader.status().error());
  return load;
}

Result<Command> parse_diff(const CommandTable& command, Words words, const flags::Values& values) {
  if (!words.empty() || !values.has("from")) {
    return usage(command, "diff takes a moment to begin from, --from, and no other arguments");
  }
  DiffCommand diff{.from = 0, .to = protocol::kNewest};
  flags::Reader reader(values);
  read_moment(reader, "from", diff.from);
  read_moment(reader, "to", diff.to);
  if (!reader.status()) return fail(reader.status().error());
  return diff;
}

Result<Command> parse_compact(const CommandTable& command, Words words,
                              const flags::Values& values) {
  if (!words.empty()) return usage(command, "compact takes no arguments");
  CompactCommand compact;
  flags::Reader reader(values);
  reader.real("fill", compact.fill);
  if (values.has("fill") && !(compact.fill > 0 && compact.fill <= 1)) {
    reader.refuse("fill", "'" + values.text("fill") + "' is not above 0 and at most 1");
  }
  if (!reader.status()) return fail(reader.status().error());
  return compact;
}

Result<Command> parse_backup(const CommandTable& command, Words words) {
  if (words.size() != 1 || words[0].empty()) {
    return usage(command, "backup takes the path of a new directory");
  }
  return BackupCommand{std::filesystem::absolute(words[0]).lexically_normal().string()};
}

Result<Command> parse_key(const CommandTable& command, Words words, const flags::Values& values) {
  if (words.size() != 2 || words[0] != "new") return usage(command, "key takes new and a name");
  KeyCommand key{.name = words[1], .role = values.text("role"), .file = values.text("file")};
  constexpr std::array<std::string_view, 3> kRoles{"reader", "writer", "operator"};
  if (std::ranges::find(kRoles, key.role) == kRoles.end()) {
    return usage(command, "key new takes --role reader, writer or operator");
  }
  if (key.file.empty()) key.file = key.name + ".key";
  return key;
}

Result<Command> parse_doctor(const CommandTable& command, Words words,
                             const flags::Values& values) {
  if (!words.empty()) return usage(command, "doctor takes no arguments");
  return DoctorCommand{.card = values.text("card"), .server_is_named = values.has("server")};
}

Result<Command> parse_join(const CommandTable& command, Words words, const flags::Values& values) {
  if (words.size() != 2) return usage(command, "join takes the names of two collections");
  JoinCommand join{.first = words[0], .second = words[1]};
  flags::Reader reader(values);
  reader.real("within-distance", join.query.within);
  reader.toggle("count", join.count_only);
  if (!reader.status()) return fail(reader.status().error());
  if (auto ok = protocol::check_join(join.query); !ok) {
    return usage(command, "--within-distance: " + ok.error().message);
  }
  return join;
}

Result<Command> parse_export(const CommandTable& command, Words words,
                             const flags::Values& values) {
  if (!words.empty()) return usage(command, "export takes no arguments: -c names the collection");
  ExportCommand wanted;
  flags::Reader reader(values);
  reader.one_of("format", kExportFormats, wanted.format);
  reader.text("output", wanted.output);
  if (!reader.status()) return fail(reader.status().error());
  return wanted;
}

Result<Command> parse_command(const CommandTable& command, Words words,
                              const flags::Values& values) {
  if (command.name == "range") return parse_range(command, words, values);
  if (command.name == "nearest") return parse_nearest(command, words, values);
  if (command.name == "radius") return parse_radius(command, words, values);
  if (command.name == "export") return parse_export(command, words, values);
  if (command.name == "join") return parse_join(command, words, values);
  if (command.name == "insert") return parse_insert(command, words);
  if (command.name == "erase") return parse_erase(command, words, values);
  if (command.name == "update") return parse_update(command, words, values);
  if (command.name == "put") return parse_put(command, words, values);
  if (command.name == "get") return parse_get(command, words, values);
  if (command.name == "load") return parse_load(command, words, values);
  if (command.name == "diff") return parse_diff(command, words, values);
  if (command.name == "cluster") return parse_cluster(command, words, values);
  if (command.name == "backup") return parse_backup(command, words);
  if (command.name == "compact") return parse_compact(command, words, values);
  if (command.name == "key") return parse_key(command, words, values);
  if (command.name == "doctor") return parse_doctor(command, words, values);
  auto of_collections = parse_collections(command, words, values);
  if (!of_collections) return fail(of_collections.error());
  if (*of_collections) return std::move(**of_collections);
  if (!words.empty()) return usage(command, std::string(command.name) + " takes no arguments");
  if (command.name == "history") return HistoryCommand{};
  return StatsCommand{};
}

// --- the command line as a whole

std::vector<flags::Option> options_of(const CommandTable& command) {
  std::vector<flags::Option> options(command.options);
  for (const flags::Option& option : general_options()) {
    const auto own = std::ranges::find(options, option.name, &flags::Option::name);
    if (own == options.end()) options.push_back(option);
  }
  return options;
}

/// Those of all commands together, with which a command can be found among its options.
std::vector<flags::Option> all_options() {
  std::vector<flags::Option> options(general_options().begin(), general_options().end());
  for (const CommandTable& command : commands()) {
    for (const flags::Option& option : command.options) {
      const auto same = std::ranges::find(options, option.name, &flags::Option::name);
      if (same == options.end()) options.push_back(option);
    }
  }
  return options;
}

tl::unexpected<Error> unknown_command(const std::string& word) {
  std::vector<std::string> names{"help"};
  for (const CommandTable& command : commands()) names.emplace_back(command.name);
  const auto plain = [](std::string_view name) { return std::string(name); };
  const std::string hint = flags::suggestion(word, names, plain);
  return usage("unknown command '" + word + "'" +
               (hint.empty() ? "; silurus help lists the commands" : hint));
}

/// What is to be read by the help: of a command, of the options, or of all.
Result<Invocation> help_for(Words words) {
  Invocation invocation;
  if (!words.empty() && words[0] == "help") words = words.subspan(1);
  if (words.empty()) {
    invocation.command = PrintCommand{help_of_all()};
  } else if (words[0] == "options") {
    invocation.command = PrintCommand{help_of_options()};
  } else if (const CommandTable* command = find_command(words[0])) {
    invocation.command = PrintCommand{help_of(*command)};
  } else {
    return unknown_command(words[0]);
  }
  return invocation;
}

/// What was wrong with the options of a command, and where they are told of unless that says more.
tl::unexpected<Error> explained(const CommandTable& command, const Error& error) {
  if (error.message.ends_with('?')) return usage(error.message);
  return usage(error.message + "; silurus " + std::string(command.name) +
               " --help lists its options");
}

}  // namespace

Status check_server(const std::string& url) {
  if (etcd::is_address(url)) {
    const auto address = etcd::GroupAddress::parse(url);
    return address ? Status() : fail(address.error());
  }
  // The client says itself what is wrong with it.
  if (url.starts_with("static://")) return {};
  const auto servers = client::split_urls(url);
  if (servers.empty()) return usage("no server is named");
  for (const std::string& server : servers) {
    const auto address = transport::Address::parse(server);
    if (!address) {
      return usage(address.error().message + "; those of clusters are etcd://host:port/name");
    }
  }
  return {};
}

Result<Invocation> parse_arguments(const std::vector<std::string>& arguments) {
  const auto any = flags::parse(all_options(), arguments);
  if (any && any->has("version")) {
    Invocation invocation;
    invocation.command = PrintCommand{"silurus " SILURUS_VERSION "\n"};
    return invocation;
  }
  if (any && (any->has("help") || (!any->words().empty() && any->words()[0] == "help"))) {
    return help_for(any->words());
  }
  // An option that no command has: the first word that is a command tells whose options it is not.
  const auto is_command = [](const std::string& word) { return find_command(word) != nullptr; };
  const auto named = std::ranges::find_if(arguments, is_command);
  if (!any && named == arguments.end()) return usage(any.error().message);
  if (any && any->words().empty()) return usage("no command; silurus help lists them");
  const std::string word = any ? any->words()[0] : *named;
  const CommandTable* const command = find_command(word);
  if (command == nullptr) return unknown_command(word);
  const auto values = flags::parse(options_of(*command), arguments);
  if (!values) return explained(*command, values.error());

  Invocation invocation;
  if (auto ok = read_settings(*values, command->name, invocation.settings); !ok) {
    return fail(ok.error());
  }
  const auto has_ids = [&](const flags::Option& one) { return one.name == "ids-as-strings"; };
  invocation.settings.ids_as_strings =
      std::ranges::any_of(command->options, has_ids) && values->has("ids-as-strings");
  auto parsed = parse_command(*command, Words(values->words()).subspan(1), *values);
  if (!parsed) return fail(parsed.error());
  invocation.command = std::move(*parsed);
  if (auto ok = check_url(*values, invocation.settings.url); !ok) return fail(ok.error());
  if (command->name == "cluster" && !etcd::is_address(invocation.settings.url)) {
    return usage(
        "silurus cluster needs --server etcd://host:port/name, where the shard map lies; "
        "the server is " +
        invocation.settings.url);
  }
  return invocation;
}

}  // namespace silurus::tool
