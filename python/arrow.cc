// SPDX-License-Identifier: Apache-2.0

#include "python/arrow.h"

#include <array>
#include <cerrno>
#include <new>
#include <vector>

#include "python/binding.h"

namespace silurus::python {
namespace {

constexpr const char* kStreamCapsule = "arrow_array_stream";  // names that the protocol gives
constexpr const char* kSchemaCapsule = "arrow_schema";
constexpr const char* kFormatOfIds = "L";  // std::uint64_t
constexpr const char* kFormatOfCoordinates = "g";
constexpr const char* kFormatOfStructs = "+s";
constexpr std::array<const char*, 5> kNames2d = {"id", "xmin", "ymin", "xmax", "ymax"};
constexpr std::array<const char*, 7> kNames3d = {"id",   "xmin", "ymin", "zmin",
                                                 "xmax", "ymax", "zmax"};

/// Entries by columns: ids, then sides of boxes. Arrays that were handed out share it, and may be
/// released by any thread.
struct EntryColumns {
  std::vector<std::uint64_t> ids;
  std::vector<std::vector<double>> sides;

  std::size_t count() const { return 1 + sides.size(); }
  const char* name(std::size_t column) const {
    return sides.size() == 4 ? kNames2d[column] : kNames3d[column];
  }
  const void* data(std::size_t column) const {
    return column == 0 ? static_cast<const void*>(ids.data()) : sides[column - 1].data();
  }
};
using SharedColumns = std::shared_ptr<const EntryColumns>;

/// What a struct owns: its children, which a receiver may have taken out. T: ArrowSchema or
/// ArrowArray.
template <typename T>
struct Children {
  std::vector<T> all;
  std::vector<T*> pointers;
  const void* no_validity = nullptr;  // the only buffer of a struct

