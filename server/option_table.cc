// SPDX-License-Identifier: Apache-2.0

#include "server/option_table.h"

#include "datasets/open.h"
#include "server/replica_thread.h"

namespace silurus::server {
namespace {

OptionSection serving() {
  return {
      "Serving",
      {{.name = "listen",
        .argument = "URL",
        .help = "where to listen: shm:///PATH, tcp://HOST:PORT or rdma://HOST:PORT; may be "
                "repeated (default: $SILURUS_SERVER, else a socket of this user)",
        .repeats = true},
       {.name = "dimensions", .argument = "N", .help = "2 or 3", .fallback = "2"},
       {.name = "load",
        .argument = "DATA",
        .help = "data set to begin with: " + std::string(datasets::kDatasetForms)},
       {.name = "columns",
        .argument = "LIST",
        .help = "of the CSV file of --load: which column is which, as in silurus load"},
       {.name = "allow-other-users",
        .help = "accept clients of other users, from this machine and others, which may read and "
                "write"},
       {.name = "access",
        .argument = "FILE",
        .help = "who else may do what: [[principal]] with user, group, key or anyone, and role; "
                "read again on SIGHUP (SECURITY.md)"},
       {.name = "ready-file",
        .argument = "PATH",
        .help = "file to write the addresses to once clients may connect"},
       {.name = "outlive",
        .help = "run under a keeper: when the server dies or hangs, one-sided reads go on, and a "
                "successor is started (SIGUSR2 replaces it; takes memory for two trees while "
                "that starts)"},
       {.name = "restart-hung",
        .argument = "TIME",
        .help = "with --outlive: replace a server that has shown no life for that long, or a "
                "successor whose start has not advanced for five minutes (default: as the "
                "service manager's watchdog, else never)"}}};
}

OptionSection resources() {
  return {
      "Resources",
      {{.name = "memory", .argument = "SIZE", .help = "memory for the tree", .fallback = "4G"},
       {.name = "threads",
        .argument = "N",
        .help = "threads that serve clients (default: one for each core)"},
       {.name = "cpus",
        .argument = "LIST",
        .help = "pin the threads to these cores, in turn: 0,1",
        .repeats = true},
       {.name = "max-clients", .argument = "N", .help = "clients at once", .fallback = "4096"},
       {.name = "max-clients-per-peer",
        .argument = "N",
        .help = "clients of one user of this machine, or of one host, at each address",
        .fallback = "1024"},
       {.name = "handshake-timeout",
        .argument = "TIME",
        .help = "longest time from connecting to saying hello",
        .fallback = "5s"},
       {.name = "idle-timeout",
        .argument = "TIME",
        .help = "disconnect clients that have sent nothing for this time (default: never)"},
       {.name = "ring-budget",
        .argument = "SIZE",
        .help = "memory for the message rings of all clients",
        .fallback = "64M"},
       {.name = "huge-pages", .help = "keep the tree in huge pages where the system has them"},
       {.name = "wait",
        .argument = "HOW",
        .help = "adaptive (spin where that pays, pause where one pause collects many requests and "
                "holds no client back, else sleep), spin, sleep, or periodic (look now and then, "
                "whatever "
                "clients do)",
        .fallback = "adaptive"},
       {.name = "longest-pause",
        .argument = "TIME",
        .help = "what a request may have to wait for a pause (default: 1ms, with --wait periodic "
                "5ms; 0s: no pauses)"},
       {.name = "grace",
        .argument = "TIME",
        .help = "time that one-sided readers have for a search",
        .fallback = "50ms"},
       {.name = "heartbeat",
        .argument = "TIME",
        .help = "interval of heartbeats to active clients",
        .fallback = "10ms"}}};
}

OptionSection durability() {
  return {
      "Durability and the past",
      {{.name = "data",
        .argument = "PATH",
        .help = "directory or devdax device that keeps the tree (default: only memory does)"},
       {.name = "durability",
        .argument = "HOW",
        .help = "sync: an answer waits until its write is durable; async: it does not, a crash may "
                "take back the last --flush-interval; none: keep nothing",
        .fallback = "sync"},
       {.name = "flush-interval",
        .argument = "TIME",
        .help = "of --durability async",
        .fallback = "10ms"},
       {.name = "checkpoint-interval",
        .argument = "TIME",
        .help = "longest time between two checkpoints; one is also taken when the log is half full",
        .fallback = "60s"},
       {.name = "log-size",
        .argument = "SIZE",
        .help = "what the log of a new data directory takes",
        .fallback = "256M"},
       {.name = "accept-damaged-log",
        .help = "start although durable records are damaged, and lose what follows them"},
       {.name = "check",
        .argument = "PATH",
        .help = "verify a data directory, say what a start would do, change nothing"},
       {.name = "retain",
        .argument = "TIME",
        .help = "how far back in time the tree can be asked (default: not at all)"},
       {.name = "retain-versions",
        .argument = "N",
        .help =
            "how many versions are kept for that; if there are more, older ones are thinned out",
        .fallback = "256"}}};
}

OptionSection replication() {
  return {
      "Replication",
      {{.name = "cluster",
        .argument = "URL",
        .help = "be a member of this cluster (with --data). Its views are in etcd: "
                "etcd://HOST:PORT/NAME; or at its first member, its permanent leader: "
                "static://HOST:PORT/NAME, where that one listens for the others"},
       {.name = "lead",
        .help = "as the first member of a static:// cluster: founds it, and leads it after each "
                "start"},
       {.name = "take-over",
        .help = "with --lead, once: in place of the first member, which is lost and will not come "
                "back, and whose last view included this one"},
       {.name = "shard", .argument = "N", .help = "which shard of the cluster", .fallback = "0"},
       {.name = "group-address",
        .argument = "URL",
        .help = "where to listen for other members: tcp://HOST:PORT, rdma://HOST:PORT or "
                "shm:///PATH",
        .fallback = kAnyGroupAddress},
       {.name = "cluster-key",
        .argument = "FILE",
        .help = "the key that members prove to each other over tcp and rdma; the same at all "
                "members. Needed where other users or hosts can reach --group-address"},
       {.name = "replicator",
        .argument = "HOW",
        .help = "how the log gets to other members: multicast, log-write or chain; the same at all "
                "members",
        .fallback = "multicast"},
       {.name = "ack",
        .argument = "WHO",
        .help = "which members must have a write before it is acknowledged, in a cluster that this "
                "server founds: all, a quorum of them, or metadata (the primary, while the others "
                "know of it)",
        .fallback = "all"},
       {.name = "min-members",
        .argument = "N",
        .help = "acknowledge no write while the cluster has fewer members with whole copies: a "
                "number, or majority (of the most that were in it at once). Counts while this "
                "server leads; default: as the cluster was told before, or majority"},
       {.name = "group-multicast",
        .argument = "URL",
        .help = "where members send the log by multicast: rdma://239.1.2.3:PORT"},
       {.name = "advertise",
        .argument = "URLS",
        .help = "where clients are told that this member listens (default: --listen)"},
       {.name = "group-lease",
        .argument = "TIME",
        .help = "how long the primary may answer reads without hearing from the others, and so how "
                "soon it can be replaced; the same at all members",
        .fallback = "2s"}}};
}

OptionSection program() {
  return {"The program",
          {{.name = "config",
            .argument = "FILE",
            .help = "take options from a TOML file, with these names as keys: memory = \"4G\"; the "
                    "command line goes before it"},
           {.name = "print-config", .help = "print all options in that form, and do nothing else"},
           {.name = "log-level",
            .argument = "LEVEL",
            .help = "debug, info, warning, error or off",
            .fallback = "info"},
           {.name = "log-format",
            .argument = "FORMAT",
            .help = "text, or json (an object a line: time, level, message)",
            .fallback = "text"},
           {.name = "version", .letter = 'V', .help = "print the version"},
           {.name = "help", .letter = 'h', .help = "print this text"}}};
}

}  // namespace

std::vector<OptionSection> option_sections() {
  return {serving(), resources(), durability(), replication(), program()};
}

std::string help_text() {
  std::string text =
      "Serves an R-tree in memory to clients on this machine and others.\n\n"
      "Usage: silurus-server [OPTION...]\n";
  for (const OptionSection& section : option_sections()) {
    text += "\n" + section.title + ":\n" + flags::describe(section.options);
  }
  return text;
}

}  // namespace silurus::server
