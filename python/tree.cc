// SPDX-License-Identifier: Apache-2.0

#include <algorithm>
#include <atomic>
#include <bit>
#include <limits>
#include <mutex>
#include <tuple>

#include "python/binding.h"
#include "silurus/local_tree.h"

namespace silurus::python {
namespace {

/// Ids of the interface of python3-rtree are signed. They are stored so that both orders agree.
constexpr std::uint64_t kSign = std::uint64_t{1} << 63;
std::uint64_t to_stored(std::int64_t id) { return std::bit_cast<std::uint64_t>(id) ^ kSign; }
std::int64_t to_signed(std::uint64_t id) { return std::bit_cast<std::int64_t>(id ^ kSign); }

py::list to_list(const std::vector<std::int64_t>& ids) {
  py::list list(ids.size());
  for (std::size_t i = 0; i < ids.size(); ++i) {
    PyList_SET_ITEM(list.ptr(), static_cast<py::ssize_t>(i), PyLong_FromLongLong(ids[i]));
  }
  return list;
}

template <int D>
py::list to_list(const Box<D>& box) {
  py::list list(2 * D);
  for (int d = 0; d < D; ++d) {
    list[static_cast<std::size_t>(d)] = box.min[d];
    list[static_cast<std::size_t>(D + d)] = box.max[d];
  }
  return list;
}

/// A LocalTree for Python. Writes and what makes them visible are serialised by a mutex: a bulk
/// load and batches of searches run without the GIL. A search sees all writes that came before it.
template <int D>
class Tree {
 public:
  Tree() : tree_(value_of(LocalTree<D>::create())) {}

  // --- arrays; ids are unsigned

  std::uint64_t load(const Ids& ids, const Doubles& boxes, double fill) {
    const Rows rows = rows_of(boxes, 2 * D, "boxes");
    check_ids(ids, rows.count);
    const std::uint64_t* id_data = ids.data();
    Result<Version> loaded = write([&]() -> Result<Version> {
      std::vector<Entry<D>> entries;
      fill_entries(entries, id_data, rows.data, 0, rows.count);
      return tree_.load(std::move(entries), fill);
    });
    return value_of(std::move(loaded));
  }

  void insert_v(const Ids& ids, const Doubles& boxes) {
    const Rows rows = rows_of(boxes, 2 * D, "boxes");
    check_ids(ids, rows.count);
    const std::uint64_t* id_data = ids.data();
    check(write([&]() -> Status {
      std::vector<Entry<D>> one;
      is_dirty_ = true;
      for (std::size_t i = 0; i < rows.count; ++i) {
        fill_entries(one, id_data, rows.data, i, 1);
        Status inserted = tree_.insert(one[0].id, one[0].box);
        if (inserted) continue;
        // All or nothing. No search has seen the rows before it: they are not published.
        for (std::size_t before = i; before > 0; --before) {
          fill_entries(one, id_data, rows.data, before - 1, 1);
          (void)tree_.erase(one[0].id, one[0].box);
        }
        inserted.error().message =
            "row " + std::to_string(i) + " of boxes: " + inserted.error().message;
        return inserted;
      }
      return {};
    }));
  }

  py::tuple range_v(const Doubles& mins, const Doubles& maxs, const std::string& predicate) {
    const Rows low = rows_of(mins, D, "mins");
    const Rows high = rows_of(maxs, D, "maxs");
    if (low.count != high.count) throw py::value_error("mins and maxs differ in length");
    const Predicate kind = to_predicate(predicate);
    publish();
    RangeAnswers answers(low.count);
    Status searched;
    {
      py::gil_scoped_release released;
      std::vector<RangeQuery<D>> queries;
      std::vector<RangeResult<D>> results(kBatch);
      for (std::size_t first = 0; first < low.count && searched; first += kBatch) {
        const std::size_t count = std::min(kBatch, low.count - first);
        queries.clear();
        for (std::size_t i = first; i < first + count; ++i) {
          queries.push_back({.window = window_of<D>(low.data, high.data, i), .predicate = kind});
        }
        searched = tree_.range_batch(queries, results);
        for (std::size_t i = 0; i < count && searched; ++i) answers.add(first + i, results[i].ids);
      }
      answers.gather();
    }
    check(searched);
    return answers.to_arrays();
  }

  py::tuple nearest_v(const Doubles& points, std::uint32_t k) {
    const Rows rows = rows_of(points, D, "points");
    if (k == 0) throw py::value_error("k must be at least 1");
    publish();
    NearestAnswers answers(rows.count, k);
    Status searched;
    {
      py::gil_scoped_release released;
      std::vector<NearestQuery<D>> queries;
      std::vector<NearestResult> results(kBatch);
      for (std::size_t first = 0; first < rows.count && searched; first += kBatch) {
        const std::size_t count = std::min(kBatch, rows.count - first);
        queries.assign(count, {.point = {}, .k = k});
        for (std::size_t i = 0; i < count; ++i) {
          std::memcpy(queries[i].point.at.data(), rows.data + (first + i) * D, sizeof(Point<D>));
        }
        searched = tree_.nearest_batch(queries, results);
        for (std::size_t i = 0; i < count && searched; ++i) answers.add(first + i, results[i]);
      }
    }
    check(searched);
    return answers.to_arrays();
  }

