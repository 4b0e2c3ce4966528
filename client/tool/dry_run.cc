// SPDX-License-Identifier: Apache-2.0

#include "client/tool/dry_run.h"

#include <algorithm>
#include <optional>
#include <span>
#include <vector>

#include "client/tool/output.h"
#include "client/tool/progress.h"
#include "common/json.h"
#include "common/units.h"

namespace silurus::tool {
namespace {

using rtree::Box;
using rtree::Entry;

constexpr std::size_t kReadBatch = 1 << 14;
constexpr std::size_t kShownRows = 3;

template <int D>
struct Found {
  std::uint64_t count = 0;
  Box<D> bounds = {};  // about all entries, if there are any
  std::vector<Entry<D>> rows = {};
};

template <int D>
void take(std::span<const Entry<D>> entries, Found<D>& found) {
  for (const Entry<D>& entry : entries) {
    if (found.count++ == 0) found.bounds = entry.box;
    if (found.rows.size() < kShownRows) found.rows.push_back(entry);
    for (int d = 0; d < D; ++d) {
      found.bounds.min[d] = std::min(found.bounds.min[d], entry.box.min[d]);
      found.bounds.max[d] = std::max(found.bounds.max[d], entry.box.max[d]);
    }
  }
}

template <int D>
Result<Found<D>> read_through(datasets::Source<D>& source, Progress& progress) {
  Found<D> found;
  std::vector<Entry<D>> batch(kReadBatch);
  for (;;) {
    const auto count = source.read(batch);
    if (!count) return fail(count.error());
    if (*count == 0) return found;
    take<D>(std::span(batch).first(*count), found);
    const datasets::Progress done = source.progress();
    progress.update(
        done.total == 0 ? -1 : static_cast<double>(done.done) / static_cast<double>(done.total),
        found.count);
  }
}

template <int D>
std::string numbers(const Box<D>& box, std::string_view separator) {
  std::string text;
  for (const auto& corner : {box.min, box.max}) {
    for (const double value : corner) {
      text += (text.empty() ? "" : std::string(separator)) + format_number(value);
    }
  }
  return text;
}

template <int D>
std::string found_as_json(const Found<D>& found, const datasets::Source<D>& source) {
  const auto json_box = [](const Box<D>& box) {
    return nlohmann::json{{"min", box.min}, {"max", box.max}};
  };
  nlohmann::json rows = nlohmann::json::array();
  for (const Entry<D>& row : found.rows) {
    nlohmann::json one = json_box(row.box);
    one["id"] = row.id;
    rows.push_back(std::move(one));
  }
  const nlohmann::json all = {
      {"count", found.count},
      {"skipped", source.skipped()},
      {"bounds", found.count == 0 ? nlohmann::json() : json_box(found.bounds)},
      {"columns", source.description()},
      {"notes", source.notes()},
      {"rows", std::move(rows)}};
  return json_text(all) + "\n";
}

template <int D>
std::string found_as_csv(const Found<D>& found) {
  std::string text = D == 2 ? "id,xmin,ymin,xmax,ymax\n" : "id,xmin,ymin,zmin,xmax,ymax,zmax\n";
  for (const Entry<D>& row : found.rows) {
    text += std::to_string(row.id) + "," + numbers<D>(row.box, ",") + "\n";
  }
  return text;
}

template <int D>
std::string found_as_text(const Found<D>& found, const datasets::Source<D>& source) {
  std::string text = grouped(found.count) + " boxes would be loaded\n";
  if (found.count > 0) text += "bounds: " + numbers<D>(found.bounds, " ") + "\n";
  text += told_of_source(source.description(), source.notes(), source.skipped(),
                         source.first_skipped());
  for (std::size_t i = 0; i < found.rows.size(); ++i) {
    text += std::string(i == 0 ? "first: " : "       ") + "id " + std::to_string(found.rows[i].id) +
            ", box " + numbers<D>(found.rows[i].box, " ") + "\n";
  }
  return text;
}

template <int D>
Result<std::string> dry_run_in(const LoadCommand& command, Format format) {
  auto source = datasets::open_dataset<D>(command.source, open_options(command));
  if (!source) return fail(source.error());
  Progress progress("reading " + command.source);
  const auto found = read_through<D>(**source, progress);
  if (!found) return fail(found.error());
  switch (format) {
    case Format::kJson:
      return found_as_json<D>(*found, **source);
    case Format::kCsv:
      return found_as_csv<D>(*found);
    case Format::kText:
      break;
  }
  return found_as_text<D>(*found, **source);
}

}  // namespace

datasets::OpenOptions open_options(const LoadCommand& command) {
  return {.skip_bad = command.skip_bad,
          .columns = command.columns,
          .limit = command.limit,
          .layer = command.layer,
          .where = command.where,
          .id = command.id,
          .as = command.as};
}

Result<std::string> dry_run(const LoadCommand& command, Format format) {
  return command.dimensions == 3 ? dry_run_in<3>(command, format) : dry_run_in<2>(command, format);
}

}  // namespace silurus::tool
