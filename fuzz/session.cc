// SPDX-License-Identifier: Apache-2.0

#include <array>
#include <memory>

#include "access/authorization.h"
#include "common/log.h"
#include "fuzz/target.h"
#include "protocol/decode.h"
#include "tests/unit/server/world.h"

// A server with a worker, and the sessions of a few clients of it, from hello to end: messages as
// they come, room for answers that comes and goes, time that goes by, clients that hang up. Each
// message that the server sends must be an answer; a client that breaks the protocol costs its own
// connection, so that the server's user still finds what it has put there.

namespace silurus::fuzz {
namespace {

using namespace server::test;
using protocol::MessageType;
using protocol::TaskKind;

constexpr std::size_t kMostClients = 4;
constexpr std::size_t kMostSteps = 256;
constexpr std::uint64_t kMemory = std::uint64_t{8} << 20;
constexpr std::uint64_t kEntries = 40;
constexpr uid_t kOwn = 4711;

/// What one step of an input does; the rest of its byte says with which client.
enum class Step : std::uint8_t {
  kConnect,
  kMessage,
  kRun,
  kRoom,
  kTime,
  kHangUp,
  kSteps,
};

/// What the input's first byte makes the clients.
const char* rules_of(std::uint8_t choice) {
  switch (choice % 4) {
    case 0:
      return "[[principal]]\nanyone = true\nrole = \"reader\"\n";
    case 1:
      return "[[principal]]\nanyone = true\nrole = \"writer\"\n";
    case 2:
      return "[[principal]]\nanyone = true\nrole = \"operator\"\n";
    default:
      return "[[principal]]\nanyone = true\nrole = \"operator\"\ncollections = [\"roads\"]\n";
  }
}

/// A backup would write files wherever the input says.
bool is_backup(std::span<const std::byte> message) {
  const auto header = protocol::decode_header(message);
  if (!header || header->type != MessageType::kTask) return false;
  const auto task = protocol::decode_task(protocol::Request(*header, message));
  return task && task->kind == TaskKind::kBackup;
}

/// The server, and what a few of its clients do.
class Played {
 public:
  explicit Played(std::uint8_t choice)
      : rules_(access::Rules::parse(rules_of(choice), "rules", kOwn).value()) {
    SILURUS_CHECK(world_.shard->load(row(kEntries)).has_value());
    own_ = &world_.connect();
    ask_task(*own_, 1, TaskKind::kCreate, 2, 0, "roads");
    world_.run();
    SILURUS_CHECK(code_of(own_->receive()) == ErrorCode{});
    world_.team.served.rules = &rules_;
  }

  void step(std::uint8_t what, Input& input) {
    const std::size_t at = what / static_cast<unsigned>(Step::kSteps) % kMostClients;
    Client& client = clients_[at];
    const auto step = static_cast<Step>(what % static_cast<unsigned>(Step::kSteps));
    if (step == Step::kConnect) return connect(client, input.take<std::uint8_t>());
    if (client.loopback == nullptr) connect(client, 0);
    switch (step) {
      case Step::kMessage: {
        const auto length = input.take<std::uint16_t>();
        const auto bytes = input.take_bytes(length % 4096);
        if (!bytes.empty()) say(client, bytes);
        break;
      }
      case Step::kRoom:
        if (client.is_there()) client.loopback->give_room(input.take<std::uint8_t>());
        break;
      case Step::kTime:
        world_.clock.advance(input.take<std::uint16_t>() * kMillisecond);
        break;
      case Step::kHangUp:
        if (client.is_there()) client.loopback->hang_up();
        world_.run();
        client = {};
        break;
      default:
        run();
        break;
    }
  }

  /// The server's own user is served as before.
  void end() {
    run();
    ask_range(*own_, 2, {.window = window_of(0, kEntries), .shape = rtree::ResultShape::kCount});
    world_.run();
    SILURUS_CHECK(!own_->closed());
    const auto answer = own_->receive();
    const ErrorCode code = code_of(answer);
    // Operators may have retired the server, or replaced the collection.
    SILURUS_CHECK(code == ErrorCode{} || code == ErrorCode::kNoCollection ||
                  rules_.look_up({}).rights.greatest() == access::Role::kOperator);
  }