  py::array_t<std::uint64_t> range(py::handle box, const std::string& predicate) {
    return to_array(std::move(search(to_box<D>(box), to_predicate(predicate)).ids));
  }

  std::uint64_t size() {
    publish();
    return tree_.size();
  }
  std::uint64_t version() {
    publish();
    return tree_.version();
  }
  py::object bounds() {
    publish();
    const auto box = tree_.bounds();
    return box ? py::object(to_list(*box)) : py::none();
  }
  /// (number, ids, bounds) of each leaf.
  py::list leaves() {
    publish();
    py::list leaves;
    for (const LeafOfTree<D>& leaf : tree_.leaves()) {
      leaves.append(
          py::make_tuple(leaf.number, to_list(signed_ids(leaf.ids)), to_list(leaf.bounds)));
    }
    return leaves;
  }

  // --- one at a time, in the way of python3-rtree: signed ids; coordinates of a box or a point,
  // interleaved or not; lists

  void add(std::int64_t id, py::handle coordinates, bool interleaved) {
    const Box<D> box = parse(coordinates, interleaved);
    const auto lock = lock_with_gil();
    check(tree_.insert(to_stored(id), box));
    is_dirty_ = true;
  }
  bool remove(std::int64_t id, py::handle coordinates, bool interleaved) {
    const Box<D> box = parse(coordinates, interleaved);
    const auto lock = lock_with_gil();
    const Status erased = tree_.erase(to_stored(id), box);
    if (!erased && erased.error().code == ErrorCode::kNotFound) return false;
    check(erased);
    is_dirty_ = true;
    return true;
  }
  py::list ids_in(py::handle coordinates, bool interleaved, bool contained) {
    const Box<D> box = parse_window(coordinates, interleaved);
    std::vector<std::int64_t> ids = signed_ids(search(box, kind_of(contained)).ids);
    std::sort(ids.begin(), ids.end());
    return to_list(ids);
  }
  std::uint64_t count_in(py::handle coordinates, bool interleaved) {
    const Box<D> box = parse_window(coordinates, interleaved);
    publish();
    static thread_local RangeResult<D> found;
    check(tree_.range({.window = box, .shape = ResultShape::kCount}, found));
    return found.count;
  }
  /// (id, bounds) of each entry, in the order of ids.
  py::list entries_in(py::handle coordinates, bool interleaved, bool contained) {
    const Box<D> box = parse_window(coordinates, interleaved);
    publish();
    RangeResult<D> found;
    check(tree_.range(
        {.window = box, .predicate = kind_of(contained), .shape = ResultShape::kEntries}, found));
    std::vector<std::size_t> order(found.ids.size());
    for (std::size_t i = 0; i < order.size(); ++i) order[i] = i;
    std::sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) {
      return std::tie(found.ids[a], found.boxes[a].min, found.boxes[a].max) <
             std::tie(found.ids[b], found.boxes[b].min, found.boxes[b].max);
    });
    py::list list(order.size());
    for (std::size_t i = 0; i < order.size(); ++i) {
      list[i] = py::make_tuple(to_signed(found.ids[order[i]]), to_list(found.boxes[order[i]]));
    }
    return list;
  }
  py::list nearest_ids(py::handle coordinates, bool interleaved, std::uint32_t k) {
    const NearestBoxQuery<D> query{.box = parse_window(coordinates, interleaved), .k = k};
    publish();
    static thread_local NearestBoxResult<D> found;
    check(tree_.nearest(query, found));
    py::list list(found.neighbors.size());
    for (std::size_t i = 0; i < found.neighbors.size(); ++i) {
      PyList_SET_ITEM(list.ptr(), static_cast<py::ssize_t>(i),
                      PyLong_FromLongLong(to_signed(found.neighbors[i].id)));
    }
    return list;
  }
  py::list nearest_entries(py::handle coordinates, bool interleaved, std::uint32_t k) {
    const NearestBoxQuery<D> query{
        .box = parse_window(coordinates, interleaved), .k = k, .shape = ResultShape::kEntries};
    publish();
    NearestBoxResult<D> found;
    check(tree_.nearest(query, found));
    py::list list(found.boxes.size());
    for (std::size_t i = 0; i < found.boxes.size(); ++i) {
      list[i] = py::make_tuple(to_signed(found.neighbors[i].id), to_list(found.boxes[i]));
    }
    return list;
  }
  /// Entries of a stream, parallel arrays of signed ids and boxes.
  void load_signed(const py::array_t<std::int64_t, py::array::c_style>& ids, const Doubles& boxes) {
    Ids stored(ids.size());
    const std::int64_t* from = ids.data();
    std::transform(from, from + ids.size(), stored.mutable_data(), to_stored);
    load(stored, boxes, 0);
  }

