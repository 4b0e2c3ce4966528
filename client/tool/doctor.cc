// SPDX-License-Identifier: Apache-2.0

#include "client/tool/doctor.h"

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <utility>

#include "client/tool/doctor_facts.h"
#include "client/tool/doctor_server.h"
#include "common/json.h"
#include "etcd/gateway.h"
#include "protocol/default_url.h"
#include "silurus/map_store.h"
#include "transport/fabric.h"
#include "transport/probes/probe.h"

namespace silurus::tool {
namespace doctor {
namespace {

constexpr std::size_t kNameWidth = 24;

/// Quoted if it must be, for CSV.
std::string quoted(const std::string& text) {
  if (text.find_first_of(",\"\n") == std::string::npos) return text;
  std::string result = "\"";
  for (const char c : text) {
    if (c == '"') result += '"';
    result += c;
  }
  return result + '"';
}

/// Errors of others may have line breaks; a line of ours has none.
std::string on_one_line(std::string text) {
  std::ranges::replace(text, '\n', ' ');
  return text;
}

/// Prints findings as they come (text), or all of them at the end.
class Report {
 public:
  Report(Format format, std::FILE* out) : format_(format), out_(out) {}

  void add(Findings findings) {
    for (Finding& finding : findings) {
      if (format_ == Format::kText) print(text_line(finding));
      findings_.push_back(std::move(finding));
    }
  }
  /// The end: what became of it.
  Status finish() {
    if (format_ == Format::kJson) print(as_json(findings_));
    if (format_ == Format::kCsv) print(as_csv(findings_));
    // A reader that has seen enough (head) is no error.
    if (error_ == EPIPE) return {};
    if (error_ != 0) return fail(errno_error(ErrorCode::kIo, "cannot write the report", error_));
    const std::size_t errors = count_errors(findings_);
    if (errors == 0) return {};
    return fail(ErrorCode::kConflict, std::to_string(errors) + " of " +
                                          std::to_string(findings_.size()) +
                                          " checks found an error");
  }

 private:
  void print(const std::string& text) {
    if (error_ != 0) return;
    if (std::fwrite(text.data(), 1, text.size(), out_) != text.size() || std::fflush(out_) != 0) {
      error_ = errno;
    }
  }

  const Format format_;
  std::FILE* const out_;
  int error_ = 0;
  Findings findings_;
};

/// Tries on one card what is assumed of it.
void probe_card(const CardFacts& card, Report& report) {
  const auto port = std::ranges::find_if(card.ports, [](const PortFacts& one) {
    return one.state == "ACTIVE" && !one.addresses.empty();
  });
  const std::string name = "probe " + card.name;
  if (port == card.ports.end()) {
    report.add({{name, Verdict::kNotApplicable, "no active port has an address", ""}});
    return;
  }
  auto fabric = transport::make_fabric("rdma");
  if (!fabric) {
    report.add({{name, Verdict::kError, fabric.error().message, "rdma link"}});
    return;
  }
  for (const transport::probes::Probe& probe : transport::probes::all()) {
    Finding finding{name + " " + probe.name, Verdict::kOk, probe.assumption, ""};
    if (const Status done = probe.run(**fabric, port->addresses.front()); !done) {
      finding.verdict = Verdict::kError;
      finding.found += ": it did not, " + done.error().message;
      finding.advice =
          "no rdma:// on this card until that is mended; report it, with ibv_devinfo -v";
    }
    report.add({std::move(finding)});
  }
}

void probe_cards(const std::string& chosen, const RdmaFacts& rdma, Report& report) {
  if (chosen == "none") return;
  bool found = chosen == "all";
  for (const CardFacts& card : rdma.cards) {
    if (chosen != "all" && chosen != card.name) continue;
    found = true;
    probe_card(card, report);
  }
  if (found) return;
  report.add({{"probe " + chosen, Verdict::kError, "there is no such card",
               "rdma link lists them; --card all takes any"}});
}

/// The server, or each shard's if the address names a cluster that has a shard map.
void examine_servers(const Settings& settings, bool is_named, Report& report) {
  const std::string& url = settings.url;
  if (etcd::is_address(url)) {
    const auto group = etcd::GroupAddress::parse(url);
    auto store = shards::open_map_store(url);
    if (group && !group->shard && store) {
      if (const auto map = (*store)->load()) {
        for (const shards::Shard& shard : map->map.shards) {
          report.add(advise_server(ask_server(shard.url(), true, settings.client),
                                   " shard " + std::to_string(shard.id)));
        }
        return;
      }
    }
  }
  report.add(advise_server(ask_server(url, is_named, settings.client)));
}

}  // namespace

std::string_view verdict_name(Verdict verdict) {
  switch (verdict) {
    case Verdict::kOk:
      return "ok";
    case Verdict::kWarning:
      return "warning";
    case Verdict::kError:
      return "error";
    case Verdict::kNotApplicable:
      return "not-applicable";
  }
  return "unknown";
}

std::string text_line(const Finding& finding) {
  std::string line = finding.name;
  if (line.size() < kNameWidth) line.resize(kNameWidth, ' ');
  line += " " + finding.found + " - ";
  if (finding.verdict == Verdict::kNotApplicable) {
    line += "not applicable";
  } else {
    line += verdict_name(finding.verdict);
  }
  if (!finding.advice.empty()) line += ": " + finding.advice;
  return on_one_line(std::move(line)) + "\n";
}

std::string as_json(const Findings& findings) {
  nlohmann::ordered_json checks = nlohmann::ordered_json::array();
  for (const Finding& finding : findings) {
    checks.push_back({{"name", finding.name},
                      {"status", verdict_name(finding.verdict)},
                      {"found", finding.found},
                      {"advice", finding.advice}});
  }
  return json_text(checks) + "\n";
}

std::string as_csv(const Findings& findings) {
  std::string text = "name,status,found,advice\n";
  for (const Finding& finding : findings) {
    text += quoted(finding.name) + "," + std::string(verdict_name(finding.verdict)) + "," +
            quoted(finding.found) + "," + quoted(finding.advice) + "\n";
  }
  return text;
}

}  // namespace doctor

Result<std::string> run_doctor(const DoctorCommand& command, const Settings& settings,
                               std::FILE* out) {
  using namespace doctor;
  const SystemTree tree;
  doctor::Report report(settings.format, out);
  const RdmaFacts rdma = read_rdma(tree, interface_addresses());
  report.add(advise_machine(read_machine(tree), rdma));
  report.add(advise_persistent_memory(read_persistent_memory(tree)));
  report.add(advise_rdma(rdma));
  probe_cards(command.card, rdma, report);
  const char* const named = std::getenv("SILURUS_SERVER");
  const bool by_environment = named != nullptr && *named != '\0';
  report.add(
      {advise_socket(read_socket(tree, protocol::default_url(), by_environment, geteuid()))});
  examine_servers(settings, command.server_is_named || by_environment, report);
  if (const Status done = report.finish(); !done) return fail(done.error());
  return std::string();
}

}  // namespace silurus::tool
