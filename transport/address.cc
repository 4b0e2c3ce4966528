// SPDX-License-Identifier: Apache-2.0

#include <algorithm>
#include <charconv>
#include <iterator>

#include "transport/fabric.h"

namespace silurus::transport {
namespace {

constexpr unsigned kMaxPort = 65535;
/// The last one is of simulations.
constexpr std::string_view kSchemes[] = {"shm", "tcp", "rdma", "sim"};

tl::unexpected<Error> bad(std::string_view text, std::string_view why) {
  return fail(ErrorCode::kInvalidArgument,
              "bad address \"" + std::string(text) + "\": " + std::string(why));
}

bool is_port(std::string_view text) {
  unsigned value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  return error == std::errc{} && end == text.data() + text.size() && value <= kMaxPort;
}

}  // namespace

Result<Address> Address::parse(std::string_view text) {
  const std::size_t colon = text.find("://");
  if (colon == std::string_view::npos || colon == 0) {
    return bad(text, "expected scheme://..., such as shm:///run/silurus.sock or tcp://host:port");
  }
  Address address;
  address.scheme = text.substr(0, colon);
  std::string_view rest = text.substr(colon + 3);
  if (rest.find('\0') != std::string_view::npos) return bad(text, "it contains a NUL byte");
  if (std::ranges::find(kSchemes, address.scheme) == std::end(kSchemes)) {
    return bad(text, "there is no " + address.scheme +
                         "://; addresses of servers begin with shm://, tcp:// or rdma://");
  }
  if (address.scheme == "shm") {
    constexpr std::string_view kPeer = "?peer=";
    const std::size_t query = rest.rfind(kPeer);
    if (query != std::string_view::npos) {
      address.peer = rest.substr(query + kPeer.size());
      rest = rest.substr(0, query);
      if (address.peer.empty()) return bad(text, "?peer= names no user");
    }
    if (rest.empty() || rest.front() != '/' || rest.back() == '/') {
      return bad(text, "expected the absolute path of a socket, as in shm:///run/silurus.sock");
    }
    address.path = rest;
    return address;
  }
  constexpr std::string_view kKey = "?key=";
  if (const std::size_t query = rest.find(kKey); query != std::string_view::npos) {
    address.key = rest.substr(query + kKey.size());
    rest = rest.substr(0, query);
    if (address.key.empty()) return bad(text, "?key= names no file");
  }
  std::string_view host;
  if (!rest.empty() && rest.front() == '[') {
    const std::size_t close = rest.find(']');
    if (close == std::string_view::npos) return bad(text, "'[' without ']'");
    host = rest.substr(1, close - 1);
    rest = rest.substr(close + 1);
  } else {
    host = rest.substr(0, rest.find(':'));
    rest = rest.substr(host.size());
    if (rest.find(':', 1) != std::string_view::npos) {
      return bad(text, "an IPv6 host needs brackets, as in tcp://[::1]:7470");
    }
  }
  if (host.empty()) return bad(text, "it names no host");
  if (host.find_first_of("[]") != std::string_view::npos) return bad(text, "a bracket in a host");
  if (rest.empty() || rest.front() != ':') return bad(text, "expected host:port");
  rest.remove_prefix(1);
  if (!is_port(rest)) return bad(text, "the port must be a number from 0 to 65535");
  address.host = host;
  address.port = rest;
  return address;
}

std::string Address::to_string() const {
  if (!path.empty()) return scheme + "://" + path + (peer.empty() ? "" : "?peer=" + peer);
  const bool brackets = host.find(':') != std::string::npos;
  return scheme + "://" + (brackets ? "[" + host + "]" : host) + ":" + port +
         (key.empty() ? "" : "?key=" + key);
}

}  // namespace silurus::transport
