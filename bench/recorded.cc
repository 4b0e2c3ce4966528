// SPDX-License-Identifier: Apache-2.0

#include "bench/recorded.h"

#include <cmath>
#include <iterator>
#include <nlohmann/json.hpp>
#include <sstream>

#include "bench/file.h"

namespace silurus::bench {
namespace {

using nlohmann::json;

constexpr std::size_t kMaxFileBytes = std::size_t{64} << 20;
constexpr std::size_t kMaxRows = 100'000;
constexpr std::size_t kMaxSteps = 10'000;  ///< steps of one distribution
constexpr std::size_t kMaxText = 4096;     ///< bytes of a name or a command

/// What is wrong with a file, as a Result of anything.
struct Problems {
  const std::string& source;

  auto operator()(const std::string& what, ErrorCode code = ErrorCode::kProtocol) const {
    return fail(code, source + ": " + what);
  }
};

/// A text member: empty if there is none; nothing if it is no text or too long.
std::optional<std::string> text_of(const json& from, const char* key) {
  const auto found = from.find(key);
  if (found == from.end()) return std::string();
  if (!found->is_string() || found->get_ref<const std::string&>().size() > kMaxText) return {};
  return found->get<std::string>();
}

/// A finite number (JSON has no others, but for those too large for a double).
std::optional<double> number_of(const json& value) {
  if (!value.is_number() || !std::isfinite(value.get<double>())) return {};
  return value.get<double>();
}

/// Reads a member that may be missing; false if it is there and no number.
bool read_optional(const json& from, const char* key, std::optional<double>& into) {
  const auto found = from.find(key);
  if (found == from.end()) return true;
  into = number_of(*found);
  return into.has_value();
}

/// Reads the steps of a distribution, which must grow; false if they are anything else.
bool read_latency(const json& from, std::vector<LatencyStep>& into) {
  const auto found = from.find("latency");
  if (found == from.end()) return true;
  if (!found->is_array() || found->size() > kMaxSteps) return false;
  LatencyStep last{-1, 0};
  for (const json& step : *found) {
    if (!step.is_array() || step.size() != 2) return false;
    const auto us = number_of(step[0]), share = number_of(step[1]);
    if (!us || !share || *us < last.us || *share < last.share || *share > 1) return false;
    into.push_back(last = {*us, *share});
  }
  return true;
}

Result<Row> read_row(const json& from, const std::string& which, const Problems& problem) {
  if (!from.is_object()) return problem(which + " is no object");
  const auto name = text_of(from, "name");
  const auto unit = text_of(from, "unit");
  const auto baseline = text_of(from, "baseline");
  if (!name || !unit || !baseline || name->empty()) {
    return problem(which + ": name, unit and baseline must be texts, and there must be a name");
  }
  const std::string named = which + " (" + *name + ")";
  Row row{.name = *name, .unit = *unit, .baseline = *baseline};
  const auto value = from.contains("value") ? number_of(from["value"]) : std::nullopt;
  if (!value) return problem(named + ": its value is missing or no finite number");
  row.value = *value;
  if (!read_optional(from, "ratio", row.ratio) || !read_optional(from, "bar", row.bar)) {
    return problem(named + ": its ratio or bar is no finite number");
  }
  if (!read_optional(from, "server_cpu", row.server_cpu) ||
      !read_optional(from, "client_cpu", row.client_cpu)) {
    return problem(named + ": its server_cpu or client_cpu is no finite number");
  }
  if (!read_latency(from, row.latency)) {
    return problem(named + ": its latency is no list of [us, share], both growing, up to 1");
  }
  if (const auto spread = from.find("spread"); spread != from.end()) {
    if (!spread->is_array()) return problem(named + ": its spread is no list of numbers");
    for (const json& run : *spread) {
      const auto one = number_of(run);
      if (!one) return problem(named + ": its spread is no list of finite numbers");
      row.spread.push_back(*one);
    }
  }
  return row;
}

std::string machine_of(const json& all) {
  const auto machine = all.find("machine");
  if (machine == all.end() || !machine->is_object()) return "unknown machine";
  const std::string cpu = text_of(*machine, "cpu").value_or("");
  const auto cores = machine->find("cores");
  const std::string processor = cpu.empty() ? "unknown processor" : cpu;
  if (cores == machine->end() || !cores->is_number_integer()) return processor;
  return std::to_string(cores->get<long>()) + " cores of " + processor;
}

}  // namespace

Result<Recorded> parse_recorded(std::string_view text, const std::string& source) {
  const Problems problem{source};
  const json all = json::parse(text, nullptr, false);
  if (all.is_discarded()) return problem("this is not JSON");
  const auto version = all.is_object() ? all.find("silurus_bench") : all.end();
  if (version == all.end() || !version->is_number_integer()) {
    return problem(
        "this is JSON, but not of silurus-bench --json (it has no number \"silurus_bench\")");
  }
  if (version->get<std::int64_t>() != kJsonVersion) {
    return problem("version " + version->dump() + " of the form; this program reads version " +
                       std::to_string(kJsonVersion) + ": run the benchmark again",
                   ErrorCode::kUnsupported);
  }
  const auto command = text_of(all, "command");
  const auto commit = text_of(all, "commit");
  const auto rows = all.find("rows");
  if (!command || !commit || rows == all.end() || !rows->is_array()) {
    return problem("there must be a command and a commit, which are texts, and a list of rows");
  }
  if (rows->empty()) return problem("there are no rows in it", ErrorCode::kInvalidArgument);
  if (rows->size() > kMaxRows) {
    return problem("more than " + std::to_string(kMaxRows) + " rows", ErrorCode::kTooLarge);
  }
  Recorded recorded{
      .bench = {}, .command = *command, .commit = *commit, .machine = machine_of(all)};
  for (const json& each : *rows) {
    auto row = read_row(each, "row " + std::to_string(recorded.rows.size() + 1), problem);
    if (!row) return fail(row.error());
    const std::string bench = row->name.substr(0, row->name.find('/'));
    if (recorded.rows.empty()) recorded.bench = bench;
    if (bench != recorded.bench) {
      return problem("rows of '" + recorded.bench + "' and of '" + bench + "' in one file",
                     ErrorCode::kInvalidArgument);
    }
    recorded.rows.push_back(std::move(*row));
  }
  return recorded;
}

Result<Recorded> read_recorded(const std::string& path) {
  const auto text = read_file(path, kMaxFileBytes);
  if (!text) return fail(text.error());
  return parse_recorded(*text, path);
}

}  // namespace silurus::bench
