// SPDX-License-Identifier: Apache-2.0

#include "client/tool/collections.h"

#include <algorithm>
#include <array>
#include <utility>

#include "common/json.h"
#include "common/units.h"

namespace silurus::tool {
namespace {

using Words = std::span<const std::string>;
using Json = nlohmann::ordered_json;

tl::unexpected<Error> wrong(const CommandTable& command, const std::string& message) {
  return fail(ErrorCode::kInvalidArgument, message + "\n" + usage_of(command));
}

Result<Command> parse_create(const CommandTable& command, Words words,
                             const flags::Values& values) {
  if (words.size() != 1) return wrong(command, "create takes the name of the new collection");
  CreateCommand create{.name = words[0]};
  flags::Reader reader(values);
  reader.number("dimensions", 2, 3, create.dimensions);
  reader.toggle("keyed", create.options.keyed);
  reader.toggle("lonlat", create.options.lonlat);
  reader.toggle("records", create.options.records);
  if (!reader.status()) return fail(reader.status().error());
  return create;
}

/// A change that names one collection, and perhaps a text.
Result<Command> parse_change(const CommandTable& command, Words words, Change change,
                             std::size_t texts, std::string_view what) {
  if (words.size() != 1 + texts) {
    return wrong(command, std::string(command.name) + " takes " + std::string(what));
  }
  return ChangeCommand{
      .change = change, .name = words[0], .text = texts > 0 ? words[1] : std::string()};
}

Result<Command> parse_rename(const CommandTable& command, Words words,
                             const flags::Values& values) {
  bool replaces = false;
  flags::Reader reader(values);
  reader.toggle("replace", replaces);
  if (!reader.status()) return fail(reader.status().error());
  return parse_change(command, words, replaces ? Change::kReplace : Change::kRename, 1,
                      "the name of a collection and its new one");
}

std::string done_text(const ChangeCommand& command) {
  switch (command.change) {
    case Change::kDrop:
      return "dropped";
    case Change::kClear:
      return "cleared";
    case Change::kRename:
    case Change::kReplace:
      return "renamed";
    case Change::kNote:
      break;
  }
  return "annotated";
}

std::string kinds(const nlohmann::json& collection) {
  std::string text;
  for (const char* kind : {"keyed", "lonlat", "records"}) {
    const auto& field = json_field(collection, kind);
    if (!field.is_boolean() || !field.get<bool>()) continue;
    text += (text.empty() ? "" : "+") + std::string(kind);
  }
  return text.empty() ? "-" : text;
}

}  // namespace

std::vector<CommandTable> collection_commands() {
  return {
      {.name = "collections",
       .summary = "lists the server's collections",
       .usages = {""},
       .options = {},
       .details = "A server has named collections, each a tree with entries of its own. Commands "
                  "that read\n"
                  "and write are for the one that --collection names, or $SILURUS_COLLECTION; else "
                  "for the\n"
                  "one called default.\n",
       .examples = {"silurus collections", "silurus collections --format json"}},
      {.name = "create",
       .summary = "creates a collection",
       .usages = {"NAME"},
       .options = {{.name = "dimensions",
                    .argument = "D",
                    .help = "of its boxes, 2 or 3 (default: those of the server)"},
                   {.name = "keyed", .help = "an id is unique in it"},
                   {.name = "lonlat", .help = "coordinates are degrees, longitude first"},
                   {.name = "records",
                    .help = "an entry may carry a record; then an id is unique"}},
       .details = "NAME has 1 to 63 letters, digits, '_', '-' and '.'.\n",
       .examples = {"silurus create roads", "silurus load roads.gpkg --collection roads"}},
      {.name = "drop",
       .summary = "drops a collection with all that it holds",
       .usages = {"NAME"},
       .options = {},
       .details = "",
       .examples = {"silurus drop roads", "silurus drop roads --format json"}},
      {.name = "clear",
       .summary = "takes all entries out of a collection",
       .usages = {"NAME"},
       .options = {},
       .details = "",
       .examples = {"silurus clear roads", "silurus clear default"}},
      {.name = "rename",
       .summary = "gives a collection another name, or puts it in the place of another one",
       .usages = {"FROM TO"},
       .options = {{.name = "replace",
                    .help = "another collection called TO is dropped at the same moment, and its "
                            "clients go on with this one"}},
       .details = "So a data set is loaded beside the one that serves, and then replaces it.\n",
       .examples = {"silurus rename roads streets", "silurus rename roads-new roads --replace"}},
      {.name = "annotate",
       .summary = "keeps a line of text with a collection",
       .usages = {"NAME TEXT"},
       .options = {},
       .details = "",
       .examples = {"silurus annotate roads 2026-11-01",
                    "silurus annotate roads 2026-12-01 --format json"}}};
}

Result<std::optional<Command>> parse_collections(const CommandTable& command, Words words,
                                                 const flags::Values& values) {
  const auto parsed = [&]() -> std::optional<Result<Command>> {
    if (command.name == "create") return parse_create(command, words, values);
    if (command.name == "rename") return parse_rename(command, words, values);
    if (command.name == "drop") {
      return parse_change(command, words, Change::kDrop, 0, "the name of a collection");
    }
    if (command.name == "clear") {
      return parse_change(command, words, Change::kClear, 0, "the name of a collection");
    }
    if (command.name == "annotate") {
      return parse_change(command, words, Change::kNote, 1, "the name of a collection and a text");
    }
    if (command.name != "collections") return std::nullopt;
    if (!words.empty()) return wrong(command, "collections takes no arguments");
    return CollectionsCommand{};
  }();
  if (!parsed) return std::nullopt;
  if (!*parsed) return fail(parsed->error());
  return **parsed;
}

std::string format_collections(const std::string& json, Format format) {
  const auto value = parse_json(json);
  if (format == Format::kJson || !json_field(value, "collections").is_array()) return json + "\n";
  constexpr std::array kColumns{"name", "dimensions", "kind", "entries", "version", "note"};
  std::vector<std::array<std::string, kColumns.size()>> rows{
      {"name", "dimensions", "kind", "entries", "version", "note"}};
  for (const auto& one : json_array(value, "collections")) {
    rows.push_back(
        {printable(json_string(one, "name")), std::to_string(json_number(one, "dimensions")),
         kinds(one), std::to_string(json_number(one, "entries")),
         std::to_string(json_number(one, "version")), printable(json_string(one, "note"))});
  }
  std::array<std::size_t, kColumns.size()> widths{};
  for (const auto& row : rows) {
    for (std::size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], row[i].size());
  }
  std::string text;
  for (const auto& row : rows) {
    std::string line;
    for (std::size_t i = 0; i < row.size(); ++i) {
      if (format == Format::kCsv) {
        line += (i > 0 ? "," : "") + csv_field(row[i]);
        continue;
      }
      line += (i > 0 ? "  " : "") + row[i] + std::string(widths[i] - row[i].size(), ' ');
    }
    line.erase(line.find_last_not_of(' ') + 1);
    text += line + "\n";
  }
  return text;
}

