// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <Python.h>
#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "silurus/result.h"
#include "silurus/types.h"

// What the bindings of clients and of trees share: arrays in and out, errors.

namespace silurus::python {

namespace py = pybind11;

using Doubles = py::array_t<double, py::array::c_style | py::array::forcecast>;
using Ids = py::array_t<std::uint64_t, py::array::c_style>;

/// Throws the exception of silurus.errors that belongs to the code. Holds the GIL.
[[noreturn]] void raise(const Error& error);
[[noreturn]] inline void raise(ErrorCode code, const std::string& message) {
  raise(Error{code, message});
}

/// The value of a result; its error as an exception.
template <typename T>
T value_of(Result<T>&& result) {
  if (!result) raise(result.error());
  return std::move(*result);
}
inline void check(const Status& status) {
  if (!status) raise(status.error());
}

/// An array of a vector's elements, without a copy: it owns the vector.
template <typename T>
py::array_t<T> to_array(std::vector<T>&& values) {
  constexpr std::size_t kCopied = 64;  // elements: cheaper to copy than to own
  if (values.size() <= kCopied) {
    return py::array_t<T>(static_cast<py::ssize_t>(values.size()), values.data());
  }
  auto owned = std::make_unique<std::vector<T>>(std::move(values));
  T* data = owned->data();
  const auto size = static_cast<py::ssize_t>(owned->size());
  py::capsule owner(owned.get(), [](void* one) { delete static_cast<std::vector<T>*>(one); });
  static_cast<void>(owned.release());
  return py::array_t<T>(size, data, owner);
}

/// The same of pairs, (n, 2) ids.
inline py::array_t<std::uint64_t> to_array(std::vector<IdPair>&& pairs) {
  static_assert(sizeof(IdPair) == 2 * sizeof(std::uint64_t));
  auto owned = std::make_unique<std::vector<IdPair>>(std::move(pairs));
  auto* data = reinterpret_cast<std::uint64_t*>(owned->data());
  const py::array::ShapeContainer shape = {static_cast<py::ssize_t>(owned->size()), py::ssize_t{2}};
  if (owned->empty()) return py::array_t<std::uint64_t>(shape);
  py::capsule owner(owned.get(), [](void* one) { delete static_cast<std::vector<IdPair>*>(one); });
  static_cast<void>(owned.release());
  return py::array_t<std::uint64_t>(shape, data, owner);
}

/// The same of boxes, (n, 2 D) numbers.
template <int D>
py::array_t<double> to_array(std::vector<Box<D>>&& boxes) {
  static_assert(sizeof(Box<D>) == 2 * D * sizeof(double));
  auto owned = std::make_unique<std::vector<Box<D>>>(std::move(boxes));
  auto* data = reinterpret_cast<double*>(owned->data());
  const auto rows = static_cast<py::ssize_t>(owned->size());
  const py::array::ShapeContainer shape = {rows, py::ssize_t{2 * D}};
  if (rows == 0) return py::array_t<double>(shape);
  py::capsule owner(owned.get(), [](void* one) { delete static_cast<std::vector<Box<D>>*>(one); });
  static_cast<void>(owned.release());
  return py::array_t<double>(shape, data, owner);
}

/// `count` numbers of a sequence, into `out`. ValueError if it has another number of them.
void read_numbers(py::handle sequence, double* out, py::ssize_t count, const char* what);

/// The box of row `row` of two (n, D) arrays.
template <int D>
Box<D> window_of(const double* mins, const double* maxs, std::size_t row) {
  Box<D> box;
  std::memcpy(box.min.data(), mins + row * D, D * sizeof(double));
  std::memcpy(box.max.data(), maxs + row * D, D * sizeof(double));
  return box;
}

/// The box of row `row` of an (n, 2 D) array.
template <int D>
Box<D> box_of(const double* boxes, std::size_t row) {
  const double* numbers = boxes + row * 2 * D;
  return window_of<D>(numbers, numbers + D, 0);
}

/// A box of 2 D numbers, minima first.
template <int D>
Box<D> to_box(py::handle sequence) {
  double numbers[2 * D] = {};
  read_numbers(sequence, numbers, 2 * D, "a box");
  return window_of<D>(numbers, numbers + D, 0);
}

template <int D>
Point<D> to_point(py::handle sequence) {
  Point<D> point;
  read_numbers(sequence, point.at.data(), D, "a point");
  return point;
}

/// The rows of an (n, columns) array. ValueError if it has another shape.
struct Rows {
  const double* data;
  std::size_t count;
};
Rows rows_of(const Doubles& array, py::ssize_t columns, const char* what);
void check_ids(const Ids& ids, std::size_t count);

/// Entries `first` to `first + count` of parallel arrays.
template <int D>
void fill_entries(std::vector<Entry<D>>& entries, const std::uint64_t* ids, const double* boxes,
                  std::size_t first, std::size_t count) {
  entries.resize(count);
  for (std::size_t i = 0; i < count; ++i) {
    entries[i] = {ids[first + i], box_of<D>(boxes, first + i)};
  }
}

/// "intersects", "within", "contains".
Predicate to_predicate(const std::string& name);

/// Answers of range searches, in the order of their queries: ids of all, one after the other, and
/// where those of each begin. Answers come in any order.
class RangeAnswers {
 public:
  explicit RangeAnswers(std::size_t queries) : places_(queries) {}
  void add(std::size_t query, const std::vector<std::uint64_t>& ids);
  /// (ids, offsets): those of query i are ids[offsets[i]:offsets[i + 1]]. Needs no GIL but for the
  /// arrays themselves: gather() first.
  void gather();
  py::tuple to_arrays();

 private:
  struct Place {
    std::size_t begin = 0;
    std::size_t count = 0;
  };
  std::vector<Place> places_;
  std::vector<std::uint64_t> ids_;  ///< in the order in which they came
  std::vector<std::int64_t> offsets_;
  std::size_t next_ = 0;  ///< the query whose answer came last, + 1
  bool in_order_ = true;
};

/// Answers of searches for neighbours: (n, k) ids and distances. Places without a neighbour, if
/// there are fewer than k entries, hold the id 2^64 - 1 and an infinite distance.
class NearestAnswers {
 public:
  NearestAnswers(std::size_t queries, std::uint32_t k);
  void add(std::size_t query, const NearestResult& neighbors);
  py::tuple to_arrays();

 private:
  std::uint32_t k_;
  py::array_t<std::uint64_t> ids_;
  py::array_t<double> distances_;
  std::uint64_t* id_data_;
  double* distance_data_;
};

void bind_arrow(py::module_& module);
void bind_clients(py::module_& module);
void bind_trees(py::module_& module);

}  // namespace silurus::python
