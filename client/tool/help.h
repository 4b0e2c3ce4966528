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
     "  --limit N       stop after N boxes (which ones is unspecified)\n",
     "predicate count limit"},
    {"nearest", "X Y", "finds the k boxes nearest to a point, nearest first",
     "  -k K            how many (default 1); equal distances in the order of ids\n"
     "  --count         only how many were found\n",
     "k count"},
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
};

inline constexpr std::string_view kGeneralOptions =
    "Options, anywhere on the line:\n"
    "  -s, --server URL   shm:///path or tcp://host:port (default: $SILURUS_SERVER, else the\n"
    "                     socket that silurus-server uses by default)\n"
    "  -m, --mode MODE    messaging, offload (walk the tree with one-sided reads), or adaptive\n"
    "                     (default)\n"
    "      --policy P     of adaptive: cost (default) or catfish\n"
    "  -f, --format F     text (default), json, csv\n"
    "      --timeout D    of connecting and of each request: 500ms, 10s (default)\n"
    "  -h, --help         also after a command\n"
    "      --version\n";

}  // namespace silurus::tool