 private:
  static constexpr std::size_t kBatch = 256;  ///< queries of one snapshot

  static Predicate kind_of(bool contained) {
    return contained ? Predicate::kWithin : Predicate::kIntersects;
  }
  static std::vector<std::int64_t> signed_ids(const std::vector<std::uint64_t>& ids) {
    std::vector<std::int64_t> out(ids.size());
    std::transform(ids.begin(), ids.end(), out.begin(), to_signed);
    return out;
  }

  /// Runs a write without the GIL, which it gives back first and takes last: no thread waits for
  /// the mutex while holding what its holder waits for.
  template <typename F>
  auto write(F&& f) {
    py::gil_scoped_release released;
    const std::lock_guard lock(mutex_);
    return f();
  }
  /// The mutex, for a holder of the GIL, who gives that back while another has the mutex: the
  /// interpreter goes on during a long write. Who has the mutex and waits for the GIL gets it,
  /// since no thread waits for the mutex with the GIL.
  std::unique_lock<std::mutex> lock_with_gil() {
    std::unique_lock lock(mutex_, std::try_to_lock);
    if (!lock.owns_lock()) {
      py::gil_scoped_release released;
      lock.lock();
    }
    return lock;
  }
  void publish() {
    if (!is_dirty_) return;
    const auto lock = lock_with_gil();
    tree_.publish();
    is_dirty_ = false;
  }

  RangeResult<D>& search(const Box<D>& box, Predicate predicate) {
    publish();
    static thread_local RangeResult<D> found;
    check(tree_.range({.window = box, .predicate = predicate}, found));
    return found;
  }

  static Box<D> parse(py::handle coordinates, bool interleaved) {
    double numbers[2 * D] = {};
    const py::object fast = py::reinterpret_steal<py::object>(
        PySequence_Fast(coordinates.ptr(), "Bounds must be a sequence"));
    if (!fast) throw py::error_already_set();
    const py::ssize_t size = PySequence_Fast_GET_SIZE(fast.ptr());
    if (size != 2 * D && size != D) {
      raise(ErrorCode::kInvalidArgument,
            "Coordinates must be in the form (minx, miny, maxx, maxy) or (x, y) for 2D indexes");
    }
    PyObject** items = PySequence_Fast_ITEMS(fast.ptr());
    for (py::ssize_t i = 0; i < size; ++i) {
      numbers[i] = PyFloat_AsDouble(items[i]);
      if (numbers[i] == -1.0 && PyErr_Occurred() != nullptr) throw py::error_already_set();
    }
    if (size == D) {  // a point
      std::copy(numbers, numbers + D, numbers + D);
      interleaved = true;
    }
    Box<D> box;
    for (int d = 0; d < D; ++d) {
      box.min[d] = numbers[interleaved ? d : 2 * d];
      box.max[d] = numbers[interleaved ? D + d : 2 * d + 1];
      if (!(box.min[d] <= box.max[d])) {
        raise(ErrorCode::kInvalidArgument, "Coordinates must not have minimums more than maximums");
      }
    }
    return box;
  }
  /// A window may be infinite.
  static Box<D> parse_window(py::handle coordinates, bool interleaved) {
    constexpr double kGreatest = std::numeric_limits<double>::max();
    Box<D> box = parse(coordinates, interleaved);
    for (int d = 0; d < D; ++d) {
      box.min[d] = std::clamp(box.min[d], -kGreatest, kGreatest);
      box.max[d] = std::clamp(box.max[d], -kGreatest, kGreatest);
    }
    return box;
  }

  LocalTree<D> tree_;
  std::mutex mutex_;                   ///< held by the writer
  std::atomic<bool> is_dirty_{false};  ///< there are writes to publish
};

template <int D>
void bind_tree(py::module_& module, const char* name) {
  using py::arg;
  using T = Tree<D>;
  py::class_<T>(module, name)
      .def(py::init<>())
      .def("load", &T::load, arg("ids"), arg("boxes"), arg("fill") = 0.0)
      .def("insert_v", &T::insert_v, arg("ids"), arg("boxes"))
      .def("range", &T::range, arg("box"), arg("predicate") = "intersects")
      .def("range_v", &T::range_v, arg("mins"), arg("maxs"), arg("predicate") = "intersects")
      .def("nearest_v", &T::nearest_v, arg("points"), arg("k"))
      .def("size", &T::size)
      .def("version", &T::version)
      .def("bounds", &T::bounds)
      .def("leaves", &T::leaves)
      .def("add", &T::add)
      .def("remove", &T::remove)
      .def("ids_in", &T::ids_in)
      .def("count_in", &T::count_in)
      .def("entries_in", &T::entries_in)
      .def("nearest_ids", &T::nearest_ids)
      .def("nearest_entries", &T::nearest_entries)
      .def("load_signed", &T::load_signed);
}

}  // namespace

void bind_trees(py::module_& module) {
  bind_tree<2>(module, "Tree2");
  bind_tree<3>(module, "Tree3");
}

}  // namespace silurus::python
