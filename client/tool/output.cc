// SPDX-License-Identifier: Apache-2.0

#include "client/tool/output.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <cmath>
#include <csignal>

#include "client/tool/records.h"
#include "common/json.h"
#include "common/units.h"

namespace silurus::tool {
namespace {

void append(std::string& text, std::uint64_t value) {
  std::array<char, 20> digits;
  const auto end = std::to_chars(digits.data(), digits.data() + digits.size(), value).ptr;
  text.append(digits.data(), end);
}

/// An id in JSON.
void append_id(std::string& text, std::uint64_t id, bool as_string) {
  if (as_string) text += '"';
  append(text, id);
  if (as_string) text += '"';
}

/// A list of ids in JSON.
void append_ids(std::string& text, std::span<const std::uint64_t> ids, bool as_strings) {
  text += '[';
  for (std::size_t i = 0; i < ids.size(); ++i) {
    if (i != 0) text += ", ";
    append_id(text, ids[i], as_strings);
  }
  text += ']';
}

template <int D>
void append_json_entry(std::string& text, std::uint64_t id, const Box<D>& box,
                       bool ids_as_strings) {
  const auto corner = [](const std::array<double, D>& at) {
    std::string numbers;
    for (const double x : at) numbers += (numbers.empty() ? "" : ", ") + format_number(x);
    return "[" + numbers + "]";
  };
  text += "{\"id\": ";
  append_id(text, id, ids_as_strings);
  text += ", \"min\": " + corner(box.min) + ", \"max\": " + corner(box.max) + "}";
}

std::string origin(Access access, rtree::Version version) {
  return ", \"mode\": \"" + std::string(mode_name(access)) +
         "\", \"version\": " + std::to_string(version) + "}\n";
}

/// Lists the leaves of a JSON value, one a line.
void list_members(const nlohmann::json& value, const std::string& path, std::string_view separator,
                  std::string& text) {
  if (value.is_structured() && !value.empty()) {
    for (const auto& [key, member] : value.items()) {
      list_members(member, path.empty() ? key : path + "." + key, separator, text);
    }
    return;
  }
  text += path + std::string(separator) +
          (value.is_string() ? value.get<std::string>() : json_text(value)) + "\n";
}

}  // namespace

template <int D>
void append_box(std::string& text, const Box<D>& box, const char* between) {
  for (int d = 0; d < D; ++d) text += between + format_number(box.min[d]);
  for (int d = 0; d < D; ++d) text += between + format_number(box.max[d]);
}

template <int D>
std::string csv_header() {
  return D == 2 ? "id,xmin,ymin,xmax,ymax\n" : "id,xmin,ymin,zmin,xmax,ymax,zmax\n";
}

Status write_out(std::string_view text, std::FILE* to) {
  const bool is_written =
      std::fwrite(text.data(), 1, text.size(), to) == text.size() && std::fflush(to) == 0;
  if (is_written) return {};
  const int error = errno;
  if (error == EPIPE) {
    std::signal(SIGPIPE, SIG_DFL);
    std::raise(SIGPIPE);
  }
  return fail(errno_error(
      ErrorCode::kIo,
      to == stdout ? "cannot write the answer to standard output" : "cannot write the file",
      error));
}

std::string grouped(std::uint64_t value) {
  std::string text = std::to_string(value);
  for (std::ptrdiff_t at = static_cast<std::ptrdiff_t>(text.size()) - 3; at > 0; at -= 3) {
    text.insert(static_cast<std::size_t>(at), ",");
  }
  return text;
}

std::string_view mode_name(Access access) {
  return access == Access::kOffload ? "offload" : "messaging";
}

template <int D>
std::string format_range(const RangeAnswer<D>& found, ResultShape shape, Format format,
                         bool ids_as_strings) {
  const bool count_only = shape == ResultShape::kCount;
  const bool with_boxes = shape == ResultShape::kEntries;
  std::string text;
  text.reserve(64 + 10 * found.ids.size());
  switch (format) {
    case Format::kText:
    case Format::kCsv:
      if (count_only)
        return (format == Format::kCsv ? "count\n" : "") + std::to_string(found.count) + "\n";
      if (format == Format::kCsv) text = with_boxes ? csv_header<D>() : "id\n";
      for (std::size_t i = 0; i < found.ids.size(); ++i) {
        append(text, found.ids[i]);
        if (with_boxes) {
          append_box<D>(text, found.boxes[i], format == Format::kCsv ? "," : " ");
        }
        text += '\n';
      }
      return text;
    case Format::kJson:
      text = "{\"count\": " + std::to_string(found.count);
      if (with_boxes) {
        text += ", \"entries\": [";
        for (std::size_t i = 0; i < found.ids.size(); ++i) {
          text += i != 0 ? ", " : "";
          append_json_entry<D>(text, found.ids[i], found.boxes[i], ids_as_strings);
        }
        text += ']';
      } else if (!count_only) {
        text += ", \"ids\": ";
        append_ids(text, found.ids, ids_as_strings);
      }
      return text + origin(found.access, found.version);
  }
  return text;
}

std::string format_join(const JoinAnswer& found, bool count_only, Format format,
                        bool ids_as_strings) {
  if (count_only && format != Format::kJson) {
    return (format == Format::kCsv ? "count\n" : "") + std::to_string(found.pairs.size()) + "\n";
  }
  std::string text;
  text.reserve(64 + 24 * found.pairs.size());
  if (format == Format::kJson) {
    text = "{\"count\": " + std::to_string(found.pairs.size());
    if (!count_only) {
      text += ", \"pairs\": [";
      for (std::size_t i = 0; i < found.pairs.size(); ++i) {
        text += i != 0 ? ", [" : "[";
        append_id(text, found.pairs[i].first, ids_as_strings);
        text += ", ";
        append_id(text, found.pairs[i].second, ids_as_strings);
        text += ']';
      }
      text += ']';
    }
    return text + ", \"version\": " + std::to_string(found.version) + "}\n";
  }
  if (format == Format::kCsv) text = "first,second\n";
  for (const IdPair& pair : found.pairs) {
    append(text, pair.first);
    text += format == Format::kCsv ? ',' : ' ';
    append(text, pair.second);
    text += '\n';
  }
  return text;
}

std::string format_nearest(const NearestAnswer& found, bool count_only, Format format,
                           bool ids_as_strings) {
  if (count_only && format != Format::kJson) {
    return (format == Format::kCsv ? "count\n" : "") + std::to_string(found.size()) + "\n";
  }
  std::string text;
  if (format == Format::kJson) {
    text = "{\"count\": " + std::to_string(found.size());
    if (!count_only) {
      text += ", \"neighbors\": [";
      for (std::size_t i = 0; i < found.size(); ++i) {
        text += i != 0 ? ", {\"id\": " : "{\"id\": ";
        append_id(text, found[i].id, ids_as_strings);
        text += ", \"distance\": " + format_number(found[i].distance) + "}";
      }
      text += ']';
    }
    return text + origin(found.access, found.version);
  }
  if (format == Format::kCsv) text = "id,distance\n";
  for (const auto& neighbor : found) {
    text += std::to_string(neighbor.id) + (format == Format::kCsv ? "," : "  ") +
            format_number(neighbor.distance) + "\n";
  }
  return text;
}

std::string csv_field(const std::string& text) {
  if (text.find_first_of(",\"\n") == std::string::npos) return text;
  std::string quoted = "\"";
  for (const char c : text) quoted += c == '"' ? std::string("\"\"") : std::string(1, c);
  return quoted + "\"";
}

template <int D>
std::string format_get(const GetAnswer<D>& found, Format format, bool ids_as_strings) {
  std::string text;
  if (format == Format::kJson) {
    text = "{\"count\": " + std::to_string(found.entries.size()) + ", \"entries\": [";
    for (std::size_t i = 0; i < found.entries.size(); ++i) {
      const KeyedEntry<D>& entry = found.entries[i];
      text += i != 0 ? ", " : "";
      append_json_entry<D>(text, entry.id, entry.box, ids_as_strings);
      text.back() = ',';
      text += " \"version\": " + std::to_string(entry.version);
      if (!found.records.empty()) text += ", \"record\": " + record_as_json(found.records[i]);
      text += "}";
    }
    text += "], \"missing\": ";
    append_ids(text, found.missing, ids_as_strings);
    return text + ", \"version\": " + std::to_string(found.version) + "}\n";
  }
  const char* const between = format == Format::kCsv ? "," : " ";
  if (format == Format::kCsv) {
    text = csv_header<D>();
    text.insert(text.size() - 1, found.records.empty() ? ",version" : ",version,record");
  }
  for (std::size_t i = 0; i < found.entries.size(); ++i) {
    const KeyedEntry<D>& entry = found.entries[i];
    append(text, entry.id);
    append_box<D>(text, entry.box, between);
    text += between + std::to_string(entry.version);
    if (!found.records.empty()) {
      text += format == Format::kCsv ? "," + csv_field(record_as_json(found.records[i]))
                                     : record_as_text(found.records[i]);
    }
    text += "\n";
  }
  return text;
}

std::string format_erased(std::span<const std::uint64_t> ids, const WriteAnswer& done,
                          Format format, bool ids_as_strings) {
  std::vector<std::uint64_t> erased;
  std::vector<std::uint64_t> missing;
  for (std::size_t i = 0; i < ids.size(); ++i) {
    const bool has_failed =
        std::ranges::find(done.failed, i, &FailedWrite::index) != done.failed.end();
    (has_failed ? missing : erased).push_back(ids[i]);
  }
  const std::string version = std::to_string(done.version);
  if (format == Format::kJson) {
    std::string text = "{\"erased\": " + std::to_string(erased.size()) + ", \"ids\": ";
    append_ids(text, erased, ids_as_strings);
    text += ", \"missing\": ";
    append_ids(text, missing, ids_as_strings);
    return text + ", \"version\": " + version + "}\n";
  }
  std::string text = format == Format::kCsv ? "id,version\n" : "";
  for (const std::uint64_t id : erased) {
    text += format == Format::kCsv ? std::to_string(id) + "," + version + "\n"
                                   : "erased " + std::to_string(id) + ", version " + version + "\n";
  }
  return text;
}

std::string format_write(std::string_view done, std::uint64_t id, rtree::Version version,
                         Format format, bool ids_as_strings) {
  const std::string in = std::to_string(version);
  if (format == Format::kJson) {
    std::string text = "{\"" + std::string(done) + "\": 1, \"id\": ";
    append_id(text, id, ids_as_strings);
    return text + ", \"version\": " + in + "}\n";
  }
  if (format == Format::kCsv) return "id,version\n" + std::to_string(id) + "," + in + "\n";
  return std::string(done) + " " + std::to_string(id) + ", version " + in + "\n";
}

std::string format_stats(const std::string& json, Format format) {
  const auto value = parse_json(json);
  if (format == Format::kJson || value.is_discarded()) return json + "\n";
  std::string text = format == Format::kCsv ? "name,value\n" : "";
  list_members(value, "", format == Format::kCsv ? "," : ": ", text);
  return text;
}

std::string format_history(const std::string& json, Format format) {
  const auto value = parse_json(json);
  if (format == Format::kJson || !json_field(value, "versions").is_array()) return json + "\n";
  const std::string separator = format == Format::kCsv ? "," : "  ";
  std::string text = "version" + separator + "time" + separator + "entries\n";
  for (const auto& kept : json_array(value, "versions")) {
    text += std::to_string(json_number(kept, "version")) + separator + json_string(kept, "time") +
            separator + std::to_string(json_number(kept, "entries")) + "\n";
  }
  return text;
}

std::string format_diff(const std::string& json, Format format, bool ids_as_strings) {
  constexpr std::array kChanges{"inserted", "erased", "moved"};
  auto value = parse_json<nlohmann::ordered_json>(json);
  if (!value.is_object() || (format == Format::kJson && !ids_as_strings)) return json + "\n";
  if (format == Format::kJson) {
    for (const char* change : kChanges) {
      if (!json_field(value, change).is_array()) continue;
      for (auto& id : value[change]) id = json_text(id);
    }
    return json_text(value) + "\n";
  }
  const char* separator = format == Format::kCsv ? "," : " ";
  std::string text = format == Format::kCsv ? "change,id\n" : "";
  for (const char* change : kChanges) {
    for (const auto& id : json_array(value, change)) {
      text += change + std::string(separator) + json_text(id) + "\n";
    }
  }
  return text;
}

std::string format_compaction(const CompactReport& report, Format format) {
  const double seconds = std::round(report.seconds * 1000) / 1000;
  if (format != Format::kText) {
    const nlohmann::ordered_json json = {{"saved_nodes", report.saved_nodes},
                                         {"saved_bytes", report.saved_bytes},
                                         {"nodes", report.nodes},
                                         {"bytes", report.bytes},
                                         {"bytes_retired", report.bytes_retired},
                                         {"bytes_held", report.bytes_held},
                                         {"steps", report.steps},
                                         {"waits", report.waits},
                                         {"seconds", seconds},
                                         {"version", report.version}};
    return format_stats(json.dump(), format);
  }
  std::string text = "saved " + grouped(report.saved_nodes) + " nodes (" +
                     format_size(report.saved_bytes) + ") in " + format_number(seconds) +
                     " s; the tree has " + grouped(report.nodes) + " (" +
                     format_size(report.bytes) + ")\n";
  if (report.bytes_retired != 0) {
    text += "older versions take " + format_size(report.bytes_retired) + " besides, of which " +
            format_size(report.bytes_held) + " are held for readers\n";
  }
  return text;
}

std::string format_load(const LoadReport& report, Format format) {
  const auto rate = static_cast<std::uint64_t>(
      std::llround(static_cast<double>(report.loaded) / std::max(report.seconds, 1e-9)));
  const std::string seconds = format_number(std::round(report.seconds * 1000) / 1000);
  const std::string how = report.bulk ? "bulk" : "inserts";
  const std::string loaded = std::to_string(report.loaded);
  const std::string skipped = std::to_string(report.skipped);
  const std::string version = std::to_string(report.version);
  switch (format) {
    case Format::kJson:
      return "{\"count\": " + loaded + ", \"found\": " + std::to_string(report.found) +
             ", \"skipped\": " + skipped + ", \"seconds\": " + seconds +
             ", \"rate\": " + std::to_string(rate) + ", \"method\": \"" + how +
             "\", \"version\": " + version +
             (report.columns.empty()
                  ? ""
                  : ", \"columns\": " + json_text(nlohmann::json(report.columns))) +
             (report.notes.empty() ? ""
                                   : ", \"notes\": " + json_text(nlohmann::json(report.notes))) +
             "}\n";
    case Format::kCsv:
      return "count,skipped,seconds,rate,method,version\n" + loaded + "," + skipped + "," +
             seconds + "," + std::to_string(rate) + "," + how + "," + version + "\n";
    case Format::kText:
      break;
  }
  return "loaded " + grouped(report.loaded) + " boxes in " + seconds + " s (" + grouped(rate) +
         "/s), " + (report.bulk ? "in bulk" : "by inserts") + ", version " + version + "\n" +
         (report.found == 0 ? "" : grouped(report.found) + " were in the tree already\n") +
         told_of_source(report.columns, report.notes, report.skipped, report.first_skipped);
}

std::string told_of_source(const std::string& columns, std::span<const std::string> notes,
                           std::uint64_t skipped, const std::string& first_skipped) {
  std::string text;
  if (!columns.empty()) text += "columns: " + columns + "\n";
  for (const std::string& note : notes) text += "note: " + note + "\n";
  if (skipped == 0) return text;
  text += "left out " + grouped(skipped) + " that are malformed";
  return text + (first_skipped.empty() ? "" : ", the first: " + first_skipped) + "\n";
}

std::string format_progress(double fraction, std::uint64_t boxes, double seconds) {
  constexpr std::size_t kWidth = 30;
  constexpr double kLeastFraction = 0.02;  // that tells how long the rest will take
  std::string bar;
  if (fraction >= 0) {
    fraction = std::min(fraction, 1.0);
    bar.assign(static_cast<std::size_t>(fraction * kWidth), '#');
    bar.resize(kWidth, ' ');
    std::string percent = std::to_string(static_cast<int>(fraction * 100));
    percent.insert(0, 3 - std::min<std::size_t>(percent.size(), 3), ' ');
    bar = "[" + bar + "] " + percent + " %  ";
  }
  const double rate = static_cast<double>(boxes) / std::max(seconds, 1e-3);
  std::string left;
  if (fraction >= kLeastFraction && fraction < 1) {
    left = "  " + std::to_string(std::lround(seconds * (1 - fraction) / fraction)) + " s left";
  }
  return bar + grouped(boxes) + " boxes  " + grouped(static_cast<std::uint64_t>(rate)) + "/s" +
         left;
}

template void append_box(std::string&, const Box<2>&, const char*);
template void append_box(std::string&, const Box<3>&, const char*);
template std::string csv_header<2>();
template std::string csv_header<3>();
template std::string format_get(const GetAnswer<2>&, Format, bool);
template std::string format_get(const GetAnswer<3>&, Format, bool);
template std::string format_range<2>(const RangeAnswer<2>&, ResultShape, Format, bool);
template std::string format_range<3>(const RangeAnswer<3>&, ResultShape, Format, bool);

}  // namespace silurus::tool
