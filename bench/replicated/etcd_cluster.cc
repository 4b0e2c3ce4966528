// SPDX-License-Identifier: Apache-2.0

#include "bench/replicated/etcd_cluster.h"

#include <arpa/inet.h>
#include <grpcpp/grpcpp.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <array>
#include <chrono>
#include <cstring>
#include <filesystem>
#include <functional>
#include <optional>
#include <vector>

#include "bench/replicated/etcd.grpc.pb.h"
#include "bench/subprocess.h"
#include "common/clock.h"
#include "common/random.h"
#include "transport/unique_fd.h"

namespace silurus::bench {
namespace {

namespace etcd = etcdserverpb;

constexpr std::size_t kMembers = 3;
constexpr std::size_t kBoxBytes = 32;
constexpr Nanoseconds kStartTimeout = 60 * kSecond;
constexpr int kReconnectMs = 100;
constexpr auto kCallTimeout = std::chrono::seconds(10);

/// Ports of the loopback that no server listens on; all of them held until the last is found.
template <std::size_t kCount>
Result<std::array<int, kCount>> free_ports() {
  std::array<transport::UniqueFd, kCount> held;
  std::array<int, kCount> ports{};
  for (std::size_t i = 0; i < kCount; ++i) {
    held[i] = transport::UniqueFd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t length = sizeof address;
    auto* generic = reinterpret_cast<sockaddr*>(&address);
    if (::bind(held[i].get(), generic, length) != 0 ||
        ::getsockname(held[i].get(), generic, &length) != 0) {
      return fail(errno_error(ErrorCode::kIo, "cannot find a free port", errno));
    }
    ports[i] = ntohs(address.sin_port);
  }
  return ports;
}

class Cluster final : public EtcdCluster {
 public:
  Status begin(const std::string& directory) {
    std::error_code error;
    if (!std::filesystem::create_directory(directory, error)) {
      return fail(ErrorCode::kIo, "cannot make " + directory + ": " + error.message());
    }
    const auto ports = free_ports<2 * kMembers>();
    if (!ports) return fail(ports.error());
    const auto url = [&](std::size_t i) { return "127.0.0.1:" + std::to_string((*ports)[i]); };
    std::string all;
    for (std::size_t i = 0; i < kMembers; ++i) {
      all += (i == 0 ? "m" : ",m") + std::to_string(i) + "=http://" + url(kMembers + i);
    }
    for (std::size_t i = 0; i < kMembers; ++i) {
      const std::string name = "m" + std::to_string(i);
      const std::string client = "http://" + url(i);
      const std::string peer = "http://" + url(kMembers + i);
      auto member = Subprocess::start(
          {.words = {"/usr/bin/etcd", "--name", name, "--data-dir", directory + "/" + name,
                     "--listen-client-urls", client, "--advertise-client-urls", client,
                     "--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer,
                     "--initial-cluster", all, "--logger", "zap", "--log-level", "error"},
           .log = directory + "/" + name + ".log"});
      if (!member) return fail(member.error());
      members_.push_back(std::move(*member));
      addresses_.push_back(url(i));
    }
    return find_leader();
  }

  std::string url(const std::string& name) const override {
    return "etcd://" + addresses_[0] + "/" + name;
  }

  Result<double> put_rate(std::size_t in_flight, double seconds, std::uint64_t seed) override;

 private:
  /// Waits until the members have one, and connects to it.
  Status find_leader() {
    grpc::ChannelArguments impatient;  // a member that does not listen yet will soon
    impatient.SetInt(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, kReconnectMs);
    impatient.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, kReconnectMs);
    std::vector<std::shared_ptr<grpc::Channel>> channels;
    for (const std::string& address : addresses_) {
      channels.push_back(
          grpc::CreateCustomChannel(address, grpc::InsecureChannelCredentials(), impatient));
    }
    const auto has_leader = [&] {
      for (const auto& channel : channels) {
        grpc::ClientContext context;
        context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(1));
        context.set_wait_for_ready(true);
        etcd::StatusResponse answer;
        const auto status =
            etcd::Maintenance::NewStub(channel)->Status(&context, etcd::StatusRequest(), &answer);
        if (status.ok() && answer.leader() != 0 && answer.leader() == answer.header().member_id()) {
          leader_ = etcd::KV::NewStub(channel);
          return true;
        }
      }
      return false;
    };
    return wait_until_ready(members_[0], "etcd", kStartTimeout, has_leader);
  }

  std::vector<Subprocess> members_;
  std::vector<std::string> addresses_;
  std::unique_ptr<etcd::KV::Stub> leader_;
};

/// A put under way.
struct Put {
  std::optional<grpc::ClientContext> context;
  etcd::PutResponse answer;
  grpc::Status status;
  std::unique_ptr<grpc::ClientAsyncResponseReader<etcd::PutResponse>> reader;
};

Result<double> Cluster::put_rate(std::size_t in_flight, double seconds, std::uint64_t seed) {
  Random random(seed);
  grpc::CompletionQueue queue;
  std::vector<Put> puts(in_flight);
  const auto begin = [&](Put& put) {
    const std::uint64_t key = random();
    etcd::PutRequest request;
    request.set_key(&key, sizeof key);
    request.set_value(std::string(kBoxBytes, static_cast<char>(key)));
    put.context.emplace();
    put.context->set_deadline(std::chrono::system_clock::now() + kCallTimeout);
    put.reader = leader_->AsyncPut(&*put.context, request, &queue);
    put.reader->Finish(&put.answer, &put.status, &put);
  };
  const SystemClock clock;
  const Nanoseconds start = clock.now();
  const auto end = start + static_cast<Nanoseconds>(seconds * static_cast<double>(kSecond));
  for (Put& put : puts) begin(put);
  std::uint64_t done = 0;
  std::optional<Error> error;
  void* tag = nullptr;
  bool ok = false;
  for (std::size_t under_way = in_flight; under_way > 0 && queue.Next(&tag, &ok);) {
    Put& put = *static_cast<Put*>(tag);
    if (put.status.ok()) {
      ++done;
    } else {
      error = Error{ErrorCode::kIo, "etcd refused a put: " + put.status.error_message()};
    }
    if (!error && clock.now() < end) {
      begin(put);
    } else {
      --under_way;
    }
  }
  const double took = static_cast<double>(clock.now() - start) / static_cast<double>(kSecond);
  queue.Shutdown();
  while (queue.Next(&tag, &ok)) {
  }
  if (error) return fail(*error);
  return static_cast<double>(done) / took;
}

}  // namespace

Result<std::unique_ptr<EtcdCluster>> EtcdCluster::start(const std::string& directory) {
  auto made = std::make_unique<Cluster>();
  if (auto ok = made->begin(directory); !ok) return fail(ok.error());
  return std::unique_ptr<EtcdCluster>(std::move(made));
}

}  // namespace silurus::bench
