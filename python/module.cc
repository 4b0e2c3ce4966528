// SPDX-License-Identifier: Apache-2.0

#include <algorithm>
#include <limits>

#include "python/binding.h"

namespace silurus::python {

void raise(const Error& error) {
  const py::object made = py::module_::import("silurus.errors")
                              .attr("error_of")(static_cast<int>(error.code), error.message);
  PyErr_SetObject(reinterpret_cast<PyObject*>(Py_TYPE(made.ptr())), made.ptr());
  throw py::error_already_set();
}

void read_numbers(py::handle sequence, double* out, py::ssize_t count, const char* what) {
  const py::object fast =
      py::reinterpret_steal<py::object>(PySequence_Fast(sequence.ptr(), "numbers are expected"));
  if (!fast) throw py::error_already_set();
  const py::ssize_t size = PySequence_Fast_GET_SIZE(fast.ptr());
  if (size != count) {
    throw py::value_error(std::string(what) + " has " + std::to_string(count) + " numbers, not " +
                          std::to_string(size));
  }
  PyObject** items = PySequence_Fast_ITEMS(fast.ptr());
  for (py::ssize_t i = 0; i < count; ++i) {
    out[i] = PyFloat_AsDouble(items[i]);
    if (out[i] == -1.0 && PyErr_Occurred() != nullptr) throw py::error_already_set();
  }
}

Rows rows_of(const Doubles& array, py::ssize_t columns, const char* what) {
  if (array.ndim() != 2 || array.shape(1) != columns) {
    throw py::value_error(std::string(what) + ": an array of the shape (n, " +
                          std::to_string(columns) + ") is expected");
  }
  return {array.data(), static_cast<std::size_t>(array.shape(0))};
}

void check_ids(const Ids& ids, std::size_t count) {
  if (ids.ndim() != 1 || static_cast<std::size_t>(ids.shape(0)) != count) {
    throw py::value_error("ids: an array of the shape (" + std::to_string(count) +
                          ",) is expected, an id for each box");
  }
}

Predicate to_predicate(const std::string& name) {
  if (name == "intersects") return Predicate::kIntersects;
  if (name == "within") return Predicate::kWithin;
  if (name == "contains") return Predicate::kContains;
  throw py::value_error("predicate: \"intersects\", \"within\" or \"contains\", not \"" + name +
                        "\"");
}

void RangeAnswers::add(std::size_t query, const std::vector<std::uint64_t>& ids) {
  places_[query] = {ids_.size(), ids.size()};
  in_order_ &= query == next_;
  next_ = query + 1;
  ids_.insert(ids_.end(), ids.begin(), ids.end());
}

void RangeAnswers::gather() {
  offsets_.resize(places_.size() + 1);
  std::int64_t offset = 0;
  for (std::size_t i = 0; i < places_.size(); ++i) {
    offsets_[i] = offset;
    offset += static_cast<std::int64_t>(places_[i].count);
  }
  offsets_.back() = offset;
  if (in_order_) return;
  std::vector<std::uint64_t> sorted;
  sorted.reserve(ids_.size());
  for (const Place& place : places_) {
    const auto begin = ids_.begin() + static_cast<std::ptrdiff_t>(place.begin);
    sorted.insert(sorted.end(), begin, begin + static_cast<std::ptrdiff_t>(place.count));
  }
  ids_ = std::move(sorted);
}

py::tuple RangeAnswers::to_arrays() {
  return py::make_tuple(to_array(std::move(ids_)), to_array(std::move(offsets_)));
}

NearestAnswers::NearestAnswers(std::size_t queries, std::uint32_t k)
    : k_(k),
      ids_({static_cast<py::ssize_t>(queries), static_cast<py::ssize_t>(k)}),
      distances_({static_cast<py::ssize_t>(queries), static_cast<py::ssize_t>(k)}),
      id_data_(ids_.mutable_data()),
      distance_data_(distances_.mutable_data()) {}

void NearestAnswers::add(std::size_t query, const NearestResult& neighbors) {
  std::uint64_t* ids = id_data_ + query * k_;
  double* distances = distance_data_ + query * k_;
  const std::size_t count = std::min<std::size_t>(neighbors.size(), k_);
  for (std::size_t i = 0; i < count; ++i) {
    ids[i] = neighbors[i].id;
    distances[i] = neighbors[i].distance;
  }
  std::fill(ids + count, ids + k_, UINT64_MAX);
  std::fill(distances + count, distances + k_, std::numeric_limits<double>::infinity());
}

py::tuple NearestAnswers::to_arrays() { return py::make_tuple(ids_, distances_); }

}  // namespace silurus::python

PYBIND11_MODULE(_silurus, module) {
  module.doc() = "Clients and trees of Silurus, as the package silurus uses them.";
  silurus::python::bind_arrow(module);
  silurus::python::bind_clients(module);
  silurus::python::bind_trees(module);
}