 private:
  struct Client {
    Loopback* loopback = nullptr;
    bool is_gone = false;  ///< its session may have ended: it is looked at no more
    bool is_there() const { return loopback != nullptr && !is_gone; }
  };

  void connect(Client& client, std::uint8_t choice) {
    if (client.is_there()) client.loopback->hang_up();
    world_.run();
    constexpr const char* kNames[] = {"", "roads", "nothing"};
    const std::uint32_t message_bytes = choice % 2 == 0 ? 256 : 4096;
    client = {&world_.connect(0, message_bytes, kNames[choice / 2 % 3]), false};
    world_.run();
    look(client);
  }
  void say(Client& client, std::span<const std::byte> bytes) {
    if (!client.is_there() || is_backup(bytes)) return;
    const AlignedCopy message(bytes);
    client.loopback->raw(message.bytes());
    look(client);
  }
  void run() {
    world_.run();
    for (Client& client : clients_) look(client);
  }
  /// What was sent is answers, of the versions of this server. A connection that the server has
  /// ended ends, as its fabric would have it.
  void look(Client& client) {
    if (!client.is_there()) return;
    while (client.loopback->waiting() > 0) client.loopback->receive();
    if (!client.loopback->closed()) return;
    client.is_gone = true;
    client.loopback->hang_up();
    world_.run();
  }

  World world_{1, kMemory};
  access::RuleBook rules_;
  Loopback* own_ = nullptr;
  std::array<Client, kMostClients> clients_;
};

std::string message_of(const std::vector<std::byte>& bytes) {
  constexpr auto kSay = static_cast<std::uint8_t>(Step::kMessage);
  return bytes_of(kSay, static_cast<std::uint16_t>(bytes.size())) + as_seed(bytes);
}

}  // namespace

void try_input(std::span<const std::byte> bytes) {
  log::set_level(log::Level::kOff);
  Input input(bytes);
  Played played(input.take<std::uint8_t>());
  for (std::size_t i = 0; i < kMostSteps && !input.rest().empty(); ++i) {
    played.step(input.take<std::uint8_t>(), input);
  }
  played.end();
}

std::vector<std::string> seeds() {
  std::vector<std::string> all;
  const auto encoded = [](std::size_t size, const auto& encode) {
    std::vector<std::byte> out(size);
    out.resize(encode(std::span(out)));
    return message_of(out);
  };
  const std::string run = bytes_of(static_cast<std::uint8_t>(Step::kRun));
  const std::string search = encoded(
      256, [](auto out) { return protocol::encode_range<2>(out, 1, {.window = window_of(0, 9)}); });
  const std::string nearest = encoded(
      256, [](auto out) { return protocol::encode_nearest<2>(out, 2, {.point = {}, .k = 3}); });
  const std::string write = encoded(512, [](auto out) {
    return protocol::encode_write<2>(out, 3, 1, std::vector{insert_of(77), erase_of(3)});
  });
  const std::string begin =
      encoded(64, [](auto out) { return protocol::encode_bare(out, MessageType::kLoadBegin, 4); });
  const std::string entries =
      encoded(512, [](auto out) { return protocol::encode_load_entries<2>(out, 5, row(3)); });
  const std::string commit =
      encoded(64, [](auto out) { return protocol::encode_load_commit(out, 6, 0.7, 3); });
  const auto task = [&](TaskKind kind, std::uint64_t from, std::uint64_t to, const char* text) {
    return encoded(256,
                   [&](auto out) { return protocol::encode_task(out, 7, kind, from, to, text); });
  };
  for (const char role : {'\0', '\1', '\2', '\3'}) {
    const std::string first(1, role);
    all.push_back(first + search + nearest + run + write + run + search + run);
    all.push_back(first + begin + entries + commit + run + search + run);
    all.push_back(first + task(TaskKind::kExport, 0, 0, "") + run +
                  task(TaskKind::kExportPage, 0, 0, "") + run);
    all.push_back(first + task(TaskKind::kCreate, 2, 0, "lakes") + run +
                  task(TaskKind::kRename, 0, 0, "roads\nways") + run +
                  task(TaskKind::kFreeze, 1, 1'000'000, "") + run);
  }
  return all;
}

}  // namespace silurus::fuzz
