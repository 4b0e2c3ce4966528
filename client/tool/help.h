#pragma once

#include <string_view>

namespace silurus::tool {

/// One command, as the help and the parser know it.
struct CommandHelp {
  std::string_view name;
  std::string_view arguments;
  std::string_view summary;
  std::string_view details;
  std::string_view options;  ///< those of its own, separated by blanks: "count limit"
};

inline constexpr CommandHelp kCommands[] = {
    {"range", "XMIN YMIN XMAX YMAX", "finds the boxes that meet a window",
     "  --predicate P   intersects (default): box and window share a point; within: the box lies\n"
     "                  in the window; contains: the box contains the window\n"
     "  --count         only how many\n"
     "  --limit N       stop after N boxes (which ones is unspecified)\n"
     "  --as-of M       as it was at that moment: a version (812), how long ago (-30s) or a time "
     "in\n"
     "                  UTC (2026-11-21T01:18:57Z), as far as the server keeps it (--retain)\n",
     "predicate count limit as-of"},
    {"nearest", "X Y", "finds the k boxes nearest to a point, nearest first",
     "  -k K            how many (default 1); equal distances in the order of ids\n"
     "  --count         only how many were found\n"
     "  --as-of M       as it was at that moment (see range)\n",
     "k count as-of"},
    {"insert", "ID XMIN YMIN XMAX YMAX", "adds a box", "", ""},
    {"erase", "ID XMIN YMIN XMAX YMAX", "removes a box; id and box must both match", "", ""},
    {"update", "ID XMIN YMIN XMAX YMAX to XMIN YMIN XMAX YMAX",
     "moves a box; searches see it at the old place or at the new one", "", ""},
    {"load", "SOURCE", "loads a data set: in bulk into an empty tree, else by inserts",
     "  --fill F        how full leaves shall be, above 0 and at most 1 (bulk load only)\n"
     "  --skip-bad      count malformed CSV lines instead of stopping at the first\n"
     "SOURCE is FILE.csv (id,xmin,ymin,xmax,ymax or id,x,y), - (CSV from standard input),\n"
     "FILE.nc or gshhg (the world's coastlines, package gmt-gshhg-full), or a generator:\n"
     "uniform:COUNT[:seed=S][:edge=E], powerlaw:..., clusters:..., roads:... .\n",
     "fill skip-bad"},
    {"stats", "", "shows the server's statistics", "", ""},
    {"history", "", "lists the versions that --as-of can name", "", ""},
    {"diff", "--from M [--to M]", "lists the ids inserted, erased and moved between two moments",
     "  --from M, --to M   moments as --as-of of range takes them; without --to, now\n", "from to"},
    {"backup", "DIRECTORY", "has the server copy its tree into a new data directory",
     "The directory is on the server's machine, and must not be there yet. The server goes on\n"
     "meanwhile; the copy is of one version. A server starts from it (--data).\n",
     ""},
    {"doctor", "", "examines this machine, its RDMA cards and the server: what is well, what to do",
     "Each line ends with ok, with not applicable, or with what to do: a command or an option.\n"
     "Exit status 1 if anything is an error.\n"
     "  --card DEVICE   tries what is assumed of that RDMA card: all (default), a name as \"rdma "
     "link\"\n"
     "                  lists it, or none; takes some seconds each\n",
     "card"},
    {"cluster", "status | init ... | add-shard ... | split ... | move ...",
     "shows and changes how data are divided between servers",
     "The server is etcd://host:port/name here, where the shard map lies; the commands above take\n"
     "it too, and search and write in all shards.\n"
     "  status                        the shards, with what they hold\n"
     "  init XMIN YMIN XMAX YMAX URL...  makes the map: the frame of most of the data, and one\n"
     "                                empty server for each shard\n"
     "    --edge E                    longest edge of a box that its own shard holds; the first\n"
     "                                shard holds larger ones, and what lies outside of the frame\n"
     "                                (default: a thousandth of the frame's)\n"
     "  add-shard URL...              empty servers, for split and move to use\n"
     "  split SHARD [URL URL]         replaces a shard by two, on empty servers, while it serves\n"
     "    --at KEY                    first key of the second (default: the median)\n"
     "  move SHARD [URL]              replaces a shard by one on another server\n"
     "    --abort                     of split and move: ends one that was begun, the shard stays\n"
     "Called again, split and move go on with what was begun.\n",
     "at edge abort"},
};

inline constexpr std::string_view kGeneralOptions =
    "Options, anywhere on the line:\n"
    "  -s, --server URL   shm:///path, tcp://host:port or rdma://host:port (default:\n"
    "                     $SILURUS_SERVER, else the socket that silurus-server uses by default);\n"
    "                     of a group: its members', parted by commas, or etcd://host:port/name\n"
    "  -m, --mode MODE    messaging, offload (walk the tree with one-sided reads), or adaptive\n"
    "                     (default)\n"
    "      --policy P     of adaptive: cost (default) or catfish\n"
    "      --read FROM    which member of a group answers searches: primary (default), or any\n"
    "                     that is fresh enough\n"
    "      --max-staleness D    with --read any: how old an answer may be (default: 1s)\n"
    "  -f, --format F     text (default), json, csv\n"
    "      --timeout D    of connecting and of each request: 500ms, 10s (default)\n"
    "  -h, --help         also after a command\n"
    "  -V, --version\n";

}  // namespace silurus::tool
