#include "datasets/open.h"

#include <array>
#include <charconv>
#include <span>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "datasets/bytes.h"
#include "datasets/csv.h"
#include "datasets/generators.h"
#include "datasets/gshhg.h"

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
Opened<D> open_coastlines(const std::string& path) {
  if constexpr (D == 2) {
    return open_gshhg(path);
  } else {
    return fail(ErrorCode::kUnsupported, path + ": GSHHG coastlines are 2-D, boxes of " +
                                             std::to_string(D) + " dimensions were asked for");
  }
}

/// By the first bytes; where there are none, in a missing or empty file, by its name.
bool is_coastlines(const std::string& path) {
  const std::string first = first_bytes_of(path);
  return format_of(first) == FileFormat::kNetcdf || (first.empty() && path.ends_with(".nc"));
}

}  // namespace

template <int D>
Result<std::unique_ptr<Source<D>>> open_dataset(std::string_view spec, const OpenOptions& options) {
  const std::string name(spec.substr(0, spec.find(':')));
  const auto has_columns = [&] {
    return fail(ErrorCode::kInvalidArgument,
                "data set " + std::string(spec) + ": only text files have columns to be named");
  };
  if (spec == "gshhg") {
    if (!options.columns.empty()) return has_columns();
    return open_coastlines<D>(kGshhgPath);
  }
  for (const auto& generator : kGenerators<D>) {
    if (name != generator.name) continue;
    if (!options.columns.empty()) return has_columns();
    if (name == spec) {
      return fail(ErrorCode::kInvalidArgument,
                  "data set " + name + ": say how many boxes, as in " + name + ":1000000");
    }
    auto parsed = GeneratorSpec::parse(spec);
    if (!parsed) return fail(parsed.error());
    return generator.open(std::move(*parsed));
  }
  if (is_coastlines(std::string(spec))) {
    if (!options.columns.empty()) return has_columns();
    return open_coastlines<D>(std::string(spec));
  }
  auto opened = open_csv<D>(std::string(spec), CsvOptions{options.skip_bad, options.columns});
  if (!opened && opened.error().code == ErrorCode::kNotFound) {
    return fail(ErrorCode::kNotFound,
                opened.error().message + "; a data set is one of " + std::string(kDatasetForms));
  }
  return opened;
}

template Result<std::unique_ptr<Source<2>>> open_dataset<2>(std::string_view, const OpenOptions&);
template Result<std::unique_ptr<Source<3>>> open_dataset<3>(std::string_view, const OpenOptions&);

}  // namespace silurus::datasets
