// SPDX-License-Identifier: Apache-2.0

#include "gate/options.h"

#include <algorithm>
#include <array>
#include <charconv>

#include "common/flags.h"
#include "common/result.h"
#include "gate/limits.h"
#include "silurus/client.h"

namespace silurus::gate {
namespace {

using flags::Option;

constexpr std::string_view kScheme = "http://";
constexpr flags::Names<Mode, 3> kModes = {
    {{"messaging", Mode::kMessaging}, {"offload", Mode::kOffload}, {"adaptive", Mode::kAdaptive}}};

const std::vector<Option>& table() {
  static const std::vector<Option> kTable{
      {.name = "server",
       .argument = "URL",
       .help = "the server, as silurus --server has it (default: $SILURUS_SERVER, else the "
               "user's own server, or that of the system)"},
      {.name = "listen",
       .argument = "URL",
       .help = "where to listen: http://ADDRESS:PORT, a number of IPv4 or [IPv6]; port 0: any "
               "that is free",
       .fallback = "http://127.0.0.1:8080"},
      {.name = "allow-remote",
       .help = "listen at an address that is not of this machine alone: all who reach it can "
               "read everything"},
      {.name = "host",
       .argument = "NAME",
       .help = "a host that requests may name; may be repeated (default: localhost and the "
               "address, or any with --allow-remote)",
       .repeats = true},
      {.name = "base-url",
       .argument = "URL",
       .help = "what links begin with, behind a proxy (default: http:// and the host that the "
               "request names)"},
      {.name = "mode",
       .argument = "MODE",
       .help = "how the gate searches: messaging, offload or adaptive",
       .fallback = "adaptive"},
      {.name = "threads",
       .argument = "N",
       .help = "threads that make answers, each a client of the server",
       .fallback = "2"},
      {.name = "max-connections",
       .argument = "N",
       .help = "HTTP connections at once",
       .fallback = std::to_string(kDefaultMaxConnections)},
      {.name = "ready-file",
       .argument = "PATH",
       .help = "file to write the address to once requests may come"},
      {.name = "help", .letter = 'h', .help = "print this text"},
      {.name = "version", .help = "print the version"}};
  return kTable;
}

std::string help() {
  return "Usage: silurus-gate [OPTION...]\n\n"
         "Serves what a Silurus server has over HTTP: metrics for Prometheus (/metrics, /healthz,\n"
         "/readyz), features for GIS programs (OGC API Features: /, /collections, ...) and vector\n"
         "tiles (/collections/NAME/tiles/{z}/{x}/{y}). It is a client of the "
         "server.\n\nOptions:\n" +
         flags::describe(table()) +
         "\nExamples:\n"
         "  silurus-gate --server shm:///run/silurus/socket\n"
         "  ogrinfo OAPIF:http://127.0.0.1:8080 default\n";
}

bool is_loopback(std::string_view address) {
  return address.starts_with("127.") || address == "::1";
}

/// Address and port of "http://ADDRESS:PORT".
Status parse_listen(const std::string& url, HttpOptions& into) {
  const auto refuse = [&](const std::string& why) {
    return fail(ErrorCode::kInvalidArgument, "--listen " + url + ": " + why);
  };
  if (url.starts_with("https://")) {
    return refuse("the gate speaks no TLS: put a proxy before it (gate/README.md)");
  }
  if (!url.starts_with(kScheme)) return refuse("it has to be http://ADDRESS:PORT");
  std::string place = url.substr(kScheme.size());
  if (place.ends_with('/')) place.pop_back();
  const std::size_t colon = place.rfind(':');
  if (colon == std::string::npos) return refuse("it has no port");
  std::string host = place.substr(0, colon);
  if (host.starts_with('[') && host.ends_with(']')) host = host.substr(1, host.size() - 2);
  into.address = host == "localhost" ? "127.0.0.1" : host;
  const auto port = flags::parse_whole(place.substr(colon + 1), 0, 65'535);
  if (!port) return refuse("port: " + port.error().message);
  into.port = static_cast<std::uint16_t>(*port);
  return {};
}

std::vector<std::string> hosts_of(const flags::Values& values, const HttpOptions& http) {
  std::vector<std::string> hosts = values.all("host");
  if (hosts.empty() && is_loopback(http.address)) {
    hosts = {"localhost", "127.0.0.1", "[::1]", http.address};
  }
  for (std::string& host : hosts) {
    std::transform(host.begin(), host.end(), host.begin(),
                   [](unsigned char letter) { return static_cast<char>(std::tolower(letter)); });
  }
  return hosts;
}

}  // namespace

Result<Command> parse_command(const std::vector<std::string>& arguments) {
  const auto values = flags::parse(table(), arguments);
  if (!values) return fail(values.error());
  if (values->has("help")) return PrintCommand{help()};
  if (values->has("version")) return PrintCommand{"silurus-gate " SILURUS_VERSION "\n"};
  if (!values->words().empty()) {
    return fail(ErrorCode::kInvalidArgument,
                "'" + printable(values->words().front()) + "' is no option");
  }
  RunCommand run;
  flags::Reader reader(*values);
  std::string listen;
  reader.text("server", run.server);
  reader.text("listen", listen);
  reader.one_of("mode", kModes, run.client.mode);
  reader.number("threads", 1, kMaxThreads, run.http.threads);
  reader.number("max-connections", 1, kMaxConnections, run.http.max_connections);
  reader.text("base-url", run.service.base_url);
  reader.text("ready-file", run.ready_file);
  if (!reader.status()) return fail(reader.status().error());
  if (const Status ok = parse_listen(listen, run.http); !ok) return fail(ok.error());
  if (!is_loopback(run.http.address) && !values->has("allow-remote")) {
    return fail(ErrorCode::kInvalidArgument,
                "--listen " + listen +
                    ": all who reach this address could read everything: --allow-remote says "
                    "that this is meant");
  }
  while (run.service.base_url.ends_with('/')) run.service.base_url.pop_back();
  if (run.service.base_url.find_first_of("\"\\<> ") != std::string::npos) {
    return fail(ErrorCode::kInvalidArgument, "--base-url is no URL");
  }
  run.service.hosts = hosts_of(*values, run.http);
  if (run.server.empty()) run.server = default_url();
  run.client.connect_timeout = kServerTime;
  run.client.reconnect_for = kServerTime;
  run.client.deadline = 5 * kSecond;
  return run;
}

}  // namespace silurus::gate
