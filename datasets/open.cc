// SPDX-License-Identifier: Apache-2.0

#include "datasets/open.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <optional>
#include <span>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "datasets/csv.h"
#include "datasets/formats.h"
#include "datasets/generators.h"
#include "datasets/gshhg.h"
#include "datasets/helper.h"
#include "datasets/las.h"
#include "datasets/limited.h"
#include "datasets/npy.h"
#include "datasets/swc.h"

namespace silurus::datasets {
namespace {

/// "name:COUNT:key=value:...", taken apart; values are taken out one by one, and what is left over
/// is an error.
class GeneratorSpec {
 public:
  static Result<GeneratorSpec> parse(std::string_view text) {
    GeneratorSpec spec(text);
    std::size_t colon = text.find(':');
    std::string_view rest = text.substr(colon + 1);
    colon = rest.find(':');
    const std::string_view count = rest.substr(0, colon);
    if (auto ok = spec.convert("count", count, spec.count_); !ok) return fail(ok.error());
    while (colon != std::string_view::npos) {
      rest.remove_prefix(colon + 1);
      colon = rest.find(':');
      const std::string_view part = rest.substr(0, colon);
      const std::size_t equals = part.find('=');
      if (equals == std::string_view::npos) {
        return spec.bad("\"" + std::string(part) + "\" is not of the form name=value");
      }
      spec.parts_.push_back({part.substr(0, equals), part.substr(equals + 1)});
    }
    return spec;
  }

  std::uint64_t count() const { return count_; }

  /// Puts the value of an option into `value`, which keeps its default if the option isn't there.
  template <typename T>
  GeneratorSpec& take(std::string_view name, T& value) {
    for (auto part = parts_.begin(); part != parts_.end(); ++part) {
      if (part->name != name) continue;
      if (auto ok = convert(name, part->value, value); !ok && status_) status_ = ok;
      parts_.erase(part);
      break;
    }
    known_.append(known_.empty() ? "" : ", ").append(name);
    return *this;
  }

  /// The first thing that was wrong.
  Status finish() const {
    if (!status_ || parts_.empty()) return status_;
    return bad("unknown or repeated option \"" + std::string(parts_.front().name) +
               "\" (there are " + known_ + ")");
  }

 private:
  struct Part {
    std::string_view name;
    std::string_view value;
  };

  explicit GeneratorSpec(std::string_view text) : text_(text) {}

  tl::unexpected<Error> bad(const std::string& what) const {
    return fail(ErrorCode::kInvalidArgument, "data set " + std::string(text_) + ": " + what);
  }

  template <typename T>
  Status convert(std::string_view name, std::string_view text, T& value) const {
    T converted{};
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), converted);
    if (error != std::errc{} || end != text.data() + text.size()) {
      return bad(std::string(name) + " \"" + std::string(text) + "\" is not a " +
                 (std::is_floating_point_v<T> ? "number" : "whole number of 64 bits"));
    }
    value = converted;
    return {};
  }

  std::string_view text_;
  std::uint64_t count_ = 0;
  std::vector<Part> parts_;
  std::string known_;
  Status status_;
};

template <int D>
using Opened = Result<std::unique_ptr<Source<D>>>;

template <int D>
Opened<D> open_uniform(GeneratorSpec spec) {
  UniformOptions options;
  options.count = spec.count();
  const auto ok = spec.take("seed", options.seed).take("edge", options.edge).finish();
  if (!ok) return fail(ok.error());
  return generate_uniform<D>(options);
}

template <int D>
Opened<D> open_power_law(GeneratorSpec spec) {
  PowerLawOptions options;
  options.count = spec.count();
  const auto ok = spec.take("seed", options.seed)
                      .take("min", options.min_edge)
                      .take("max", options.max_edge)
                      .take("exponent", options.exponent)
                      .finish();
  if (!ok) return fail(ok.error());
  return generate_power_law<D>(options);
}

template <int D>
Opened<D> open_clusters(GeneratorSpec spec) {
  ClusterOptions options;
  options.count = spec.count();
  const auto ok = spec.take("seed", options.seed)
                      .take("edge", options.edge)
                      .take("clusters", options.clusters)
                      .take("sigma", options.sigma)
                      .finish();
  if (!ok) return fail(ok.error());
  return generate_clusters<D>(options);
}

template <int D>
Opened<D> open_roads(GeneratorSpec spec) {
  RoadOptions options;
  options.count = spec.count();
  const auto ok = spec.take("seed", options.seed)
                      .take("towns", options.towns)
                      .take("step", options.step)
                      .finish();
  if (!ok) return fail(ok.error());
  return generate_roads<D>(options);
}

template <int D>
struct Generator {
  std::string_view name;
  Opened<D> (*open)(GeneratorSpec);
};