  explicit Children(std::size_t count) : all(count), pointers(count) {
    for (std::size_t i = 0; i < count; ++i) pointers[i] = &all[i];
  }
};

template <typename T>
void release_children(T* parent) {
  auto* children = static_cast<Children<T>*>(parent->private_data);
  for (T& child : children->all) {
    if (child.release != nullptr) child.release(&child);
  }
  delete children;
  parent->release = nullptr;
}

void release_plain(ArrowSchema* schema) { schema->release = nullptr; }

void fill_schema(const EntryColumns& columns, ArrowSchema& out) {
  auto children = std::make_unique<Children<ArrowSchema>>(columns.count());
  for (std::size_t i = 0; i < columns.count(); ++i) {
    children->all[i] = {.format = i == 0 ? kFormatOfIds : kFormatOfCoordinates,
                        .name = columns.name(i),
                        .metadata = nullptr,
                        .flags = 0,
                        .n_children = 0,
                        .children = nullptr,
                        .dictionary = nullptr,
                        .release = release_plain,
                        .private_data = nullptr};
  }
  out = {.format = kFormatOfStructs,
         .name = "",
         .metadata = nullptr,
         .flags = 0,
         .n_children = static_cast<std::int64_t>(columns.count()),
         .children = children->pointers.data(),
         .dictionary = nullptr,
         .release = release_children<ArrowSchema>,
         .private_data = children.get()};
  static_cast<void>(children.release());
}

/// What an array of one column owns.
struct ColumnOwner {
  SharedColumns columns;
  std::array<const void*, 2> buffers;  // no validity, the values
};

void release_column(ArrowArray* array) {
  delete static_cast<ColumnOwner*>(array->private_data);
  array->release = nullptr;
}

void fill_array(const SharedColumns& columns, ArrowArray& out) {
  const auto length = static_cast<std::int64_t>(columns->ids.size());
  auto children = std::make_unique<Children<ArrowArray>>(columns->count());
  std::vector<std::unique_ptr<ColumnOwner>> owners;
  for (std::size_t i = 0; i < columns->count(); ++i) {
    owners.push_back(std::make_unique<ColumnOwner>());
    *owners.back() = {columns, {nullptr, columns->data(i)}};
  }
  for (std::size_t i = 0; i < columns->count(); ++i) {
    ColumnOwner* owner = owners[i].release();
    children->all[i] = {.length = length,
                        .null_count = 0,
                        .offset = 0,
                        .n_buffers = 2,
                        .n_children = 0,
                        .buffers = owner->buffers.data(),
                        .children = nullptr,
                        .dictionary = nullptr,
                        .release = release_column,
                        .private_data = owner};
  }
  out = {.length = length,
         .null_count = 0,
         .offset = 0,
         .n_buffers = 1,
         .n_children = static_cast<std::int64_t>(columns->count()),
         .buffers = &children->no_validity,
         .children = children->pointers.data(),
         .dictionary = nullptr,
         .release = release_children<ArrowArray>,
         .private_data = children.get()};
  static_cast<void>(children.release());
}

/// A stream of one batch.
struct StreamState {
  SharedColumns columns;
  bool is_at_end = false;
};

int get_schema(ArrowArrayStream* stream, ArrowSchema* out) {
  try {
    fill_schema(*static_cast<StreamState*>(stream->private_data)->columns, *out);
    return 0;
  } catch (const std::bad_alloc&) {
    return ENOMEM;
  }
}

int get_next(ArrowArrayStream* stream, ArrowArray* out) {
  auto& state = *static_cast<StreamState*>(stream->private_data);
  *out = {};
  if (state.is_at_end) return 0;
  try {
    fill_array(state.columns, *out);
  } catch (const std::bad_alloc&) {
    return ENOMEM;
  }
  state.is_at_end = true;
  return 0;
}

const char* get_last_error(ArrowArrayStream*) { return nullptr; }

void release_stream(ArrowArrayStream* stream) {
  delete static_cast<StreamState*>(stream->private_data);
  stream->release = nullptr;
}

/// A capsule that owns the struct, and what is in it unless a receiver has taken it out.
template <typename T>
py::object capsule_of(std::unique_ptr<T> owned, const char* name) {
  PyObject* capsule = PyCapsule_New(owned.get(), name, [](PyObject* one) {
    auto* inside = static_cast<T*>(PyCapsule_GetPointer(one, PyCapsule_GetName(one)));
    if (inside->release != nullptr) inside->release(inside);
    delete inside;
  });
  if (capsule == nullptr) throw py::error_already_set();
  static_cast<void>(owned.release());
  return py::reinterpret_steal<py::object>(capsule);
}

/// Entries as columns; each side of the boxes is copied, since these lie row by row.
SharedColumns columns_of(const Ids& ids, const Doubles& boxes) {
  const bool is_known = boxes.ndim() == 2 && (boxes.shape(1) == 4 || boxes.shape(1) == 6);
  if (!is_known) throw py::value_error("boxes have the shape (n, 4) or (n, 6)");
  const auto each = static_cast<std::size_t>(boxes.shape(1));
  const Rows rows = rows_of(boxes, boxes.shape(1), "boxes");
  check_ids(ids, rows.count);
  auto columns = std::make_shared<EntryColumns>();
  columns->ids.assign(ids.data(), ids.data() + rows.count);
  columns->sides.assign(each, std::vector<double>(rows.count));
  for (std::size_t side = 0; side < each; ++side) {
    for (std::size_t i = 0; i < rows.count; ++i) {
      columns->sides[side][i] = rows.data[i * each + side];
    }
  }
  return columns;
}

py::object arrow_stream(const Ids& ids, const Doubles& boxes) {
  auto state = std::make_unique<StreamState>();
  state->columns = columns_of(ids, boxes);
  auto stream = std::make_unique<ArrowArrayStream>();
  *stream = {.get_schema = get_schema,
             .get_next = get_next,
             .get_last_error = get_last_error,
             .release = release_stream,
             .private_data = state.release()};
  return capsule_of(std::move(stream), kStreamCapsule);
}

py::object arrow_schema(int dimensions) {
  EntryColumns none;
  none.sides.resize(static_cast<std::size_t>(2 * dimensions));
  auto schema = std::make_unique<ArrowSchema>();
  fill_schema(none, *schema);
  return capsule_of(std::move(schema), kSchemaCapsule);
}

}  // namespace

void bind_arrow(py::module_& module) {
  module.def("arrow_stream", &arrow_stream, py::arg("ids"), py::arg("boxes"));
  module.def("arrow_schema", &arrow_schema, py::arg("dimensions"));
}

}  // namespace silurus::python
