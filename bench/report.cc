// SPDX-License-Identifier: Apache-2.0

#include "bench/report.h"

#include <sys/utsname.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <fstream>
#include <sstream>
#include <utility>

#include "common/check.h"
#include "common/json.h"

#ifndef SILURUS_COMMIT
#define SILURUS_COMMIT "unknown"
#endif

namespace silurus::bench {

const char* const kVersion = SILURUS_VERSION;
namespace {

std::string cpu_model() {
  std::ifstream info("/proc/cpuinfo");
  for (std::string line; std::getline(info, line);) {
    if (line.rfind("model name", 0) == 0) return line.substr(line.find(':') + 2);
  }
  return "unknown";
}

nlohmann::ordered_json machine() {
  utsname name{};
  uname(&name);
  const long pages = sysconf(_SC_PHYS_PAGES);
  const long page = sysconf(_SC_PAGE_SIZE);
  return {{"cpu", cpu_model()},
          {"cores", sysconf(_SC_NPROCESSORS_ONLN)},
          {"memory_gib", static_cast<double>(pages) * static_cast<double>(page) / (1u << 30)},
          {"kernel", name.release}};
}

/// Whether the row reaches its bar; rows without a bar do.
bool reaches_bar(const Row& row) {
  if (!row.bar) return true;
  const double reached = row.ratio.value_or(row.value);
  return row.bar_is_upper ? reached <= *row.bar : reached >= *row.bar;
}

double rounded(double value, double unit) { return std::round(value / unit) * unit; }

nlohmann::ordered_json json_of(const Row& row) {
  nlohmann::ordered_json out = {{"name", row.name}, {"value", row.value}, {"unit", row.unit}};
  if (!row.baseline.empty()) out["baseline"] = row.baseline;
  if (row.ratio) out["ratio"] = *row.ratio;
  if (row.bar) {
    out["bar"] = *row.bar;
    out["reached"] = reaches_bar(row);
  }
  out["spread"] = row.spread;
  if (row.server_cpu) out["server_cpu"] = *row.server_cpu;
  if (row.client_cpu) out["client_cpu"] = *row.client_cpu;
  for (const LatencyStep& step : row.latency) {
    out["latency"].push_back({rounded(step.us, 1e-3), rounded(step.share, 1e-7)});
  }
  return out;
}

void print(const Row& row, std::size_t name_width) {
  std::printf("%-*s %14.6g %-8s", static_cast<int>(name_width), row.name.c_str(), row.value,
              row.unit.c_str());
  if (row.spread.size() > 1) {
    std::printf(" [%.4g .. %.4g]", row.spread.front(), row.spread.back());
  }
  if (row.ratio) std::printf("  %.3g x %s", *row.ratio, row.baseline.c_str());
  if (row.server_cpu) std::printf("  server %.3g", *row.server_cpu);
  if (row.client_cpu) std::printf("  client %.3g", *row.client_cpu);
  if (row.server_cpu || row.client_cpu) std::printf(" cpu-s/M");
  if (row.bar) {
    std::printf("  (bar %s %g: %s)", row.bar_is_upper ? "<=" : ">=", *row.bar,
                reaches_bar(row) ? "reached" : "MISSED");
  }
  std::printf("\n");
  std::fflush(stdout);
}

}  // namespace

std::string machine_name() {
  return std::to_string(sysconf(_SC_NPROCESSORS_ONLN)) + " cores of " + cpu_model();
}

double median(std::vector<double> values) {
  SILURUS_CHECK(!values.empty());
  std::sort(values.begin(), values.end());
  const std::size_t middle = values.size() / 2;
  return values.size() % 2 == 1 ? values[middle] : (values[middle - 1] + values[middle]) / 2;
}

std::vector<LatencyStep> steps_of(const Histogram& nanoseconds) {
  constexpr int kStepsPerOctave = 16;
  std::vector<LatencyStep> steps;
  std::uint64_t seen = 0;
  int last = -1;
  nanoseconds.for_each([&](std::uint64_t value, std::uint64_t count) {
    seen += count;
    const int step = static_cast<int>(
        std::log2(static_cast<double>(std::max<std::uint64_t>(value, 1))) * kStepsPerOctave);
    const LatencyStep at{static_cast<double>(value) / 1e3,
                         static_cast<double>(seen) / static_cast<double>(nanoseconds.count())};
    if (step == last) {
      steps.back() = at;
    } else {
      steps.push_back(at);
    }
    last = step;
  });
  return steps;
}

Report::Report(std::string command) : command_(std::move(command)) {}

void Report::add(Row row) {
  record(std::move(row));
  print(rows_.back(), 44);
}

void Report::record(Row row) {
  std::sort(row.spread.begin(), row.spread.end());
  rows_.push_back(std::move(row));
}

void Report::print_summary() const {
  const bool bars = std::any_of(rows_.begin(), rows_.end(), [](const Row& r) { return r.bar; });
  std::size_t width = 0, missed = 0;
  for (const Row& row : rows_) width = std::max(width, row.name.size());
  std::printf("\n%zu rows; %s:\n", rows_.size(), bars ? "those with a bar" : "ratios");
  for (const Row& row : rows_) {
    if (bars ? row.bar.has_value() : row.ratio.has_value()) print(row, width);
    if (!reaches_bar(row)) ++missed;
  }
  std::printf("%zu bar%s missed\n", missed, missed == 1 ? "" : "s");
}

std::string Report::json() const {
  std::ostringstream out;
  out << "{\"silurus_bench\": " << kJsonVersion << ",\n \"machine\": " << json_text(machine())
      << ",\n \"command\": " << json_text(nlohmann::json(command_))
      << ",\n \"commit\": " << nlohmann::json(SILURUS_COMMIT).dump() << ",\n \"rows\": [";
  const char* between = "\n  ";
  for (const Row& row : rows_) out << std::exchange(between, ",\n  ") << json_text(json_of(row));
  out << "]}";
  return out.str();
}

Status Report::write_json(const std::string& path) const {
  std::ofstream file(path);
  file << json() << "\n";
  file.close();
  if (!file) return fail(ErrorCode::kIo, "cannot write the benchmark's rows to " + path);
  return {};
}

}  // namespace silurus::bench
