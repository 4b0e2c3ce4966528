// SPDX-License-Identifier: Apache-2.0

#include "readers/netcdf/file.h"

#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cmath>
#include <sstream>
#include <utility>

namespace silurus::readers {
namespace {

constexpr std::size_t kMaxTextBytes = 1 << 16;
constexpr std::size_t kMaxRank = 16;
constexpr std::size_t kCacheBytes = std::size_t{64} << 20;  // cache for a variable's chunks
constexpr std::size_t kCacheSlots = 1009;
constexpr float kCachePreemption = 0.75F;

/// What the library fills a variable with that names no value of its own.
double default_fill(nc_type type) {
  switch (type) {
    case NC_SHORT:
      return NC_FILL_SHORT;
    case NC_INT:
      return NC_FILL_INT;
    case NC_USHORT:
      return NC_FILL_USHORT;
    case NC_UINT:
      return NC_FILL_UINT;
    case NC_INT64:
      return static_cast<double>(NC_FILL_INT64);
    case NC_UINT64:
      return static_cast<double>(NC_FILL_UINT64);
    case NC_FLOAT:
      return NC_FILL_FLOAT;
    case NC_DOUBLE:
      return NC_FILL_DOUBLE;
    default:
      return std::numeric_limits<double>::quiet_NaN();
  }
}

/// A value as a variable of that type can hold it: the attribute may be of a wider one.
double as_held(nc_type type, double value) {
  const bool is_narrowed =
      type == NC_FLOAT && std::abs(value) <= double{std::numeric_limits<float>::max()};
  return is_narrowed ? double{static_cast<float>(value)} : value;
}

}  // namespace

Result<NcFile> NcFile::open(const std::string& path) {
  struct stat info = {};
  if (::stat(path.c_str(), &info) != 0) {
    const ErrorCode code = errno == ENOENT ? ErrorCode::kNotFound : ErrorCode::kIo;
    return fail(errno_error(code, "cannot open " + path, errno));
  }
  // Also keeps a name like "http://..." from libnetcdf, which would go and fetch it.
  if (!S_ISREG(info.st_mode)) {
    return fail(ErrorCode::kInvalidArgument, path + " is not a regular file");
  }
  int id = -1;
  const int status = ::nc_open(path.c_str(), NC_NOWRITE, &id);
  NcFile file(path, id);
  if (status == EACCES) {
    return fail(errno_error(ErrorCode::kPermission, "cannot open " + path, EACCES));
  }
  if (status != NC_NOERR) {
    return file.damaged(std::string("not readable: ") + nc_strerror(status));
  }
  if (auto ok = file.list_variables(); !ok) return fail(ok.error());
  return file;
}

NcFile::NcFile(NcFile&& other) noexcept
    : path_(std::move(other.path_)),
      id_(std::exchange(other.id_, -1)),
      variables_(std::move(other.variables_)) {}

NcFile::~NcFile() {
  if (id_ >= 0) ::nc_close(id_);
}

Status NcFile::list_variables() {
  int count = 0;
  if (::nc_inq_nvars(id_, &count) != NC_NOERR || count < 0 ||
      static_cast<std::size_t>(count) > kMaxVariables) {
    return damaged("its variables cannot be listed");
  }
  for (int id = 0; id < count; ++id) {
    NcVariable variable{.id = id};
    std::array<char, NC_MAX_NAME + 1> name{};
    int rank = 0;
    if (::nc_inq_varname(id_, id, name.data()) != NC_NOERR ||
        ::nc_inq_vartype(id_, id, &variable.type) != NC_NOERR ||
        ::nc_inq_varndims(id_, id, &rank) != NC_NOERR || rank < 0) {
      return damaged("variable " + std::to_string(id) + " cannot be described");
    }
    if (static_cast<std::size_t>(rank) > kMaxRank) continue;
    variable.name = name.data();
    variable.dimensions.resize(static_cast<std::size_t>(rank));
    if (rank > 0 && ::nc_inq_vardimid(id_, id, variable.dimensions.data()) != NC_NOERR) {
      return damaged("variable " + variable.name + " cannot be described");
    }
    variables_.push_back(std::move(variable));
  }
  return {};
}

const NcVariable* NcFile::find(std::string_view name) const {
  for (const NcVariable& variable : variables_) {
    if (variable.name == name) return &variable;
  }
  return nullptr;
}

std::size_t NcFile::length(int dimension) const {
  std::size_t length = 0;
  return ::nc_inq_dimlen(id_, dimension, &length) == NC_NOERR ? length : 0;
}

std::string NcFile::dimension_name(int dimension) const {
  std::array<char, NC_MAX_NAME + 1> name{};
  return ::nc_inq_dimname(id_, dimension, name.data()) == NC_NOERR ? name.data() : "";
}

std::string NcFile::text(const NcVariable& variable, const char* attribute) const {
  nc_type type = NC_NAT;
  std::size_t size = 0;
  if (::nc_inq_att(id_, variable.id, attribute, &type, &size) != NC_NOERR || size == 0 ||
      size > kMaxTextBytes) {
    return {};
  }
  std::string text;
  if (type == NC_CHAR) {
    text.resize(size);
    if (::nc_get_att_text(id_, variable.id, attribute, text.data()) != NC_NOERR) return {};
  } else if (type == NC_STRING && size == 1) {
    char* string = nullptr;
    if (::nc_get_att_string(id_, variable.id, attribute, &string) != NC_NOERR) return {};
    if (string != nullptr) text = string;
    ::nc_free_string(1, &string);
  }
  text.erase(std::min(text.find('\0'), text.size()));
  return text;
}

std::optional<double> NcFile::number(const NcVariable& variable, const char* attribute) const {
  nc_type type = NC_NAT;
  std::size_t size = 0;
  double value = 0;
  const bool is_one = ::nc_inq_att(id_, variable.id, attribute, &type, &size) == NC_NOERR &&
                      size == 1 && type != NC_CHAR && type != NC_STRING &&
                      ::nc_get_att_double(id_, variable.id, attribute, &value) == NC_NOERR;
  return is_one ? std::optional(value) : std::nullopt;
}

NcFill NcFile::fill(const NcVariable& variable) const {
  NcFill fill;
  fill.fill =
      as_held(variable.type, number(variable, "_FillValue").value_or(default_fill(variable.type)));
  fill.missing = as_held(variable.type, number(variable, "missing_value").value_or(fill.fill));
  return fill;
}

void NcFile::unpack(const NcVariable& variable, std::span<double> numbers,
                    const NcVariable* coordinate_of_bounds) const {
  const auto attribute = [&](const char* name, double otherwise) {
    auto own = number(variable, name);
    if (!own && coordinate_of_bounds != nullptr) own = number(*coordinate_of_bounds, name);
    return own.value_or(otherwise);
  };
  const NcFill none = fill(variable);
  const double scale = attribute("scale_factor", 1);
  const double offset = attribute("add_offset", 0);
  for (double& one : numbers) {
    one = none.is(one) ? std::numeric_limits<double>::quiet_NaN() : one * scale + offset;
  }
}

Status NcFile::read(const NcVariable& variable, std::span<const std::size_t> start,
                    std::span<const std::size_t> count, std::span<double> into) const {
  const int status =
      ::nc_get_vara_double(id_, variable.id, start.data(), count.data(), into.data());
  if (status == NC_NOERR) return {};
  return damaged("variable " + variable.name + " is not readable: " + nc_strerror(status));
}

Result<std::vector<double>> NcFile::read_all(const NcVariable& variable,
                                             const NcVariable* coordinate_of_bounds) const {
  std::vector<std::size_t> start(variable.dimensions.size());
  std::vector<std::size_t> count;
  std::size_t values = 1;
  for (const int dimension : variable.dimensions) {
    count.push_back(length(dimension));
    if (count.back() > kMaxValues / std::max<std::size_t>(values, 1)) {
      return fail(ErrorCode::kTooLarge, path_ + ": variable " + variable.name + " has more than " +
                                            std::to_string(kMaxValues) + " values");
    }
    values *= count.back();
  }
  ::nc_set_var_chunk_cache(id_, variable.id, kCacheBytes, kCacheSlots, kCachePreemption);
  std::vector<double> all(values);
  if (values == 0) return all;
  if (auto ok = read(variable, start, count, all); !ok) return fail(ok.error());
  unpack(variable, all, coordinate_of_bounds);
  return all;
}

tl::unexpected<Error> NcFile::damaged(const std::string& what) const {
  return fail(ErrorCode::kProtocol,
              path_ + ": " + what + " (truncated, damaged, or another kind of file)");
}

std::vector<std::string> words_of(const std::string& text) {
  std::vector<std::string> words;
  std::istringstream stream(text);
  for (std::string word; stream >> word;) words.push_back(word);
  return words;
}

}  // namespace silurus::readers
