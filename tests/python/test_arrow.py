# SPDX-License-Identifier: Apache-2.0

"""Tables as Arrow's streams, taken by a receiver that knows the specification alone: its C structs, by ctypes."""
import ctypes
import gc

import numpy as np
import pytest
from conftest import brute_force
from test_leaks import assert_keeps_nothing

import silurus


class Schema(ctypes.Structure):
    pass


Schema._fields_ = [
    ("format", ctypes.c_char_p), ("name", ctypes.c_char_p), ("metadata", ctypes.c_char_p), ("flags", ctypes.c_int64),
    ("n_children", ctypes.c_int64), ("children", ctypes.POINTER(ctypes.POINTER(Schema))), ("dictionary", ctypes.c_void_p),
    ("release", ctypes.CFUNCTYPE(None, ctypes.POINTER(Schema))), ("private_data", ctypes.c_void_p),
]


class Array(ctypes.Structure):
    pass


Array._fields_ = [
    ("length", ctypes.c_int64), ("null_count", ctypes.c_int64), ("offset", ctypes.c_int64), ("n_buffers", ctypes.c_int64),
    ("n_children", ctypes.c_int64), ("buffers", ctypes.POINTER(ctypes.c_void_p)),
    ("children", ctypes.POINTER(ctypes.POINTER(Array))), ("dictionary", ctypes.c_void_p),
    ("release", ctypes.CFUNCTYPE(None, ctypes.POINTER(Array))), ("private_data", ctypes.c_void_p),
]


class Stream(ctypes.Structure):
    pass


Stream._fields_ = [
    ("get_schema", ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(Stream), ctypes.POINTER(Schema))),
    ("get_next", ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(Stream), ctypes.POINTER(Array))),
    ("get_last_error", ctypes.CFUNCTYPE(ctypes.c_char_p, ctypes.POINTER(Stream))),
    ("release", ctypes.CFUNCTYPE(None, ctypes.POINTER(Stream))), ("private_data", ctypes.c_void_p),
]

pointer_of = ctypes.pythonapi.PyCapsule_GetPointer
pointer_of.restype = ctypes.c_void_p
pointer_of.argtypes = [ctypes.py_object, ctypes.c_char_p]
KINDS = {b"L": np.uint64, b"g": np.float64}


def struct_in(capsule, name, kind):
    return kind.from_address(pointer_of(capsule, name))


def columns_of(array, names, formats):
    """Copies of the columns, by name."""
    columns = {}
    for i, (name, kind) in enumerate(zip(names, formats)):
        child = array.children[i].contents
        assert (child.length, child.null_count, child.offset, child.n_buffers) == (array.length, 0, 0, 2)
        assert child.buffers[0] is None
        data = (ctypes.c_byte * (8 * child.length)).from_address(child.buffers[1]) if child.length else b""
        columns[name] = np.frombuffer(data, KINDS[kind]).copy()
    return columns


def schema_of(schema):
    assert schema.format == b"+s"
    children = [schema.children[i].contents for i in range(schema.n_children)]
    return [child.name.decode() for child in children], [child.format for child in children]


def read(source):
    """The columns of all batches of something that has a stream; all of it is released."""
    capsule = source.__arrow_c_stream__()
    stream = struct_in(capsule, b"arrow_array_stream", Stream)
    schema, array = Schema(), Array()
    assert stream.get_schema(stream, schema) == 0
    names, formats = schema_of(schema)
    schema.release(schema)
    batches = []
    while True:
        assert stream.get_next(stream, array) == 0
        if not array.release:
            break
        batches.append(columns_of(array, names, formats))
        array.release(array)
        assert not array.release
    return {name: np.concatenate([batch[name] for batch in batches]) for name in names}


def test_a_table_has_a_column_for_ids_and_for_each_side():
    columns = read(silurus.Table([7, 9], [[1, 2, 3, 4], [5, 6, 7, 8]]))
    assert list(columns) == ["id", "xmin", "ymin", "xmax", "ymax"]
    assert columns["id"].tolist() == [7, 9]
    assert [columns[name].tolist() for name in ("xmin", "ymin", "xmax", "ymax")] == [[1, 5], [2, 6], [3, 7], [4, 8]]


def test_a_table_in_three_dimensions_has_more_columns():
    columns = read(silurus.Table([7], [[1, 2, 3, 4, 5, 6]], dimensions=3))
    assert {name: column.tolist() for name, column in columns.items()} == {
        "id": [7], "xmin": [1], "ymin": [2], "zmin": [3], "xmax": [4], "ymax": [5], "zmax": [6],
    }


def test_an_empty_table_has_a_batch_without_rows():
    assert [len(column) for column in read(silurus.Table([], [])).values()] == [0] * 5


def test_the_schema_is_that_of_the_stream():
    capsule = silurus.Table([], [], dimensions=3).__arrow_c_schema__()
    names, formats = schema_of(struct_in(capsule, b"arrow_schema", Schema))
    assert names == ["id", "xmin", "ymin", "zmin", "xmax", "ymax", "zmax"]
    assert formats == [b"L"] + [b"g"] * 6


def test_what_a_window_finds_is_a_table(db, boxes):
    ids, corners = boxes
    db.load(ids, corners)
    window = [0.2, 0.2, 0.5, 0.6]
    columns = read(db.table(window))
    order = np.argsort(columns["id"])
    expected = brute_force(corners, window)
    assert columns["id"][order].tolist() == expected.tolist()
    for side, name in enumerate(("xmin", "ymin", "xmax", "ymax")):
        assert (columns[name][order] == corners[expected, side]).all()


def test_a_column_that_was_taken_out_outlives_its_batch():
    capsule = silurus.Table([7, 9], [[1, 2], [3, 4]]).__arrow_c_stream__()
    stream = struct_in(capsule, b"arrow_array_stream", Stream)
    array = Array()
    assert stream.get_next(stream, array) == 0
    taken = Array()
    ctypes.memmove(ctypes.addressof(taken), array.children[0], ctypes.sizeof(Array))
    ctypes.memset(ctypes.addressof(array.children[0].contents) + Array.release.offset, 0, Array.release.size)
    array.release(array)
    del capsule
    gc.collect()
    data = (ctypes.c_byte * (8 * taken.length)).from_address(taken.buffers[1])
    assert np.frombuffer(data, np.uint64).tolist() == [7, 9]
    taken.release(taken)


def test_ids_and_boxes_of_other_lengths_are_refused():
    with pytest.raises(ValueError, match="2 ids and 1 boxes"):
        silurus.Table([1, 2], [[1, 2]])


def test_streams_keep_nothing_whether_they_are_read_or_not():
    table = silurus.Table(range(1000), [[i, i] for i in range(1000)])
    assert_keeps_nothing(lambda i: table.__arrow_c_stream__(), 2000)
    assert_keeps_nothing(lambda i: table.__arrow_c_schema__(), 2000)
    assert_keeps_nothing(lambda i: read(table), 1000)
