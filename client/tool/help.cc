// SPDX-License-Identifier: Apache-2.0

#include "client/tool/help.h"

#include <algorithm>
#include <utility>

#include "client/tool/collections.h"

namespace silurus::tool {
namespace {

using flags::Option;

constexpr std::size_t kNameWidth = 13;

constexpr std::string_view kMoment =
    "as it was at that moment: a version (812), how long ago (-30s) or a time in UTC "
    "(2026-11-21T01:18:57Z), as far back as the server keeps versions (its --retain)";

Option count_option(const char* what) { return {.name = "count", .help = what}; }
Option as_of_option() { return {.name = "as-of", .argument = "M", .help = std::string(kMoment)}; }
Option ids_option() {
  return {.name = "ids-as-strings",
          .help =
              "with --format json: ids as strings, since JSON's readers often take numbers for "
              "doubles, which are exact up to 2^53 only"};
}

constexpr std::string_view kDistances =
    "Distances are in the unit of the coordinates; in a collection created with --lonlat, in "
    "metres\n"
    "along a great circle.\n";

std::vector<CommandTable> search_commands() {
  return {
      {.name = "range",
       .summary = "finds the boxes that meet a window",
       .usages = {"XMIN YMIN XMAX YMAX", "--geometry G"},
       .options = {{.name = "predicate",
                    .argument = "P",
                    .help = "intersects: box and window share a point; within: the box lies in the "
                            "window; contains: the box contains the window",
                    .fallback = "intersects"},
                   count_option("print only how many there are"),
                   {.name = "boxes", .help = "print the boxes, too"},
                   {.name = "geometry",
                    .argument = "G",
                    .help = "instead of a window: WKT, GeoJSON, or @FILE with either; without "
                            "--exact, its box"},
                   {.name = "exact",
                    .help = "compare the geometries of entries with it, in the plane of x and y; "
                            "of an entry without one, its box"},
                   {.name = "where",
                    .argument = "C",
                    .help = "only entries whose properties meet a condition: population > 100000 "
                            "and kind = 'port'"},
                   {.name = "records", .help = "print their records, too"},
                   {.name = "limit",
                    .argument = "N",
                    .help = "stop after N boxes; which ones is unspecified"},
                   as_of_option(),
                   ids_option()},
       .details = "--format geojson prints a FeatureCollection of entries and their records, "
                  "geojsonseq a Feature a line.\n"
                  "Conditions compare (= != < <= > >=) top-level properties with numbers, strings, "
                  "true and false;\n"
                  "there are in (...), is null, and, or, not. What is missing meets none.\n",
       .examples = {"silurus range -25 63 -13 67 --count",
                    "silurus range --geometry @harbour.json --exact --where 'depth>10' -c ports"}},
      {.name = "nearest",
       .summary = "finds the k boxes nearest to a point, nearest first",
       .usages = {"X Y"},
       .options = {{.name = "k",
                    .argument = "K",
                    .help = "how many; equal distances in the order of ids",
                    .fallback = "1"},
                   {.name = "max-distance",
                    .argument = "DISTANCE",
                    .help = "leave out what is farther away than that"},
                   count_option("print only how many were found"),
                   as_of_option(),
                   ids_option()},
       .details = kDistances,
       .examples = {"silurus nearest -30 45 -k 10", "silurus nearest 2.35 48.86 --format json"}},
      {.name = "radius",
       .summary = "finds the boxes within a distance of a point, nearest first",
       .usages = {"X Y DISTANCE"},
       .options = {{.name = "k",
                    .argument = "K",
                    .help = "the K nearest of them at most",
                    .fallback = "65536"},
                   count_option("print only how many were found"),
                   as_of_option(),
                   ids_option()},
       .details = kDistances,
       .examples = {"silurus radius -30 45 5", "silurus radius 2.35 48.86 0.5 --count"}},
      {.name = "join",
       .summary = "finds the pairs of boxes of two collections that meet",
       .usages = {"A B"},
       .options = {{.name = "within-distance",
                    .argument = "D",
                    .help = "pairs at most so far from each other, not only those that share a "
                            "point",
                    .fallback = "0"},
                   count_option("print only how many pairs there are"),
                   ids_option()},
       .details = "Prints the ids of each pair, in no particular order: that of A's box, then that "
                  "of B's. Both collections are read as they were in one version of the server. A "
                  "collection may be joined with itself: then each pair is found both ways, and "
                  "each box with itself.\n",
       .examples = {"silurus join roads rivers --count",
                    "silurus join stops roads --within-distance 0.01 --format json"}},
      {.name = "export",
       .summary = "writes all boxes of a collection",
       .usages = {""},
       .options = {{.name = "format",
                    .letter = 'f',
                    .argument = "F",
                    .help = "csv, npy (NumPy: fields id, xmin, ...) or geojsonseq (a feature a "
                            "line)",
                    .fallback = "csv"},
                   {.name = "output",
                    .letter = 'o',
                    .argument = "FILE",
                    .help = "a new file (default: standard output)"},
                   ids_option()},
       .details = "All are of one version, whatever is written meanwhile. silurus load reads such "
                  "files again.\n",
       .examples = {"silurus export -c roads --output roads.csv",
                    "silurus export -c roads --format npy --output roads.npy"}}};
}

Option if_version_option() {
  return {.name = "if-version",
          .argument = "V",
          .help = "by id: only if the entry was written last in version V, which get and put tell"};
}

CommandTable get_command() {
  return {.name = "get",
          .summary = "prints the entries of some ids of a keyed collection",
          .usages = {"ID..."},
          .options = {as_of_option(),
                      {.name = "records", .help = "with the records that they carry"},
                      ids_option()},
          .details =
              "An entry is its id, its box, and the version in which it was written last.\n"
              "All are of one version of the collection. The exit status is 1 if there is "
              "none of some id.\n"
              "--format geojson prints a FeatureCollection of entries and their records, "
              "geojsonseq a Feature a line.\n",
          .examples = {"silurus get 7 -c buses", "silurus get 5 6 7 -c ports --format geojson"}};
}

CommandTable put_command() {
  return {.name = "put",
          .summary = "gives an id of a keyed collection a box, be it there or not",
          .usages = {"ID XMIN YMIN XMAX YMAX", "ID X Y", "ID --geometry G"},
          .options = {{.name = "if-absent", .help = "only if there is no entry of that id"},
                      {.name = "geometry",
                       .argument = "G",
                       .help = "of its record: WKT, GeoJSON, or @FILE with either"},
                      {.name = "properties",
                       .argument = "P",
                       .help = "of its record: a JSON object, or @FILE"},
                      if_version_option(),
                      ids_option()},
          .details =
              "It says whether it inserted or replaced. silurus create --keyed makes keyed "
              "collections,\n"
              "--records those whose entries carry records. The box of a geometry need not be "
              "said.\n",
          .examples = {"silurus put 7 2.35 48.86 -c buses --if-version 12",
                       "silurus put 3 --geometry @berth.wkt -c ports"}};
}

std::vector<CommandTable> write_commands() {
  return {
      {.name = "insert",
       .summary = "adds a box",
       .usages = {"ID XMIN YMIN XMAX YMAX"},
       .options = {ids_option()},
       .details = "Ids are whole numbers from 0 to 2^64 - 1. They need not be unique, but in a "
                  "keyed collection.\n",
       .examples = {"silurus insert 1 -22.1 64.1 -21.8 64.2",
                    "silurus insert 2 2.35 48.86 2.35 48.86"}},
      {.name = "erase",
       .summary = "removes a box; id and box must both match",
       .usages = {"ID XMIN YMIN XMAX YMAX", "ID..."},
       .options = {if_version_option(), ids_option()},
       .details = "In a keyed collection it takes ids, and no box; the exit status is 1 if "
                  "there is none of some id.\n",
       .examples = {"silurus erase 1 -22.1 64.1 -21.8 64.2",
                    "silurus erase 2 2.35 48.86 2.35 48.86 --format json"}},
      {.name = "update",
       .summary = "moves a box; searches see it at the old place or at the new one",
       .usages = {"ID XMIN YMIN XMAX YMAX to XMIN YMIN XMAX YMAX", "ID XMIN YMIN XMAX YMAX"},
       .options = {if_version_option(), ids_option()},
       .details = "Id and the old box must both match. In a keyed collection the old box may be "
                  "left out, and\nX Y is a box, too.\n",
       .examples = {"silurus update 1 0 0 1 1 to 5 5 6 6",
                    "silurus update 2 2.35 48.86 2.35 48.86 to 2.36 48.86 2.36 48.86"}},
      put_command()};
}

CommandTable load_command() {
  return {
      .name = "load",
      .summary = "loads a data set: in bulk into an empty tree, else by inserts",
      .usages = {"SOURCE"},
      .options = {{.name = "fill",
                   .argument = "F",
                   .help = "how full leaves shall be, above 0 and at most 1 (bulk load only)"},
                  {.name = "columns",
                   .argument = "LIST",
                   .help = "CSV: which column is which, whatever the header says: id, xmin, ymin, "
                           "xmax, ymax, or id, x, y, in the file's order, parted by commas; "
                           "ignore for a column to leave out, ... for all further ones"},
                  {.name = "layer",
                   .argument = "NAME",
                   .help = "the layer, variable or table to load, if the file has several"},
                  {.name = "where",
                   .argument = "CONDITION",
                   .help = "load only features that meet this condition, as GDAL understands it: "
                           "\"lanes > 2 AND kind = 'street'\""},
                  {.name = "id",
                   .argument = "COLUMN",
                   .help = "the column that ids are read from (default: the layer's own numbers)"},
                  {.name = "as",
                   .argument = "FORM",
                   .help = "what becomes of lines and areas: boxes, one about each feature; "
                           "points, one for each vertex; or segments, a box for each piece "
                           "between two vertices (default: boxes)"},
                  {.name = "skip-bad",
                   .help = "count malformed lines and bad features instead of stopping at the "
                           "first"},
                  {.name = "dry-run",
                   .help = "load nothing and ask no server: print what would be loaded, the box "
                           "about it and the first three entries"},
                  {.name = "dimensions",
                   .argument = "D",
                   .help = "with --dry-run: of the tree that is meant, 2 or 3",
                   .fallback = "2"},
                  {.name = "limit",
                   .argument = "N",
                   .help = "read no more than the first N entries of SOURCE"},
                  {.name = "skip",
                   .argument = "N",
                   .help = "leave out the first N entries of SOURCE"},
                  {.name = "check",
                   .argument = "N",
                   .help = "insert the next N, or all, only if the tree does not hold them (the "
                           "same id and box)"}},
      .details =
          "SOURCE is a file, - (CSV from standard input), gshhg (the world's coastlines, package\n"
          "gmt-gshhg-full), or a generator: uniform:COUNT[:seed=S][:edge=E], powerlaw:...,\n"
          "clusters:..., roads:... . What a file is, its first bytes tell: CSV, packed by gzip "
          "or\n"
          "not; GeoPackage, Shapefile, GeoJSON, FlatGeobuf, KML, GPX, OpenStreetMap, file\n"
          "geodatabase (package silurus-gdal); netCDF (CF, UGRID, GSHHG); HDF5; FITS; NumPy's\n"
          ".npy; LAS; SWC. FILE:/DATASET[,/DATASET...][#ids=/DATASET] are columns of HDF5.\n"
          "Columns of CSV are read by the names in the header, in any order: id, gid; x, lon, "
          "lng;\n"
          "y, lat; xmin, min_x, west; and so on. Without a header they are "
          "id,xmin,ymin,xmax,ymax\n"
          "or id,x,y. Without an id, lines are numbered from 1. What was understood is printed.\n"
          "A load by inserts that fails leaves what is in, and prints the command that goes on,\n"
          "with --skip and --check. A bulk load that fails leaves nothing.\n",
      .examples = {"silurus load boxes.csv.gz --columns id,min_y,min_x,max_y,max_x",
                   "silurus load roads.gpkg --where lanes=2 --as segments --dry-run"}};
}

std::vector<CommandTable> server_commands() {
  return {
      {.name = "stats",
       .summary = "shows the server's statistics",
       .usages = {""},
       .options = {},
       .details = "",
       .examples = {"silurus stats", "silurus stats --format json --server tcp://127.0.0.1:7470"}},
      {.name = "history",
       .summary = "lists the versions that --as-of can name",
       .usages = {""},
       .options = {},
       .details = "A server keeps old versions if it is started with --retain.\n",
       .examples = {"silurus history", "silurus history --format csv"}},
      {.name = "diff",
       .summary = "lists the ids inserted, erased and moved between two moments",
       .usages = {"--from M [--to M]"},
       .options = {{.name = "from",
                    .argument = "M",
                    .help = "the first moment: a version (812), how long ago (-30s) or a time in "
                            "UTC (2026-11-21T01:18:57Z)"},
                   {.name = "to", .argument = "M", .help = "the second moment; without it, now"},
                   ids_option()},
       .details = "",
       .examples = {"silurus diff --from 812 --to 900", "silurus diff --from -10m"}},
      {.name = "backup",
       .summary = "has the server copy its tree into a new data directory",
       .usages = {"DIRECTORY"},
       .options = {},
       .details =
           "The directory is on the server's machine, and must not be there yet. The server goes\n"
           "on meanwhile; the copy is of one version. A server starts from it (--data).\n",
       .examples = {"silurus backup /var/backups/monday", "silurus backup ~/monday"}},
      {.name = "compact",
       .summary = "packs the tree's nodes, so that memory that erasures have left comes back",
       .usages = {""},
       .options = {{.name = "fill",
                    .argument = "F",
                    .help = "how full nodes are made, above 0 and at most 1",
                    .fallback = "0.9"}},
       .details =
           "The server packs some nodes at a time, each time as a version of its own, while "
           "others\n"
           "read and write; no entry changes. Each step is asked for by this command, so that "
           "ending\n"
           "it ends the compaction, and what was packed stays packed. In a group all members do "
           "the\n"
           "same; of a sharded cluster the shards are packed one after the other. Memory of older\n"
           "versions comes back when no client may read them any more (--retain of the server).\n",
       .examples = {"silurus compact", "silurus compact --fill 1 --format json"}},
      {.name = "key",
       .summary = "makes a key, with which a client proves to a server over tcp and rdma who it is",
       .usages = {"new NAME --role ROLE"},
       .options = {{.name = "role",
                    .argument = "ROLE",
                    .help = "what its holder may do: reader, writer or operator"},
                   {.name = "file",
                    .argument = "FILE",
                    .help = "the file to be made (default: NAME.key)"}},
       .details =
           "Prints the rule for the server's file of access rules (--access), which names the\n"
           "key's file; asks no server. Clients name the file by SILURUS_KEY=FILE, or by "
           "?key=FILE\n"
           "in a URL. Both sides prove that they hold the key, which never goes over the network.\n"
           "A server of your own user on this machine needs none: it leaves a key where your\n"
           "programs find it.\n",
       .examples = {"silurus key new alice --role writer",
                    "silurus key new screen --role reader --file /etc/silurus/screen.key"}},
      {.name = "doctor",
       .summary = "checks this machine, its RDMA cards and the server, and says what to do",
       .usages = {""},
       .options = {{.name = "card",
                    .argument = "DEVICE",
                    .help =
                        "test the assumptions about that RDMA card: all, a name as \"rdma link\" "
                        "lists it, or none; takes some seconds each",
                    .fallback = "all"}},
       .details =
           "Each line ends with ok, with not applicable, or with what to do: a command or an\n"
           "option. Exit status 1 if anything is an error.\n",
       .examples = {"silurus doctor", "silurus doctor --card none --server tcp://127.0.0.1:7470"}},
      {.name = "cluster",
       .summary = "shows and changes how data are divided between servers",
       .usages = {"status", "init XMIN YMIN XMAX YMAX URL...", "add-shard URL...",
                  "split SHARD [URL URL]", "move SHARD [URL]"},
       .options = {{.name = "edge",
                    .argument = "E",
                    .help = "of init: longest edge of a box that its own shard holds; the first "
                            "shard holds larger ones, and what lies outside of the frame "
                            "(default: a thousandth of the frame's)"},
                   {.name = "at",
                    .argument = "KEY",
                    .help = "of split: first key of the second part (default: the median)"},
                   {.name = "abort",
                    .help = "of split and move: end one that was begun; the shard stays"}},
       .details =
           "The server (--server) is etcd://host:port/name here, where the shard map lies; other\n"
           "commands take it too, and search and write in all shards.\n"
           "  status     lists the shards, with what they hold\n"
           "  init       makes the map: the frame of most of the data, and one empty server for\n"
           "             each shard\n"
           "  add-shard  names empty servers, for split and move to use\n"
           "  split      replaces a shard by two, on empty servers, while it serves\n"
           "  move       replaces a shard by one on another server, while it serves\n"
           "Called again, split and move go on with what was begun.\n",
       .examples = {"silurus cluster init -180 -90 180 90 tcp://127.0.0.1:7471 "
                    "tcp://127.0.0.1:7472",
                    "silurus cluster split 0 tcp://127.0.0.1:7473 tcp://127.0.0.1:7474"}}};
}

std::vector<CommandTable> make_commands() {
  std::vector<CommandTable> all;
  for (auto&& some : {search_commands(), std::vector{get_command()}, write_commands(),
                      std::vector{load_command()}, collection_commands(), server_commands()}) {
    all.insert(all.end(), some.begin(), some.end());
  }
  return all;
}

}  // namespace

std::span<const CommandTable> commands() {
  static const std::vector<CommandTable> all = make_commands();
  return all;
}

const CommandTable* find_command(std::string_view name) {
  const auto all = commands();
  const auto found = std::ranges::find(all, name, &CommandTable::name);
  return found == all.end() ? nullptr : &*found;
}

std::span<const Option> general_options() {
  static const std::vector<Option> all{
      {.name = "server",
       .letter = 's',
       .argument = "URL",
       .help = "shm:///path, tcp://host:port or rdma://host:port; of a group of replicas: its "
               "members', parted by commas, or etcd://host:port/name; of a sharded cluster: "
               "etcd://host:port/name (default: $SILURUS_SERVER, else the socket that "
               "silurus-server listens on by default)"},
      {.name = "collection",
       .letter = 'c',
       .argument = "NAME",
       .help = "the collection of the server that is read, written or loaded (default: "
               "$SILURUS_COLLECTION, else the one called default)"},
      {.name = "mode",
       .letter = 'm',
       .argument = "MODE",
       .help = "how searches run: messaging, offload (walk the tree with one-sided reads) or "
               "adaptive",
       .fallback = "adaptive"},
      {.name = "policy",
       .argument = "P",
       .help = "how adaptive decides: cost (by what searches cost either way, measured), catfish "
               "(by the server's heartbeats, as the Catfish paper is recalled) or "
               "catfish-doubling (another reading of that paper, with windows that double)",
       .fallback = "cost"},
      {.name = "read",
       .argument = "FROM",
       .help = "which member of a group answers searches: primary, or any that is fresh enough",
       .fallback = "primary"},
      {.name = "max-staleness",
       .argument = "D",
       .help = "with --read any: how old an answer may be",
       .fallback = "1s"},
      {.name = "format",
       .letter = 'f',
       .argument = "F",
       .help = "format of what is printed: text, json or csv",
       .fallback = "text"},
      {.name = "timeout",
       .argument = "D",
       .help = "the longest wait, 500ms or 10s, for each of: a connection; the answer to a search, "
               "a write or stats; an answer of etcd; another server, after one was lost. Steps of "
               "load, history, diff, compact, backup, cluster split and cluster move may take "
               "longer while "
               "the server shows signs of life: they end when there was none for this time",
       .fallback = "10s"},
      {.name = "help", .letter = 'h', .help = "print the help; after a command, that command's"},
      {.name = "version", .letter = 'V', .help = "print the version"}};
  return all;
}

std::string help_of_all() {
  std::string text =
      "silurus: asks a Silurus server\n\nUsage: silurus COMMAND ARGUMENTS [OPTIONS]\n\nCommands:\n";
  for (const CommandTable& command : commands()) {
    std::string name(command.name);
    name.resize(kNameWidth, ' ');
    text += "  " + name + std::string(command.summary) + "\n";
  }
  return text +
         "\nsilurus help COMMAND tells of one command, silurus help options of the options that\n"
         "all of them take (--server, --format, --timeout, ...), which may stand anywhere.\n"
         "\nExit status: 0; 1 if something failed (the reason is on stderr); 2 if the command\n"
         "line is wrong.\n";
}

std::string help_of(const CommandTable& command) {
  const std::string name = "silurus " + std::string(command.name);
  std::string text = name + ": " + std::string(command.summary) + "\n\n";
  std::string before = "Usage: ";
  for (const std::string_view usage : command.usages) {
    text += std::exchange(before, "       ") + name + (usage.empty() ? "" : " ") +
            std::string(usage) + " [OPTIONS]\n";
  }
  const bool has_boxes = std::ranges::any_of(command.usages, [](std::string_view usage) {
    return usage.find("XMIN") != std::string_view::npos;
  });
  if (has_boxes) text += "(for a tree of three dimensions: XMIN YMIN ZMIN XMAX YMAX ZMAX)\n";
  if (!command.options.empty()) text += "\nOptions:\n" + flags::describe(command.options);
  if (!command.details.empty()) text += "\n" + std::string(command.details);
  text += "\nExamples:\n";
  for (const std::string_view example : command.examples) {
    text += "  " + std::string(example) + "\n";
  }
  return text +
         "\nOptions of all commands (--server, --format, --timeout, ...): silurus help options\n";
}

std::string help_of_options() {
  return "Options that every command of silurus takes, anywhere on the line:\n" +
         flags::describe(general_options());
}

std::string usage_of(const CommandTable& command) {
  std::string text;
  for (const std::string_view usage : command.usages) {
    text += (text.empty() ? "usage: silurus " : "\n       silurus ") + std::string(command.name) +
            (usage.empty() ? "" : " ") + std::string(usage);
  }
  return text;
}

}  // namespace silurus::tool