template <int D>
constexpr std::array<Generator<D>, 4> kGenerators = {{{"uniform", open_uniform<D>},
                                                      {"powerlaw", open_power_law<D>},
                                                      {"clusters", open_clusters<D>},
                                                      {"roads", open_roads<D>}}};

template <int D>
Opened<D> open_coastlines() {
  if constexpr (D == 2) {
    return open_gshhg();
  } else {
    return fail(ErrorCode::kUnsupported, std::string(kGshhgPath) +
                                             ": GSHHG coastlines are 2-D, boxes of " +
                                             std::to_string(D) + " dimensions were asked for");
  }
}

constexpr Helper kReadNetcdf = {"silurus-read-netcdf"};
constexpr Helper kReadGdal = {"silurus-read-gdal", "silurus-gdal"};
constexpr Helper kReadHdf5 = {"silurus-read-hdf5"};
constexpr Helper kReadFits = {"silurus-read-fits"};
constexpr std::string_view kIdsOfColumns = "ids=";  // behind a '#'

/// Options of a data set, each of which only some formats have.
struct Option {
  std::string_view name;
  bool is_given;
  bool is_known;  // to the format
};

/// What a format can do with the options.
struct Abilities {
  const char* what = "";  // "GSHHG": for messages
  bool columns = false;
  bool layer = false;
  bool where = false;
  bool id = false;
  bool as = false;
  bool skip_bad = false;
};

Status check_options(std::string_view spec, const OpenOptions& options, const Abilities& can) {
  const std::array<Option, 6> all = {{{"--columns", !options.columns.empty(), can.columns},
                                      {"--layer", !options.layer.empty(), can.layer},
                                      {"--where", !options.where.empty(), can.where},
                                      {"--id", !options.id.empty(), can.id},
                                      {"--as", options.as.has_value(), can.as},
                                      {"--skip-bad", options.skip_bad, can.skip_bad}}};
  for (const Option& option : all) {
    if (!option.is_given || option.is_known) continue;
    const std::string why =
        option.name == "--columns"
            ? ": only text files have columns to be named"
            : ": " + std::string(option.name) + " means nothing for " + can.what;
    return fail(ErrorCode::kInvalidArgument, "data set " + std::string(spec) + why);
  }
  return {};
}

readers::Request request_of(const std::string& path, const OpenOptions& options) {
  return {.path = path,
          .layer = options.layer,
          .where = options.where,
          .id = options.id,
          .as = options.as.value_or(readers::As::kBoxes),
          .skip_bad = options.skip_bad};
}

template <int D>
Opened<D> open_text(const std::string& path, const OpenOptions& options) {
  const Abilities can = {.what = "text files", .columns = true, .skip_bad = true};
  if (auto ok = check_options(path, options, can); !ok) return fail(ok.error());
  auto opened = open_csv<D>(path, CsvOptions{options.skip_bad, options.columns});
  if (!opened && opened.error().code == ErrorCode::kNotFound) {
    return fail(ErrorCode::kNotFound,
                opened.error().message + "; a data set is one of " + std::string(kDatasetForms));
  }
  return opened;
}

/// "snapshot.h5:/PartType0/Coordinates#ids=/PartType0/ParticleIDs": columns of a file of HDF5.
/// Nothing if it is the name of a file, or does not begin with one.
Result<std::optional<OpenOptions>> options_of_columns(std::string& spec, OpenOptions options) {
  const std::size_t colon = spec.find(":/");
  if (colon == std::string::npos || !first_bytes_of(spec).empty()) return std::nullopt;
  const std::string file = spec.substr(0, colon);
  if (first_bytes_of(file).empty() || format_of_file(file) != FileFormat::kNetcdf) {
    return std::nullopt;
  }
  std::string columns = spec.substr(colon + 1);
  const std::size_t hash = columns.find('#');
  const std::string rest = hash == std::string::npos ? "" : columns.substr(hash + 1);
  columns.erase(std::min(hash, columns.size()));
  const auto refuse = [&](const std::string& why) {
    return fail(ErrorCode::kInvalidArgument, "data set " + spec + ": " + why);
  };
  if (!options.layer.empty()) return refuse("--layer names what is already named");
  if (hash != std::string::npos && !rest.starts_with(kIdsOfColumns)) {
    return refuse("\"#" + rest + "\" is not of the form #ids=/DATASET");
  }
  if (!rest.empty() && !options.id.empty()) return refuse("--id names what is already named");
  options.layer = columns;
  if (!rest.empty()) options.id = rest.substr(kIdsOfColumns.size());
  spec = file;
  return options;
}

template <int D>
Opened<D> open_columns_of_hdf5(const std::string& path, const OpenOptions& options) {
  const Abilities can = {.what = "HDF5", .layer = true, .id = true, .skip_bad = true};
  if (auto ok = check_options(path, options, can); !ok) return fail(ok.error());
  return open_with_helper<D>(kReadHdf5, request_of(path, options));
}