template <int D>
Result<std::string> create_collection(Client<D>& client, const CreateCommand& command,
                                      Format format) {
  if (command.dimensions != 0 && command.dimensions != D) {
    return fail(ErrorCode::kUnsupported,
                "this server has collections of " + std::to_string(D) + " dimensions, not of " +
                    std::to_string(command.dimensions) + ": start another one with --dimensions " +
                    std::to_string(command.dimensions));
  }
  const Status created = client.create_collection(command.name, command.options);
  if (!created) return fail(created.error());
  if (format == Format::kJson) {
    return json_text(Json{{"done", "created"}, {"collection", command.name}, {"dimensions", D}}) +
           "\n";
  }
  return "created the collection " + command.name + " of " + std::to_string(D) + " dimensions\n";
}

template <int D>
Result<std::string> change_collection(Client<D>& client, const ChangeCommand& command,
                                      Format format) {
  const Status changed = [&] {
    switch (command.change) {
      case Change::kDrop:
        return client.drop_collection(command.name);
      case Change::kClear:
        return client.clear_collection(command.name);
      case Change::kRename:
        return client.rename_collection(command.name, command.text);
      case Change::kReplace:
        return client.rename_collection(command.name, command.text, true);
      case Change::kNote:
        break;
    }
    return client.annotate_collection(command.name, command.text);
  }();
  if (!changed) return fail(changed.error());
  const bool is_renamed = command.change == Change::kRename || command.change == Change::kReplace;
  const std::string done = done_text(command);
  if (format == Format::kJson) {
    Json json{{"done", done}, {"collection", command.name}};
    if (is_renamed) json["to"] = command.text;
    return json_text(json) + "\n";
  }
  return done + " the collection " + command.name + (is_renamed ? " to " + command.text : "") +
         "\n";
}

template Result<std::string> create_collection(Client<2>&, const CreateCommand&, Format);
template Result<std::string> create_collection(Client<3>&, const CreateCommand&, Format);
template Result<std::string> change_collection(Client<2>&, const ChangeCommand&, Format);
template Result<std::string> change_collection(Client<3>&, const ChangeCommand&, Format);

}  // namespace silurus::tool