/// netCDF-4 is HDF5, too. What is no netCDF may have columns all the same.
template <int D>
Opened<D> open_netcdf_or_hdf5(const std::string& path, const OpenOptions& options) {
  const bool is_hdf5 = first_bytes_of(path).starts_with("\x89HDF");
  if (is_hdf5 && (!options.id.empty() || options.layer.starts_with('/'))) {
    return open_columns_of_hdf5<D>(path, options);
  }
  const Abilities can = {.what = "netCDF", .layer = true, .skip_bad = true};
  if (auto ok = check_options(path, options, can); !ok) return fail(ok.error());
  auto grid = open_with_helper<D>(kReadNetcdf, request_of(path, options));
  if (grid || !is_hdf5 || !options.layer.empty() || grid.error().code != ErrorCode::kProtocol) {
    return grid;
  }
  auto columns = open_columns_of_hdf5<D>(path, options);
  if (columns) return columns;
  if (columns.error().code == ErrorCode::kProtocol) return grid;
  return fail(grid.error().code,
              grid.error().message + "; as columns of HDF5: " + columns.error().message);
}

/// By what its first bytes say.
template <int D>
Opened<D> open_file(const std::string& path, const OpenOptions& options) {
  const auto check = [&](const Abilities& can) { return check_options(path, options, can); };
  switch (path == "-" ? FileFormat::kText : format_of_file(path)) {
    case FileFormat::kText:
    case FileFormat::kGzip:
      return open_text<D>(path, options);
    case FileFormat::kNetcdf:
      return open_netcdf_or_hdf5<D>(path, options);
    case FileFormat::kVector: {
      const Abilities can = {.what = "files that GDAL reads",
                             .layer = true,
                             .where = true,
                             .id = true,
                             .as = true,
                             .skip_bad = true};
      if (auto ok = check(can); !ok) return fail(ok.error());
      return open_with_helper<D>(kReadGdal, request_of(path, options));
    }
    case FileFormat::kNpy:
      if (auto ok = check({.what = "arrays of NumPy", .skip_bad = true}); !ok) {
        return fail(ok.error());
      }
      return open_npy<D>(path, {.skip_bad = options.skip_bad});
    case FileFormat::kLas:
      if (auto ok = check({.what = "LAS"}); !ok) return fail(ok.error());
      return open_las<D>(path);
    case FileFormat::kSwc:
      if (auto ok = check({.what = "SWC", .skip_bad = true}); !ok) return fail(ok.error());
      return open_swc<D>(path, {.skip_bad = options.skip_bad});
    case FileFormat::kFits:
      break;
  }
  const Abilities can = {
      .what = "FITS", .layer = true, .where = true, .id = true, .skip_bad = true};
  if (auto ok = check(can); !ok) return fail(ok.error());
  return open_with_helper<D>(kReadFits, request_of(path, options));
}

template <int D>
Opened<D> open_generator(const Generator<D>& generator, std::string_view spec,
                         const OpenOptions& options) {
  if (auto ok = check_options(spec, options, {.what = "generators"}); !ok) return fail(ok.error());
  if (generator.name == spec) {
    return fail(ErrorCode::kInvalidArgument, "data set " + std::string(spec) +
                                                 ": say how many boxes, as in " +
                                                 std::string(spec) + ":1000000");
  }
  auto parsed = GeneratorSpec::parse(spec);
  if (!parsed) return fail(parsed.error());
  return generator.open(std::move(*parsed));
}

template <int D>
Opened<D> open_without_limit(std::string_view spec, const OpenOptions& options) {
  if (spec == "gshhg") {
    if (auto ok = check_options(spec, options, {.what = "GSHHG"}); !ok) return fail(ok.error());
    return open_coastlines<D>();
  }
  const std::string_view name = spec.substr(0, spec.find(':'));
  for (const auto& generator : kGenerators<D>) {
    if (name == generator.name) return open_generator<D>(generator, spec, options);
  }
  std::string path(spec);
  auto columns = options_of_columns(path, options);
  if (!columns) return fail(columns.error());
  return *columns ? open_columns_of_hdf5<D>(path, **columns) : open_file<D>(path, options);
}

}  // namespace

template <int D>
Result<std::unique_ptr<Source<D>>> open_dataset(std::string_view spec, const OpenOptions& options) {
  auto source = open_without_limit<D>(spec, options);
  if (!source || options.limit == UINT64_MAX) return source;
  return std::make_unique<LimitedSource<D>>(std::move(*source), options.limit);
}

template Result<std::unique_ptr<Source<2>>> open_dataset<2>(std::string_view, const OpenOptions&);
template Result<std::unique_ptr<Source<3>>> open_dataset<3>(std::string_view, const OpenOptions&);

}  // namespace silurus::datasets
